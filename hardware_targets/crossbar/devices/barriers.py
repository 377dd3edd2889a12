"""From a device's barrier to a published metaplastic rule, and back.

Thermally activated switching in a pulse of t seconds at V volts has the probability

    P(h) = 1 − exp(−x₀ e^{−ΔE(h)}),   x₀ = (t / τ₀) exp(−Δ (1 − V / V_c)),   P₀ = P(ΔE = 0)

when a hidden variable h raises the barrier by ΔE (in units of kT) whatever the voltage. For P₀ ≪ 1 the ratio
P(h) / P₀ is e^{−ΔE(h)}, so that a barrier is a rule:

    ΔE = 2 ln cosh(m h)   ↔  1 − tanh²(m h)    Laborieux et al. 2021, doi:10.1038/s41467-021-22768-y
    ΔE = m |h|            ↔  exp(−m |h|)       Zohora et al. 2024, doi:10.1038/s41598-024-78290-w

Where it stops: the ratio always lies above the rule, by at most the factor −ln(1 − P₀) / P₀ ≈ 1 + P₀ / 2
(0.05 % at P₀ = 0.001, 5 % at 0.1, 39 % at 0.5). `Exact` gives the barrier for which the rule holds at any
P₀. Laborieux et al. scale the steps of a hidden weight, and only steps that shrink it; a device scales the
probability of a flip: expected flips agree, trajectories do not.

Spread: junctions whose critical voltages vary by a share σ differ in ln rate by s = σ Δ V / V_c. Where flips are rare and s
is small they flip e^{s² / 2} times as often on average as alike ones, whatever h is: the weak ones undo s² / 2 of every
barrier. With Δ = 40 and pulses that flip half of the fresh ones, a barrier of 8.6 kT protects on average like one lower by
0.3 kT for σ = 2 %, 1.0 for 3.5 %, 2.7 for 5.5 % and 3.7 for 6.5 %.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from neurospin.errors import InputError


class Barrier(ABC):
    """Rise of a switching barrier with a hidden variable, in units of kT at 300 K."""

    @abstractmethod
    def __call__(self, h: Tensor) -> Tensor:
        """ΔE(h), at least 0 where h protects."""


@dataclass(frozen=True)
class LogCosh(Barrier):
    """`2 ln cosh(m h)`: reproduces 1 − tanh²(m h)."""

    m: float

    def __call__(self, h: Tensor) -> Tensor:
        """ΔE(h)."""
        x = (self.m * h).abs()
        return 2 * (x + torch.log1p(torch.exp(-2 * x)) - math.log(2))


@dataclass(frozen=True)
class Linear(Barrier):
    """`m |h|`: reproduces exp(−m |h|). An anisotropy that rises linearly is this one."""

    m: float

    def __call__(self, h: Tensor) -> Tensor:
        """ΔE(h)."""
        return self.m * h.abs()


@dataclass(frozen=True)
class Dome(Barrier):
    """`rise (1 − ((h − best) / best)²)`: anisotropy over the degree of oxidation, highest at `best`.

    The quadratic is a modelling choice; that the curve is a dome was observed.
    """

    rise: float
    best: float = 1.0

    def __call__(self, h: Tensor) -> Tensor:
        """ΔE(h)."""
        return self.rise * (1 - ((h - self.best) / self.best) ** 2)


@dataclass(frozen=True)
class Exact(Barrier):
    """The barrier for which `P(h) / P₀` is exactly 1 − tanh²(m h), at one P₀ in (0, 1): `−ln(ln(1 − f P₀) / ln(1 − P₀))`."""

    m: float
    p0: float

    def __post_init__(self) -> None:
        if not 0 < self.p0 < 1:
            raise InputError(
                "Exact.p0", "a probability between 0 and 1", repr(self.p0), "give that of an unprotected flip"
            )

    def __call__(self, h: Tensor) -> Tensor:
        """ΔE(h)."""
        factor = torch.exp(-LogCosh(self.m)(h))
        return -torch.log(torch.log1p(-factor * self.p0) / math.log1p(-self.p0))
