"""Groups of devices with levels as synapses: what `neurospin.plasticity.OnDevice` and probabilistic metaplasticity take."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from hardware_targets.crossbar.devices import DomainWallMTJ, HfOxLevels, Pulse, SkyrmionCounter, TableDevice
from hardware_targets.crossbar.devices.pulsed import State
from hardware_targets.crossbar.insitu import Scheme, Stochastic, Synapses
from neurospin.errors import InputError


@dataclass(frozen=True)
class LevelSynapses(Synapses):
    """A group of devices with levels per synapse, whose mean conductance is the value; one of them is pulsed at a time.

    The value is `bound · (2 (mean G − G₀) / (G₁ − G₀) − 1)`, with the conductances of the first and the last level. The
    devices of a group take turns, as in Zohora et al. 2024, doi:10.1038/s41598-024-78290-w.

    Attributes:
        device: `HfOxLevels` (default), `DomainWallMTJ`, `SkyrmionCounter` or `TableDevice`.
        scheme: default `Stochastic()`.
        devices: per synapse, default 1.
        bound: the value of the last level, default 1.
        volts: of a pulse upwards, the negative downwards; default 1.2.
        seconds: of a pulse, default 1 µs.
    """

    device: HfOxLevels | DomainWallMTJ | SkyrmionCounter | TableDevice = field(default_factory=HfOxLevels)
    scheme: Scheme = field(default_factory=Stochastic)
    devices: int = 1
    bound: float = 1.0
    volts: float = 1.2
    seconds: float = 1e-6

    def __post_init__(self) -> None:
        for name in ("devices", "bound", "volts", "seconds"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise InputError(f"LevelSynapses.{name}", "a number > 0", repr(getattr(self, name)), "give one")

    @property
    def _ends(self) -> tuple[float, float, int]:
        """Conductances of the first and of the last level, and how many there are."""
        d = self.device
        if isinstance(d, HfOxLevels):
            return d.means[0], d.means[-1], len(d.means)
        if isinstance(d, TableDevice):
            return d.up[0], d.up[-1], len(d.up)
        return d.g_min, d.g_max, d.levels

    @property
    def step(self) -> float:
        """The change of the value when one device moves by one level."""
        return 2 * self.bound / (self._ends[2] - 1) / self.devices

    @property
    def bits(self) -> int:
        """Of the levels, and whose turn it is; 32 more with `Verify`."""
        turn = math.ceil(math.log2(self.devices)) if self.devices > 1 else 0
        return self.devices * math.ceil(math.log2(self._ends[2])) + turn + 32 * self.scheme.verified

    def acting(self, memory: State) -> Tensor:
        """`bound · (2 (mean G − G₀) / (G₁ − G₀) − 1)`."""
        low, high, _ = self._ends
        return self.bound * (2 * (self.device.conductance(memory).mean(0) - low) / (high - low) - 1)

    def _variance(self, memory: State) -> Tensor:
        low, high, _ = self._ends
        return self.device.read_variance(memory).sum(0) * (2 * self.bound / (high - low) / self.devices) ** 2

    @property
    def _rounds(self) -> int:
        return 2 * self._ends[2] * self.devices

    def _shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (self.devices, *shape)

    def _outside(self, wanted: Tensor) -> State:
        return {**super()._outside(wanted), "turn": torch.zeros(wanted.shape)}

    def _missing(self, memory: State, wanted: Tensor) -> Tensor:
        rest = wanted.clamp(-self.bound, self.bound) - self.acting(memory)
        return torch.where(rest.abs() > self.step / 2, rest.sign(), 0.0)

    def _push(self, memory: State, way: Tensor, generator: torch.Generator, sure: bool = False) -> State:
        flat = torch.nonzero(way.reshape(-1)).view(-1)
        if not len(flat):
            return memory
        turn = memory["turn"].clone()
        at = turn.view(-1)[flat].long() * turn.numel() + flat
        turn.view(-1)[flat] = (turn.view(-1)[flat] + 1) % self.devices
        volts = way.reshape(-1)[flat] * self.volts * (1.5 if sure else 1.0)
        return {**self._pulse(memory, at, Pulse(volts, self.seconds), generator), "turn": turn}
