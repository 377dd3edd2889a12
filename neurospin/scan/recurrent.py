"""`recurrent_scan`: the time loop of neurons that feed themselves through all-to-all synapses."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import linear

from neurospin.scan.dynamics import Dynamics, Scan
from neurospin.scan.reference import step
from neurospin.surrogate import ArcTan, Smooth
from neurospin.types import State

_SHARED = 2**23
"""Multiplications of one step of the backward pass from which torch's threads are worth their start."""

_NAMES = ("decay", "gain", "leak", "threshold", "reset", "synapse_decay", "synapse_gain")


def recurrent_scan(
    current: Tensor,
    state: State,
    dynamics: Dynamics,
    weight: Tensor,
    bias: Tensor | None = None,
    first: Tensor | None = None,
    *,
    voltage: bool = False,
) -> Scan:
    """Run neurons whose input in step t is `current[t] + W s[t−1] + b`.

    LIF and CubaLIF in float32 on the CPU run event-driven: each step adds only the columns of W whose
    neurons fired, in ascending order (other neurons, delayed resets to a value, other dtypes and devices: a loop
    of torch operations). The backward pass is one small matrix product per step, and a weight gradient that visits spikes only.

    Args:
        current: from outside, `(time, batch, neurons)`.
        state: before the first step, as for `scan`.
        dynamics: the neuron's coefficients.
        weight: W, `(neurons, neurons)`, from column to row.
        bias: b, `(neurons,)`; also acts in step 0.
        first: what the synapses give in step 0, `(batch, neurons)`: `W s[−1] + b` where a run goes on;
            default b.
        voltage: whether to give the voltage of every step as well.
    """
    if first is None:
        first = current.new_zeros(current.shape[1:]) if bias is None else bias.expand(current.shape[1:])
    given = [None if getattr(dynamics, name) is None else getattr(dynamics, name) for name in _NAMES]
    tensors = [t for t in (current, *state, weight, bias, first, *given) if t is not None]
    if not _event_driven(dynamics, tensors):
        return _reference(current, state, dynamics, weight, bias, first, voltage)
    synaptic = state[0] if dynamics.states == 2 else None
    s, v, i, voltages = _Recurrent.apply(  # type: ignore[misc]
        dynamics, voltage, current, synaptic, state[-1], weight, bias, first, *given
    )
    return Scan(s, voltages, (v,) if i is None else (i, v))


def _event_driven(dynamics: Dynamics, tensors: list[Tensor]) -> bool:
    d = dynamics
    return (
        d.threshold is not None
        and d.adapt_decay is None
        and d.refractory is None
        and not (d.delayed_reset and (d.reset is not None or d.reset_gradient))
        and not isinstance(d.surrogate, Smooth)
        and not torch.compiler.is_compiling()
        and not torch._C._are_functorch_transforms_active()
        and not torch.is_autocast_enabled("cpu")
        and all(type(t) in (Tensor, torch.nn.Parameter) for t in tensors)
        and all(t.dtype == torch.float32 and t.device.type == "cpu" for t in tensors)
    )


def _reference(
    current: Tensor, state: State, dynamics: Dynamics, weight: Tensor, bias: Tensor | None, first: Tensor, voltage: bool
) -> Scan:
    outputs, voltages = [], []
    back = first
    for x in current.unbind(0):
        out, state = step(x + back, state, dynamics)
        back = linear(out, weight, bias)
        outputs.append(out)
        voltages.append(state[-1])
    return Scan(torch.stack(outputs), torch.stack(voltages) if voltage else None, state)


def _after_reset(u: Tensor, s: Tensor, dynamics: Dynamics) -> Tensor:
    if dynamics.delayed_reset:
        return u
    if dynamics.reset is not None:
        return torch.where(s > 0, dynamics.reset, u)
    assert dynamics.threshold is not None
    return u - dynamics.threshold * s


def _coefficients(given: tuple[Tensor | None, ...], neurons: int) -> Tensor:
    table = torch.zeros(len(given), neurons)
    for row, value in zip(table, given, strict=True):
        if value is not None:
            row.copy_(value.detach().expand(neurons))
    return table


