"""Filamentary and phase-change devices. Their constants are modelling choices in the range of the literature."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from hardware_targets.crossbar.devices.pulsed import ROOM, Pulse, PulsedDevice, State, spread
from neurospin.errors import InputError


@dataclass(frozen=True)
class HfOxLevels(PulsedDevice):
    """A filament with a few levels; every programming draws the conductance anew around the mean of its level.

    A positive pulse of at least `threshold` volts moves one level up, a negative one down. It conducts
    `I = G v₀ sinh(V / v₀)`, the form of Jiang and Wong's model of filaments (doi:10.4231/D37H1DN48, with 0.25 V there).

    Attributes:
        means: siemens, rising; default 5 levels from 10 to 90 µS.
        sigmas: standard deviation of each, siemens; default 2 µS.
        threshold: volts, default 1.
        v_sinh: v₀, default infinite: ohmic.
    """

    means: tuple[float, ...] = (10e-6, 30e-6, 50e-6, 70e-6, 90e-6)
    sigmas: tuple[float, ...] = (2e-6,) * 5
    threshold: float = 1.0
    v_sinh: float = math.inf
    imperfections: ClassVar[Mapping[str, str]] = {"sigmas": "programming noise"}

    def __post_init__(self) -> None:
        super().__post_init__()
        rising = all(a < b for a, b in zip(self.means, self.means[1:], strict=False))
        if (
            len(self.means) < 2
            or len(self.means) != len(self.sigmas)
            or not rising
            or min(*self.means, *self.sigmas) < 0
        ):
            raise InputError(
                "HfOxLevels", "rising means, one sigma >= 0 each", f"{self.means}, {self.sigmas}", "sort them"
            )
        if not self.v_sinh > 0:
            raise InputError("HfOxLevels.v_sinh", "volts > 0", repr(self.v_sinh), "give one, or infinity")

    def bounds(self, volts: float = 0.0) -> tuple[float, float]:
        """Means of the first and the last level."""
        bend = float(self._bend(volts))
        return self.means[0] * bend, self.means[-1] * bend

    def nominal(self, state: State, volts: float = 0.0) -> Tensor:
        """Mean of the level."""
        return torch.tensor(self.means)[state["level"].long()] * self._bend(volts)

    def _bend(self, volts: float | Tensor) -> Tensor:
        """`sinh(x) / x` of `x = V / v₀`."""
        x = torch.as_tensor(volts).abs() / self.v_sinh
        return torch.where(x < 1e-3, 1 + x.square() / 6, torch.sinh(x) / x.clamp(min=1e-3))

    def strong(self, way: Tensor) -> Pulse:
        """At the threshold, 1 µs."""
        return Pulse(self.threshold * way, 1e-6)

    def _programmed(self, level: Tensor, generator: torch.Generator) -> Tensor:
        means, sigmas = torch.tensor(self.means)[level.long()], torch.tensor(self.sigmas)[level.long()]
        return (means + sigmas * torch.randn(level.shape, generator=generator)).clamp(min=0)

    def _fresh(self, shape: tuple[int, ...], generator: torch.Generator) -> State:
        level = torch.zeros(shape)
        return {"level": level, "g": self._programmed(level, generator)}

    def conductance(self, state: State, volts: float | Tensor = 0.0, temperature: float = ROOM) -> Tensor:
        """`I / V`, siemens."""
        return state["g"] * self._bend(volts)

    def switching_probability(self, state: State, pulse: Pulse, temperature: float = 300.0) -> Tensor:
        """1 above the threshold unless the level is the last in that direction, else 0."""
        volts = torch.as_tensor(pulse.volts, dtype=torch.float32).expand(state["level"].shape)
        room = torch.where(volts > 0, state["level"] < len(self.means) - 1, state["level"] > 0)
        return ((volts.abs() >= self.threshold) & room & (pulse.seconds > 0)).float()

    def _pulsed(self, state: State, pulse: Pulse, generator: torch.Generator, temperature: float) -> State:
        moved = self.switching_probability(state, pulse, temperature)
        level = state["level"] + moved * torch.sign(torch.as_tensor(pulse.volts, dtype=torch.float32))
        return {**state, "level": level, "g": torch.where(moved > 0, self._programmed(level, generator), state["g"])}

    def expected(self, state: State, pulse: Pulse, temperature: float = 300.0) -> Tensor:
        """Mean of the level reached; present conductance where nothing moves."""
        moved = self.switching_probability(state, pulse, temperature) * ~state["stuck"]
        level = state["level"] + moved * torch.sign(torch.as_tensor(pulse.volts, dtype=torch.float32))
        return torch.where(moved > 0, torch.tensor(self.means)[level.long()], state["g"])

    def relax(self, state: State, seconds: float, generator: torch.Generator, temperature: float = 300.0) -> State:
        """Unchanged."""
        return state


@dataclass(frozen=True)
class PhaseChange(PulsedDevice):
    """Crystallisation in small steps, one-shot reset, and drift `G(t) = G(t₀) (t / t₀)^{−ν}`.

    A positive pulse adds `gain (1 − G / g_max)` times a noisy factor; a negative one resets to `g_min`; either
    restarts the drift. The drift exponent's mean and spread are in the range usual for Ge₂Sb₂Te₅.

    Attributes:
        g_min, g_max: siemens, default 0.1 and 25 µS.
        gain: siemens, default 2.5 µS.
        step_noise: cycle to cycle, coefficient of variation of a step, default 0.3.
        drift: ν, default 0.031.
        drift_spread: device to device, coefficient of variation, default 0.25.
        t0: seconds after programming at which G is stated, default 1.
    """

    g_min: float = 0.1e-6
    g_max: float = 25e-6
    gain: float = 2.5e-6
    step_noise: float = 0.3
    drift: float = 0.031
    drift_spread: float = 0.25
    t0: float = 1.0
    imperfections: ClassVar[Mapping[str, str]] = {"step_noise": "programming noise", "drift_spread": "device spread"}
    by_voltage: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (0 <= self.g_min < self.g_max < math.inf and self.t0 > 0):
            got = f"{self.g_min:g} S, {self.g_max:g} S, {self.t0:g} s"
            raise InputError("PhaseChange", "0 <= g_min < g_max and t0 > 0", got, "give the bounds in order")

    def bounds(self, volts: float = 0.0) -> tuple[float, float]:
        """`g_min` and `g_max`."""
        return self.g_min, self.g_max

    def nominal(self, state: State, volts: float = 0.0) -> Tensor:
        """Before any drift."""
        return state["g"]

    def strong(self, way: Tensor) -> Pulse:
        """1 V, 100 ns: every pulse acts."""
        return Pulse(way, 1e-7)

    def _fresh(self, shape: tuple[int, ...], generator: torch.Generator) -> State:
        nu = self.drift * spread(shape, self.drift_spread, generator)
        return {"g": torch.full(shape, self.g_min), "nu": nu, "age": torch.full(shape, self.t0)}

    def conductance(self, state: State, volts: float | Tensor = 0.0, temperature: float = ROOM) -> Tensor:
        """Siemens at the present age."""
        return state["g"] * (state["age"] / self.t0) ** -state["nu"]

    def switching_probability(self, state: State, pulse: Pulse, temperature: float = 300.0) -> Tensor:
        """1 for any pulse: every pulse acts, how far is `expected`."""
        on = torch.as_tensor(pulse.volts, dtype=torch.float32).expand(state["g"].shape) != 0
        return on.float() * (pulse.seconds > 0)

    def _after(self, state: State, pulse: Pulse, factor: Tensor | float) -> Tensor:
        volts, now = torch.as_tensor(pulse.volts, dtype=torch.float32), self.conductance(state)
        up = (now + self.gain * (1 - now / self.g_max) * factor).clamp(self.g_min, self.g_max)
        reset = torch.full_like(now, self.g_min)
        return torch.where(self.switching_probability(state, pulse) == 0, now, torch.where(volts > 0, up, reset))

    def _pulsed(self, state: State, pulse: Pulse, generator: torch.Generator, temperature: float) -> State:
        factor = 1 + self.step_noise * torch.randn(state["g"].shape, generator=generator)
        on = self.switching_probability(state, pulse) > 0
        g = torch.where(on, self._after(state, pulse, factor), state["g"])
        return {**state, "g": g, "age": torch.where(on, torch.full_like(g, self.t0), state["age"])}

    def expected(self, state: State, pulse: Pulse, temperature: float = 300.0) -> Tensor:
        """Mean step, clipping apart."""
        return torch.where(state["stuck"], self.conductance(state), self._after(state, pulse, 1.0))

    def relax(self, state: State, seconds: float, generator: torch.Generator, temperature: float = 300.0) -> State:
        """Older by `seconds`."""
        return {**state, "age": state["age"] + seconds}
