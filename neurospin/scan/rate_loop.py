"""`rate_scan`: the time loop of rate neurons that feed themselves through all-to-all synapses."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear, softplus

from neurospin.scan.dynamics import Dynamics, Scan
from neurospin.scan.reference import step
from neurospin.types import State


def rate_scan(
    current: Tensor,
    state: State,
    dynamics: Dynamics,
    threshold: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    first: Tensor,
    *,
    rectified: bool,
    voltage: bool = False,
) -> Scan:
    """Run rate neurons whose input in step t is `current[t] + W r[t−1] + b`, with `r = f(v − threshold)`.

    Neurons without a synaptic current go back in time with one matrix product and four vector operations per step.

    Args:
        current: from outside, `(time, batch, neurons)`.
        state: before the first step, as for `scan`.
        dynamics: the membrane's coefficients.
        threshold: voltage at which the rate starts.
        weight: W, `(neurons, neurons)`, from column to row.
        bias: b, `(neurons,)`.
        first: what the synapses give in step 0, `(batch, neurons)`.
        rectified: f is `max(0, ·)`; else `log(1 + exp(·))`.
        voltage: whether to give the voltage of every step as well.
    """
    if dynamics.synapse_decay is not None or torch.compiler.is_compiling() or current.ndim != 3:
        return _plain(current, state, dynamics, threshold, weight, bias, first, rectified)
    coefficients = (dynamics.decay, dynamics.gain, dynamics.leak, threshold)
    rate, v = _Loop.apply(rectified, current, state[0], weight, bias, first, *coefficients)  # type: ignore[misc]
    return Scan(rate, v if voltage else None, (v[-1],))


def output(voltage: Tensor, threshold: Tensor, rectified: bool) -> Tensor:
    """The rate of a voltage."""
    return torch.relu(voltage - threshold) if rectified else softplus(voltage - threshold)


def _plain(
    current: Tensor, state: State, dynamics: Dynamics, threshold: Tensor, weight: Tensor, bias: Tensor | None,
    first: Tensor, rectified: bool,
) -> Scan:  # fmt: skip
    rates, voltages, back = [], [], first
    for x in current.unbind(0):
        v, state = step(x + back, state, dynamics)
        rates.append(output(v, threshold, rectified))
        voltages.append(v)
        back = linear(rates[-1], weight, bias)
    return Scan(torch.stack(rates), torch.stack(voltages), state)


class _Loop(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, rectified: bool, x: Tensor, v: Tensor, weight: Tensor, bias: Tensor | None, first: Tensor,
        decay: Tensor, gain: Tensor, leak: Tensor, threshold: Tensor,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        found = _plain(x, (v,), Dynamics(decay, gain, leak), threshold, weight, bias, first, rectified)
        assert found.voltage is not None
        ctx.rectified = rectified
        ctx.save_for_backward(found.output, found.voltage, x, v, weight, bias, first, decay, gain, leak, threshold)
        return found.output, found.voltage

    @staticmethod
    def backward(ctx: Any, g: Tensor, direct: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        if torch.is_grad_enabled():  # a second derivative is wanted
            return _again(ctx, g, direct)
        r, v, x, v0, weight, bias, first, decay, gain, leak, threshold = ctx.saved_tensors
        slope = (r > 0).to(r.dtype) if ctx.rectified else torch.sigmoid(v - threshold)
        through = gain.expand(x.shape[2])[:, None] * weight  # from the voltage of a step to the rate of the one before
        gv, ga = torch.empty_like(v), torch.empty_like(v)  # gradients of the voltages, and of them by the rates alone
        later = returned = torch.zeros_like(v0)
        for t in range(len(v) - 1, -1, -1):
            torch.mul(g[t] + returned, slope[t], out=ga[t])
            torch.add(ga[t], later, out=gv[t])
            gv[t] += direct[t]
            later = decay * gv[t]
            returned = gv[t] @ through
        gx = gain * gv
        before = torch.cat([v0[None], v[:-1]])
        total = x + torch.cat([first[None], linear(r[:-1], weight, bias)])
        dw = gx[1:].flatten(0, 1).T @ r[:-1].flatten(0, 1)
        db = None if bias is None else gx[1:].sum((0, 1))
        each = zip((gv * before, gv * total, gv, -ga), (decay, gain, leak, threshold), strict=True)
        return None, gx, later, dw, db, gx[0], *(value.sum_to_size(c.shape) for value, c in each)


def _again(ctx: Any, g: Tensor, direct: Tensor) -> tuple[Tensor | None, ...]:
    """The same gradients as functions that can be differentiated."""
    _, _, x, v, weight, bias, first, decay, gain, leak, threshold = ctx.saved_tensors
    inputs = (x, v, weight, bias, first, decay, gain, leak, threshold)
    with torch.enable_grad():
        found = _plain(x, (v,), Dynamics(decay, gain, leak), threshold, weight, bias, first, ctx.rectified)
    needs = ctx.needs_input_grad[1:]
    wanted = [t for t, need in zip(inputs, needs, strict=True) if need]
    each = iter(
        torch.autograd.grad([found.output, found.voltage], wanted, [g, direct], create_graph=True, allow_unused=True)  # type: ignore[arg-type]
    )
    return None, *(next(each) if need else None for need in needs)
