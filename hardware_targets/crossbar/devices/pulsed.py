"""Devices written by pulses: the state is a dict of tensors of the caller; a device only describes."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from neurospin.errors import InputError

State = dict[str, Tensor]
"""Tensors of the shape of the array, by name; `stuck` and `cycles` are in all of them."""

ROOM = 300.0
READ_VOLTS, READ_SECONDS = 0.1, 10e-9
"""Of a read, where nothing else is said: choices."""


@dataclass(frozen=True)
class Pulse:
    """One pulse on each device's state port, and one on its gate.

    Attributes:
        volts: on the state port; positive raises the conductance; 0 leaves a device out.
        seconds: duration, the same for all.
        gate_volts: on the gate, for devices that have one; positive raises the hidden variable.
        gate_seconds: duration.
    """

    volts: Tensor | float = 0.0
    seconds: float = 0.0
    gate_volts: Tensor | float = 0.0
    gate_seconds: float = 0.0


@dataclass(frozen=True)
class Ledger:
    """What writing cost: pulses and joules summed over devices, seconds as the time a port was busy.

    Attributes:
        pulses: on state ports.
        joules: on state ports.
        seconds: all devices of a call in parallel.
        gate_pulses: on gates.
        gate_joules: on gates.
        gate_seconds: as above.
        worn: largest share of its rated cycles that a device has used up, state or gate port.
        reads: of devices, to verify.
        read_joules: of these.
        disturbed: devices that pulses meant for others moved.
    """

    pulses: float = 0.0
    joules: float = 0.0
    seconds: float = 0.0
    gate_pulses: float = 0.0
    gate_joules: float = 0.0
    gate_seconds: float = 0.0
    worn: float = 0.0
    reads: float = 0.0
    read_joules: float = 0.0
    disturbed: float = 0.0

    @staticmethod
    def of_reads(g: Tensor, volts: float = READ_VOLTS, seconds: float = READ_SECONDS) -> Ledger:
        """Of one read of each device, `V² t Σ g`."""
        return Ledger(reads=float(g.numel()), read_joules=volts**2 * seconds * float(g.double().sum()))

    def __add__(self, other: Ledger) -> Ledger:
        sums = {f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self) if f.name != "worn"}
        return Ledger(**sums, worn=max(self.worn, other.worn))


@dataclass(frozen=True)
class PulsedDevice(ABC):
    """A device that pulses write.

    Attributes:
        stuck: share of devices that never change, default 0.
        endurance: cycles of the state port after which a device is stuck, default unlimited.
        read_noise: standard deviation of a read in units of the conductance, default 0.
    """

    imperfections: ClassVar[Mapping[str, str]] = {}
    """Fields of the family that make it imperfect, each with the name of the cause that it belongs to."""

    two_states: ClassVar[bool] = False
    """Whether a device is in one of two states."""

    by_voltage: ClassVar[bool] = True
    """Whether the law of its pulses knows their voltage, and so what a part of it does."""

    stuck: float = field(default=0.0, kw_only=True)
    endurance: float = field(default=float("inf"), kw_only=True)
    read_noise: float = field(default=0.0, kw_only=True)

    def __post_init__(self) -> None:
        if not 0 <= self.stuck <= 1:
            raise InputError(f"{type(self).__name__}.stuck", "a share from 0 to 1", repr(self.stuck), "give a share")
        for name in ("endurance", "read_noise"):
            if not getattr(self, name) >= 0:
                got = repr(getattr(self, name))
                raise InputError(f"{type(self).__name__}.{name}", "a number >= 0", got, "give one")

    @abstractmethod
    def _fresh(self, shape: tuple[int, ...], generator: torch.Generator) -> State:
        """The family's own tensors."""

    @abstractmethod
    def conductance(self, state: State, volts: float | Tensor = 0.0, temperature: float = ROOM) -> Tensor:
        """Conductance at a read voltage and a temperature, siemens."""

    @abstractmethod
    def switching_probability(self, state: State, pulse: Pulse, temperature: float = 300.0) -> Tensor:
        """Probability that a pulse moves a device to its next state, by the law of the family."""

    @abstractmethod
    def _pulsed(self, state: State, pulse: Pulse, generator: torch.Generator, temperature: float) -> State:
        """State after one pulse, for devices that are not stuck."""

    @abstractmethod
    def expected(self, state: State, pulse: Pulse, temperature: float = 300.0) -> Tensor:
        """Mean conductance after a pulse, siemens: what training can differentiate."""

    @abstractmethod
    def bounds(self, volts: float = 0.0) -> tuple[float, float]:
        """Lowest and highest conductance of a device without spread at a read voltage, siemens."""

    @abstractmethod
    def nominal(self, state: State, volts: float = 0.0) -> Tensor:
        """Conductance that devices without spread would have in these states, siemens."""

    @abstractmethod
    def strong(self, way: Tensor) -> Pulse:
        """A pulse that moves nearly every fresh device one state up (`way` = 1), down (−1), or is none (0)."""

    @abstractmethod
    def relax(self, state: State, seconds: float, generator: torch.Generator, temperature: float = 300.0) -> State:
        """State after a time without pulses."""

    @property
    def causes(self) -> tuple[str, ...]:
        """What is imperfect about it, as far as it is there."""
        found = [cause for name, cause in self._imperfect().items() if np.any(getattr(self, name))]
        return tuple(dict.fromkeys(found))

    def without(self, causes: Collection[str]) -> Self:
        """The same device less some of its causes."""
        gone = [name for name, cause in self._imperfect().items() if cause in causes]
        return replace(self, **{name: np.multiply(getattr(self, name), 0).tolist() for name in gone})

    def _imperfect(self) -> dict[str, str]:
        return {**self.imperfections, "stuck": "stuck devices", "read_noise": "read noise"}

    def initial(self, shape: tuple[int, ...], generator: torch.Generator) -> State:
        """Fresh devices: spreads and faults are drawn here, once."""
        state = self._fresh(shape, generator)
        state["stuck"] = torch.rand(shape, generator=generator) < self.stuck
        state["cycles"] = torch.zeros(shape)
        return state

    def read_variance(self, state: State) -> Tensor:
        """Variance of the conductance from one read to the next, siemens²: `(read_noise · g)²`."""
        return (self.read_noise * self.conductance(state)).square()

    def write(
        self, state: State, pulse: Pulse, generator: torch.Generator, temperature: float = 300.0
    ) -> tuple[State, Ledger]:
        """Apply one pulse; worn-out and stuck devices keep their state and still take the energy.

        Args:
            state: of the array; not changed.
            pulse: volts and seconds on both ports.
            generator: source of everything random.
            temperature: kelvin, default 300.

        Raises:
            InputError: a pulse of negative duration, or voltages that are not finite.
        """
        shape = state["cycles"].shape
        volts, gate = (torch.as_tensor(v, dtype=torch.float32).expand(shape) for v in (pulse.volts, pulse.gate_volts))
        finite = all(_finite(torch.as_tensor(v, dtype=torch.float32)) for v in (pulse.volts, pulse.gate_volts))
        if not (pulse.seconds >= 0 and pulse.gate_seconds >= 0 and finite and temperature > 0):
            raise InputError(
                "Pulse", "finite volts, seconds >= 0, kelvin > 0",
                f"{pulse.seconds!r} s, {pulse.gate_seconds!r} s, {temperature!r} K, finite volts: {finite}", "check it",
            )  # fmt: skip
        fused = self._fused(state, pulse, generator, temperature)
        if fused is not None:
            return fused
        on = (volts != 0) & (pulse.seconds > 0)
        on_gate = (gate != 0) & (pulse.gate_seconds > 0)
        moved = self._pulsed(state, pulse, generator, temperature)
        keep = state["stuck"] | (state["cycles"] >= self.endurance)
        new = {name: torch.where(keep, state[name], moved[name]) for name in moved}
        new["stuck"] = state["stuck"]
        new["cycles"] = state["cycles"] + on
        joules = torch.where(on, volts.square() * self._write_conductance(state), torch.zeros(())) * pulse.seconds
        worn = float(new["cycles"].max()) / self.endurance
        if "gate_cycles" in state:
            new["gate_cycles"] = state["gate_cycles"] + on_gate
            worn = max(worn, float(new["gate_cycles"].max()) / self._gate_endurance())
        charged = self._gate_energy(gate) * on_gate
        return new, Ledger(
            float(on.sum()), float(joules.double().sum()), pulse.seconds if bool(on.any()) else 0.0,
            float(on_gate.sum()), float(charged.double().sum()), pulse.gate_seconds if bool(on_gate.any()) else 0.0, worn,
        )  # fmt: skip

    def _fused(
        self, state: State, pulse: Pulse, generator: torch.Generator, temperature: float
    ) -> tuple[State, Ledger] | None:
        """The same in one pass, where a family has it; None where it has not."""
        return None

    def _write_conductance(self, state: State) -> Tensor:
        return self.conductance(state)

    def _gate_energy(self, volts: Tensor) -> Tensor:
        return torch.zeros_like(volts)

    def _gate_endurance(self) -> float:
        return float("inf")

    def describe(self) -> Mapping[str, Any]:
        """Kind and settings as plain values; None is unlimited."""
        plain: dict[str, Any] = {}
        for f in fields(self):
            value = getattr(self, f.name)
            value = None if value == float("inf") else value
            plain[f.name] = {"kind": type(value).__name__, **vars(value)} if is_dataclass(value) else value
        return {"device": type(self).__name__, **plain}


def _finite(x: Tensor) -> bool:
    """Whether no value is infinite or NaN, by its least and greatest."""
    low, high = x.detach().aminmax()
    return math.isfinite(low) and math.isfinite(high)


def spread(shape: tuple[int, ...], variation: float, generator: torch.Generator) -> Tensor:
    """Factors of mean 1 and coefficient of variation `variation`, normal and cut at 0.05: device to device."""
    return (1 + variation * torch.randn(shape, generator=generator)).clamp(min=0.05)
