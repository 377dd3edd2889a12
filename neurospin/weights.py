"""What a synapse stores, and the weight that acts: `Float` and `Binary`."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
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


KINDS: dict[str, type[Weight]] = {"float": Float, "binary": Binary}


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
