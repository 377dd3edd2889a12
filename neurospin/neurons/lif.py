"""`LIF`: leaky integrate-and-fire neurons."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import nir

from neurospin.errors import InputError, unknown_name
from neurospin.neurons.base import Neuron, Value
from neurospin.neurons.rate import Rate, as_rate
from neurospin.scan import Dynamics, membrane
from neurospin.surrogate import ArcTan, Surrogate


class LIF(Neuron):
    """Leaky integrate-and-fire neurons.

    `τ dv/dt = (v_leak − v) + r i`; spike where `v > v_threshold`; reset in the same step.

    Args:
        size: shape of the block.
        tau_mem: τ in seconds (default 20 ms).
        v_threshold: default 1.
        v_reset: voltage after a spike, default 0; unused with `reset="subtract"`.
        v_leak: default 0.
        r: resistance, default 1.
        reset: `"value"` (NIR's) or `"subtract"`, which NIR cannot say: it is exported as metadata and
            runs only on targets that declare it.
        surrogate: derivative of the spike, default `ArcTan()`.
        learn: names of constants to be learned.
        dt: step in seconds; `Network` sets it.

    Source: Gerstner et al., Neuronal Dynamics, 2014, chapter 1.3, doi:10.1017/CBO9781107447615.
    """

    spiking = True

    def __init__(
        self,
        size: int | tuple[int, ...],
        tau_mem: Value = 20e-3,
        *,
        v_threshold: Value = 1.0,
        v_reset: Value = 0.0,
        v_leak: Value = 0.0,
        r: Value = 1.0,
        reset: str = "value",
        surrogate: Surrogate | None = None,
        learn: Iterable[str] = (),
        dt: float | None = None,
    ) -> None:
        if reset not in ("value", "subtract"):
            raise unknown_name("LIF.reset", reset, ("value", "subtract"), "reset")
        self.reset = reset
        self.surrogate = surrogate or ArcTan()
        values = {
            "tau_mem": tau_mem,
            "r": r,
            "v_leak": v_leak,
            "v_threshold": v_threshold,
            "v_reset": v_reset,
        }
        super().__init__(size, values, learn, dt)
        if bool((self.constant("v_threshold") <= self.constant("v_reset")).any()):
            raise InputError("LIF.v_threshold", "more than v_reset", "a value that is not", "raise v_threshold")

    def dynamics(self) -> Dynamics:
        """Coefficients of the membrane; see `neurospin.scan`."""
        c = self.constants()
        assert self.dt is not None
        return membrane(
            self.dt, c["tau_mem"], c["r"], c["v_leak"], v_threshold=c["v_threshold"],
            v_reset=c["v_reset"] if self.reset == "value" else None, surrogate=self.surrogate,
        )  # fmt: skip

    def to_nir(self, dt: float) -> nir.NIRNode:
        """`nir.LIF`; reset by subtraction is told in the graph's metadata."""
        f = self._full
        return nir.LIF(
            tau=f("tau_mem"), r=f("r"), v_leak=f("v_leak"), v_threshold=f("v_threshold"), v_reset=f("v_reset")
        )

    def rate_twin(self) -> Rate:
        """A leaky rectified unit with the same time constant, resistance and leak."""
        return as_rate(self)

    def config(self) -> dict[str, Any]:
        """Adds the reset mode and the surrogate."""
        described = {"kind": type(self.surrogate).__name__, **vars(self.surrogate)}
        return {**super().config(), "reset": self.reset, "surrogate": described}
