"""Readouts: from the features of a core to the drive of every recorded unit.

Features are `(bins, batch, *size)`, where `size` is `(features,)` or `(channels, height, width)`; the drive is
`(bins, batch, units)`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional

from neurospin.errors import InputError

SMALL = 0.01
"""Fresh weights on features, in units of `1 / √features`: at first every unit responds as it does on average."""


class Readout(nn.Module, ABC):
    """From features to the drive of every unit, `u = w · φ + b`.

    Args:
        size: of the features at one time.
        units: number of recorded units.
        generator: of the fresh weights.

    Attributes:
        bias: `(units,)`; a fit starts it at the unit's average response.
    """

    def __init__(self, size: tuple[int, ...], units: int, generator: torch.Generator) -> None:
        super().__init__()
        self.size, self.units = tuple(size), units
        self.bias = nn.Parameter(torch.zeros(units))
        self.draw(generator)

    @abstractmethod
    def draw(self, generator: torch.Generator) -> None:
        """Make the fresh weights."""

    @abstractmethod
    def forward(self, features: Tensor) -> Tensor:
        """Drive `(bins, batch, units)` of features `(bins, batch, *size)`."""

    def penalty(self) -> Tensor:
        """What a fit adds to its loss, times `sparsity`: 0, or the absolute weights of a readout that shall be sparse."""
        return self.bias.new_zeros(())

    def _normal(self, *shape: int, generator: torch.Generator, scale: float = 1.0) -> nn.Parameter:
        return nn.Parameter(torch.randn(shape, generator=generator) * (scale / math.sqrt(shape[-1])))

    def _space(self) -> tuple[int, int, int]:
        if len(self.size) != 3:
            raise InputError(
                type(self).__name__,
                "features (channels, height, width)",
                str(self.size),
                "use 'linear', or Convolution",
            )
        return self.size  # type: ignore[return-value]


class Linear(Readout):
    """`u_n = Σ w_nf φ_f + b_n` over all features."""

    def draw(self, generator: torch.Generator) -> None:
        """`(units, features)`, normal and small."""
        self.weight = self._normal(self.units, math.prod(self.size), generator=generator, scale=SMALL)

    def forward(self, features: Tensor) -> Tensor:
        """One product."""
        return functional.linear(features.flatten(2), self.weight, self.bias)


class Factorised(Readout):
    """`u_n = Σ_c w_nc Σ_xy v_nxy φ_cxy + b_n`: what a unit sees, times where it looks.

    The penalty is the mean over units of `Σ|w| Σ|v|`.

    Source: Klindt et al., NIPS 2017, arXiv:1711.02653.
    """

    def draw(self, generator: torch.Generator) -> None:
        """Weights `(units, channels)`, masks `(units, height · width)`."""
        channels, height, width = self._space()
        self.weight = self._normal(self.units, channels, generator=generator, scale=SMALL)
        self.mask = self._normal(self.units, height * width, generator=generator)

    def forward(self, features: Tensor) -> Tensor:
        """Features weighted over space, then over channels."""
        seen = torch.einsum("tbcp,np->tbnc", features.flatten(3), self.mask)
        return torch.einsum("tbnc,nc->tbn", seen, self.weight) + self.bias

    def penalty(self) -> Tensor:
        """Mean over units of the product of both absolute sums."""
        return (self.weight.abs().sum(1) * self.mask.abs().sum(1)).mean()


class Gaussian2d(Readout):
    """`u_n = Σ_c w_nc φ_c(x, y) + b_n` at one place per unit, `(x, y) ~ N(μ_n, Σ_n)` in training and `μ_n` afterwards.

    Places are from −1 to 1 over the map, `x` along its width; between pixels the map is interpolated. `Σ_n` is
    diagonal, and shrinks while the fit learns where a unit looks.

    Source: Lurz et al., ICLR 2021, arXiv:2002.05703 (theirs has a full covariance).

    Attributes:
        place: `μ`, `(units, 2)`.
        spread: logarithm of the standard deviations, `(units, 2)`.
    """

    def draw(self, generator: torch.Generator) -> None:
        """Places uniform within ± 0.2, spread 0.3, weights normal."""
        channels, _, _ = self._space()
        self.weight = self._normal(self.units, channels, generator=generator, scale=SMALL)
        self.place = nn.Parameter(torch.rand((self.units, 2), generator=generator) * 0.4 - 0.2)
        self.spread = nn.Parameter(torch.full((self.units, 2), math.log(0.3)))

    def forward(self, features: Tensor) -> Tensor:
        """Features at the units' places; in training every trial of a batch draws its own."""
        bins, batch = features.shape[:2]
        place = self.place.expand(batch, -1, -1)
        if self.training:
            place = place + self.spread.exp() * torch.randn_like(place)
        grid = place.clamp(-1, 1).repeat(bins, 1, 1)[:, :, None]
        seen = functional.grid_sample(features.flatten(0, 1), grid, align_corners=True)[..., 0]
        return torch.einsum("fcn,nc->fn", seen, self.weight).unflatten(0, (bins, batch)) + self.bias


