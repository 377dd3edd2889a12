"""Devices: what a crosspoint stores, how well it is written, and how it fluctuates when it is read.

Functional: a device describes, the state is a tensor of the caller. Conductances are siemens.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor

from neurospin.errors import InputError

State = Any
"""What a device keeps of an array: a tensor, or tensors by name."""


class Device(ABC):
    """One kind of crosspoint device."""

    g_min: float
    g_max: float

    @property
    def two_states(self) -> bool:
        """Whether only the two bounds can be stored."""
        return getattr(self, "levels", None) == 2

    @property
    def curved(self) -> bool:
        """Whether its current is not proportional to the voltage."""
        return False

    @property
    @abstractmethod
    def causes(self) -> tuple[str, ...]:
        """Everything that makes a product of this device differ from the exact one."""

    @abstractmethod
    def only(self, causes: Iterable[str]) -> Device:
        """The same device with just these causes."""

    @abstractmethod
    def program(self, wanted: Tensor, generator: torch.Generator, tile: tuple[int, int] | None = None) -> State:
        """State after an attempt to write conductances `wanted` (siemens); same shape.

        `tile`: rows and columns that share lines, from the last row and the first column on; default all.
        """

    @abstractmethod
    def conductance(self, state: State, volts: Tensor | None = None, temperature: float = 300.0) -> Tensor:
        """Conductance of a state, siemens: of a read, or at other voltages, which broadcast with the state."""

    @abstractmethod
    def read_variance(self, state: State) -> Tensor:
        """Variance of the conductance from one read to the next, siemens²; reads are independent."""

    def protect(self, state: State, rise: Tensor, generator: torch.Generator) -> State:
        """State after its barriers were raised by `rise` (kT at 300 K): unchanged, for devices without hidden value."""
        return state

    def relax(self, state: State, seconds: float, generator: torch.Generator, temperature: float = 300.0) -> State:
        """State after a time without writing: unchanged, for models that do not know time."""
        return state

    def describe(self) -> dict[str, Any]:
        """Kind and settings as plain values."""
        return {"device": type(self).__name__, **asdict(self)}  # type: ignore[call-overload]


@dataclass(frozen=True)
class Ideal(Device):
    """Any conductance from 0 to `g_max`, written and read without error.

    Attributes:
        g_max: default 100 µS.
    """

    g_max: float = 100e-6
    g_min: float = 0.0

    @property
    def causes(self) -> tuple[str, ...]:
        """None."""
        return ()

    def only(self, causes: Iterable[str]) -> Ideal:
        """Itself."""
        return self

    def program(self, wanted: Tensor, generator: torch.Generator, tile: tuple[int, int] | None = None) -> Tensor:
        """What is wanted."""
        return wanted

    def conductance(self, state: Tensor, volts: Tensor | None = None, temperature: float = 300.0) -> Tensor:
        """The state."""
        return state

    def read_variance(self, state: Tensor) -> Tensor:
        """Zero."""
        return torch.zeros_like(state)


@dataclass(frozen=True)
class BoundedLinear(Device):
    """A conductance between two bounds, written and read with Gaussian errors.

    Writing aims at the nearest of `levels` conductances, evenly spaced from g_min to g_max, and leaves
    `g = clip(level + programming_noise · (g_max − g_min) · ξ, g_min, g_max)`; every read sees
    `g (1 + read_noise · ξ)`. A write-and-verify scheme leaves such an error. The defaults are a
    modelling choice in the range of filamentary oxide devices (10 to 100 µS, errors of a few per cent),
    not a measurement.

    Attributes:
        g_min: lowest conductance, default 10 µS.
        g_max: highest conductance, default 100 µS.
        programming_noise: standard deviation in units of the range, default 0.02.
        read_noise: standard deviation in units of the conductance, default 0.01.
        levels: number of conductances that can be aimed at, default `None`: any between the bounds.
    """

    g_min: float = 10e-6
    g_max: float = 100e-6
    programming_noise: float = 0.02
    read_noise: float = 0.01
    levels: int | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.g_max) and 0 <= self.g_min < self.g_max):
            raise InputError(
                "BoundedLinear",
                "0 <= g_min < g_max",
                f"{self.g_min:g} and {self.g_max:g} S",
                "give the bounds in order",
            )
        for name in ("programming_noise", "read_noise"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise InputError(f"BoundedLinear.{name}", "a number >= 0", repr(value), "give a standard deviation")
        if self.levels is not None and self.levels < 2:
            raise InputError("BoundedLinear.levels", "at least 2, or None", repr(self.levels), "give more levels")

    @property
    def causes(self) -> tuple[str, ...]:
        """Those of levels, programming noise and read noise that are there."""
        sizes = {"levels": self.levels, "programming noise": self.programming_noise, "read noise": self.read_noise}
        return tuple(name for name, size in sizes.items() if size)

    def only(self, causes: Iterable[str]) -> BoundedLinear:
        """The same device with just these causes."""
        kept = set(causes)
        return replace(
            self,
            levels=self.levels if "levels" in kept else None,
            programming_noise=self.programming_noise if "programming noise" in kept else 0.0,
            read_noise=self.read_noise if "read noise" in kept else 0.0,
        )

    def program(self, wanted: Tensor, generator: torch.Generator, tile: tuple[int, int] | None = None) -> Tensor:
        """The conductance that writing leaves."""
        if self.levels is not None:
            step = (self.g_max - self.g_min) / (self.levels - 1)
            wanted = self.g_min + ((wanted - self.g_min) / step).round() * step
        draw = torch.randn(wanted.shape, generator=generator, dtype=wanted.dtype)
        error = self.programming_noise * (self.g_max - self.g_min) * draw
        return (wanted + error).clamp(self.g_min, self.g_max)

    def conductance(self, state: Tensor, volts: Tensor | None = None, temperature: float = 300.0) -> Tensor:
        """The state."""
        return state

    def read_variance(self, state: Tensor) -> Tensor:
        """`(read_noise · g)²`."""
        return (self.read_noise * state).square()
