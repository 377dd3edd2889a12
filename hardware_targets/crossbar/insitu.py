"""Learning on the devices: a rule asks for changes, a scheme turns them into pulses, physics does the rest.

Storages here are what `neurospin.plasticity.OnDevice` takes: `BinarySynapses` of magnetic tunnel junctions, and
`groups.LevelSynapses` of groups of devices with levels. Schemes are how pulses are chosen: `Sign`, `Stochastic`, `Verify`.

**The hidden value as a barrier.** A rule without metaplasticity asks a binary synapse of sign s for a change D of its
hidden value. Against s, a state pulse is given that flips a fresh junction with the probability m |D|. Along s, a
gate pulse raises the anisotropy h by `gain` m |D| / M, where `LogCosh(M)` is the junction's barrier, so that M h plays
m |W|. A junction that flipped gets a gate pulse back to h = 0. Nothing outside the junction knows h: what a state
pulse does is damped by `P(h) / P(0) ≈ 1 − tanh²(M h)` (`devices.barriers`), the factor f of

    W ← W − lr U f(W)  where a step shrinks |W|   (Laborieux et al. 2021, doi:10.1038/s41467-021-22768-y)

Two things differ. A junction forgets a push against it that does not flip it, while the rule lowers |W|; to flip a
synapse with W takes a sum of changes of `cosh²(m W) / m` on average there, `W / 2 + sinh(2 m W) / (4 m)` always
here: e^{2 m W} over 4 m and over 8 m where m W is large. And h ends at 1.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field, fields

import torch
from torch import Tensor

from hardware_targets.crossbar.devices import (
    BinaryMTJ,
    Ledger,
    LogCosh,
    MagnetoIonicMTJ,
    Pulse,
)
from hardware_targets.crossbar.devices.pulsed import READ_VOLTS, PulsedDevice, State
from neurospin.errors import InputError

OUTSIDE = ("ledger", "wanted", "turn", "trim")  # kept by the controller, not by the devices
FIXED = ("r_p", "tmr", "v_scale", "h_rate", "stuck", "g_scale", "nu")  # drawn when a device is made
COUNTED = [f.name for f in fields(Ledger) if f.name != "worn"]
YEAR = 365.25 * 86400


class Scheme(ABC):
    """How wanted changes become pulses."""

    verified: bool = False

    @abstractmethod
    def pulses(self, amount: Tensor, generator: torch.Generator) -> Tensor:
        """How many pulses each synapse gets for a change of `amount` ≥ 0 steps; whole numbers."""


@dataclass(frozen=True)
class Sign(Scheme):
    """One pulse wherever the wanted change is larger than a threshold, however large it is.

    Attributes:
        threshold: in steps, default 0.
    """

    threshold: float = 0.0

    def pulses(self, amount: Tensor, generator: torch.Generator) -> Tensor:
        """0 or 1."""
        del generator
        return (amount > self.threshold).float()


@dataclass(frozen=True)
class Stochastic(Scheme):
    """As many pulses as steps, the broken part by chance, so that the mean is the wanted change.

    Attributes:
        most: pulses at a time, default 1.
    """

    most: int = 1

    def pulses(self, amount: Tensor, generator: torch.Generator) -> Tensor:
        """`⌊amount⌋`, or one more with the probability of the remainder; at most `most`."""
        return (amount + torch.rand(amount.shape, generator=generator)).floor().clamp(max=self.most)


@dataclass(frozen=True)
class Verify(Scheme):
    """Program and verify: the wanted value is kept outside (32 bits), and pulses are repeated until a read agrees.

    Attributes:
        rounds: of read and pulse, per request, default 8.
    """

    rounds: int = 8
    verified = True

    def pulses(self, amount: Tensor, generator: torch.Generator) -> Tensor:
        """One wherever anything is wanted; reads decide about more."""
        del generator
        return (amount > 0).float()


@dataclass(frozen=True)
class Synapses(ABC):
    """Devices of one parameter, and how they are pulsed; what `neurospin.plasticity.OnDevice` takes."""

    device: PulsedDevice
    scheme: Scheme

    @property
    @abstractmethod
    def step(self) -> float:
        """The change of the value that one pulse stands for."""

    @property
    @abstractmethod
    def bits(self) -> int:
        """Bits per synapse: of the state, and of what a scheme keeps outside."""

    @abstractmethod
    def acting(self, memory: State) -> Tensor:
        """The value that currents see, of the parameter's shape."""

    @abstractmethod
    def _shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Of the devices."""

    @abstractmethod
    def _variance(self, memory: State) -> Tensor:
        """Of one read of the value."""

    @abstractmethod
    def _push(self, memory: State, way: Tensor, generator: torch.Generator, sure: bool = False) -> State:
        """One pulse each towards +1, −1 or (0) none; `sure` ones move a device whatever it stores."""

    @abstractmethod
    def _missing(self, memory: State, wanted: Tensor) -> Tensor:
        """Direction in which a read says that a value is still to be moved: −1, 0 or 1."""

    def place(self, wanted: Tensor, generator: torch.Generator) -> State:
        """Fresh devices, programmed with reads; values that cannot be reached are left as near as they came."""
        return self._programmed(self._fresh(wanted, generator), wanted, generator, self._rounds)

    def _fresh(self, wanted: Tensor, generator: torch.Generator) -> State:
        memory = self.device.initial(self._shape(tuple(wanted.shape)), generator)
        memory["ledger"] = torch.zeros(len(COUNTED), dtype=torch.float64)
        return {**memory, **self._outside(wanted)}

    def _outside(self, wanted: Tensor) -> State:
        return {"wanted": wanted.clone()} if self.scheme.verified else {}

    @property
    @abstractmethod
    def _rounds(self) -> int:
        """Most pulses per device when fresh ones are programmed."""

    def _programmed(self, memory: State, wanted: Tensor, generator: torch.Generator, rounds: int) -> State:
        for _ in range(rounds):
            memory = self._booked(memory, Ledger.of_reads(self.device.conductance(memory, READ_VOLTS)))
            way = self._missing(memory, wanted)
            if not bool(way.any()):
                break
            memory = self._push(memory, way, generator, sure=True)
        return memory

    def seen(self, memory: State) -> Tensor:
        """What a rule starts from: the wanted value where it is kept outside, else the acting one."""
        return memory["wanted"].clone() if self.scheme.verified else self.acting(memory)

    def read(self, memory: State, generator: torch.Generator) -> Tensor:
        """`acting` and the noise of one read."""
        value = self.acting(memory)
        if not self.device.read_noise:
            return value
        return value + self._variance(memory).sqrt() * torch.randn(value.shape, generator=generator)

    def request(self, memory: State, change: Tensor, generator: torch.Generator) -> State:
        """Pulses for a wanted change, and what comes of them; `memory` is not changed."""
        if isinstance(self.scheme, Verify):
            wanted = memory["wanted"] + change
            return self._programmed({**memory, "wanted": wanted}, wanted, generator, self.scheme.rounds)
        count = self.scheme.pulses(change.abs() / self.step, generator)
        for number in range(int(count.max()) if count.numel() else 0):
            memory = self._push(memory, change.sign() * (count > number), generator)
        return memory

    def relax(self, memory: State, seconds: float, generator: torch.Generator, temperature: float = 300.0) -> State:
        """After a time without pulses."""
        own = {name: value for name, value in memory.items() if name not in OUTSIDE}
        return {**memory, **self.device.relax(own, seconds, generator, temperature)}

    def ledger(self, memory: State) -> Ledger:
        """All pulses since `place`, with the wear of the most used device."""
        worn = float(memory["cycles"].max()) / self.device.endurance
        if "gate_cycles" in memory:
            worn = max(worn, float(memory["gate_cycles"].max()) / getattr(self.device, "gate_endurance", math.inf))
        return Ledger(**dict(zip(COUNTED, memory["ledger"].tolist(), strict=True)), worn=worn)

    def _pulse(self, memory: State, at: Tensor, pulse: Pulse, generator: torch.Generator) -> State:
        """Pulse the devices at flat places only; volts are of as many."""
        some = {name: value.view(-1)[at] for name, value in memory.items() if name not in OUTSIDE}
        after, ledger = self.device.write(some, pulse, generator)
        new = dict(memory)
        for name in after.keys() - set(FIXED):
            new[name] = memory[name].clone()
            new[name].view(-1)[at] = after[name]
        return self._booked(new, ledger)

    def _booked(self, memory: State, cost: Ledger) -> State:
        spent = torch.tensor([getattr(cost, name) for name in COUNTED], dtype=torch.float64)
        return {**memory, "ledger": memory["ledger"] + spent}


@dataclass(frozen=True)
class BinarySynapses(Synapses):
    """One junction per synapse against a reference in the middle: −1 is antiparallel, +1 parallel, with their spread.

    With a `MagnetoIonicMTJ` the synapse is metaplastic; a `BinaryMTJ` is the plain device under the same pulses.
    With `Verify` the hidden value is kept outside and the junction stores its sign.

    The acting value is `(G − Ḡ) / (½ ΔG)` with the nominal middle and range. Voltages are those that
    switch the nominal junction with m · quantum (`BinaryMTJ.volts`), those of the gate follow from its kinetics.
    Every junction that was pulsed against its state is read afterwards, at 0.1 V for 10 ns, to find whether it flipped.

    Attributes:
        device: `BinaryMTJ` or `MagnetoIonicMTJ`.
        m: metaplasticity, in units of 1/hidden value, default 25; a pulse flips a fresh junction with the
            probability m · quantum, which must be less than 1.
        quantum: change of the hidden value that one pulse stands for, default 0.02.
        gain: of gate pulses, default 2: the first raises M h by gain · m · quantum. h approaches 1 ever more
            slowly; with 2 the mean slope over the useful range is about 1.
        scheme: default `Stochastic()`.
        seconds: of a state pulse, default 10 ns.
        gate_seconds: of a gate pulse, default 1 ms; a reset takes ten times as long.
        trim_bits: of a factor per junction on the voltages of its state pulses, measured with pulses when it is placed
            (`trimmed`); default 0, one voltage for all.
    """

    device: BinaryMTJ = field(default_factory=MagnetoIonicMTJ)
    m: float = 25.0
    quantum: float = 0.02
    gain: float = 2.0
    scheme: Scheme = field(default_factory=Stochastic)
    seconds: float = 10e-9
    gate_seconds: float = 1e-3
    trim_bits: int = 0

    def __post_init__(self) -> None:
        for name in ("m", "quantum", "gain", "seconds", "gate_seconds"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise InputError(f"BinarySynapses.{name}", "a number > 0", repr(getattr(self, name)), "give one")
        if not 0 <= self.trim_bits <= 8:
            raise InputError("BinarySynapses.trim_bits", "0 to 8", repr(self.trim_bits), "4 bits leave 1 %")
        if not self.m * self.quantum < 1:
            got = f"{self.m:g} · {self.quantum:g} = {self.m * self.quantum:g}"
            raise InputError("BinarySynapses", "m · quantum < 1, a probability", got, "use a smaller quantum")
        if self._gated and not 0 < self.gate_step < 1:
            raise InputError(
                "BinarySynapses", "a gate pulse that leaves h < 1", f"{self.gate_step:g}", "use a smaller quantum"
            )

    @property
    def _gated(self) -> bool:
        return isinstance(self.device, MagnetoIonicMTJ) and not self.scheme.verified

    @property
    def step(self) -> float:
        """`quantum`."""
        return self.quantum

    @property
    def bits(self) -> int:
        """One, those of the trim, and 32 with `Verify`."""
        return 1 + self.trim_bits + 32 * self.scheme.verified

    @property
    def gate_step(self) -> float:
        """Rise of h by the first gate pulse, `gain · m · quantum / M` with M of a `LogCosh` barrier, else 1."""
        assert isinstance(self.device, MagnetoIonicMTJ)
        barrier = self.device.barrier
        return self.gain * self.m * self.quantum / (barrier.m if isinstance(barrier, LogCosh) else 1.0)

    @property
    def volts(self) -> tuple[float, float]:
        """Of state pulses to the parallel and to the antiparallel state."""
        return self.device.volts(self.m * self.quantum, self.seconds)

    @property
    def gate_volts(self) -> tuple[float, float]:
        """Of gate pulses up by `gate_step`, and down to 0.7 % of h."""
        d = self.device
        assert isinstance(d, MagnetoIonicMTJ)
        up = -math.log1p(-self.gate_step) * d.tau_up / (2 * self.gate_seconds)
        down = 5 * d.tau_down / (2 * 10 * self.gate_seconds)
        return d.gate_scale * math.asinh(up), -d.gate_scale * math.asinh(down)

    def acting(self, memory: State) -> Tensor:
        """`(G − Ḡ) / (½ ΔG)`."""
        high, low = 1 / self.device.r_p, 1 / (self.device.r_p * (1 + self.device.tmr))
        return (self.device.conductance(memory) - (high + low) / 2) / ((high - low) / 2)

    def _variance(self, memory: State) -> Tensor:
        high, low = 1 / self.device.r_p, 1 / (self.device.r_p * (1 + self.device.tmr))
        return self.device.read_variance(memory) / ((high - low) / 2) ** 2

    @property
    def _rounds(self) -> int:
        return 32

    def _shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return shape

    def place(self, wanted: Tensor, generator: torch.Generator) -> State:
        """Fresh junctions, trimmed where there are `trim_bits`, and programmed."""
        memory = self._fresh(wanted, generator)
        if self.trim_bits:
            memory = self.trimmed(memory, generator)
        return self._programmed(memory, wanted, generator, self._rounds)

    def trimmed(self, memory: State, generator: torch.Generator, repeats: int = 8) -> State:
        """Find each junction's voltage with pulses: chip-in-the-loop calibration.

        Antiparallel junctions get `repeats` pulses at each of 2^bits voltages, spread over ± 2.5 `v_spread`, that
        would flip a nominal one with 1 − exp(−e^{−γ}) = 0.43: the threshold of a junction, a Gumbel variable in
        ln rate, then has the mean 0, and the number of flips tells how many voltages lie above it.
        """
        spread, count = 2.5 * self.device.v_spread, 2**self.trim_bits
        width = 2 * spread / count
        factors = [1 - spread + width * (k + 0.5) for k in range(count)]
        nominal = self.device.volts(-math.expm1(-math.exp(-0.5772156649)), self.seconds)[0]
        flat = torch.arange(memory["parallel"].numel())
        flips = torch.zeros(len(flat))
        for factor in factors:
            for _ in range(repeats):
                memory = self._pulse(memory, flat, Pulse(nominal * factor, self.seconds), generator)
                flips += memory["parallel"].view(-1) > 0.5
                memory = self._booked(memory, Ledger.of_reads(self.device.conductance(memory, READ_VOLTS)))
                back = Pulse(1.5 * self.device.v_to_ap * (memory["parallel"].view(-1) > 0.5), self.seconds)
                memory = self._pulse(memory, flat, back, generator)
        found = ((1 + spread - width * flips / repeats - factors[0]) / width).round().clamp(0, count - 1)
        return {**memory, "trim": (factors[0] + width * found).view_as(memory["parallel"])}

    def _missing(self, memory: State, wanted: Tensor) -> Tensor:
        up = wanted >= 0
        return torch.where((memory["parallel"] > 0.5) == up, 0.0, torch.where(up, 1.0, -1.0))

    def _push(self, memory: State, way: Tensor, generator: torch.Generator, sure: bool = False) -> State:
        at = torch.nonzero(way.reshape(-1)).view(-1)
        if not len(at):
            return memory
        up, before = way.reshape(-1)[at] > 0, memory["parallel"].reshape(-1)[at]
        against = (before > 0.5) != up
        to_p, to_ap = (1.5 * self.device.v_to_p, 1.5 * self.device.v_to_ap) if sure else self.volts
        volts = torch.where(up, to_p, to_ap) * against
        if "trim" in memory:
            volts = volts * memory["trim"].view(-1)[at]
        gate = torch.where(against, 0.0, self.gate_volts[0]) if self._gated and not sure else 0.0
        memory = self._pulse(memory, at, Pulse(volts, self.seconds, gate, self.gate_seconds), generator)
        if not self._gated or sure:
            return memory
        seen = {name: memory[name].view(-1)[at[against]] for name in ("parallel", "r_p", "tmr")}
        memory = self._booked(memory, Ledger.of_reads(self.device.conductance(seen, READ_VOLTS)))
        flipped = at[memory["parallel"].view(-1)[at] != before]
        if len(flipped):
            back = Pulse(0.0, 0.0, self.gate_volts[1], 10 * self.gate_seconds)
            memory = self._pulse(memory, flipped, back, generator)
        return memory


def years(cycles: float, endurance: float, updates: int, per_second: float = 1.0) -> float:
    """Years until the most used device has used up its cycles, learning on as it did.

    Args:
        cycles: of the most used device.
        endurance: rated cycles.
        updates: requests in which it used them.
        per_second: requests per second of the learner, default 1.
    """
    return math.inf if cycles == 0 else endurance / cycles * updates / per_second / YEAR
