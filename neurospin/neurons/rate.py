"""`Rate`: the spiking neuron's rate twin."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import nir
import torch
from torch import nn

from neurospin.errors import GraphError, unknown_name
from neurospin.neurons.base import Neuron, Value
from neurospin.scan import Dynamics, Scan, membrane
from neurospin.types import Spikes, State


class Rate(Neuron):
    """Leaky rectified rate neurons: the rate twin of `LIF`.

    `τ dv/dt = (v_leak − v) + r i`; output `max(0, v − v_threshold)` (rectified) or
    `log(1 + exp(v − v_threshold))` (softplus).

    Args:
        size: shape of the block.
        tau_mem: τ in seconds (default 20 ms).
        v_threshold: voltage at which the rate starts, default 0.
        v_leak: default 0.
        r: resistance, default 1.
        activation: `"rectified"` (default) or `"softplus"`.
        learn: names of constants to be learned.
        dt: step in seconds; `Network` sets it.

    Source: Dayan & Abbott, Theoretical Neuroscience, 2001, chapter 7.2.
    """

    def __init__(
        self,
        size: int | tuple[int, ...],
        tau_mem: Value = 20e-3,
        *,
        v_threshold: Value = 0.0,
        v_leak: Value = 0.0,
        r: Value = 1.0,
        activation: str = "rectified",
        learn: Iterable[str] = (),
        dt: float | None = None,
    ) -> None:
        if activation not in ("rectified", "softplus"):
            raise unknown_name("Rate.activation", activation, ("rectified", "softplus"), "activation")
        self.activation = activation
        values = {"tau_mem": tau_mem, "r": r, "v_leak": v_leak, "v_threshold": v_threshold}
        super().__init__(size, values, learn, dt)

    @staticmethod
    def _bounded(name: str) -> bool:
        return name.startswith("tau")

    def dynamics(self) -> Dynamics:
        """Coefficients of the membrane; see `neurospin.scan`."""
        c = self.constants()
        assert self.dt is not None
        return membrane(self.dt, c["tau_mem"], c["r"], c["v_leak"])

    def scan(self, current: Spikes, state: State | None = None) -> Scan:
        """Rates, voltages and new state for input `(time, batch, *neuron)`."""
        result = super().scan(current, state)
        above = result.voltage - self.constant("v_threshold")
        rate = torch.relu(above) if self.activation == "rectified" else nn.functional.softplus(above)
        return Scan(rate, result.voltage, result.state)

    def to_nir(self, dt: float) -> nir.NIRNode:
        """Refused: NIR has no rate neuron."""
        raise GraphError(
            "Rate",
            "a neuron that NIR can express",
            "a rate neuron",
            "export the spiking network, not its rate twin",
        )

    def rate_twin(self) -> Rate:
        """Itself."""
        return as_rate(self)

    def config(self) -> dict[str, Any]:
        """Adds the activation."""
        return {**super().config(), "activation": self.activation}


def as_rate(neuron: Neuron) -> Rate:
    """Rate neurons with the constants of `neuron`, learned and fixed; rates start at 0 volts."""
    constant = {name: value.detach() for name, value in neuron.constants().items()}
    threshold = constant["v_threshold"] if isinstance(neuron, Rate) else torch.zeros_like(constant["v_threshold"])
    learn = [name for name in neuron.learn if name != "v_reset"]
    return Rate(
        neuron.size, constant["tau_mem"], v_threshold=threshold, v_leak=constant["v_leak"], r=constant["r"],
        learn=learn, dt=neuron.dt,
    )  # fmt: skip
