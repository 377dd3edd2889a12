"""Devices that count: a domain wall between notches, and skyrmions on a track.

Both move by one level per successful pulse. The depinning law `1 − exp(−(t / τ₀) exp(−Δ (1 − |V| / V_c)))` with
a linear barrier and the constants below are modelling choices, not measurements; published devices have 4 to 11
levels (Hsin et al., Adv. Sci. 2025, doi:10.1002/advs.202417735: 11 states, 2 % cycle to cycle).
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from hardware_targets.crossbar.devices.pulsed import ROOM, Pulse, PulsedDevice, State, spread
from neurospin.errors import InputError


@dataclass(frozen=True)
class _Counter(PulsedDevice):
    """A level from 0 to `levels − 1`; a pulse moves it by one with the probability of the family."""

    levels: int = 11
    g_min: float = 1 / 9199.2
    g_max: float = 1 / 3363.7
    g_spread: float = 0.05
    imperfections: ClassVar[Mapping[str, str]] = {"g_spread": "device spread"}

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (0 <= self.g_min < self.g_max < math.inf and self.levels >= 2):
            raise InputError(
                type(self).__name__, "0 <= g_min < g_max and at least 2 levels",
                f"{self.g_min:g} S, {self.g_max:g} S, {self.levels}", "give the bounds in order",
            )  # fmt: skip

    def bounds(self, volts: float = 0.0) -> tuple[float, float]:
        """`g_min` and `g_max`."""
        return self.g_min, self.g_max

    def _fresh(self, shape: tuple[int, ...], generator: torch.Generator) -> State:
        return {"level": torch.zeros(shape), "g_scale": spread(shape, self.g_spread, generator)}

    def nominal(self, state: State, volts: float = 0.0) -> Tensor:
        """Of the level."""
        return self.conductance({**state, "g_scale": torch.ones_like(state["g_scale"])})

    @abstractmethod
    def _move(self, state: State, volts: Tensor, seconds: float, temperature: float) -> Tensor:
        """Probability of a move by one level in the direction of the voltage."""

    def _step(self) -> float:
        return (self.g_max - self.g_min) / (self.levels - 1)

    def conductance(self, state: State, volts: float | Tensor = 0.0, temperature: float = ROOM) -> Tensor:
        """`(g_min + level (g_max − g_min) / (levels − 1)) · device factor`."""
        return (self.g_min + state["level"] * self._step()) * state["g_scale"]

    def switching_probability(self, state: State, pulse: Pulse, temperature: float = 300.0) -> Tensor:
        """Of a move by one level; 0 at the end of the track."""
        volts = torch.as_tensor(pulse.volts, dtype=torch.float32).expand(state["level"].shape)
        room = torch.where(volts > 0, state["level"] < self.levels - 1, state["level"] > 0) & (volts != 0)
        return self._move(state, volts, pulse.seconds, temperature) * room

    def _pulsed(self, state: State, pulse: Pulse, generator: torch.Generator, temperature: float) -> State:
        moves = torch.rand(state["level"].shape, generator=generator) < self.switching_probability(
            state, pulse, temperature
        )
        way = torch.sign(torch.as_tensor(pulse.volts, dtype=torch.float32))
        return {**state, "level": state["level"] + moves * way}

    def expected(self, state: State, pulse: Pulse, temperature: float = 300.0) -> Tensor:
        """`G + P · (one level)`."""
        chance = self.switching_probability(state, pulse, temperature) * ~state["stuck"]
        way = torch.sign(torch.as_tensor(pulse.volts, dtype=torch.float32))
        return self.conductance(state) + chance * way * self._step() * state["g_scale"]

    def relax(self, state: State, seconds: float, generator: torch.Generator, temperature: float = 300.0) -> State:
        """Unchanged: thermal depinning in years is far below the other errors with the default barrier."""
        return state


@dataclass(frozen=True)
class DomainWallMTJ(_Counter):
    """A wall between notches under a tunnel junction.

    Attributes:
        levels: notches, default 11.
        g_min, g_max: with the wall at either end, siemens; default those of the 78 nm junction of `BinaryMTJ`.
        g_spread: device to device, default 0.05.
        v_c: depinning voltage at zero temperature, default 0.5 V.
        rise: growth of v_c from the first notch to the last, relative; default 0. A rising series makes high
            states stable, a metaplastic track (Kaur and Pramanik, arXiv:2501.15102).
        delta: pinning barrier over kT at 300 K, default 40.
        tau0: default 1 ns.
    """

    v_c: float = 0.5
    rise: float = 0.0
    delta: float = 40.0
    tau0: float = 1e-9

    def strong(self, way: Tensor) -> Pulse:
        """Twice the highest depinning voltage, ten attempt times."""
        return Pulse(2 * self.v_c * (1 + max(self.rise, 0)) * way, 10 * self.tau0)

    def _move(self, state: State, volts: Tensor, seconds: float, temperature: float) -> Tensor:
        v_c = self.v_c * (1 + self.rise * state["level"] / (self.levels - 1))
        height = self.delta * (1 - volts.abs() / v_c).clamp(min=0) * 300 / temperature
        return -torch.expm1(-seconds / self.tau0 * torch.exp(-height))


@dataclass(frozen=True)
class SkyrmionCounter(_Counter):
    """Skyrmions under a junction; positive pulses create one, negative ones annihilate one, each independently.

    A pulse of t seconds succeeds with `1 − exp(−t · rate · e^{|V| / v_scale})`, a modelling choice; the number of levels
    is in the range of the GdFeCo device of Song et al., Nat. Electron. 2020, arXiv:1907.00957.

    Attributes:
        levels: largest number of skyrmions plus 1, default 11.
        create: rate at 0 V extrapolated, 1/s, default 1e4.
        annihilate: same, default 1e4.
        v_scale: default 0.1 V.
    """

    create: float = 1e4
    annihilate: float = 1e4
    v_scale: float = 0.1

    def strong(self, way: Tensor) -> Pulse:
        """0.5 V, for ten mean waiting times."""
        slow = min(self.create, self.annihilate) * math.exp(0.5 / self.v_scale)
        return Pulse(0.5 * way, 10 / slow)

    def _move(self, state: State, volts: Tensor, seconds: float, temperature: float) -> Tensor:
        rate = torch.where(volts > 0, self.create, self.annihilate * (state["level"] > 0))
        return -torch.expm1(-seconds * rate * torch.exp(volts.abs() / self.v_scale))
