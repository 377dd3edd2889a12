"""`Rate`: the spiking neuron's rate twin."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from neurospin.errors import unknown_name
from neurospin.neurons.base import Neuron, Value
from neurospin.scan import Scan
from neurospin.scan.rate_loop import output, rate_scan
from neurospin.scan.reference import step
from neurospin.types import Spikes, State


class Rate(Neuron):
    """Leaky rectified rate neurons: the rate twin of spiking neurons. NIR cannot say it.

    `τ dv/dt = (v_leak − v) + r i`; output `max(0, v − v_threshold)` (rectified) or
    `log(1 + exp(v − v_threshold))` (softplus).

    Args:
        size: shape of the block.
        tau_mem: τ in seconds (default 20 ms).
        v_threshold: voltage at which the rate starts, default 0.
        v_leak: default 0.
        r: resistance, default 1.
        tau_syn: time constant in seconds of a synaptic current, `τ_syn di/dt = −i + w_in x`; `None`
            (default) for none.
        w_in: weight of the input of the synaptic current, default 1.
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
        tau_syn: Value | None = None,
        w_in: Value = 1.0,
        activation: str = "rectified",
        learn: Iterable[str] = (),
        dt: float | None = None,
    ) -> None:
        if activation not in ("rectified", "softplus"):
            raise unknown_name("Rate.activation", activation, ("rectified", "softplus"), "activation")
        self.activation = activation
        values = {"tau_mem": tau_mem, "r": r, "v_leak": v_leak, "v_threshold": v_threshold}
        if tau_syn is not None:
            values |= {"tau_syn": tau_syn, "w_in": w_in}
        super().__init__(size, values, learn, dt)

    def scan(self, current: Spikes, state: State | None = None, *, voltage: bool = False) -> Scan:
        """Rates, new state, and on request the voltages, for input `(time, batch, *neuron)`."""
        result = super().scan(current, state)
        rate = self._rate(result.output, self.constant("v_threshold"))
        return Scan(rate, result.output if voltage else None, result.state)

    def stepper(self) -> Callable[[Tensor, State], tuple[Tensor, State]]:
        """As of `Neuron`."""
        dynamics, threshold = self.dynamics(), self.constant("v_threshold")

        def one(x: Tensor, state: State) -> tuple[Tensor, State]:
            v, state = step(x, state, dynamics)
            return self._rate(v, threshold), state

        return one

    def recurrent(
        self, current: Spikes, state: State, weight: Tensor, bias: Tensor | None, first: Tensor, voltage: bool = False
    ) -> Scan:
        """As of `Neuron`."""
        return rate_scan(
            current, state, self.dynamics(), self.constant("v_threshold"), weight, bias, first,
            rectified=self.activation == "rectified", voltage=voltage,
        )  # fmt: skip

    def _rate(self, voltage: Tensor, threshold: Tensor) -> Tensor:
        return output(voltage, threshold, self.activation == "rectified")

    def rate_twin(self) -> Rate:
        """Itself."""
        return as_rate(self)

    def config(self) -> dict[str, Any]:
        """Adds the activation."""
        return {**super().config(), "activation": self.activation}


def as_rate(neuron: Neuron) -> Rate:
    """Rate neurons with the constants of `neuron`, learned and fixed; rates start at 0 volts."""
    names = ("tau_mem", "v_leak", "r", "tau_syn", "w_in")
    values = {name: value.detach() for name, value in neuron.constants().items() if name in names}
    start = neuron.constant("v_threshold").detach()
    return Rate(
        neuron.size, v_threshold=start if isinstance(neuron, Rate) else torch.zeros_like(start), **values,
        learn=[name for name in neuron.learn if name in (*names, "v_threshold")], dt=neuron.dt,
        activation=neuron.activation if isinstance(neuron, Rate) else "rectified",
    )  # fmt: skip
