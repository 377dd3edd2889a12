"""From the nodes of a graph to arrays: dense layers as they are, convolutions by patches or unrolled.

`"patches"` (im2col) holds each kernel once, `(channels in · kernel, channels out)`, and reads the array at every position,
one after the other. `"unrolled"` gives every connection a device of its own and reads all positions at once. Groups
of a convolution have arrays of their own. Biases are added digitally after the ADC; neurons, delays, pooling,
scales and thresholds are digital.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any, Literal

import nir
import numpy as np
import torch
from torch import Tensor

from hardware_targets.crossbar.array import Array
from hardware_targets.crossbar.compensation import Columns, calibrate_columns
from hardware_targets.crossbar.devices import LogCosh
from hardware_targets.crossbar.devices.pulsed import Ledger
from hardware_targets.patches import Kernel
from neurospin.graph.operators import Operator, operator

Convolution = Literal["patches", "unrolled"]
WEIGHTS = (nir.Affine, nir.Linear, nir.Conv1d, nir.Conv2d)
LARGEST = 2**26
"""Devices of an unrolled convolution, at most."""
PATCHES = 2**24
"""Values of the patches that are held at a time."""
WATCHED = 20_000


class Layer:
    """The arrays of one node with weights; called with `(samples, *input)` as the interpreter of graphs does.

    While arrays hold the very weights and nothing else distorts, the sum is the graph's own, in its own order of
    addition: analog sums have no order.

    Args:
        name: of the node.
        node: Linear, Affine or a convolution.
        shape: of its input, without time and batch.
        make: makes the array of a matrix `(out, in)`.
        convolution: `"patches"` or `"unrolled"`.
        accumulate: steps whose charge is gathered before a conversion; above 1, `batch` must be set before a call.
    """

    def __init__(
        self,
        name: str,
        node: nir.NIRNode,
        shape: tuple[int, ...],
        make: Callable[[Tensor], Array],
        convolution: Convolution = "patches",
        accumulate: int = 1,
    ) -> None:
        self.name = name
        self.node, self.shape = node, shape
        self.digital: Operator = operator(name, node, torch.float32)
        bias = getattr(node, "bias", None)
        self.bias = None if bias is None else torch.as_tensor(np.asarray(bias), dtype=torch.float32)
        weight = torch.as_tensor(np.asarray(node.weight), dtype=torch.float32)  # type: ignore[attr-defined]
        self.kernel: Kernel | None = None
        self.out: tuple[int, ...] = (len(weight),)
        if isinstance(node, nir.Conv1d | nir.Conv2d) and convolution == "patches":
            self.kernel = Kernel.of(node)
        elif isinstance(node, nir.Conv1d | nir.Conv2d):
            weight, self.out = _unrolled(name, node, shape)
            if self.bias is not None:
                self.bias = self.bias.repeat_interleave(math.prod(self.out[1:]))
        self.arrays = [make(part.flatten(1)) for part in weight.chunk(self.kernel.groups if self.kernel else 1)]
        self.positions, self.reads, self.charge, self.first, self.top = 1, 0, 0.0, True, 1.0
        self.accumulate, self.batch = accumulate, 1
        self.lines: list[Columns] = []
        self._seen: list[Tensor] = []

    def __call__(self, x: Tensor) -> Tensor:
        """`(samples, *input)` to `(samples, *output)`."""
        charge, spread = self._accumulated(x)
        if self.first:  # converters are ranged on the first input that comes
            self._range(x, charge)
        parts, chunk, height, width = self._planes(charge), len(charge), 1, 1
        if self.kernel is not None:
            sample, (height, width) = self.kernel.patches(parts[:1])
            self.positions, chunk = height * width, max(1, PATCHES // sample.numel())
        exact = self.accumulate == 1 and all(array.exact for array in self.arrays)
        done = []
        for part, wide in zip(parts.split(chunk), self._planes(spread).split(chunk), strict=True):
            pieces = [self._pieces(p) for p in ((part, wide) if self.accumulate > 1 else (part,))]
            for array, piece in zip(self.arrays, pieces[-1], strict=True):
                self._count(array, piece)
            if not exact:
                sums = [array(*given) for array, *given in zip(self.arrays, *pieces, strict=True)]
                if self.lines:
                    sums = [line.gain * y + line.offset for line, y in zip(self.lines, sums, strict=True)]
                done.append(torch.cat(sums, 1))
        if exact:
            return self.digital(x)
        y = torch.cat(done)
        if self.bias is not None and self.accumulate == 1:
            y = y + self.bias
        if self.kernel is None:
            y = y.reshape(len(charge), *self.out)
        else:
            y = y.reshape(len(charge), height, width, -1).movedim(3, 1)
            y = y[:, :, 0] if x.ndim == 3 else y
        return y if self.accumulate == 1 else self._released(y, len(x))

    def _accumulated(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Sums over `accumulate` steps, the last perhaps over fewer, and the square roots of sums of squares."""
        if self.accumulate == 1:
            return x, x
        steps = x.unflatten(0, (-1, self.batch))
        lacking = -len(steps) % self.accumulate
        steps = torch.cat([steps, steps.new_zeros(lacking, *steps.shape[1:])]).unflatten(0, (-1, self.accumulate))
        return steps.sum(1).flatten(0, 1), steps.square().sum(1).sqrt().flatten(0, 1)

    def _released(self, y: Tensor, samples: int) -> Tensor:
        """Each sum at the last step of its window; the bias in every step."""
        steps = samples // self.batch
        out = y.new_zeros(steps, self.batch, *y.shape[1:])
        ends = (torch.arange(1, -(-steps // self.accumulate) + 1) * self.accumulate).clamp(max=steps) - 1
        out[ends] = y.unflatten(0, (-1, self.batch))
        out = out.flatten(0, 1)
        if self.bias is None:
            return out
        return out + (
            self.bias.reshape(self.out) if self.kernel is None else self.bias.reshape(-1, *(1,) * (y.ndim - 2))
        )

    def _planes(self, x: Tensor) -> Tensor:
        return x.flatten(1) if self.kernel is None else x[:, :, None] if x.ndim == 3 else x

    def _pieces(self, part: Tensor) -> tuple[Tensor, ...]:
        """Rows of input of each array."""
        rows = part if self.kernel is None else self.kernel.patches(part)[0]
        return rows.chunk(len(self.arrays), 1)

    def _range(self, x: Tensor, charge: Tensor) -> None:
        self.first, self.top = False, max(1.0, float(x.abs().max()))
        for array in self.arrays:
            array.scale_input(max(1.0, float(charge.abs().max())))

    def watched(self, x: Tensor) -> Tensor:
        """What the graph gives, while inputs are kept for `calibrate`."""
        self._seen.append(x)
        return self.digital(x)

    def calibrate(self, *, compensate: bool = False) -> None:
        """Range the converters on at most 20 000 of the rows of input that were kept, and fit a line to every column."""
        x = torch.cat(self._seen)
        charge, self._seen = self._accumulated(x)[0], []
        parts = self._planes(charge)
        if self.kernel is not None:
            per = len(self.kernel.patches(parts[:1])[0])
            parts = self.kernel.patches(parts[:: max(1, len(parts) * per // WATCHED)])[0]
        parts = parts[:: max(1, len(parts) // WATCHED)]
        self._range(x, charge)
        for array, rows in zip(self.arrays, parts.chunk(len(self.arrays), 1), strict=True):
            array.calibrate(rows)
            if compensate:
                booked = array.conversions, array.saturated
                self.lines.append(calibrate_columns(array, array.weight, rows))
                array.conversions, array.saturated = booked

    def _count(self, array: Array, x: Tensor) -> None:
        spikes = int(torch.count_nonzero(x)) if self.accumulate == 1 else round(float(x.square().sum()))
        across = -(-array.outputs // array.columns) * array.devices_per_weight
        array.driven += spikes * across
        self.reads += spikes * array.outputs * array.devices_per_weight
        self.charge += float((x / self.top).square().sum(0).double() @ array.row_conductance().double())

    @property
    def tiles(self) -> int:
        """Number of tiles."""
        return sum(array.tiles for array in self.arrays)

    @property
    def devices(self) -> int:
        """Number of crosspoint devices that hold weights."""
        return sum(a.inputs * a.outputs * a.devices_per_weight for a in self.arrays)

    @property
    def capacity(self) -> int:
        """Number of crosspoints of its tiles."""
        return sum(a.tiles * a.tile[0] * a.tile[1] for a in self.arrays)

    @property
    def conversions(self) -> int:
        """Of all ADCs so far."""
        return sum(array.conversions for array in self.arrays)

    @property
    def saturated(self) -> int:
        """Conversions that were clipped."""
        return sum(array.saturated for array in self.arrays)

    def protect(self, hidden: np.ndarray) -> None:
        """Raise the barriers by `2 ln cosh(hidden)`, of the shape of the node's weight."""
        held = copy.copy(self.node)
        held.weight = np.asarray(hidden, np.float32).reshape(np.shape(self.node.weight))  # type: ignore[attr-defined]
        unrolled = isinstance(held, nir.Conv1d | nir.Conv2d) and self.kernel is None
        wanted = _unrolled(self.name, held, self.shape)[0] if unrolled else torch.as_tensor(held.weight).flatten(1)  # type: ignore[attr-defined, arg-type]
        for array, part in zip(self.arrays, LogCosh(1.0)(wanted).chunk(len(self.arrays)), strict=True):
            array.protect(part)

    def relax(self, seconds: float, temperature: float) -> None:
        """Let all devices age."""
        for array in self.arrays:
            array.relax(seconds, temperature)

    def written(self) -> Ledger:
        """What programming by pulses cost; nothing for devices that are simply set."""
        states = (state for array in self.arrays for pair in array.state for state in pair)
        return sum((s["written"] for s in states if isinstance(s, dict) and "written" in s), Ledger())

    def summary(self) -> dict[str, Any]:
        """Where the node went: plain values."""
        first = self.arrays[0]
        return {
            "matrices": [[a.inputs, a.outputs] for a in self.arrays],
            "tiles": self.tiles,
            "utilisation": self.devices / self.capacity,
            "devices": self.devices,
            "slices": first.slices,
            "positions": self.positions,
            "conversions": self.conversions,
            "clipped": self.saturated / self.conversions if self.conversions else 0.0,
        }

    def approximations(self) -> list[dict[str, Any]]:
        """What this layer does not do exactly, with sizes."""
        told: list[dict[str, Any]] = []

        def tell(what: str, size: float) -> None:
            told.append({"node": self.name, "what": what, "size": size})

        largest = max(a.largest for a in self.arrays)
        error = np.mean([float(a.held_error().square().mean()) for a in self.arrays]) ** 0.5 / largest
        if error > 1e-6:
            tell("error of the stored weights, rms over largest weight", float(error))
        if any(a.wiring is not None for a in self.arrays):
            tell(
                "error with wires, rms over largest weight",
                float(np.mean([a.wire_error() for a in self.arrays]) / largest),
            )
        noise = np.mean([a.mean_variance() for a in self.arrays]) ** 0.5 / largest
        if noise > 0:
            tell("read noise of a device, rms over largest weight", float(noise))
        bits = self.arrays[0].adc_bits
        if bits is not None:
            step = max(float(a.full_scale.max()) for a in self.arrays if a.full_scale is not None)
            tell(f"step of the {bits}-bit ADC over largest weight", step / (2 ** (bits - 1) - 1) / largest)
        if any(a.curved for a in self.arrays) and self.arrays[0].wiring is not None:
            tell("curved devices: most iterations", max(a.convergence.iterations for a in self.arrays))
            tell("curved devices: largest residual", max(a.convergence.residual for a in self.arrays))
        if self.saturated:
            tell("share of conversions that saturate", self.saturated / self.conversions)
        return told


def _unrolled(name: str, node: nir.Conv1d | nir.Conv2d, shape: tuple[int, ...]) -> tuple[Tensor, tuple[int, ...]]:
    """The matrix `(out, in)` of a convolution, and the shape of its output."""
    plain = copy.copy(node)
    plain.bias = np.zeros_like(np.asarray(node.bias))
    size = math.prod(shape)
    y = operator(name, plain, torch.float32)(torch.eye(size).reshape(size, *shape))
    return y.flatten(1).mT.contiguous(), tuple(y.shape[1:])
