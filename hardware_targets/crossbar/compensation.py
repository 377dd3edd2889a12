"""What can be done about a chip that is not exact: lines of its columns, conductances that allow for the wires, training
with the chip in the loop.

`Chip` is the channel of `neurospin.plasticity.Through`: training then sees weights as an array would hold them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from hardware_targets.crossbar.array import Array, Wiring
from hardware_targets.crossbar.devices import BoundedLinear, Device
from neurospin.errors import InputError


@dataclass(frozen=True)
class Columns:
    """A digital factor and an offset per column after the converters, `gain · y + offset`.

    Attributes:
        gain: `(out,)`.
        offset: `(out,)`, in units of the outputs.
        before, after: error of the chip's outputs, root mean square over that of the wanted ones, without and with them.
    """

    gain: Tensor
    offset: Tensor
    before: float
    after: float


def calibrate_columns(chip: Callable[[Tensor], Tensor], wanted: Tensor, x: Tensor) -> Columns:
    """Calibrate a chip in the loop: the least-squares line of each column, `gain = cov(y, ŷ) / var ŷ` with ŷ the chip's.

    An offset is needed: what wires take from a column is much the same for all inputs, and a factor alone would have
    to trade it against the slope, up to a wrong sign.

    Args:
        chip: `(samples, in)` to `(samples, out)`, for example an `Array`.
        wanted: the weights that it should have, `(out, in)`.
        x: sample inputs `(samples, in)`, at least two.

    Raises:
        InputError: outputs of another shape, or that are not finite.
    """
    exact, got = torch.nn.functional.linear(x, wanted), chip(x)
    if got.shape != exact.shape or not bool(torch.isfinite(got).all()):
        where = f"finite outputs {tuple(exact.shape)}"
        raise InputError("calibrate_columns", where, f"{tuple(got.shape)}", "give weights and inputs of this chip")
    a, b = exact - exact.mean(0), got - got.mean(0)
    power = b.square().sum(0)
    gain = torch.where(power > 0, (a * b).sum(0) / power.clamp(min=1e-300), torch.ones_like(power))
    offset = exact.mean(0) - gain * got.mean(0)
    size = exact.square().mean().sqrt().clamp(min=1e-30)
    before, after = ((y - exact).square().mean().sqrt() / size for y in (got, got * gain + offset))
    return Columns(gain, offset, float(before), float(after))


def predistort(array: Array, wanted: Tensor, rounds: int = 10) -> float:
    """Program an array so that its matrix, wires and all, comes near the wanted one: `W ← W + (wanted − matrix)`.

    Weights beyond the range of the array stay at its end: an array whose wires take more than the head room of its
    range cannot be mended so; give it head room by making it for larger weights.

    Returns:
        Error of the matrix, root mean square over that of the wanted one.
    """
    aim, best = wanted.clone(), float("inf")
    size = float(wanted.square().mean().sqrt()) or 1.0
    kept = aim
    for _ in range(rounds):
        array.program(aim)
        rest = wanted - array.matrix()
        error = float(rest.square().mean().sqrt()) / size
        if error < best:
            best, kept = error, aim
        aim = (aim + rest).clamp(-array.largest, array.largest)
    array.program(kept)
    return best


@dataclass(frozen=True)
class Chip:
    """Weights as a fresh array would hold them: programming errors and wires; a channel for `neurospin.plasticity.Through`.

    Attributes:
        device: of every crosspoint, default `BoundedLinear()`.
        wiring: default none.
        rows, columns: of a tile, default 256.
    """

    device: Device = field(default_factory=BoundedLinear)
    wiring: Wiring | None = None
    rows: int = 256
    columns: int = 256

    def __call__(self, weight: Tensor, generator: torch.Generator) -> Tensor:
        """The matrix that acts, `(out, in)`; vectors (biases) are digital and stay."""
        if weight.ndim != 2:
            return weight
        array = Array(
            weight.detach(), self.device, generator, rows=self.rows, columns=self.columns, wiring=self.wiring, adc_bits=None
        )  # fmt: skip
        return array.matrix().to(weight.dtype)
