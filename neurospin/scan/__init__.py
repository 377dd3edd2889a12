"""The time loop of every neuron.

One `Dynamics` describes any of them. With an input `x[t]` and the state after the previous step::

    i[t] = synapse_decay · i[t−1] + synapse_gain · x[t]        (neurons with a synaptic current; else i = x)
    u[t] = decay · v[t−1] + (gain · i[t] + leak)
    s[t] = 1 if u[t] > threshold else 0                        (strict)
    v[t] = reset where s[t] else u[t]                          (reset to a value)
    v[t] = u[t] − threshold · s[t]                             (reset by subtraction)

This is forward Euler of `τ dv/dt = (v_leak − v) + r i` with `decay = 1 − dt/τ`, `gain = r dt/τ`,
`leak = v_leak dt/τ`. Networks and the interpreter of graphs call the same function with the same
numbers, so that their spikes are equal, every one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from torch import Tensor

from neurospin.scan import reference
from neurospin.surrogate import ArcTan, Surrogate
from neurospin.types import State


@dataclass(frozen=True)
class Dynamics:
    """The coefficients of one neuron block; each a tensor that broadcasts to the neuron's shape.

    Attributes:
        decay: of the membrane, per step.
        gain: membrane units per unit of current and step.
        leak: constant drive per step.
        threshold: of the spike; `None` for a neuron whose output is its voltage.
        reset: voltage after a spike; `None` for reset by subtraction.
        synapse_decay: of the synaptic current, per step; `None` for neurons without one.
        synapse_gain: synaptic current per unit of input and step.
        surrogate: derivative of the spike in the backward pass.
    """

    decay: Tensor
    gain: Tensor
    leak: Tensor
    threshold: Tensor | None = None
    reset: Tensor | None = None
    synapse_decay: Tensor | None = None
    synapse_gain: Tensor | None = None
    surrogate: Surrogate = field(default_factory=ArcTan)

    @property
    def states(self) -> int:
        """How many state variables a neuron has: membrane, and a synaptic current where there is one."""
        return 1 if self.synapse_decay is None else 2


class Scan(NamedTuple):
    """What a scan gives: output and voltage `(time, batch, *neuron)`, and the state after the last step."""

    output: Tensor
    voltage: Tensor
    state: State


def membrane(
    dt: float,
    tau: Tensor | None,
    r: Tensor,
    v_leak: Tensor | None = None,
    *,
    v_threshold: Tensor | None = None,
    v_reset: Tensor | None = None,
    tau_syn: Tensor | None = None,
    w_in: Tensor | None = None,
    surrogate: Surrogate | None = None,
) -> Dynamics:
    """Coefficients from time constants, by forward Euler.

    Args:
        dt: step in seconds.
        tau: membrane time constant in seconds; `None` for a pure integrator, `dv/dt = r i`.
        r: resistance.
        v_leak: voltage to which the membrane leaks (default 0).
        v_threshold: of the spike; `None` for a readout.
        v_reset: voltage after a spike; `None` for reset by subtraction.
        tau_syn: synaptic time constant in seconds; `None` for neurons without a synaptic current.
        w_in: weight of the input of the synaptic current (default 1).
        surrogate: derivative of the spike (default `ArcTan()`).
    """
    zero = r.new_zeros(())
    rate = dt / tau if tau is not None else r.new_full((), dt)
    synapse = dt / tau_syn if tau_syn is not None else None
    return Dynamics(
        decay=1 - rate if tau is not None else r.new_ones(()),
        gain=rate * r,
        leak=rate * v_leak if v_leak is not None else zero,
        threshold=v_threshold,
        reset=v_reset,
        synapse_decay=None if synapse is None else 1 - synapse,
        synapse_gain=None if synapse is None else (synapse if w_in is None else synapse * w_in),
        surrogate=surrogate or ArcTan(),
    )


def scan(current: Tensor, state: State, dynamics: Dynamics) -> Scan:
    """Run a neuron block over a whole sequence.

    Args:
        current: input of shape `(time, batch, *neuron)`.
        state: state before the first step, each `(batch, *neuron)`: `(v,)` or `(i, v)`.
        dynamics: the neuron's coefficients.

    Returns:
        Spikes (or voltages, where there is no threshold), voltages after the reset, and the state
        after the last step.
    """
    return Scan(*reference.scan(current, state, dynamics))
