"""The time loop in plain torch: any dtype, any device, differentiable any number of times."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from neurospin.surrogate import spike
from neurospin.types import State

if TYPE_CHECKING:
    from neurospin.scan import Dynamics


def step(current: Tensor, state: State, dynamics: Dynamics) -> tuple[Tensor, State]:
    """One step of `neurospin.scan.scan`: input `(batch, *neuron)` to output and new state."""
    if dynamics.synapse_decay is not None and dynamics.synapse_gain is not None:
        current = dynamics.synapse_decay * state[0] + dynamics.synapse_gain * current
    u = dynamics.decay * state[-1] + (dynamics.gain * current + dynamics.leak)
    if dynamics.threshold is None:
        out = v = u
    else:
        out = spike(u - dynamics.threshold, dynamics.surrogate)
        # not u + s (reset − u): a voltage that spiked must be the reset value exactly
        v = u - dynamics.threshold * out if dynamics.reset is None else torch.where(out > 0, dynamics.reset, u)
    return out, ((v,) if dynamics.synapse_decay is None else (current, v))


def scan(current: Tensor, state: State, dynamics: Dynamics) -> tuple[Tensor, Tensor, State]:
    """See `neurospin.scan.scan`."""
    outputs, voltages = [], []
    # unbind, not current[t]: indexing makes the backward pass quadratic in time
    for x in current.unbind(0):
        out, state = step(x, state, dynamics)
        outputs.append(out)
        voltages.append(state[-1])
    return torch.stack(outputs), torch.stack(voltages), state
