"""`LIF` and `IF`: integrate-and-fire neurons, with and without a leak."""

from __future__ import annotations

from typing import Unpack

import nir

from neurospin.errors import InputError
from neurospin.neurons.base import Neuron, Value
from neurospin.neurons.rate import Rate, as_rate
from neurospin.neurons.spiking import SpikeOptions, Spiking


class LIF(Spiking):
    """Leaky integrate-and-fire neurons.

    `τ dv/dt = (v_leak − v) + r i`; spike where `v > v_threshold`; reset in the same step.

    Args:
        size: shape of the block.
        tau_mem: τ in seconds (default 20 ms).
        v_leak: default 0.
        r: resistance, default 1.
        options: threshold, reset, refractory period, surrogate, `learn` and `dt`; see
            `neurospin.neurons.Spiking`.

    Source: Gerstner et al., Neuronal Dynamics, 2014, chapter 1.3, doi:10.1017/CBO9781107447615.
    """

    node = nir.LIF

    def __init__(
        self,
        size: int | tuple[int, ...],
        tau_mem: Value = 20e-3,
        *,
        v_leak: Value = 0.0,
        r: Value = 1.0,
        **options: Unpack[SpikeOptions],
    ) -> None:
        super().__init__(size, {"tau_mem": tau_mem, "r": r, "v_leak": v_leak}, **options)

    def rate_twin(self) -> Rate:
        """A leaky rectified unit with the same time constant, resistance and leak."""
        return as_rate(self)


class IF(Spiking):
    """Integrate-and-fire neurons without a leak.

    `dv/dt = r i`; spike where `v > v_threshold`; reset in the same step.

    Args:
        size: shape of the block.
        r: resistance, default 1; with `r = 1/dt` an input of 1 raises the voltage by 1 in a step.
        options: threshold, reset, refractory period, surrogate, `learn` and `dt`; see
            `neurospin.neurons.Spiking`.

    Source: Gerstner et al., Neuronal Dynamics, 2014, chapter 1.3, doi:10.1017/CBO9781107447615.
    """

    node = nir.IF

    def __init__(self, size: int | tuple[int, ...], *, r: Value = 1.0, **options: Unpack[SpikeOptions]) -> None:
        super().__init__(size, {"r": r}, **options)

    def rate_twin(self) -> Neuron:
        """Refused: the rate of a neuron without a leak never settles."""
        raise InputError("IF.rate_twin", "a neuron with a leak", "IF", "use LIF with a large tau_mem")