class Attention(Readout):
    """`u_n = Σ_c w_nc Σ_p a_np φ_cp + b_n`, with `a_n = softmax_p(q_n · (K φ_p + e_p) / √d)`: where a unit looks
    depends on what is there.

    Source: Pierzchlewicz et al., NeurIPS 2023, doi:10.1101/2023.05.12.540473 (theirs has several heads).
    """

    def draw(self, generator: torch.Generator) -> None:
        """Queries `(units, d)`, keys `(d, channels)`, code of places `(d, height · width)` with `d = max(8, channels)`."""
        channels, height, width = self._space()
        depth = max(8, channels)
        self.weight = self._normal(self.units, channels, generator=generator, scale=SMALL)
        self.query = self._normal(self.units, depth, generator=generator)
        self.key = self._normal(depth, channels, generator=generator)
        self.code = self._normal(depth, height * width, generator=generator)

    def forward(self, features: Tensor) -> Tensor:
        """Features weighted by attention, then over channels."""
        flat = features.flatten(3)
        keys = torch.einsum("dc,tbcp->tbdp", self.key, flat) + self.code
        attention = torch.einsum("nd,tbdp->tbnp", self.query, keys).div(math.sqrt(len(self.key))).softmax(-1)
        return torch.einsum("tbnp,tbcp,nc->tbn", attention, flat, self.weight) + self.bias


READOUTS: dict[str, type[Readout]] = {
    "linear": Linear, "factorised": Factorised, "gaussian2d": Gaussian2d, "attention": Attention,
}  # fmt: skip


class Shifter(nn.Module):
    """Moves the map of features after the eye: `φ(x) → φ(x + s)`, `s = tanh(MLP(position))`, the same for all units.

    Args:
        inputs: numbers that tell the position of the eye.
        hidden: units of the perceptron (default 8).
        generator: of the fresh weights; the last layer starts at 0, so that nothing moves.

    Source: Walker et al., Nature Neuroscience 22, 2019, doi:10.1038/s41593-019-0517-x.
    """

    def __init__(self, inputs: int, generator: torch.Generator, hidden: int = 8) -> None:
        super().__init__()
        self.layers = perceptron(inputs, hidden, 2, generator)

    def shift(self, position: Tensor) -> Tensor:
        """`(bins, batch, 2)` in places from −1 to 1, of positions `(bins, batch, inputs)`."""
        return torch.tanh(self.layers(position))

    def forward(self, features: Tensor, position: Tensor) -> Tensor:
        """Features `(bins, batch, channels, height, width)`, moved; outside the map the edge goes on."""
        flat = features.flatten(0, 1)
        shift = self.shift(position).flatten(0, 1)
        still = torch.eye(2, 3, device=flat.device).expand(len(flat), 2, 3)
        theta = torch.cat([still[:, :, :2], shift[:, :, None]], dim=2)
        grid = functional.affine_grid(theta, list(flat.shape), align_corners=True)
        moved = functional.grid_sample(flat, grid, align_corners=True, padding_mode="border")
        return moved.unflatten(0, features.shape[:2])


class Modulator(nn.Module):
    """Gain of every unit by behaviour: `g_n = exp(MLP(behaviour)_n)`.

    Args:
        inputs: numbers that tell the behaviour: size of the pupil, running, ….
        units: number of recorded units.
        hidden: units of the perceptron (default 8).
        generator: of the fresh weights; the last layer starts at 0, so that every gain is 1.

    Source: Sinz et al., NeurIPS 2018, doi:10.1101/452672.
    """

    def __init__(self, inputs: int, units: int, generator: torch.Generator, hidden: int = 8) -> None:
        super().__init__()
        self.layers = perceptron(inputs, hidden, units, generator)

    def forward(self, behaviour: Tensor) -> Tensor:
        """Gains `(bins, batch, units)` of behaviour `(bins, batch, inputs)`."""
        return self.layers(behaviour).clamp(-5, 5).exp()


def perceptron(inputs: int, hidden: int, outputs: int, generator: torch.Generator) -> nn.Sequential:
    """Two layers with tanh between them; the last starts at 0."""
    first, last = nn.Linear(inputs, hidden), nn.Linear(hidden, outputs)
    with torch.no_grad():
        first.weight.copy_(torch.randn((hidden, inputs), generator=generator) / math.sqrt(inputs))
        first.bias.copy_(torch.randn(hidden, generator=generator) * 0.1)
        for value in (last.weight, last.bias):
            nn.init.zeros_(value)
    return nn.Sequential(first, nn.Tanh(), last)
