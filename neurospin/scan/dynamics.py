"""`Dynamics`: the coefficients of one neuron block, and how they follow from time constants."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from torch import Tensor

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
        reset: voltage after a spike; `None` for reset by subtraction of the threshold.
        synapse_decay: of the synaptic current, per step; `None` for neurons without one.
        synapse_gain: synaptic current per unit of input and step.
        adapt_decay: of the adaptation, per step; `None` for neurons without one.
        adaptation: how much the threshold rises per unit of adaptation.
        refractory: steps after a spike in which the voltage is held and no spike comes; `None` for none.
        delayed_reset: the reset of a spike acts in the next step: subtraction after the leak, reset to a
            value before it; the voltage is the one before the reset (snnTorch's default).
        reset_gradient: whether the gradient also flows through the spike in the reset.
        surrogate: derivative of the spike in the backward pass.
        packed: the coefficients as the compiled loops read them, where the neuron keeps them.
    """

    decay: Tensor
    gain: Tensor
    leak: Tensor
    threshold: Tensor | None = None
    reset: Tensor | None = None
    synapse_decay: Tensor | None = None
    synapse_gain: Tensor | None = None
    adapt_decay: Tensor | None = None
    adaptation: Tensor | None = None
    refractory: Tensor | None = None
    delayed_reset: bool = False
    reset_gradient: bool = False
    surrogate: Surrogate = field(default_factory=ArcTan)
    packed: Tensor | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def rows(self) -> tuple[Tensor | None, ...]:
        """The ten coefficients in the order of the compiled loops."""
        return (self.decay, self.gain, self.leak, self.threshold, self.reset, self.synapse_decay, self.synapse_gain,
                self.adapt_decay, self.adaptation, self.refractory)  # fmt: skip

    @property
    def states(self) -> int:
        """How many state variables: synaptic current, adaptation, refractory steps left (where there are), voltage."""
        return 1 + sum(x is not None for x in (self.synapse_decay, self.adapt_decay, self.refractory))


class Scan(NamedTuple):
    """What a scan gives.

    Attributes:
        output: spikes, or voltages where there is no threshold, `(time, batch, *neuron)`.
        voltage: voltage after the reset, same shape; `None` unless it was asked for.
        state: after the last step, each `(batch, *neuron)`.
    """

    output: Tensor
    voltage: Tensor | None
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
    tau_adapt: Tensor | None = None,
    adaptation: Tensor | None = None,
    refractory: Tensor | None = None,
    delayed_reset: bool = False,
    reset_gradient: bool = False,
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
        tau_adapt: time constant of the adaptation in seconds; `None` for neurons without one.
        adaptation: how much one spike raises the threshold.
        refractory: period in seconds, rounded to whole steps; `None` for none.
        delayed_reset: the reset acts in the next step; see `Dynamics`.
        reset_gradient: gradient through the spike in the reset (default `False`).
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
        adapt_decay=None if tau_adapt is None else 1 - dt / tau_adapt,
        adaptation=adaptation,
        refractory=None if refractory is None else (refractory / dt).round(),
        delayed_reset=delayed_reset,
        reset_gradient=reset_gradient,
        surrogate=surrogate or ArcTan(),
    )
