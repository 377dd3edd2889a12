"""The integer program: what Loihi is told, as plain integer arrays.

One chip step of a population, as in lava-nc 0.10 `LIF` and `Dense`, fixed point::

    a[t] = Σ (W s[t−1]) << weight_exponent                 every connection delivers one step late
    u    = trunc(u · (4096 − (du + 1)) / 4096) + (a << 6)  wraps at ± 2²³
    v    = trunc(v · (4096 − dv) / 4096) + u + bias        clips at ± (2²³ − 1)
    s    = v > (vth << 6);  v = 0 where s
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Population:
    """Neurons of one kind; integer arrays of shape `(size,)`.

    Attributes:
        name: of the graph's node; relays have names of their own.
        du, dv: decays of current and voltage in 1/4096 (the chip adds 1 to du).
        vth: threshold mantissa; the chip shifts it by 6.
        bias_mantissa, bias_exponent: bias per step is `mantissa << exponent`.
        u0, v0: state before the first chip step.
        spiking: `False` for a readout, whose voltage is its output.
        scale: counts of v per model unit.
        offset: model voltage at v = 0 (the graph's v_reset).
        depth: chip steps by which the population lags behind the input.
    """

    name: str
    du: np.ndarray
    dv: np.ndarray
    vth: np.ndarray
    bias_mantissa: np.ndarray
    bias_exponent: np.ndarray
    u0: np.ndarray
    v0: np.ndarray
    spiking: bool
    scale: np.ndarray
    offset: np.ndarray
    depth: int

    @property
    def size(self) -> int:
        """Number of neurons."""
        return len(self.vth)

    @property
    def bias(self) -> np.ndarray:
        """Bias per step."""
        return self.bias_mantissa << self.bias_exponent


@dataclass(frozen=True)
class Connection:
    """Dense synapses: 8-bit mantissas `(target, source)` and one exponent."""

    source: str
    target: str
    weights: np.ndarray
    exponent: int


@dataclass(frozen=True)
class Program:
    """What runs on the chip.

    Attributes:
        input: name of the input; populations read its spikes under this name.
        inputs: number of input lines.
        populations: by name.
        connections: synapses between them.
        output: name of the population that is the graph's output.
        output_shape: its shape in the graph.
        shapes: shape in the graph of every population that is a node of it.
        approximations: what was rounded, each `{"node", "what", "size"}`.
    """

    input: str
    inputs: int
    populations: dict[str, Population]
    connections: list[Connection]
    output: str
    output_shape: tuple[int, ...]
    shapes: dict[str, tuple[int, ...]]
    approximations: list[dict[str, Any]] = field(default_factory=list)
