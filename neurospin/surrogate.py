"""Surrogate derivatives of the spike.

A spike is the step function of the distance `d = v − v_threshold`, strictly: `d > 0`. Its derivative
is zero almost everywhere; in the backward pass a surrogate takes its place (Neftci, Mostafa & Zenke,
IEEE Signal Processing Magazine 36, 2019, doi:10.1109/MSP.2019.2931595).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


class Surrogate(ABC):
    """A smooth stand-in for the step function."""

    @abstractmethod
    def value(self, distance: Tensor) -> Tensor:
        """The smooth function whose derivative stands in; elementwise."""

    @abstractmethod
    def derivative(self, distance: Tensor) -> Tensor:
        """The derivative used in the backward pass; elementwise."""


@dataclass(frozen=True)
class ArcTan(Surrogate):
    """`φ'(d) = (α/2) / (1 + (π α d / 2)²)`.

    Source: Fang et al., ICCV 2021, doi:10.1109/ICCV48922.2021.00266.

    Attributes:
        slope: α, default 2.
    """

    slope: float = 2.0

    def value(self, distance: Tensor) -> Tensor:
        """`arctan(π α d / 2) / π + 1/2`."""
        return torch.atan(math.pi / 2 * self.slope * distance) / math.pi + 0.5

    def derivative(self, distance: Tensor) -> Tensor:
        """`(α/2) / (1 + (π α d / 2)²)`."""
        scaled = (math.pi / 2 * self.slope) * distance
        return (self.slope / 2) / (1 + scaled * scaled)


@dataclass(frozen=True)
class FastSigmoid(Surrogate):
    """`φ'(d) = 1 / (1 + k|d|)²`.

    Source: Zenke & Ganguli, Neural Computation 30, 2018, doi:10.1162/neco_a_01086.

    Attributes:
        slope: k, default 25.
    """

    slope: float = 25.0

    def value(self, distance: Tensor) -> Tensor:
        """`d / (1 + k|d|)`."""
        return distance / (1 + self.slope * distance.abs())

    def derivative(self, distance: Tensor) -> Tensor:
        """`1 / (1 + k|d|)²`."""
        return 1 / (1 + self.slope * distance.abs()) ** 2


@dataclass(frozen=True)
class SuperSpike(Surrogate):
    """`φ'(d) = 1 / (1 + β|d|)²`: the shape of `FastSigmoid`, as steep as its authors used it.

    Source: Zenke & Ganguli, Neural Computation 30, 2018, doi:10.1162/neco_a_01086.

    Attributes:
        slope: β, default 100.
    """

    slope: float = 100.0

    def value(self, distance: Tensor) -> Tensor:
        """`d / (1 + β|d|)`."""
        return FastSigmoid(self.slope).value(distance)

    def derivative(self, distance: Tensor) -> Tensor:
        """`1 / (1 + β|d|)²`."""
        return FastSigmoid(self.slope).derivative(distance)


@dataclass(frozen=True)
class Sigmoid(Surrogate):
    """`φ'(d) = k σ(k d) (1 − σ(k d))`, σ the logistic function.

    Source: Zenke & Vogels, Neural Computation 33, 2021, doi:10.1162/neco_a_01367.

    Attributes:
        slope: k, default 25.
    """

    slope: float = 25.0

    def value(self, distance: Tensor) -> Tensor:
        """`σ(k d)`."""
        return torch.sigmoid(self.slope * distance)

    def derivative(self, distance: Tensor) -> Tensor:
        """`k e / (1 + e)²` with `e = exp(−k|d|)`, which equals `k σ (1 − σ)` and never overflows."""
        e = torch.exp(-self.slope * distance.abs())
        return self.slope * e / (1 + e) ** 2


@dataclass(frozen=True)
class StraightThrough(Surrogate):
    """`φ'(d) = k`: the gradient passes as if the spike were the distance itself.

    Source: Bengio, Léonard & Courville, 2013, doi:10.48550/arXiv.1308.3432.

    Attributes:
        slope: k, default 1.
    """

    slope: float = 1.0

    def value(self, distance: Tensor) -> Tensor:
        """`k d`."""
        return self.slope * distance

    def derivative(self, distance: Tensor) -> Tensor:
        """`k`."""
        return torch.full_like(distance, self.slope)


@dataclass(frozen=True)
class Triangle(Surrogate):
    """`φ'(d) = max(0, 1 − |d|/w)`.

    Source: Bellec et al., NeurIPS 2018, doi:10.48550/arXiv.1803.09574.

    Attributes:
        width: w, default 1: half the width of the triangle's foot.
    """

    width: float = 1.0

    def value(self, distance: Tensor) -> Tensor:
        """The integral of the triangle from −w."""
        d = distance.clamp(-self.width, self.width)
        return self.width / 2 + d - d * d.abs() / (2 * self.width)

    def derivative(self, distance: Tensor) -> Tensor:
        """`max(0, 1 − |d|/w)`."""
        return (1 - distance.abs() / self.width).clamp(min=0)


@dataclass(frozen=True)
class Smooth(Surrogate):
    """No spikes: the output is the smooth function itself, and the reset follows it.

    A network of `Smooth` neurons is differentiable everywhere, so that finite differences can prove its
    gradient. `s = value(d)` takes the place of the step in the output and in the reset
    (`v = u + s (v_reset − u)`, or `v = u − v_threshold s`), with the gradient through the reset. Where the
    two agree in the forward pass, the gradient is the one that `surrogate` gives with
    `reset_gradient=True`. It is computed step by step by the reference loop, and is never exported.

    Attributes:
        surrogate: whose `value` it is.
    """

    surrogate: Surrogate

    def value(self, distance: Tensor) -> Tensor:
        """That of the surrogate."""
        return self.surrogate.value(distance)

    def derivative(self, distance: Tensor) -> Tensor:
        """That of the surrogate."""
        return self.surrogate.derivative(distance)


KINDS: dict[str, type[Surrogate]] = {
    kind.__name__: kind for kind in (ArcTan, FastSigmoid, SuperSpike, Sigmoid, StraightThrough, Triangle)
}


class _Spike(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(distance: Tensor, surrogate: Surrogate) -> Tensor:
        return (distance > 0).to(distance.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Surrogate], output: Tensor) -> None:
        distance, ctx.surrogate = inputs
        ctx.save_for_backward(distance)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (distance,) = ctx.saved_tensors
        return gradients[0] * ctx.surrogate.derivative(distance), None


def spike(distance: Tensor, surrogate: Surrogate) -> Tensor:
    """1 where `distance > 0`, else 0; the gradient is the surrogate's. Of a `Smooth` one, its value.

    Args:
        distance: membrane voltage minus threshold, any shape.
        surrogate: what stands in for the derivative.
    """
    if isinstance(surrogate, Smooth):
        return surrogate.value(distance)
    return _Spike.apply(distance, surrogate)  # type: ignore[return-value]
