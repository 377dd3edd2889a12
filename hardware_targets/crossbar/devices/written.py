"""Devices that pulses write, programmed to wanted conductances: pulse, read, and pulse again while it helps."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torch.nn.functional import pad

from hardware_targets.crossbar.devices.magnetic import MagnetoIonicMTJ
from hardware_targets.crossbar.devices.pulsed import READ_SECONDS, READ_VOLTS, ROOM, Ledger, Pulse, PulsedDevice
from hardware_targets.crossbar.devices.storage import Device
from neurospin.errors import InputError, unknown_name

LEVELS, DISTURB = "levels", "half-select"
OWN = ("written", "wanted", "nominal")
GATE_SECONDS = 1e-3

Access = Literal["transistor", "half", "third"]
"""How one device of a tile is selected: by a transistor, or by voltages on its lines that others see a part of."""


@dataclass(frozen=True)
class Written(Device):
    """A pulsed device behind a write-and-verify scheme.

    Each round reads every device and gives those a `strong` pulse toward the wanted conductance whose expected
    conductance after it lies nearer; it ends when no pulse helps. A device of two states so takes the nearer one.
    The state is that of the device, with the `Ledger` of its programming under `"written"`.

    Without transistors the devices of a round are pulsed one after the other, and every pulse of V volts disturbs the rest
    of its tile: `"half"` puts V / 2 on all devices of its row and column, `"third"` V / 3 on these and −V / 3 on the others
    (lines without resistance). What they see in a round comes after the round's own pulses; n equal parts are given as
    pulses of 2^k times the duration, of which n is the sum; they cost energy, and are no cycles of the rated endurance.

    Attributes:
        device: from `hardware_targets.crossbar.devices`.
        read_volts: of a read, default 0.1 V.
        rounds: at most, default 200.
        levels: whether only the device's own states can be reached; without (to tell causes apart), what the state
            that was reached misses of the wanted conductance is added.
        read_seconds: of a read, default 10 ns; for the energy of verifying.
        access: `"transistor"` (default), `"half"` or `"third"`.
    """

    device: PulsedDevice
    read_volts: float = READ_VOLTS
    rounds: int = 200
    levels: bool = True
    read_seconds: float = READ_SECONDS
    access: Access = "transistor"

    def __post_init__(self) -> None:
        if not self.rounds >= 1:
            raise InputError("Written.rounds", "at least 1", repr(self.rounds), "allow some pulses")
        if self.access not in get_args(Access):
            raise unknown_name("Written.access", str(self.access), get_args(Access), "access")
        if self.access != "transistor" and not self.device.by_voltage:
            kind = type(self.device).__name__
            raise InputError("Written.access", "a device whose pulses have voltages", kind, "use access='transistor'")

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
    def curved(self) -> bool:
        """Whether nominal conductances at the read voltage are others than at 0 V."""
        return self.device.bounds(self.read_volts) != self.device.bounds(0.0)

    @property
    def causes(self) -> tuple[str, ...]:
        """Finite levels, disturbed writing, and the device's own."""
        there = {LEVELS: self.levels, DISTURB: self.access != "transistor"}
        return (*(name for name, given in there.items() if given), *self.device.causes)

    def only(self, causes: Iterable[str]) -> Written:
        """The same device with just these causes."""
        kept = set(causes)
        bare = self.device.without([cause for cause in self.device.causes if cause not in kept])
        access = self.access if DISTURB in kept else "transistor"
        return replace(self, device=bare, levels=LEVELS in kept and self.levels, access=access)

    def program(
        self, wanted: Tensor, generator: torch.Generator, tile: tuple[int, int] | None = None
    ) -> dict[str, Any]:
        """Fresh devices, written and verified."""
        device, total = self.device, Ledger()
        state: dict[str, Any] = device.initial(tuple(wanted.shape), generator)
        for _ in range(self.rounds):
            g = device.conductance(state, self.read_volts)
            total, far = total + Ledger.of_reads(g, self.read_volts, self.read_seconds), wanted - g
            pulse = device.strong(torch.sign(far).float())
            gain = device.expected(state, pulse) - device.conductance(state)
            helps = (far - gain).abs() < far.abs()
            if not bool(helps.any()):
                break
            way = torch.sign(far).float() * helps
            state, cost = device.write(state, device.strong(way), generator)
            total = total + cost
            if self.access != "transistor":
                state, cost = self._disturbed(state, way, tile or (len(way), way.shape[1]), generator)
                total = total + cost
        if not self.levels:
            nominal = device.nominal(state, self.read_volts).to(wanted.dtype)
            state = {**state, "wanted": wanted, "nominal": torch.where(state["stuck"], wanted, nominal)}
        return {**state, "written": total}

    def _disturbed(
        self, state: dict[str, Any], way: Tensor, tile: tuple[int, int], generator: torch.Generator
    ) -> tuple[dict[str, Any], Ledger]:
        """After what the pulses of a round did to other devices."""
        before, joules = self.device.conductance(state), 0.0
        for sign in (1.0, -1.0):
            lines, rest = _others(way == sign, tile)
            pulse = self.device.strong(torch.tensor(sign))
            for count, part in ((lines, 1 / 2),) if self.access == "half" else ((lines, 1 / 3), (rest, -1 / 3)):
                for k in range(int(count.max()).bit_length()):
                    some = Pulse(part * pulse.volts * (count >> k & 1), pulse.seconds * 2**k)
                    after, cost = self.device.write(state, some, generator)
                    state, joules = {**after, "cycles": state["cycles"]}, joules + cost.joules
        moved = float((self.device.conductance(state) != before).sum())
        return state, Ledger(joules=joules, disturbed=moved)

    def protect(self, state: dict[str, Any], rise: Tensor, generator: torch.Generator) -> dict[str, Any]:
        """After one gate pulse of a millisecond on each device that is to be protected, by the nominal kinetics.

        A device says nothing about its h, so that nothing is verified. The rise ends at that of h = 0.999.
        """
        if not isinstance(self.device, MagnetoIonicMTJ):
            return state
        volts = self.device.gate_to(self.device.hidden_for(rise).clamp(max=0.999), GATE_SECONDS)
        pulse = Pulse(gate_volts=volts, gate_seconds=GATE_SECONDS)
        new, cost = self.device.write(self._own(state), pulse, generator)
        return {**state, **new, "written": state["written"] + cost}

    def conductance(self, state: dict[str, Any], volts: Tensor | None = None, temperature: float = ROOM) -> Tensor:
        """At the read voltage, or at `volts`."""
        g = self.device.conductance(state, self.read_volts if volts is None else volts, temperature)
        return g if self.levels else state["wanted"] + (g - state["nominal"])

    def read_variance(self, state: dict[str, Any]) -> Tensor:
        """Of the device."""
        return self.device.read_variance(state)

    def _own(self, state: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in state.items() if name not in OWN}

    def relax(
        self, state: dict[str, Any], seconds: float, generator: torch.Generator, temperature: float = ROOM
    ) -> dict[str, Any]:
        """As the device does."""
        new = self.device.relax(self._own(state), seconds, generator, temperature)
        return {**new, **{name: state[name] for name in OWN if name in state}}

    def describe(self) -> dict[str, Any]:
        """Kind and settings as plain values."""
        return {**self.device.describe(), "read_volts": self.read_volts, "written": "pulse and verify"}


def _others(on: Tensor, tile: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """How many other marked devices share a line of the tile with each device, and how many share none."""
    (rows, columns), shape = tile, on.shape
    padded = pad(on.long(), (0, -shape[1] % columns, -shape[0] % rows, 0))
    marked = padded.unflatten(1, (-1, columns)).unflatten(0, (-1, rows))
    lines = marked.sum(1, keepdim=True) + marked.sum(3, keepdim=True) - 2 * marked
    rest = marked.sum((1, 3), keepdim=True) - lines - marked
    cut = lambda x: x.flatten(2).flatten(0, 1)[-shape[0] :, : shape[1]]  # noqa: E731
    return cut(lines), cut(rest)