class _Recurrent(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, dynamics: Dynamics, voltage: bool, x: Tensor, synaptic: Tensor | None, v: Tensor, weight: Tensor,
        bias: Tensor | None, first: Tensor, *given: Tensor | None,
    ) -> tuple[Tensor | None, ...]:  # fmt: skip
        from neurospin.scan import recurrent_cpu

        x_, w, start, table = x.contiguous(), weight.contiguous(), first.contiguous(), _coefficients(given, len(weight))
        b = weight.new_zeros(len(weight)) if bias is None else bias.contiguous()
        v_end = v.clone(memory_format=torch.contiguous_format)
        i_end = None if synaptic is None else synaptic.clone(memory_format=torch.contiguous_format)
        s, u = torch.empty_like(x_), torch.empty_like(x_)
        i = torch.empty_like(x_) if synaptic is not None else x_[:0]
        recurrent_cpu.forward(
            *(t.detach().numpy() for t in (x_, start, w, b, table)), dynamics.reset is not None, dynamics.delayed_reset,
            *(t.detach().numpy() for t in (v_end if i_end is None else i_end, v_end, s, u, i)),
        )  # fmt: skip
        ctx.dynamics, ctx.table = dynamics, table
        ctx.save_for_backward(s, u, i, x, synaptic, v, weight, bias, first, *given)
        return s, v_end, i_end, _after_reset(u, s, dynamics) if voltage else None

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        s, u, i, x, synaptic, _v, weight, _bias, _first, *_given = ctx.saved_tensors
        if torch.is_grad_enabled():  # a second derivative is wanted
            return _again(ctx, gradients)
        from neurospin.scan import recurrent_cpu
        from neurospin.scan.panels import panels

        d, needs = ctx.dynamics, ctx.needs_input_grad
        gs = (torch.zeros_like(s) if gradients[0] is None else gradients[0]).contiguous()
        later, current = (
            x.new_zeros(x.shape[1:]) if g is None else g.clone(memory_format=torch.contiguous_format)
            for g in gradients[1:3]
        )
        arctan = d.surrogate.slope if isinstance(d.surrogate, ArcTan) else 0.0
        slope = u if arctan else d.surrogate.derivative(u - d.threshold)
        gu, gi, gx = (
            (torch.empty_like(s) for _ in range(3)) if len(i) else (torch.empty_like(s), s, torch.empty_like(s))
        )
        lam = None if gradients[3] is None else gradients[3].contiguous()  # dL/dv of every step
        last, returned = later.clone(), torch.zeros_like(later)
        arrays = [t.detach().numpy() for t in (gs, s[:0] if lam is None else lam, slope, s, u, gu, gi, gx)]
        w, back = weight.detach().contiguous(), returned.numpy()

        def steps(low: int, high: int, packed: np.ndarray) -> None:
            g, direct, slopes, spikes, before, *results = (a[low:high] for a in arrays)
            recurrent_cpu.backward(
                g, direct, back, packed, np.float32(arctan), slopes, spikes, before, ctx.table.numpy(),
                d.reset is not None, d.reset_gradient, len(i) > 0, later.numpy(), current.numpy(), *results,
            )  # fmt: skip

        if torch.get_num_threads() > 1 and s.shape[1] * w.numel() > _SHARED:
            for t in range(len(s) - 1, -1, -1):
                steps(t, t + 1, panels(w[:, :0].numpy()))
                torch.mm(gx[t], w, out=returned)
        else:
            steps(0, len(s), panels(w.numpy()))
        dw = _weight_gradient(gx, s) if needs[5] else None
        db = gx[1:].sum((0, 1)) if needs[6] else None
        coefficients = [None] * 7
        if any(needs[8:]):
            coefficients = _coefficient_gradients(ctx, gu, gi, torch.zeros_like(s) if lam is None else lam, last)
        return None, None, gx, current if synaptic is not None else None, later, dw, db, gx[0].clone(), *coefficients


def _weight_gradient(gx: Tensor, s: Tensor) -> Tensor:
    """`Σ gx[t] s[t−1]ᵀ`."""
    from neurospin.scan import gather

    after, before = gx[1:].flatten(0, 1), s[:-1].flatten(0, 1)
    spikes = gather.find(before.numpy(), 0.2)
    return after.t() @ before if spikes is None else torch.from_numpy(gather.outer(spikes, after.numpy(), s.shape[2]))


def _coefficient_gradients(ctx: Any, gu: Tensor, gi: Tensor, direct: Tensor, last: Tensor) -> list[Tensor | None]:
    """Gradients of decay, gain, leak, threshold, reset, synapse_decay and synapse_gain, where they are wanted."""
    d = ctx.dynamics
    s, u, i, x, synaptic, v, weight, bias, first, *given = ctx.saved_tensors
    lam = direct + torch.cat([d.decay * gu[1:], last[None]])  # the gradient of the voltage after each step
    v_before = torch.cat([v[None], _after_reset(u, s, d)[:-1]])
    total = x + torch.cat([first[None], linear(s[:-1], weight, bias)])
    drive, i_before = total, total
    if len(i):
        drive, i_before = i, torch.cat([synaptic[None], i[:-1]])
    kept = lam if d.reset is None else lam * (1 - s)
    subtracted = gu * (v_before > d.threshold) if d.delayed_reset else s * lam if d.reset is None else 0
    everywhere = (
        gu * v_before, gu * drive, gu,
        kept - gu - subtracted, s * lam, *((gi * i_before, gi * total) if len(i) else (gu, gu)),
    )  # fmt: skip
    return [
        g.sum_to_size(c.shape) if c is not None and needed else None
        for g, c, needed in zip(everywhere, given, ctx.needs_input_grad[8:], strict=True)
    ]


def _again(ctx: Any, gradients: tuple[Tensor | None, ...]) -> tuple[Tensor | None, ...]:
    """The same gradients as functions that can be differentiated, by the loop of torch operations."""
    _, _, _, x, synaptic, v, weight, bias, first, *given = ctx.saved_tensors
    inputs = (x, synaptic, v, weight, bias, first, *given)
    dynamics = replace(ctx.dynamics, **dict(zip(_NAMES, given, strict=True)))
    state = (v,) if synaptic is None else (synaptic, v)
    with torch.enable_grad():
        result = _reference(x, state, dynamics, weight, bias, first, True)
    ends = result.state if synaptic is not None else (result.state[0],)
    outputs = [result.output, ends[-1], None if synaptic is None else ends[0], result.voltage]
    both = zip(outputs, gradients, strict=True)
    pairs = [(y, g) for y, g in both if y is not None and g is not None and y.requires_grad]
    wanted = [t for t, need in zip(inputs, ctx.needs_input_grad[2:], strict=True) if need]
    found = iter(
        torch.autograd.grad([y for y, _ in pairs], wanted, [g for _, g in pairs], create_graph=True, allow_unused=True)
    )
    return None, None, *(next(found) if need else None for need in ctx.needs_input_grad[2:])
