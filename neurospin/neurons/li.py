"""`LI` and `Integrator`: readouts whose output is their voltage."""

from __future__ import annotations

from collections.abc import Iterable

import nir

from neurospin.neurons.base import Neuron, Value


class LI(Neuron):
    """Leaky integrators: a readout whose output is its voltage.

    `τ dv/dt = (v_leak − v) + r i`.

    Args:
        size: shape of the block.
        tau_mem: τ in seconds (default 20 ms).
        v_leak: default 0.
        r: resistance, default 1.
        learn: names of constants to be learned.
        dt: step in seconds; `Network` sets it.
    """

    node = nir.LI

    def __init__(
        self,
        size: int | tuple[int, ...],
        tau_mem: Value = 20e-3,
        *,
        v_leak: Value = 0.0,
        r: Value = 1.0,
        learn: Iterable[str] = (),
        dt: float | None = None,
    ) -> None:
        super().__init__(size, {"tau_mem": tau_mem, "r": r, "v_leak": v_leak}, learn, dt)

    def rate_twin(self) -> LI:
        """Itself: a readout has no spikes."""
        return self.copy()


class Integrator(Neuron):
    """Perfect integrators: a readout whose output is its voltage, without a leak.

    `dv/dt = r i`.

    Args:
        size: shape of the block.
        r: resistance, default 1.
        learn: names of constants to be learned.
        dt: step in seconds; `Network` sets it.
    """

    node = nir.I

    def __init__(
        self, size: int | tuple[int, ...], *, r: Value = 1.0, learn: Iterable[str] = (), dt: float | None = None
    ) -> None:
        super().__init__(size, {"r": r}, learn, dt)

    def rate_twin(self) -> Integrator:
        """Itself: a readout has no spikes."""
        return self.copy()
