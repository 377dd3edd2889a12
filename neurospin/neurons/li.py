"""`LI`: leaky integrators, a readout whose output is its voltage."""

from __future__ import annotations

from collections.abc import Iterable

import nir

from neurospin.neurons.base import Neuron, Value
from neurospin.scan import Dynamics, membrane


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

    def dynamics(self) -> Dynamics:
        """Coefficients of the membrane; see `neurospin.scan`."""
        c = self.constants()
        assert self.dt is not None
        return membrane(self.dt, c["tau_mem"], c["r"], c["v_leak"])

    def to_nir(self, dt: float) -> nir.NIRNode:
        """`nir.LI`."""
        return nir.LI(tau=self._full("tau_mem"), r=self._full("r"), v_leak=self._full("v_leak"))

    def rate_twin(self) -> LI:
        """Itself: a readout has no spikes."""
        twin = LI(self.size, self.constant("tau_mem").detach(), learn=self.learn, dt=self.dt,
                  v_leak=self.constant("v_leak").detach(), r=self.constant("r").detach())  # fmt: skip
        return twin
