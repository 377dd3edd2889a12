"""The time loop in plain torch: any dtype, any device, differentiable any number of times."""

from __future__ import annotations

import torch
from torch import Tensor

from neurospin.scan.dynamics import Dynamics, Scan
from neurospin.surrogate import Smooth, spike
from neurospin.types import State


def step(current: Tensor, state: State, dynamics: Dynamics, given: Tensor | None = None) -> tuple[Tensor, State]:
    """One step of `neurospin.scan.scan`: input `(batch, *neuron)` to output and new state.

    `given` are the spikes, where they are known already; their gradient stays the surrogate's.
    """
    d, before, after = dynamics, list(state), []
    if d.synapse_decay is not None and d.synapse_gain is not None:
        current = d.synapse_decay * before.pop(0) + d.synapse_gain * current
        after.append(current)
    v = before[-1]
    drive = d.gain * current + d.leak
    if d.threshold is None:
        u = d.decay * v + drive
        return u, (*after, u)
    if d.delayed_reset:
        fired = v > d.threshold
        u = d.decay * v + drive - d.threshold * fired if d.reset is None else (
            d.decay * torch.where(fired, d.reset, v) + drive
        )  # fmt: skip
        out = spike(u - d.threshold, d.surrogate)
        return (out if given is None else out + (given - out).detach()), (*after, u)
    u = d.decay * v + drive
    threshold = d.threshold
    if d.adapt_decay is not None and d.adaptation is not None:
        threshold = threshold + d.adaptation * before[0]
    out = spike(u - threshold, d.surrogate)
    if d.refractory is not None:
        out = torch.where(before[-2] > 0, torch.zeros_like(out), out)
    if given is not None:
        out = out + (given - out).detach()
    smooth = isinstance(d.surrogate, Smooth)
    cause = out if d.reset_gradient or smooth else out.detach()
    if d.reset is not None and smooth:
        new = u + out * (d.reset - u)
    elif d.reset is None:
        new = u - d.threshold * cause
    else:
        # not u + s (reset − u): a voltage that spiked must be the reset value exactly; what is added is
        # zero and carries the gradient through the spike
        new = torch.where(out > 0, d.reset, u)
        if d.reset_gradient:
            new = new + (out - out.detach()) * (d.reset - u)
    if d.adapt_decay is not None:
        after.append(d.adapt_decay * before.pop(0) + out)
    if d.refractory is not None:
        new = torch.where(before[0] > 0, v, new)
        after.append(torch.where(out > 0, d.refractory, (before[0] - 1).clamp(min=0)))
    return out, (*after, new)


def scan(
    current: Tensor, state: State, dynamics: Dynamics, *, voltage: bool = False, spikes: Tensor | None = None
) -> Scan:
    """See `neurospin.scan.scan`; `spikes` as `given` in `step`."""
    outputs, voltages = [], []
    known = [None] * current.shape[0] if spikes is None else spikes.unbind(0)
    # unbind, not current[t]: indexing makes the backward pass quadratic in time
    for x, given in zip(current.unbind(0), known, strict=True):
        out, state = step(x, state, dynamics, given)
        outputs.append(out)
        if voltage:
            voltages.append(state[-1])
    return Scan(torch.stack(outputs), torch.stack(voltages) if voltage else None, state)
