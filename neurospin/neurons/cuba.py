"""`CubaLIF` and `CubaLI`: membranes driven by a synaptic current that decays."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Unpack

import nir

from neurospin.neurons.base import Neuron, Value
from neurospin.neurons.rate import Rate, as_rate
from neurospin.neurons.spiking import SpikeOptions, Spiking


class CubaLIF(Spiking):
    """Leaky integrate-and-fire neurons with a synaptic current.

    `τ_syn di/dt = −i + w_in x`; `τ dv/dt = (v_leak − v) + r i`, with the new current; spike where
    `v > v_threshold`; reset in the same step.

    Args:
        size: shape of the block.
        tau_mem: τ in seconds (default 20 ms).
        tau_syn: τ_syn in seconds (default 5 ms).
        w_in: weight of the input, default 1.
        v_leak: default 0.
        r: resistance, default 1.
        options: threshold, reset, refractory period, surrogate, `learn` and `dt`; see
            `neurospin.neurons.Spiking`.

    Source: Gerstner et al., Neuronal Dynamics, 2014, chapter 3.1, doi:10.1017/CBO9781107447615.
    """

    node = nir.CubaLIF

    def __init__(
        self,
        size: int | tuple[int, ...],
        tau_mem: Value = 20e-3,
        tau_syn: Value = 5e-3,
        *,
        w_in: Value = 1.0,
        v_leak: Value = 0.0,
        r: Value = 1.0,
        **options: Unpack[SpikeOptions],
    ) -> None:
        values = {"tau_mem": tau_mem, "tau_syn": tau_syn, "r": r, "v_leak": v_leak, "w_in": w_in}
        super().__init__(size, values, **options)

    def rate_twin(self) -> Rate:
        """A leaky rectified unit with the same time constants, weight, resistance and leak."""
        return as_rate(self)


class CubaLI(Neuron):
    """Leaky integrators with a synaptic current: a readout whose output is its voltage.

    `τ_syn di/dt = −i + w_in x`; `τ dv/dt = (v_leak − v) + r i`, with the new current.

    Args:
        size: shape of the block.
        tau_mem: τ in seconds (default 20 ms).
        tau_syn: τ_syn in seconds (default 5 ms).
        w_in: weight of the input, default 1.
        v_leak: default 0.
        r: resistance, default 1.
        learn: names of constants to be learned.
        dt: step in seconds; `Network` sets it.
    """

    node = nir.CubaLI

    def __init__(
        self,
        size: int | tuple[int, ...],
        tau_mem: Value = 20e-3,
        tau_syn: Value = 5e-3,
        *,
        w_in: Value = 1.0,
        v_leak: Value = 0.0,
        r: Value = 1.0,
        learn: Iterable[str] = (),
        dt: float | None = None,
    ) -> None:
        values = {"tau_mem": tau_mem, "tau_syn": tau_syn, "r": r, "v_leak": v_leak, "w_in": w_in}
        super().__init__(size, values, learn, dt)

    def rate_twin(self) -> CubaLI:
        """Itself: a readout has no spikes."""
        return self.copy()
