"""What a chip runs: populations and projections as integers, and what was approximated on the way.

The meaning of the integers is that of Loihi's neuron and synapse (Davies et al. 2018,
doi:10.1109/MM.2018.112130359) as lava-nc 0.10 models them with the tag `fixed_pt`::

    a[t] = sum over projections of shift(weights · spikes of the source at t − 1 − delay, exponent)
    u ← trunc(u (4096 − du − 1) / 4096) + 64 a        wraps beyond 2²³
    v ← trunc(v (4096 − dv) / 4096) + u + bias        clips at ±(2²³ − 1)
    spike where v > 64 vth, and there v ← 0           bias = bias_mant · 2^bias_exp

`trunc` cuts towards zero; `shift` with a negative exponent cuts towards minus infinity.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from hardware_targets.loihi.sparse import Matrix

INTEGERS = ("du", "dv", "vth", "bias_mant", "bias_exp", "u0", "v0")


@dataclass(frozen=True)
class Population:
    """Neurons of one node, flattened; every array has shape `(size,)`: integers, or fractions of a cause left out.

    Attributes:
        name: of the graph's node.
        shape: of the node.
        spiking: false for a readout, whose threshold is out of reach and whose voltage is the output.
        depth: steps by which the population runs late, which is how many synapses lie before it.
        du: decay of the current, 0 … 4095; the chip decays by `(du + 1) / 4096`.
        dv: decay of the voltage, 0 … 4095; the chip decays by `dv / 4096`.
        vth: threshold in units of 64, 17 bits.
        bias_mant: mantissa of the bias, 13 bits with sign.
        bias_exp: exponent of the bias, 0 … 7.
        u0: current before the first step.
        v0: voltage before the first step.
        scale: integer steps of the voltage per model unit.
        zero: voltage of the model at which the integer is 0 (`v_reset`), in model units.
    """

    name: str
    shape: tuple[int, ...]
    spiking: bool
    depth: int
    du: np.ndarray
    dv: np.ndarray
    vth: np.ndarray
    bias_mant: np.ndarray
    bias_exp: np.ndarray
    u0: np.ndarray
    v0: np.ndarray
    scale: np.ndarray
    zero: np.ndarray

    @property
    def size(self) -> int:
        """Number of neurons."""
        return int(self.vth.size)

    @property
    def bias(self) -> np.ndarray:
        """The bias that is added in every step, `(size,)`."""
        return self.bias_mant * 2 ** self.bias_exp.astype(np.int64)

    def voltage(self, integers: np.ndarray) -> np.ndarray:
        """Integer voltages `(time, batch, size)` in model units, float32."""
        return (integers / self.scale + self.zero).astype(np.float32)


@dataclass(frozen=True)
class Projection:
    """Synapses between two populations.

    Attributes:
        source: name of the population that sends, or of the input.
        target: name of the population that receives.
        weights: sparse, `(target, source)`; even numbers in −256 … 254 where signs are mixed, else 0 … 255 or
            −255 … 0. What is not stored is no synapse. A dense array is made sparse.
        exponent: the weighted sum is shifted by this many bits, −8 … 7.
        delay: steps beyond the one that every synapse takes.
    """

    source: str
    target: str
    weights: Matrix
    exponent: int
    delay: int

    def __post_init__(self) -> None:
        weights: Matrix = csr_array(self.weights)
        weights.eliminate_zeros()
        object.__setattr__(self, "weights", weights)

    @property
    def fan_out(self) -> np.ndarray:
        """How many synapses each source has here, `(source,)`."""
        return np.bincount(self.weights.indices, minlength=self.weights.shape[1])


@dataclass(frozen=True)
class Program:
    """A compiled graph.

    Attributes:
        dt: step in seconds.
        input: name of the input.
        input_shape: its shape.
        output: name of the population that is the graph's output.
        output_shape: shape in which the graph gives it.
        populations: in an order in which sources come before targets, loops aside.
        projections: all synapses.
        approximations: what differs from the graph, `{"node", "what", "size"}` each.
        whole: whether the state is whole numbers, cut, wrapped and clipped; the chip has no other.
        wound_back: whether populations run from the first step, from a state wound back by their depth; else
            each waits for as many steps as its depth, which the chip cannot.
    """

    dt: float
    input: str
    input_shape: tuple[int, ...]
    output: str
    output_shape: tuple[int, ...]
    populations: tuple[Population, ...]
    projections: tuple[Projection, ...]
    approximations: tuple[dict[str, Any], ...]
    whole: bool = True
    wound_back: bool = True

    def population(self, name: str) -> Population:
        """The population of that name."""
        return next(p for p in self.populations if p.name == name)

    @property
    def latency(self) -> int:
        """Steps by which the output runs late."""
        return self.population(self.output).depth


def save(program: Program, folder: Path) -> None:
    """Write what a worker needs to run a program: `program.json` (structure) and `program.npz` (integers).

    Arrays are named `population/K/du` and `projection/K/data` by their place in the program; the weights of a
    projection are `data`, `indices`, `indptr` and `shape` of a matrix in rows, as scipy has them.
    """
    arrays: dict[str, Any] = {}
    for i, population in enumerate(program.populations):
        arrays.update({f"population/{i}/{key}": getattr(population, key) for key in INTEGERS})
    for i, projection in enumerate(program.projections):
        for part in ("data", "indices", "indptr", "shape"):
            arrays[f"projection/{i}/{part}"] = np.asarray(getattr(projection.weights, part))
    structure = {
        "whole": program.whole,
        "input": program.input,
        "inputs": int(np.prod(program.input_shape)),
        "populations": [{"name": p.name, "size": p.size} for p in program.populations],
        "projections": [
            {"source": p.source, "target": p.target, "exponent": p.exponent, "delay": p.delay}
            for p in program.projections
        ],
    }
    np.savez(folder / "program.npz", **arrays)
    (folder / "program.json").write_text(json.dumps(structure), encoding="utf-8")
