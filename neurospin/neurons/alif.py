"""`ALIF`: leaky integrate-and-fire neurons whose threshold adapts."""

from __future__ import annotations

from typing import Unpack

from neurospin.neurons.base import Value
from neurospin.neurons.rate import Rate, as_rate
from neurospin.neurons.spiking import SpikeOptions, Spiking


class ALIF(Spiking):
    """Leaky integrate-and-fire neurons whose threshold rises with every spike and falls back.

    `τ dv/dt = (v_leak − v) + r i`; `τ_adapt da/dt = −a`, and `a` rises by 1 with a spike; spike where
    `v > v_threshold + adaptation · a`. Reset by subtraction takes `v_threshold` away. NIR cannot say it.

    Args:
        size: shape of the block.
        tau_mem: τ in seconds (default 20 ms).
        tau_adapt: τ_adapt in seconds (default 200 ms).
        adaptation: how much one spike raises the threshold (default 0.1).
        v_leak: default 0.
        r: resistance, default 1.
        options: threshold, reset, refractory period, surrogate, `learn` and `dt`; see
            `neurospin.neurons.Spiking`.

    Source: Bellec et al., Nature Communications 11:3625, 2020, doi:10.1038/s41467-020-17236-y.
    """

    def __init__(
        self,
        size: int | tuple[int, ...],
        tau_mem: Value = 20e-3,
        tau_adapt: Value = 200e-3,
        *,
        adaptation: Value = 0.1,
        v_leak: Value = 0.0,
        r: Value = 1.0,
        **options: Unpack[SpikeOptions],
    ) -> None:
        values = {"tau_mem": tau_mem, "tau_adapt": tau_adapt, "adaptation": adaptation, "r": r, "v_leak": v_leak}
        super().__init__(size, values, **options)

    def rate_twin(self) -> Rate:
        """A leaky rectified unit with the same time constant, resistance and leak; it does not adapt."""
        return as_rate(self)
