"""Magnetic tunnel junctions: two states, thermally activated switching, and a gate that moves ions.

Néel–Brown: in a pulse of t seconds at V volts a junction switches with the probability

    P = 1 − exp(−(t / τ₀) exp(−Δ (1 − V / V_c) − ΔE)),   Δ = E / kT

below the critical voltage; above it the rate is held at 1 / τ₀ (a modelling choice: precessional switching is
not modelled). A voltage of the other sign raises the barrier. Without a pulse the same law with V = 0 is the
retention `τ₀ e^{Δ + ΔE}`. Reading: the parallel state is ohmic, the same at all temperatures, and
`R_AP(V, T) = R_P (1 + TMR(T) / (1 + (V / V_half)²))`, with `TMR = 2 p² / (1 − p²)` (Jullière 1975,
doi:10.1016/0375-9601(75)90174-7) and a polarisation that falls with spin waves, `p ∝ 1 − α T^{3/2}` (Shang et al. 1998,
doi:10.1103/PhysRevB.58.R2917, measured from 77 to 420 K).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from hardware_targets.crossbar.devices.barriers import Barrier, LogCosh
from hardware_targets.crossbar.devices.event import event
from hardware_targets.crossbar.devices.pulsed import ROOM, Ledger, Pulse, PulsedDevice, State, spread
from neurospin.errors import InputError


@dataclass(frozen=True)
class BinaryMTJ(PulsedDevice):
    """A junction of two states, written by its own current (STT) or by a track below it (SOT, with or without a gate).

    The defaults of resistance, TMR, switching voltage and their spreads are the measured ones of a 78 nm STT
    junction (Nat. Electron. 2025, doi:10.1038/s41928-025-01479-y, Extended Data Fig. 1: +0.461 V with 6.3 %, −0.299 V with
    6.7 %, 3363.7 Ω with 5.1 %, TMR 173.5 % with 2.2 %). Choices: Δ = 40, τ₀ = 1 ns, that the measured voltages are medians
    for pulses of `median_seconds` = 10 ns, from which the critical voltages follow,
    `V_c = V / (1 − ln(t / (τ₀ ln 2)) / Δ)`, and that all of their spread is between devices. Heat alone spreads single
    switching events: `ln(rate)` by π / √6, a voltage by 3.4 % at Δ = 40, so that 5.5 % would be left between devices if
    each was measured once.

    Attributes:
        r_p: resistance of the parallel state, ohms, default 3363.7.
        tmr: (R_AP − R_P) / R_P at 0 V, default 1.735.
        v_half: voltage at which the TMR is halved, default 0.5 V.
        v_to_p: median switching voltage to the parallel state, default +0.461 V.
        v_to_ap: to the antiparallel state, default −0.299 V.
        median_seconds: pulse duration of these, default 10 ns.
        delta: barrier over kT at 300 K, default 40.
        tau0: attempt time, default 1 ns.
        r_spread, tmr_spread, v_spread: device to device, coefficients of variation, default 0.051, 0.0225, 0.065.
        track: resistance of the write track, ohms; None (default) writes through the junction.
        vcma: fall of the barrier per volt on the gate, in kT at 300 K, default 0.
        tmr_alpha: α of the polarisation, K^−3/2, default 2 · 10⁻⁵: a choice, by which TMR at 0 K is 1.58 times that at 300 K.
    """

    r_p: float = 3363.7
    tmr: float = 1.735
    v_half: float = 0.5
    v_to_p: float = 0.461
    v_to_ap: float = -0.299
    median_seconds: float = 10e-9
    delta: float = 40.0
    tau0: float = 1e-9
    r_spread: float = 0.051
    tmr_spread: float = 0.0225
    v_spread: float = 0.065
    track: float | None = None
    vcma: float = 0.0
    tmr_alpha: float = 2e-5
    hidden: ClassVar[bool] = False
    two_states: ClassVar[bool] = True
    imperfections: ClassVar[Mapping[str, str]] = dict.fromkeys(("r_spread", "tmr_spread", "v_spread"), "device spread")

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("r_p", "tmr", "v_half", "v_to_p", "median_seconds", "delta", "tau0"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise InputError(f"BinaryMTJ.{name}", "a number > 0", repr(getattr(self, name)), "give one")
        if not self.v_to_ap < 0 or self._shrink <= 0:
            raise InputError(
                "BinaryMTJ", "v_to_ap < 0 and median_seconds < tau0 ln 2 exp(delta)",
                f"{self.v_to_ap!r} V, {self.median_seconds!r} s", "check sign and units",
            )  # fmt: skip

        if not 0 <= self.tmr_alpha * ROOM**1.5 < 1 - math.sqrt(self.tmr / (2 + self.tmr)):
            raise InputError(
                "BinaryMTJ.tmr_alpha", "at least 0, and a polarisation below 1 at 0 K", repr(self.tmr_alpha), "lower it"
            )

    @staticmethod
    def sot_80nm(*, gate: bool = False) -> BinaryMTJ:
        """An 80 nm (65 nm electrical) β-W/CoFeB junction on a track, with a gate on request.

        Resistances, Δ = 40.1, VCMA of 60 fJ/(V m) and the mismatch of R_P (7 %) and TMR (4 %) are those of the
        configuration of vgsot-sim 0.1.1. Choices: an MgO of 1.4 nm, hence 34 kT per volt; ±0.4 V at 1 ns on a
        track of 800 Ω.
        """
        return BinaryMTJ(
            r_p=5e3, tmr=1.0, v_to_p=0.4, v_to_ap=-0.4, median_seconds=1e-9, delta=40.1, r_spread=0.07,
            tmr_spread=0.04, track=800.0, vcma=34.3 if gate else 0.0,
        )  # fmt: skip

    @property
    def _shrink(self) -> float:
        return 1 - math.log(self.median_seconds / (self.tau0 * math.log(2))) / self.delta

    def volts(self, chance: float, seconds: float) -> tuple[float, float]:
        """Voltages to the parallel and to the antiparallel state that switch the nominal junction with `chance`.

        The inverse law `V = V_c (1 + ln(−ln(1 − P) τ₀ / t) / Δ)`, at 300 K.
        """
        share = (1 + math.log(-math.log1p(-chance) * self.tau0 / seconds) / self.delta) / self._shrink
        return self.v_to_p * share, self.v_to_ap * share

    def bounds(self, volts: float = 0.0) -> tuple[float, float]:
        """Of the antiparallel and the parallel state."""
        return 1 / (self.r_p * (1 + self.tmr / (1 + (volts / self.v_half) ** 2))), 1 / self.r_p

    def nominal(self, state: State, volts: float = 0.0) -> Tensor:
        """With the resistance and TMR of the family."""
        alike = {name: torch.full_like(state[name], getattr(self, name)) for name in ("r_p", "tmr")}
        return self.conductance({**state, **alike}, volts)

    def strong(self, way: Tensor) -> Pulse:
        """One and a half times the median voltage, for ten attempt times or `median_seconds`."""
        volts = 1.5 * torch.where(way > 0, self.v_to_p, self.v_to_ap) * (way != 0)
        return Pulse(volts, max(self.median_seconds, 10 * self.tau0))

    def _fresh(self, shape: tuple[int, ...], generator: torch.Generator) -> State:
        return {
            "parallel": torch.zeros(shape),
            "r_p": self.r_p * spread(shape, self.r_spread, generator),
            "tmr": self.tmr * spread(shape, self.tmr_spread, generator),
            "v_scale": spread(shape, self.v_spread, generator),
        }

    def _branches(self, state: State, volts: float | Tensor, temperature: float = ROOM) -> tuple[Tensor, Tensor]:
        """Conductances of the parallel and antiparallel states."""
        tmr = self._tmr(state["tmr"], temperature) / (1 + torch.as_tensor(volts / self.v_half).square())
        return 1 / state["r_p"], 1 / (state["r_p"] * (1 + tmr))

    def _tmr(self, at_room: Tensor, temperature: float) -> Tensor:
        """TMR at 0 V at a temperature, of junctions with `at_room` at 300 K."""
        if temperature == ROOM:
            return at_room
        left = max(0.0, 1 - self.tmr_alpha * temperature**1.5) / (1 - self.tmr_alpha * ROOM**1.5)
        square = at_room / (2 + at_room) * left**2
        return 2 * square / (1 - square)

    def conductance(self, state: State, volts: float | Tensor = 0.0, temperature: float = ROOM) -> Tensor:
        """Siemens, at the voltage across the junction."""
        p, ap = self._branches(state, volts, temperature)
        return torch.where(state["parallel"] > 0.5, p, ap)

    def protection(self, state: State) -> Tensor:
        """ΔE in kT at 300 K."""
        return torch.zeros_like(state["parallel"])

    def _rate(self, state: State, volts: Tensor | float, gate: Tensor | float, temperature: float) -> Tensor:
        """Switching rate, 1/s."""
        volts = torch.as_tensor(volts, dtype=torch.float32)
        up = state["parallel"] < 0.5
        critical = torch.where(up, self.v_to_p, self.v_to_ap) * state["v_scale"] / self._shrink
        height = self.delta * (1 - volts / critical) - self.vcma * torch.as_tensor(gate, dtype=torch.float32)
        return torch.exp(-(height + self.protection(state)).clamp(min=0) * ROOM / temperature) / self.tau0

    def switching_probability(self, state: State, pulse: Pulse, temperature: float = ROOM) -> Tensor:
        """Probability of leaving the present state; the barrier scales as 1/T. Differentiable in the volts."""
        gate = pulse.gate_volts if self.vcma else 0.0
        return -torch.expm1(-self._rate(state, pulse.volts, gate, temperature) * pulse.seconds)

    def _pulsed(self, state: State, pulse: Pulse, generator: torch.Generator, temperature: float) -> State:
        draw = torch.rand(state["parallel"].shape, generator=generator)
        flips = draw < self.switching_probability(state, pulse, temperature)
        return {**state, "parallel": torch.where(flips, 1 - state["parallel"], state["parallel"])}

    def expected(self, state: State, pulse: Pulse, temperature: float = ROOM) -> Tensor:
        """`(1 − P) G + P G′`."""
        p, ap = self._branches(state, 0.0)
        now, other = torch.where(state["parallel"] > 0.5, p, ap), torch.where(state["parallel"] > 0.5, ap, p)
        chance = self.switching_probability(state, pulse, temperature)
        chance = torch.where(state["stuck"], torch.zeros_like(chance), chance)
        return now + chance * (other - now)

    def relax(self, state: State, seconds: float, generator: torch.Generator, temperature: float = ROOM) -> State:
        """Flips by heat alone: after t both states mix as `(1 − e^{−2 t / τ}) / 2`, τ the retention."""
        rate = self._rate(state, 0.0, 0.0, temperature)
        chance = -torch.expm1(-2 * rate * seconds) / 2
        flips = (torch.rand(chance.shape, generator=generator) < chance) & ~state["stuck"]
        return {**state, "parallel": torch.where(flips, 1 - state["parallel"], state["parallel"])}

    def _fused(
        self, state: State, pulse: Pulse, generator: torch.Generator, temperature: float
    ) -> tuple[State, Ledger] | None:
        hidden = self._gate_law()
        plain = all(t.device.type == "cpu" and not t.requires_grad for t in (*state.values(), *_tensors(pulse)))
        single = all(t.dtype in (torch.float32, torch.bool) for t in state.values())
        if temperature != ROOM or hidden is None or not plain or not single:
            return None
        shape, gated = state["parallel"].shape, len(hidden) > 0
        flat = {name: t.reshape(-1).contiguous().numpy() for name, t in state.items()}
        none = flat["cycles"][:0]
        names = ("h", "h_rate", "gate_cycles")
        new = {
            name: np.empty_like(flat[name]) for name in ("parallel", "cycles", *(("h", "gate_cycles") if gated else ()))
        }
        volts, gate = (_each(v, shape) for v in (pulse.volts, pulse.gate_volts))
        law = (
            pulse.seconds / self.tau0, pulse.seconds, self.v_to_p / self._shrink, self.v_to_ap / self._shrink, self.delta,
            self.vcma, self.endurance, 0.0 if self.track is None else 1 / self.track, *(hidden or (0.0, 1.0, 0.0, 0.0, 0.0, 0.0)),
        )  # fmt: skip
        scaled = (*law[:10], law[10] * pulse.gate_seconds, law[11] * pulse.gate_seconds, *law[12:])
        given: list[Any] = [flat[name] for name in ("parallel", "r_p", "tmr", "v_scale", "cycles")]
        given += [flat.get(name, none) for name in names]
        given += [flat["stuck"].view(np.uint8), volts, gate, scaled, gated]
        given += [int(torch.randint(2**62, (), generator=generator)), new["parallel"], new["cycles"]]
        given += [new.get("h", none), new.get("gate_cycles", none)]
        pulses, joules, most, gates, squares, most_gated = event(*given)
        after = {**state, **{name: torch.from_numpy(values).view(shape) for name, values in new.items()}}
        worn = max(most / self.endurance, most_gated / self._gate_endurance())
        charge = float(self._gate_energy(torch.ones(()))) * squares
        return after, Ledger(
            float(pulses),
            joules,
            pulse.seconds if pulses else 0.0,
            float(gates),
            charge,
            pulse.gate_seconds if gates else 0.0,
            worn,
        )

    def _gate_law(self) -> tuple[float, ...] | None:
        """m of `LogCosh`, V₀, 1 / τ up, 1 / τ down, noise and endurance of a gate; () without a gate, None for other barriers."""
        return ()

    def _write_conductance(self, state: State) -> Tensor:
        return self.conductance(state) if self.track is None else torch.full_like(state["r_p"], 1 / self.track)


@dataclass(frozen=True)
class MagnetoIonicMTJ(BinaryMTJ):
    """A junction whose gate moves ions: a hidden anisotropy h in [0, 1] raises the switching barrier by `barrier(h)`.

    Under a gate voltage h approaches 1 (positive) or 0 (negative) with the rate
    `k = 2 sinh(|V| / V₀) / τ±`, in closed form `h = 1 − (1 − h₀) e^{−kt}` or `h₀ e^{−kt}`; without one it
    relaxes to 0 with the time `hidden_retention`. The form of the rate is a choice on top of the
    observation that the switching time falls over more than 5 decades, from minutes to milliseconds, as the gate
    voltage rises (Fassatoui et al., Small 2021, doi:10.1002/smll.202102427): with V₀ = 4 V / 11.5 and
    τ = 200 s the defaults give about 100 s at 0.3 V and 1 ms at 4.2 V. That the barrier rises independently of
    the write voltage assumes that the critical voltage scales with the barrier. The endurance of the gate is that
    of CoFe₂O₄ pillars, > 2000 cycles (APL Mater. 2023, doi:10.1063/5.0147665). All to be refitted to a device.

    Attributes:
        barrier: ΔE in kT at 300 K against h, default `LogCosh(5.0)`: up to 8.6 kT, 22 % of Δ = 40.
        gate_scale: V₀, default 0.348 V.
        tau_up: default 200 s.
        tau_down: default 200 s.
        hidden_retention: seconds at 300 K, default 10 years.
        hidden_spread: device to device of the rate, coefficient of variation, default 0.1.
        hidden_noise: cycle to cycle, standard deviation of h per gate pulse, in units of its step, default 0.05.
        gate_endurance: cycles, default 2000; then h stays where it is.
        gate_capacitance: farads, default 1 fF; a gate pulse takes C V².
    """

    barrier: Barrier = field(default_factory=lambda: LogCosh(5.0))
    gate_scale: float = 4 / 11.5
    tau_up: float = 200.0
    tau_down: float = 200.0
    hidden_retention: float = 3.15e8
    hidden_spread: float = 0.1
    hidden_noise: float = 0.05
    gate_endurance: float = 2000.0
    gate_capacitance: float = 1e-15
    hidden: ClassVar[bool] = True
    imperfections: ClassVar[Mapping[str, str]] = {**BinaryMTJ.imperfections, "hidden_spread": "device spread"}

    def _fresh(self, shape: tuple[int, ...], generator: torch.Generator) -> State:
        fresh = super()._fresh(shape, generator)
        rate = spread(shape, self.hidden_spread, generator)
        return {**fresh, "h": torch.zeros(shape), "h_rate": rate, "gate_cycles": torch.zeros(shape)}

    def protection(self, state: State) -> Tensor:
        """ΔE(h) in kT at 300 K."""
        return self.barrier(state["h"])

    def hidden_after(self, state: State, volts: Tensor | float, seconds: float) -> Tensor:
        """h after a gate pulse, without noise, by the closed form."""
        v = torch.as_tensor(volts, dtype=torch.float32)
        tau = torch.where(v > 0, self.tau_up, self.tau_down)
        left = torch.exp(-2 * torch.sinh(v.abs() / self.gate_scale) / tau * state["h_rate"] * seconds)
        return torch.where(v > 0, 1 - (1 - state["h"]) * left, state["h"] * left)

    def hidden_for(self, rise: Tensor) -> Tensor:
        """The least h, to 1 / 4096, whose barrier rises by `rise` (kT), and 1 where none does."""
        h = torch.linspace(0, 1, 4097)
        return h[torch.searchsorted(self.barrier(h).cummax(0).values, rise.float().contiguous()).clamp(max=4096)]

    def gate_to(self, h: Tensor, seconds: float) -> Tensor:
        """Volts of a pulse that raises a nominal junction from 0 to h < 1, `V₀ asinh(−ln(1 − h) τ / 2t)`."""
        return self.gate_scale * torch.asinh(-torch.log1p(-h) * self.tau_up / (2 * seconds))

    def _pulsed(self, state: State, pulse: Pulse, generator: torch.Generator, temperature: float) -> State:
        new = super()._pulsed(state, pulse, generator, temperature)
        step = self.hidden_after(state, pulse.gate_volts, pulse.gate_seconds) - state["h"]
        noise = 1 + self.hidden_noise * torch.randn(step.shape, generator=generator)
        moved = (state["h"] + step * noise).clamp(0, 1)
        return {**new, "h": torch.where(state["gate_cycles"] < self.gate_endurance, moved, state["h"])}

    def relax(self, state: State, seconds: float, generator: torch.Generator, temperature: float = ROOM) -> State:
        """Thermal flips at the present h, then `h e^{−t / hidden_retention}`."""
        new = super().relax(state, seconds, generator, temperature)
        return {
            **new,
            "h": torch.where(state["stuck"], state["h"], state["h"] * math.exp(-seconds / self.hidden_retention)),
        }

    def _gate_law(self) -> tuple[float, ...] | None:
        if type(self.barrier) is not LogCosh:
            return None
        return (
            self.barrier.m, self.gate_scale, 1 / self.tau_up, 1 / self.tau_down, self.hidden_noise, self.gate_endurance
        )  # fmt: skip

    def _gate_energy(self, volts: Tensor) -> Tensor:
        return self.gate_capacitance * volts.square()

    def _gate_endurance(self) -> float:
        return self.gate_endurance


def _tensors(pulse: Pulse) -> list[Tensor]:
    return [v for v in (pulse.volts, pulse.gate_volts) if isinstance(v, Tensor)]


def _each(volts: Tensor | float, shape: tuple[int, ...]) -> np.ndarray:
    """One value, or one per device."""
    given = torch.as_tensor(volts, dtype=torch.float32)
    return given.reshape(1).numpy() if given.numel() == 1 else given.expand(shape).reshape(-1).contiguous().numpy()
