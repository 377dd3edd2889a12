"""The time loop as Triton kernels: one program per block of columns, the state in registers, any number of steps.

Written from the equations of `neurospin.scan.cpu` and with its order of operations, without contraction.
It has been tested in Triton's interpreter only: **it has never run on a GPU**, and its speed is not known.

There is no kernel for refractory periods, delayed resets and learned coefficients: the reference runs them.
"""

# pyright: reportMissingImports=false, reportIndexIssue=false, reportCallIssue=false, reportArgumentType=false
from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from neurospin.scan.spec import MEMORY, ROWS, Spec

BLOCK = 128
HALF_PI: Any = tl.constexpr(1.5707963267948966)


def supports(how: Spec) -> bool:
    """Whether there is a kernel for these dynamics."""
    return not (how.refractory or how.delayed or how.learn)


@triton.jit
def _forward(
    x, p, i0, a0, v0, out, kept, before, volt, i1, a1, v1, steps, columns, neurons,
    SPIKING: tl.constexpr, VALUE: tl.constexpr, SYNAPSE: tl.constexpr, ADAPT: tl.constexpr, SAVE: tl.constexpr,
    TRACE: tl.constexpr, VOLTAGE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    j = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = j < columns
    n = j % neurons  # one coefficient for all: neurons = 1
    decay, gain = tl.load(p + n, inside), tl.load(p + neurons + n, inside)
    leak, threshold = tl.load(p + 2 * neurons + n, inside), tl.load(p + 3 * neurons + n, inside)
    reset = tl.load(p + 4 * neurons + n, inside)
    slow, weight = tl.load(p + 5 * neurons + n, inside), tl.load(p + 6 * neurons + n, inside)
    fade, rise = tl.load(p + 7 * neurons + n, inside), tl.load(p + 8 * neurons + n, inside)
    v = tl.load(v0 + j, inside)
    i = tl.load(i0 + j, inside) if SYNAPSE else v
    a = tl.load(a0 + j, inside) if ADAPT else v
    at = j.to(tl.int64)
    for _ in range(steps):
        current = tl.load(x + at, inside)
        if SYNAPSE:
            i = slow * i + weight * current
            current = i
        u = decay * v + (gain * current + leak)
        if SPIKING:
            bar = threshold
            if ADAPT:
                if TRACE:
                    tl.store(before + at, a, inside)
                bar = threshold + rise * a
            fired = u > bar
            k = tl.where(fired, 1.0, 0.0)
            v = tl.where(fired, reset, u) if VALUE else u - threshold * k
            if ADAPT:
                a = fade * a + k
            tl.store(out + at, k, inside)
        else:
            v = u
            tl.store(out + at, u, inside)
        if SAVE:
            tl.store(kept + at, u, inside)
        if VOLTAGE:
            tl.store(volt + at, v, inside)
        at += columns
    tl.store(v1 + j, v, inside)
    if SYNAPSE:
        tl.store(i1 + j, i, inside)
    if ADAPT:
        tl.store(a1 + j, a, inside)


@triton.jit
def _backward(
    p, out, kept, before, gs, gv, gi1, ga1, gv1, gx, gi0, ga0, gv0, steep, steps, columns, neurons,
    SPIKING: tl.constexpr, VALUE: tl.constexpr, SYNAPSE: tl.constexpr, ADAPT: tl.constexpr, THROUGH: tl.constexpr,
    SHAPE: tl.constexpr, VOLTAGE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    j = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = j < columns
    n = j % neurons
    decay, gain = tl.load(p + n, inside), tl.load(p + neurons + n, inside)
    threshold, reset = tl.load(p + 3 * neurons + n, inside), tl.load(p + 4 * neurons + n, inside)
    slow, weight = tl.load(p + 5 * neurons + n, inside), tl.load(p + 6 * neurons + n, inside)
    fade, rise = tl.load(p + 7 * neurons + n, inside), tl.load(p + 8 * neurons + n, inside)
    lam = tl.load(gv1 + j, inside)
    carry = tl.load(gi1 + j, inside) if SYNAPSE else lam
    grow = tl.load(ga1 + j, inside) if ADAPT else lam
    at = (tl.zeros((BLOCK,), tl.int64) + (steps - 1)) * columns + j
    for _ in range(steps):
        g = tl.load(gs + at, inside)
        later = lam
        if VOLTAGE:
            later = lam + tl.load(gv + at, inside)
        if SPIKING:
            u, k = tl.load(kept + at, inside).to(tl.float32), tl.load(out + at, inside)
            d = u - threshold
            if ADAPT:
                d = u - (threshold + rise * tl.load(before + at, inside))
                g = g + grow
            if SHAPE == 0:  # arc tangent
                z = HALF_PI * steep * d
                phi = steep / 2.0 / (1.0 + z * z)
            elif SHAPE == 1:  # fast sigmoid
                z = 1.0 + steep * tl.abs(d)
                phi = 1.0 / (z * z)
            elif SHAPE == 2:  # triangle
                phi = tl.maximum(1.0 - tl.abs(d) / steep, 0.0)
            elif SHAPE == 3:  # sigmoid
                z = tl.exp(-steep * tl.abs(d))
                phi = steep * z / ((1.0 + z) * (1.0 + z))
            else:  # straight through
                phi = steep + 0.0 * d
            if THROUGH:
                g = g + ((reset - u) * later if VALUE else -threshold * later)
            g = g * phi
            if ADAPT:
                grow = fade * grow - rise * g
            g = g + (tl.where(k > 0.0, 0.0, later) if VALUE else later)
        else:
            g = g + later
        lam = decay * g
        g = gain * g
        if SYNAPSE:
            g = g + carry
            carry = slow * g
            g = weight * g
        tl.store(gx + at, g, inside)
        at -= columns
    tl.store(gv0 + j, lam, inside)
    if SYNAPSE:
        tl.store(gi0 + j, carry, inside)
    if ADAPT:
        tl.store(ga0 + j, grow, inside)


def _states(how: Spec, states: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Synaptic current, adaptation and voltage; the voltage stands for those that there are not."""
    given = iter(states)
    i, a = (next(given) if has else states[-1] for has in (how.synapse, how.adapt))
    return i, a, states[-1]


def _run(
    x: Tensor, p: Tensor, states: list[Tensor], how: Spec, kept: Tensor | None, trace: bool, voltage: bool
) -> tuple[Tensor, list[Tensor], Tensor, Tensor]:
    """Output, last states, adaptation before every step, and voltages; `x` stands for what was not asked for."""
    steps, columns = x.shape[0], x[0].numel()
    out, ends = torch.empty_like(x), [torch.empty_like(s) for s in states]
    before = torch.empty_like(x) if trace and how.adapt else x
    volt = torch.empty_like(x) if voltage else x
    if columns:
        _forward[(triton.cdiv(columns, BLOCK),)](
            x, p, *_states(how, states), out, x if kept is None else kept, before, volt, *_states(how, ends),
            steps, columns, p.shape[1], SPIKING=how.spiking, VALUE=how.value, SYNAPSE=how.synapse, ADAPT=how.adapt,
            SAVE=kept is not None, TRACE=trace, VOLTAGE=voltage, BLOCK=BLOCK, enable_fp_fusion=False,
        )  # fmt: skip
    return out, ends, before, volt


def forward(x: Tensor, p: Tensor, states: list[Tensor], how: Spec) -> list[Tensor]:
    """See `neurospin.scan.fused.scan_forward`."""
    x, p, states = x.contiguous(), p.contiguous(), [s.contiguous() for s in states]
    half = MEMORY[how.memory] == "bfloat16"
    kept = torch.empty_like(x, dtype=torch.bfloat16 if half else torch.float32) if how.stored else None
    out, ends, _, volt = _run(x, p, states, how, kept, False, how.voltage)
    return [out, *ends, *([volt] if how.voltage else []), *([] if kept is None else [kept])]


def backward(
    x: Tensor | None, p: Tensor, states: list[Tensor], out: Tensor, kept: Tensor | None, slope: float,
    gs: Tensor, gv: Tensor | None, gends: list[Tensor], how: Spec, last: bool = False,
) -> list[Tensor]:  # fmt: skip
    """See `neurospin.scan.fused.scan_backward`. Where the loop runs again its voltages are kept for all columns."""
    p, gs, gends = p.contiguous(), gs.contiguous(), [g.contiguous() for g in gends]
    gx, gstates = torch.empty_like(gs), [torch.empty_like(g) for g in gends]
    before = gs
    if how.rerun and x is not None:
        x = x.contiguous()
        kept = torch.empty_like(x)
        out, _, before, _ = _run(x, p, [s.contiguous() for s in states], how, kept, True, False)
    columns = gs[0].numel()
    if columns:
        _backward[(triton.cdiv(columns, BLOCK),)](
            p, out, gs if kept is None else kept, before, gs, gs if gv is None else gv.contiguous(),
            *_states(how, gends), gx, *_states(how, gstates), slope, gs.shape[0], columns, p.shape[1],
            SPIKING=how.spiking, VALUE=how.value, SYNAPSE=how.synapse, ADAPT=how.adapt, THROUGH=how.through,
            SHAPE=how.shape, VOLTAGE=gv is not None, BLOCK=BLOCK, enable_fp_fusion=False,
        )  # fmt: skip
    return [gx, gs.new_zeros((ROWS if how.learn else 0, *gs.shape[1:])), *gstates]
