"""The time loop of every neuron.

One `Dynamics` describes any of them. With an input `x[t]` and the state after the previous step::

    i[t] = synapse_decay · i[t−1] + synapse_gain · x[t]        (neurons with a synaptic current; else i = x)
    u[t] = decay · v[t−1] + (gain · i[t] + leak)
    θ[t] = threshold + adaptation · a[t−1]                     (neurons that adapt; else θ = threshold)
    s[t] = 1 if u[t] > θ[t] else 0                             (strict)
    v[t] = reset where s[t] else u[t]                          (reset to a value)
    v[t] = u[t] − threshold · s[t]                             (reset by subtraction)
    a[t] = adapt_decay · a[t−1] + s[t]

While refractory, `s[t] = 0` and `v[t] = v[t−1]`; currents and adaptation go on. With a delayed reset
`v[t] = u[t]`, and the spike of `v[t−1]` resets the voltage in step `t`.

This is forward Euler of `τ dv/dt = (v_leak − v) + r i` with `decay = 1 − dt/τ`, `gain = r dt/τ`,
`leak = v_leak dt/τ`. Networks and the interpreter of graphs call the same function with the same
numbers, so that their spikes are equal, every one.
"""

from __future__ import annotations

from torch import Tensor

from neurospin.scan import reference
from neurospin.scan.delay import delay as delay
from neurospin.scan.dynamics import Dynamics as Dynamics
from neurospin.scan.dynamics import Scan as Scan
from neurospin.scan.dynamics import membrane as membrane
from neurospin.types import State


def scan(current: Tensor, state: State, dynamics: Dynamics, *, voltage: bool = False) -> Scan:
    """Run a neuron block over a whole sequence.

    Args:
        current: input of shape `(time, batch, *neuron)`.
        state: state before the first step, each `(batch, *neuron)`: synaptic current, adaptation and
            refractory steps left, where the dynamics have them, and the voltage last.
        dynamics: the neuron's coefficients.
        voltage: whether to give the voltage of every step as well.
    """
    return reference.scan(current, state, dynamics, voltage=voltage)
