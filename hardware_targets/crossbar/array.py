"""A weight matrix on arrays with converters and wires: what an analog product gives, and what it costs.

A weight w in [−w_max, w_max] is stored in conductances between g_min and g_max: as a differential pair (the
larger of the two carries |w|, the other is g_min) or as one device against a reference column at the middle of the
range. With bit slicing the magnitude is a number of `slices` digits to the base 2^`slice_bits`, one pair of
devices per digit. The matrix is cut into tiles of at most `rows` × `columns`; every tile, digit and column has its own
ADC, and their codes are added digitally. With wires each tile multiplies by its exact effective conductance,
computed when conductances have changed and then used for all inputs and time steps.

Converters: with q = 2^(bits − 1) − 1, the DAC gives `x_max round(q x / x_max) / q` and the ADC
`I_fs clip(round(q I / I_fs), −q, q) / q`. Currents are told as weights: the read voltage and the range cancel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import linear, pad

from hardware_targets.crossbar import codes, nonlinear
from hardware_targets.crossbar.devices import Device
from hardware_targets.crossbar.readout import read
from hardware_targets.crossbar.spikes import gathered, spiking
from hardware_targets.crossbar.wires import effective_conductance
from neurospin.errors import InputError


@dataclass(frozen=True)
class Wiring:
    """Resistances of the lines of every tile, ohms, default 0.

    Attributes:
        row_segment: between neighbours along a row.
        column_segment: between neighbours along a column.
        driver: of each row's source.
        sense: of each column's virtual ground.
    """

    row_segment: float = 0.0
    column_segment: float = 0.0
    driver: float = 0.0
    sense: float = 0.0


class Array:
    """The tiles of one weight matrix.

    Args:
        weight: `(out, in)`, finite.
        device: of every crosspoint.
        generator: source of everything random.
        rows: largest number of rows of a tile, default 256.
        columns: largest number of columns, default 256.
        wiring: resistances; None (default) for ideal lines.
        coding: `"pair"` (default) or `"reference"`.
        slices: digits of a weight, default 1.
        slice_bits: of a digit, default 2; only with more than one slice.
        dac_bits: None (default) for an ideal DAC; spikes need none.
        x_max: full scale of the DAC, default 1.
        adc_bits: default 8; None for ideal ones.
        noise: how read noise is drawn: `"exact"` (default) by a second product, `"column"` with the mean variance of
            each column, exact when a column's devices fluctuate alike. With a DAC of at most 8 bits, where the processor
            has 8-bit dot products, integer products give both, exactly in law, and `noise` changes nothing.
        curved: whether devices conduct as they do at the voltage that each sees, default False: as at the read voltage.
        temperature: of a read, kelvin, default 300.

    With wires the noise of a device is scaled by the ratio of effective to programmed conductance, a first-order
    form that overstates the variance where wires dominate.
    """

    def __init__(
        self,
        weight: Tensor,
        device: Device,
        generator: torch.Generator,
        *,
        rows: int = 256,
        columns: int = 256,
        wiring: Wiring | None = None,
        coding: Literal["pair", "reference"] = "pair",
        slices: int = 1,
        slice_bits: int = 2,
        dac_bits: int | None = None,
        x_max: float = 1.0,
        adc_bits: int | None = 8,
        noise: Literal["exact", "column"] = "exact",
        curved: bool = False,
        temperature: float = 300.0,
    ) -> None:
        if weight.ndim != 2 or not bool(torch.isfinite(weight).all()) or 0 in weight.shape:
            raise InputError(
                "Array.weight", "a finite matrix (out, in)", f"shape {tuple(weight.shape)}", "check the values"
            )
        for name, bits in (("adc_bits", adc_bits), ("dac_bits", dac_bits)):
            if bits is not None and not 2 <= bits <= 24:
                raise InputError(f"Array.{name}", "2 to 24, or None", repr(bits), "choose a converter")
        for name, value in (("rows", rows), ("columns", columns), ("slices", slices), ("slice_bits", slice_bits)):
            if value < 1:
                raise InputError(f"Array.{name}", "at least 1", repr(value), "choose a number")
        if coding == "reference" and slices > 1:
            raise InputError("Array.coding", "pairs when weights are sliced", "reference", "use coding='pair'")
        self.device, self.generator, self.wiring, self.coding = device, generator, wiring, coding
        self.tile = (rows, columns)
        self.rows, self.columns = min(rows, weight.shape[1]), min(columns, weight.shape[0])
        self.outputs, self.inputs = weight.shape
        self.slices, self.base = slices, 2**slice_bits
        self.dac_bits, self.x_max, self.adc_bits, self.noise = dac_bits, x_max, adc_bits, noise
        self.largest = float(weight.abs().max()) or 1.0
        self.dtype = weight.dtype
        self.conversions, self.saturated, self.refreshes, self.driven = 0, 0, 0, 0
        self.curved, self.temperature = curved and device.curved, temperature
        self.convergence = nonlinear.Convergence(0, 0.0, ())
        self.full_scale: Tensor | None = None
        self.state: list[tuple[Any, Any]] = []  # of the device, (plus, minus) per digit, each (in, out)
        self.program(weight)

    @property
    def tiles(self) -> int:
        """Number of tiles; a pair, and each digit, has its own."""
        across = -(-self.inputs // self.rows) * -(-self.outputs // self.columns)
        return across * self.slices * (2 if self.coding == "pair" else 1)

    def program(self, weight: Tensor) -> None:
        """Write a matrix of the same shape; the operator is stale afterwards, the full scale of the weights kept."""
        if weight.shape != (self.outputs, self.inputs):
            raise InputError(
                "Array.program", str((self.outputs, self.inputs)), str(tuple(weight.shape)), "keep the shape"
            )
        self.weight = weight
        low, span = self.device.g_min, self.device.g_max - self.device.g_min
        share = (weight.mT.to(torch.float64) / self.largest).clamp(-1, 1)
        write = lambda part: self.device.program(low + span * part, self.generator, self.tile)  # noqa: E731
        if self.coding == "reference":
            middle = torch.full((self.inputs, 1), 0.5, dtype=torch.float64)
            self.state = [(write((1 + share) / 2), write(middle))]
        elif self.slices == 1:
            self.state = [(write(share.clamp(min=0)), write((-share).clamp(min=0)))]
        else:
            left = (share.abs() * (self.base**self.slices - 1)).round()
            digits = []
            for place in reversed(range(self.slices)):
                digit = (left / self.base**place).floor()
                left = left - digit * self.base**place
                part = digit / (self.base - 1)
                digits.append((write(part * (share > 0)), write(part * (share < 0))))
            self.state = digits
        self._operator: Tensor | None = None
        self._exact: bool | None = None

    def protect(self, rise: Tensor) -> None:
        """Raise the barriers of both devices of every weight by `rise`, `(out, in)`, kT at 300 K."""
        raised = lambda state: self.device.protect(state, rise.mT, self.generator)  # noqa: E731
        pairs = self.coding == "pair"  # a reference column belongs to no weight
        self.state = [(raised(plus), raised(minus) if pairs else minus) for plus, minus in self.state]

    def relax(self, seconds: float, temperature: float = 300.0) -> None:
        """Let time pass without writing; the operator is stale afterwards."""
        age = lambda state: self.device.relax(state, seconds, self.generator, temperature)  # noqa: E731
        self.state = [(age(plus), age(minus)) for plus, minus in self.state]
        self._operator = None

    @property
    def exact(self) -> bool:
        """Whether nothing distorts: the arrays hold the very weights and converters are ideal."""
        if self.adc_bits is not None or self.dac_bits is not None or self.curved:
            return False
        self.refresh()
        if self._exact is None:
            self._exact = not self._noisy and bool((self.matrix() == self.weight).all())
        return self._exact

    def matrix(self) -> Tensor:
        """What the array multiplies by, wires and all, converters and noise apart; digits are added; `(out, in)`."""
        return self.operator.unflatten(0, (-1, self.slices)).sum(1).flatten(0, 1)[-self.inputs :].mT.contiguous()

    def scale_input(self, x_max: float) -> None:
        """Another full scale of the DAC; that of the ADC goes with it."""
        if self.full_scale is not None:
            self.full_scale = self.full_scale * (x_max / self.x_max)
        self.x_max = x_max

    @property
    def parts(self) -> int:
        """Currents that are added digitally for one output."""
        return -(-self.inputs // self.rows) * self.slices

    @property
    def devices_per_weight(self) -> int:
        """Crosspoints that hold one weight; a reference column adds one device per row, not counted here."""
        return self.slices * (2 if self.coding == "pair" else 1)

    def held_error(self) -> Tensor:
        """Weights that the devices hold, wires apart, minus the wanted ones, `(out, in)`."""
        span, held = self.device.g_max - self.device.g_min, torch.zeros((), dtype=torch.float64)
        for k, pair in enumerate(self.state):
            plus, minus = (self.conductance(state) for state in pair)
            held = held + (plus.double() - minus) * (self.digit(k) / span)
        return held.mT - self.weight

    def wire_error(self) -> float:
        """Root mean square of what the wires add to every weight."""
        return float((self.matrix() - self.weight - self.held_error()).square().mean().sqrt())

    def mean_variance(self) -> float:
        """Of a read of one weight."""
        self.refresh()
        return float(self._variance.mean())

    def row_conductance(self) -> Tensor:
        """Siemens that a driven row meets, summed over its devices of all tiles and digits, `(in,)`."""
        self.refresh()
        return self._rows

    def conductance(self, state: Any) -> Tensor:
        """Of devices in a read, siemens."""
        return self.device.conductance(state, temperature=self.temperature)

    def digit(self, k: int) -> float:
        """Weight that a full conductance of digit k stands for."""
        if self.slices == 1:
            return self.largest * (2 if self.coding == "reference" else 1)
        top = self.base**self.slices - 1
        return self.largest * (self.base - 1) * self.base ** (self.slices - 1 - k) / top

    def _tiled(self, g: Tensor) -> Tensor:
        """`(in, out)` to `(row tiles, rows, out)` with wires: each tile of `rows` × `columns` by itself."""
        down, across = -self.inputs % self.rows, -g.shape[1] % self.columns
        padded = pad(g, (0, across, down, 0))  # g = 0 at the far ends changes nothing
        if self.wiring is not None:
            tiles = padded.unflatten(1, (-1, min(self.columns, padded.shape[1]))).unflatten(0, (-1, self.rows))
            w = self.wiring
            tiles = effective_conductance(
                tiles.transpose(1, 2).contiguous(), w.row_segment, w.column_segment, w.driver, w.sense
            )
            padded = tiles.transpose(1, 2).flatten(2).flatten(0, 1)
        return padded[:, : g.shape[1]].unflatten(0, (-1, self.rows))

    def refresh(self) -> None:
        """Recompute the operator if conductances changed since the last time."""
        if self._operator is not None:
            return
        span = self.device.g_max - self.device.g_min
        operators, variances, self._exact = [], [], None
        self._codes: list[codes.Codes] | None = None
        self._rows = torch.zeros(self.inputs)
        for k, pair in enumerate(self.state):
            scale = self.digit(k) / span
            seen, spread = [], []
            for state in pair:
                g = self.conductance(state)
                self._rows = self._rows + g.sum(1)
                wired = g if self.wiring is None else g.to(self.dtype)
                effective = self._tiled(wired)
                variance = self._tiled_variance(self.device.read_variance(state), g, effective)
                seen.append(effective)
                spread.append(variance)
            total, variance = (seen[0] - seen[1]) * scale, (spread[0] + spread[1]) * scale**2
            operators.append(total)
            variances.append(variance)
        self._operator = torch.stack(operators, 1).flatten(0, 1).to(self.dtype).contiguous()
        self._variance = torch.stack(variances, 1).flatten(0, 1).to(self.dtype).contiguous()
        self._rows_first = self._operator[0].mT.contiguous()
        self._noisy = bool(self._variance.any())
        self._column = self._variance.mean(1, keepdim=True)
        self._width = self._column.sqrt()[:, 0]
        self._alike = bool((self._variance == self._column).all()) or self.noise == "column"
        if self.full_scale is None:
            bound = torch.minimum(self._operator.abs().sum(1), 4 * self._operator.square().sum(1).sqrt())
            self.full_scale = (bound.amax(1) * self.x_max).clamp(min=1e-30)
        self.refreshes += 1

    def _tiled_variance(self, variance: Tensor, g: Tensor, effective: Tensor) -> Tensor:
        down = -self.inputs % self.rows
        plain = pad(variance, (0, 0, down, 0)).unflatten(0, (-1, self.rows))
        if self.wiring is None:
            return plain
        held = pad(g, (0, 0, down, 0)).unflatten(0, (-1, self.rows))
        return torch.where(held > 0, plain * (effective / held).square(), 0.0)

    @property
    def operator(self) -> Tensor:
        """What inputs are multiplied by, `(tiles along the rows · digits, rows, out)`, as weights."""
        self.refresh()
        assert self._operator is not None
        return self._operator

    def _inputs(self, x: Tensor) -> Tensor:
        """Through the DAC and on to the row tiles, `(row tiles, samples, rows)`."""
        if self.dac_bits is not None:
            q = 2 ** (self.dac_bits - 1) - 1
            x = (x * (q / self.x_max)).round_().clamp_(-q, q).div_(q / self.x_max)
        down = -self.inputs % self.rows
        if down:
            x = pad(x, (down, 0))
        return x[None] if self.rows == x.shape[1] else x.unflatten(1, (-1, self.rows)).transpose(0, 1)

    def currents(self, x: Tensor) -> Tensor:
        """Currents before the ADC, as weights, `(tiles along the rows · digits, samples, out)`, without noise."""
        return self._currents(self._inputs(x), spiking(x))

    def _currents(self, rows: Tensor, sparse: bool) -> Tensor:
        operator = self.operator
        if self.curved:
            return nonlinear.currents(self, rows)
        digits = self.slices
        if sparse:
            return torch.stack([gathered(rows[k // digits], operator[k]) for k in range(len(operator))])
        if len(operator) == 1:
            return linear(rows[0], self._rows_first)[None]  # the order of addition of a dense layer: equal spikes
        return (rows if digits == 1 else rows.repeat_interleave(digits, 0)) @ operator

    def calibrate(self, x: Tensor) -> None:
        """Set each tile's ADC range on sample inputs `(…, in)`: `argmin_c E[(|I| − c)₊²] + (c / q)² / 12`."""
        if self.adc_bits is None:
            return
        q = 2 ** (self.adc_bits - 1) - 1
        size = self.currents(x.reshape(-1, self.inputs)).abs().flatten(1)
        top = size.amax(1).clamp(min=1e-30)
        best, scale = torch.full_like(top, math.inf), top
        for share in torch.linspace(0.05, 1.0, 96):
            c = share * top
            loss = (size - c[:, None]).clamp(min=0).square().mean(1) + (c / q).square() / 12
            scale = torch.where(loss < best, c, scale)
            best = torch.minimum(best, loss)
        self.full_scale = scale

    def __call__(self, x: Tensor, spread: Tensor | None = None) -> Tensor:
        """`(…, in)` to `(…, out)`: all time steps and samples in one product.

        Args:
            x: inputs, or sums of the inputs whose charge is accumulated before the ADC.
            spread: of sums, the square roots of the summed squares, on which the read noise depends.
        """
        if x.shape[-1] != self.inputs:
            raise InputError("Array", f"(…, {self.inputs})", str(tuple(x.shape)), "give one value per row")
        flat = x.reshape(-1, self.inputs)
        sparse = spiking(flat)
        if not sparse and spread is None and self._coded(flat):
            return self._by_codes(flat).reshape(*x.shape[:-1], self.outputs)
        rows = self._inputs(flat)
        current = self._currents(rows, sparse)
        rows = rows if spread is None else self._inputs(spread.reshape(-1, self.inputs))
        if self._noisy and (not self._alike or self.adc_bits is None):
            current += self._fluctuation(rows).mul_(torch.randn(current.shape, generator=self.generator, dtype=x.dtype))
        if self.adc_bits is not None:
            self._convert(current, rows)
        total = current[0] if len(current) == 1 else current.sum(0)
        return total.reshape(*x.shape[:-1], self.outputs)

    def _coded(self, x: Tensor) -> bool:
        """Whether products of whole numbers are fine enough, and faster: see `hardware_targets.crossbar.codes`."""
        few = (self.dac_bits or 24) <= 8 and (self.adc_bits or 24) <= 10
        large = len(x) * self.inputs * self.outputs >= codes.LEAST
        return few and large and not self.curved and x.dtype == self.dtype == torch.float32 and codes.available()

    def _by_codes(self, x: Tensor) -> Tensor:
        """DAC, products, noise and ADC of all tiles."""
        assert self.adc_bits is not None and self.dac_bits is not None
        self.refresh()
        assert self.full_scale is not None
        if self._codes is None:
            self._codes = [codes.Codes.of(w, v) for w, v in zip(self.operator, self._variance, strict=True)]
        down, total = -self.inputs % self.rows, torch.zeros(())
        parts = (pad(x, (down, 0)) if down else x).split(self.rows, 1)
        q, top = 2 ** (self.adc_bits - 1) - 1, 2 ** (self.dac_bits - 1) - 1
        for k, coded in enumerate(self._codes):
            seed = int(torch.randint(2**62, (), generator=self.generator)) if self._noisy else 0
            step = float(self.full_scale[k]) / q
            got, clipped = coded.read(parts[k // self.slices], self.x_max, top, step, q, self._noisy, seed)
            self.saturated += clipped
            self.conversions += got.numel()
            total = total + got if k else got
        return total

    def _fluctuation(self, rows: Tensor) -> Tensor:
        """Standard deviation of every current."""
        squares = rows.square()
        if self.slices > 1:
            squares = squares.repeat_interleave(self.slices, 0)
        if self._alike:
            return squares.sum(2, keepdim=True).sqrt() * self._column.sqrt()
        return (squares @ self._variance).sqrt_()

    def _convert(self, current: Tensor, rows: Tensor) -> None:
        """In place: noise that is alike along the rows, then the ADC, in one pass."""
        assert self.adc_bits is not None and self.full_scale is not None
        q = 2 ** (self.adc_bits - 1) - 1
        step, drawn = (self.full_scale / q).to(current), self._noisy and self._alike
        length = torch.linalg.vector_norm(rows, dim=2).to(current)
        length = length if self.slices == 1 else length.repeat_interleave(self.slices, 0)
        width = self._width.to(current)
        seed = int(torch.randint(2**62, (), generator=self.generator)) if drawn else 0
        self.saturated += read(current.numpy(), length.numpy(), width.numpy(), step.numpy(), q, drawn, seed)
        self.conversions += current.numel()
