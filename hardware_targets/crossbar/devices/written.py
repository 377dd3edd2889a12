"""Devices that pulses write, programmed to wanted conductances: pulse, read, and pulse again while it helps."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from hardware_targets.crossbar.devices.pulsed import Ledger, PulsedDevice
from hardware_targets.crossbar.devices.storage import Device
from neurospin.errors import InputError

LEVELS = "levels"
OWN = ("written", "wanted", "nominal")


@dataclass(frozen=True)
class Written(Device):
    """A pulsed device behind a write-and-verify scheme.

    Each round reads every device and gives those a `strong` pulse toward the wanted conductance whose expected
    conductance after it lies nearer; it ends when no pulse helps. A device of two states so takes the nearer one.
    The state is that of the device, with the `Ledger` of its programming under `"written"`.

    Attributes:
        device: from `hardware_targets.crossbar.devices`.
        read_volts: of a read, default 0.1 V.
        rounds: at most, default 200.
        levels: whether only the device's own states can be reached; without (to tell causes apart), what the state
            that was reached misses of the wanted conductance is added.
    """

    device: PulsedDevice
    read_volts: float = 0.1
    rounds: int = 200
    levels: bool = True

    def __post_init__(self) -> None:
        if not self.rounds >= 1:
            raise InputError("Written.rounds", "at least 1", repr(self.rounds), "allow some pulses")

    @cached_property
    def g_min(self) -> float:  # type: ignore[override]
        """Lowest nominal conductance at the read voltage."""
        return self.device.bounds(self.read_volts)[0]

    @cached_property
    def g_max(self) -> float:  # type: ignore[override]
        """Highest nominal conductance at the read voltage."""
        return self.device.bounds(self.read_volts)[1]

    @property
    def two_states(self) -> bool:
        """Whether the device has two states, and only these can be reached."""
        return self.levels and self.device.two_states

    @property
    def causes(self) -> tuple[str, ...]:
        """Finite levels, and the device's own."""
        return (*((LEVELS,) if self.levels else ()), *self.device.causes)

    def only(self, causes: Iterable[str]) -> Written:
        """The same device with just these causes."""
        kept = set(causes)
        bare = self.device.without([cause for cause in self.device.causes if cause not in kept])
        return Written(bare, self.read_volts, self.rounds, LEVELS in kept and self.levels)

    def program(self, wanted: Tensor, generator: torch.Generator) -> dict[str, Any]:
        """Fresh devices, written and verified."""
        device, total = self.device, Ledger()
        state: dict[str, Any] = device.initial(tuple(wanted.shape), generator)
        for _ in range(self.rounds):
            far = wanted - device.conductance(state, self.read_volts)
            pulse = device.strong(torch.sign(far).float())
            gain = device.expected(state, pulse) - device.conductance(state)
            helps = (far - gain).abs() < far.abs()
            if not bool(helps.any()):
                break
            state, cost = device.write(state, device.strong(torch.sign(far).float() * helps), generator)
            total = total + cost
        if not self.levels:
            nominal = device.nominal(state, self.read_volts).to(wanted.dtype)
            state = {**state, "wanted": wanted, "nominal": torch.where(state["stuck"], wanted, nominal)}
        return {**state, "written": total}

    def conductance(self, state: dict[str, Any]) -> Tensor:
        """At the read voltage."""
        g = self.device.conductance(state, self.read_volts)
        return g if self.levels else state["wanted"] + (g - state["nominal"])

    def read_variance(self, state: dict[str, Any]) -> Tensor:
        """Of the device."""
        return self.device.read_variance(state)

    def relax(
        self, state: dict[str, Any], seconds: float, generator: torch.Generator, temperature: float = 300.0
    ) -> dict[str, Any]:
        """As the device does."""
        own = {name: value for name, value in state.items() if name not in OWN}
        new = self.device.relax(own, seconds, generator, temperature)
        return {**new, **{name: state[name] for name in OWN if name in state}}

    def describe(self) -> dict[str, Any]:
        """Kind and settings as plain values."""
        return {**self.device.describe(), "read_volts": self.read_volts, "written": "pulse and verify"}
