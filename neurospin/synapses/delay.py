"""`Delay`: connections one to one that take time."""

from __future__ import annotations

import math
from typing import Any

import nir
import torch
from torch import Tensor

from neurospin.errors import InputError
from neurospin.scan import Scan, delay
from neurospin.synapses.base import Synapse
from neurospin.types import Spikes, State
from neurospin.weights import Float


class Delay(Synapse):
    """One-to-one connections with a fixed delay: `y(t) = x(t − delay)`, silence before the start.

    Args:
        size: shape of the block.
        delay: seconds ≥ 0, one number or one per neuron; rounded to whole steps.
        dt: step in seconds; `Network` sets it.
    """

    delay: Tensor

    def __init__(self, size: int | tuple[int, ...], delay: float | Tensor, *, dt: float | None = None) -> None:
        super().__init__(Float())
        self.input_size = self.output_size = (size,) if isinstance(size, int) else tuple(size)
        value = torch.as_tensor(delay, dtype=torch.float32).detach().clone()
        if value.ndim and tuple(value.shape) != self.input_size:
            raise InputError(
                "Delay.delay", f"one number or shape {self.input_size}", f"shape {tuple(value.shape)}", "match the size"
            )
        if not bool((torch.isfinite(value) & (value >= 0)).all()):
            raise InputError("Delay.delay", "finite seconds ≥ 0", str(delay), "a delay cannot look ahead")
        self.register_buffer("delay", value)
        self.dt: float | None = None
        if dt is not None:
            self.bind(dt)

    def bind(self, dt: float) -> None:
        """Set the step; a delay has one step for life.

        Raises:
            InputError: `dt` is not positive, or another one is set.
        """
        if not (isinstance(dt, int | float) and math.isfinite(dt) and dt > 0):
            raise InputError("Delay.dt", "seconds > 0", repr(dt), "give a positive step")
        if self.dt is not None and self.dt != dt:
            raise InputError("Delay.dt", f"{self.dt:g} s, which this block already has", f"{dt:g} s", "make a new one")
        self.dt = float(dt)

    @property
    def steps(self) -> Tensor:
        """The delay in steps: 0-d or of the block's shape."""
        if self.dt is None:
            raise InputError("Delay.dt", "a step in seconds", "none", "give dt=, or put the delay into a Network")
        return (self.delay / self.dt).round().long()

    def initial(self, batch: int) -> State:
        """Silence on its way, `((largest delay, batch, *neuron),)`."""
        return (torch.zeros((int(self.steps.max()), batch, *self.input_size), device=self.delay.device),)

    def scan(self, x: Spikes, state: State | None = None, *, voltage: bool = False) -> Scan:
        """The delayed input, and as state the inputs still on their way, `(largest delay, batch, *neuron)`."""
        if tuple(x.shape[2:]) != self.input_size or x.shape[0] == 0:
            words = ", ".join(str(n) for n in self.input_size)
            raise InputError(
                "Delay", f"input of shape (time, batch, {words}) with at least one step", str(tuple(x.shape)),
                "put time first, then batch",
            )  # fmt: skip
        y, after = delay(x, self.steps, None if state is None else state[0])
        return Scan(y, None, (after,))

    def forward(self, x: Tensor) -> Tensor:
        """The delayed input, from silence."""
        return self.scan(x).output

    def to_nir(self) -> nir.NIRNode:
        """`nir.Delay`."""
        return nir.Delay(delay=self.delay.cpu().expand(self.input_size).contiguous().numpy().copy())

    def config(self) -> dict[str, Any]:
        """Kind and size; the delay is in the state dict."""
        return {"kind": "delay", "size": list(self.input_size)}
