"""What a synapse stores, and the weight that acts: `Float`, `Binary`, `Scaled` and `Levels`."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from neurospin.errors import InputError, unknown_name


class Weight(ABC):
    """The relation between the value that a synapse stores and the weight that acts."""

    @abstractmethod
    def initial(self, shape: tuple[int, ...], generator: torch.Generator | None = None) -> Tensor:
        """Stored values of a fresh synapse, of shape `(out, in)`."""

    @abstractmethod
    def value(self, stored: Tensor) -> Tensor:
        """The weight that acts, differentiable in the stored value; same shape."""

    def config(self) -> dict[str, Any]:
        """Kind and settings as plain values; `weight_from` reads them."""
        return {"kind": type(self).__name__.lower(), **asdict(self)}  # type: ignore[call-overload]


@dataclass(frozen=True)
class Float(Weight):
    """The stored value acts as it is; fresh values are uniform in `± gain / √fan_in`.

    Attributes:
        gain: default 1, as in `torch.nn.Linear`.
    """

    gain: float = 1.0

    def initial(self, shape: tuple[int, ...], generator: torch.Generator | None = None) -> Tensor:
        """Uniform in `± gain / √fan_in`."""
        bound = self.gain / math.sqrt(max(1, shape[-1]))
        return (torch.rand(shape, generator=generator) * 2 - 1) * bound

    def value(self, stored: Tensor) -> Tensor:
        """The stored value itself."""
        return stored


@dataclass(frozen=True)
class Binary(Weight):
    """`w = c · sign(h)`: a hidden value h is stored, its sign acts, `c = gain / √fan_in`.

    The gradient passes the sign unchanged (straight-through, without clipping), as in Laborieux et
    al., Nature Communications 12:2549, 2021, doi:10.1038/s41467-021-22768-y. `sign(0)` is +1.

    Attributes:
        gain: size of the acting weight in units of `1/√fan_in`; default 1.
        width: fresh hidden values are uniform in `± width/2`; default 0.1 as in the paper.
    """

    gain: float = 1.0
    width: float = 0.1

    def __post_init__(self) -> None:
        for name in ("gain", "width"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise InputError(f"Binary.{name}", "a positive number", repr(value), f"give {name} > 0")

    def initial(self, shape: tuple[int, ...], generator: torch.Generator | None = None) -> Tensor:
        """Uniform in `± width/2`."""
        return (torch.rand(shape, generator=generator) - 0.5) * self.width

    def value(self, stored: Tensor) -> Tensor:
        """`c · sign(h)`, with the gradient `c`."""
        return _Sign.apply(stored, self.scale(stored.shape[-1]))  # type: ignore[return-value]

    def scale(self, fan_in: int) -> float:
        """`c`, the size of every acting weight."""
        return self.gain / math.sqrt(fan_in)


class _Sign(torch.autograd.Function):
    generate_vmap_rule = True  # for per-sample gradients

    @staticmethod
    def forward(stored: Tensor, scale: float) -> Tensor:
        return torch.where(stored >= 0, scale, -scale).to(stored.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, float], output: Tensor) -> None:
        del output
        ctx.scale = inputs[1]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0] * ctx.scale, None


@dataclass(frozen=True)
class Scaled(Weight):
    """`w = c · x`: what a device stores, in units of half its range, times `c = gain / √fan_in`.

    `Binary` without the sign: devices that are not alike act as they are. The gradient is `c`.

    Attributes:
        gain: size of the acting weight of x = 1 in units of `1/√fan_in`; default 1.
    """

    gain: float = 1.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.gain) and self.gain > 0):
            raise InputError("Scaled.gain", "a positive number", repr(self.gain), "give gain > 0")

    def initial(self, shape: tuple[int, ...], generator: torch.Generator | None = None) -> Tensor:
        """−1 or +1."""
        return (torch.rand(shape, generator=generator) < 0.5) * 2.0 - 1

    def value(self, stored: Tensor) -> Tensor:
        """`c · x`."""
        return stored * self.scale(stored.shape[-1])

    def scale(self, fan_in: int) -> float:
        """`c`."""
        return self.gain / math.sqrt(fan_in)


@dataclass(frozen=True)
class Levels(Weight):
    """`w = c · level nearest to h/c`: a hidden value h is stored, and a weight of few levels acts, `c = gain / √fan_in`.

    K evenly spaced levels are `c (2k − (K − 1)) / (K − 1)` for `k = 0 … K − 1`; an odd K has a level 0.
    Halfway between two levels the lower one acts. The gradient passes the rounding unchanged
    (straight-through, without clipping), as for the weights of Hubara et al., JMLR 18:187, 2017.

    Attributes:
        levels: how many, evenly spaced between ± c (default 15, as 4 bits with a sign), or the levels
            themselves in units of c, ascending.
        gain: the outermost of evenly spaced levels in units of `1/√fan_in`; default 1.
    """

    levels: int | tuple[float, ...] = 15
    gain: float = 1.0

    def __post_init__(self) -> None:
        if not isinstance(self.levels, int):
            object.__setattr__(self, "levels", tuple(float(level) for level in self.levels))
        given = self._units()
        if len(given) < 2 or not all(math.isfinite(u) for u in given) or any(a >= b for a, b in pairwise(given)):
            raise InputError(
                "Levels.levels", "at least 2, ascending", repr(self.levels)[:60], "give a number, or levels"
            )
        if not (math.isfinite(self.gain) and self.gain > 0):
            raise InputError("Levels.gain", "a positive number", repr(self.gain), "give gain > 0")

    def initial(self, shape: tuple[int, ...], generator: torch.Generator | None = None) -> Tensor:
        """Uniform in `± gain / √fan_in`."""
        return Float(self.gain).initial(shape, generator)

    def value(self, stored: Tensor) -> Tensor:
        """The nearest level, with the gradient 1."""
        units, c = self._units(), self.scale(stored.shape[-1])
        halfway = stored.new_tensor([(a + b) / 2 * c for a, b in pairwise(units)])
        acting = stored.new_tensor([unit * c for unit in units])[torch.bucketize(stored.detach(), halfway)]
        return _StraightThrough.apply(stored, acting)  # type: ignore[return-value]

    def scale(self, fan_in: int) -> float:
        """`c`, the unit of the levels."""
        return self.gain / math.sqrt(fan_in)

    def _units(self) -> list[float]:
        """The levels in units of c."""
        if isinstance(self.levels, int):
            return (
                [(2 * k - (self.levels - 1)) / (self.levels - 1) for k in range(self.levels)] if self.levels > 1 else []
            )
        return list(self.levels)


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, stored: Tensor, acting: Tensor) -> Tensor:
        return acting.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None


KINDS: dict[str, type[Weight]] = {"float": Float, "binary": Binary, "levels": Levels, "scaled": Scaled}


def weight_from(config: dict[str, Any]) -> Weight:
    """The weight that `Weight.config` described.

    Raises:
        UnknownName: no weight of that kind.
    """
    settings = dict(config)
    kind = str(settings.pop("kind", ""))
    if kind not in KINDS:
        raise unknown_name("weight.kind", kind, KINDS, "weight")
    return KINDS[kind](**settings)
