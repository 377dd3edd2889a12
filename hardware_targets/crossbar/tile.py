"""A layer on crossbars: weights as differential pairs of conductances, products as currents, an ADC per column.

A spike drives its row with the read voltage V; silent rows are grounded. Column j of a pair of arrays
gives `I_j = V Σ_i s_i (G⁺_ji − G⁻_ji)`. With `|w| ≤ w_max` the larger of a pair is
`g_min + (g_max − g_min) |w| / w_max` and the other is `g_min`, so that `I_j = V (g_max − g_min) / w_max Σ_i w_ji s_i`
for ideal devices, whatever g_min is.

Read noise needs no draw per device: a sum of independent Gaussian conductances is Gaussian with the
variance `V² Σ_i s_i² (var G⁺_ji + var G⁻_ji)`, drawn once per column, row of input and read.

Rows beyond the height of a tile go to further tiles; every tile has its own ADC, and their results are
added digitally; the full scale of each is a stated rule, `Layer.full_scale`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hardware_targets.crossbar.devices import Device


class Layer:
    """The arrays of one weight matrix.

    Args:
        weight: `(out, in)`.
        bias: `(out,)`, added digitally after the ADC; or `None`.
        device: of every crosspoint.
        rows: height of a tile.
        adc_bits: resolution of each column's converter; `None` for an ideal one.
        generator: source of everything random.
    """

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None,
        device: Device,
        *,
        rows: int,
        adc_bits: int | None,
        generator: torch.Generator,
    ) -> None:
        self.weight, self.bias, self.device = weight, bias, device
        self.adc_bits, self.generator = adc_bits, generator
        self.largest = float(weight.abs().max()) or 1.0
        span = device.g_max - device.g_min
        share = weight.to(torch.float64) / self.largest
        self.state = [device.program(device.g_min + span * part.clamp(min=0), generator) for part in (share, -share)]
        plus, minus = (device.conductance(state) for state in self.state)
        to_weight = self.largest / span  # the read voltage cancels: currents are told as weights
        self.effective = ((plus - minus) * to_weight).to(weight.dtype)
        variance = device.read_variance(self.state[0]) + device.read_variance(self.state[1])
        self.variance = (variance * to_weight**2).to(weight.dtype)
        self.noisy = bool(self.variance.any())
        self.tiles = list(torch.arange(weight.shape[1]).split(rows))
        self.conversions = 0
        self.saturated = 0
        self.reads = 0

    def full_scale(self, columns: Tensor) -> Tensor:
        """Largest current, as a weight, that a tile's ADCs resolve: one value for the tile.

        The rule: `min(Σ|w|, 4 √(Σ w²))` of the column that needs most. The first is the largest
        current that can flow, the second four standard deviations of the current of a row pattern in
        which every row spikes with random sign; what exceeds it saturates and is counted.
        """
        wanted = self.weight[:, columns]
        bound = torch.minimum(wanted.abs().sum(1), 4 * wanted.square().sum(1).sqrt())
        return bound.max().clamp(min=1e-30)

    def __call__(self, x: Tensor) -> Tensor:
        """Rows of input `(samples, in)` to `(samples, out)`."""
        total = torch.zeros((x.shape[0], self.weight.shape[0]), dtype=x.dtype)
        for columns in self.tiles:
            given = x if len(self.tiles) == 1 else x[:, columns]
            effective = self.effective if len(self.tiles) == 1 else self.effective[:, columns]
            current = torch.nn.functional.linear(given, effective)
            if self.noisy:
                spread = torch.nn.functional.linear(given.square(), self.variance[:, columns]).sqrt_()
                current += spread * torch.randn(current.shape, generator=self.generator, dtype=x.dtype)
            total += current if self.adc_bits is None else self._convert(current, self.full_scale(columns))
            self.reads += int(torch.count_nonzero(given)) * self.weight.shape[0] * 2
        return total if self.bias is None else total + self.bias

    def _convert(self, current: Tensor, limit: Tensor) -> Tensor:
        """A converter with `2^bits − 1` levels, symmetric about 0."""
        assert self.adc_bits is not None
        levels = 2 ** (self.adc_bits - 1) - 1
        step = limit / levels
        code = (current / step).round()
        self.conversions += code.numel()
        self.saturated += int((code.abs() > levels).sum())
        return code.clamp(-levels, levels) * step

    def approximations(self, name: str) -> list[dict[str, object]]:
        """What this layer does not do exactly, with sizes."""
        exact = self.weight.to(torch.float64)
        error = float((self.effective.to(torch.float64) - exact).square().mean().sqrt()) / self.largest
        told: list[dict[str, object]] = []
        if error > 1e-6:
            told.append({"node": name, "what": "programming error, rms over largest weight", "size": error})
        if self.noisy:
            noise = float(self.variance.mean().sqrt()) / self.largest
            told.append({"node": name, "what": "read noise of a device, rms over largest weight", "size": noise})
        if self.adc_bits is not None:
            widest = max(float(self.full_scale(columns)) for columns in self.tiles)
            step = widest / (2 ** (self.adc_bits - 1) - 1) / self.largest
            told.append(
                {"node": name, "what": f"step of the {self.adc_bits}-bit ADC over largest weight", "size": step}
            )
            if self.saturated:
                share = self.saturated / max(1, self.conversions)
                told.append({"node": name, "what": "share of conversions that saturate", "size": share})
        return told

    @property
    def devices(self) -> int:
        """Number of crosspoint devices."""
        return 2 * self.weight.numel()
