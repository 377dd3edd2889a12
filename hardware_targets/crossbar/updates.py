"""Parallel pulsed updates: outer products of two vectors, one coincidence of two random pulse trains at a time.

A sample x, d (inputs and errors) asks for `Δw = −lr d xᵀ`. Rows and columns get trains of `slots` slots, in which a
pulse comes with the probability `a |x_j|` or `a |d_i|`, `a = √(lr / (step · slots))`, at most 1. A device takes a step
in the direction −sign(d x) for each of the k slots in which both pulse:

    E[k] = lr |x_j d_i| / step,     Var[k] = slots p (1 − p),  p = p_x p_d        (without clipping)
    up by  step (1 − w / w_max)^ν,  down by  step (1 + w / w_max)^ν               ν = 1: soft bounds, 0: constant step

with ν = 1, k steps lead to `s w_max + (w − s w_max) (1 − step / w_max)^k`, taken to the second order in step / w_max; each
step has a cycle-to-cycle spread, together `noise · step · √k ξ`. This is the model of stochastic updates of
Gokmen and Vlasov 2016 (doi:10.3389/fnins.2016.00333). Devices of one row share its train: marginal laws are exact, devices
of one sample are correlated as on a chip. ξ is read from up to 2²⁰ exact normal deviates, drawn anew in every
call (one in 64 of those that are used), at an offset drawn for every row and sample.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from llvmlite import ir
from numba import extending, njit, types
from torch import Tensor

from hardware_targets.crossbar.readout import STEP, bits, normal
from neurospin.errors import InputError

intrinsic: Any = extending.intrinsic
POOL = 2**20
SLOTS = 31
SPARSE = 0.2  # share of inputs with pulses below which they are listed


@intrinsic
def _coincidences(context: Any, a: Any, b: Any) -> Any:
    """Number of common bits among the lower 31, as float32."""

    def make(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        both = builder.and_(*arguments)
        both = builder.and_(both, ir.Constant(ir.IntType(32), 0x7FFFFFFF))
        return builder.uitofp(builder.ctpop(both), ir.FloatType())

    return types.float32(types.uint32, types.uint32), make


@intrinsic
def _direction(context: Any, a: Any, b: Any) -> Any:
    """1.0 where the top bits are equal, −1.0 where they differ."""

    def make(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        top = builder.and_(builder.xor(*arguments), ir.Constant(ir.IntType(32), 0x80000000))
        return builder.bitcast(builder.or_(top, ir.Constant(ir.IntType(32), 0x3F800000)), ir.FloatType())

    return types.float32(types.uint32, types.uint32), make


@njit(cache=True)
def _trains(values: Any, scale: float, slots: int, flip: bool, seed: int) -> Any:
    """Trains in the lower bits, the sign in the top one: `(samples, lines)`."""
    out = np.zeros(values.shape, np.uint32)
    state = np.uint64(seed)
    for b in range(values.shape[0]):
        for j in range(values.shape[1]):
            v = values[b, j]
            p = min(1.0, scale * abs(v))
            if p > 0:
                limit, mask = np.uint64(p * 4294967296.0), np.uint64(0)
                for slot in range(0, slots, 2):
                    state += STEP
                    word = bits(state)
                    mask |= np.uint64((word & np.uint64(0xFFFFFFFF)) < limit) << np.uint64(slot)
                    if slot + 1 < slots:
                        mask |= np.uint64((word >> np.uint64(32)) < limit) << np.uint64(slot + 1)
                if mask and ((v < 0) != flip):
                    mask |= np.uint64(0x80000000)
                out[b, j] = np.uint32(mask)
    return out


@njit(cache=True, fastmath={"contract", "nsz"})
def _dense(
    w: Any, rows: Any, columns: Any, step: Any, inverse: Any, bend: Any, soft: Any, noise: Any, pool: Any, seed: int
) -> None:
    state, last = np.uint64(seed), np.uint64(len(pool) - w.shape[1])
    half = bend * np.float32(0.5)
    for i in range(w.shape[0]):
        row = w[i]
        for b in range(rows.shape[0]):
            train = rows[b, i]
            if train == 0:
                continue
            state += STEP
            offset = np.int64(bits(state) % last)
            xi, line = pool[offset : offset + len(row)], columns[b]
            if soft:
                for j in range(len(row)):
                    k, s = _coincidences(train, line[j]), _direction(train, line[j])
                    steps = k - half * (k * k - k) + noise * np.sqrt(k) * xi[j]
                    row[j] += (s - row[j] * inverse) * step * steps
            else:
                for j in range(len(row)):
                    k, s = _coincidences(train, line[j]), _direction(train, line[j])
                    moved = row[j] + s * step * (k + noise * np.sqrt(k) * xi[j])
                    row[j] = min(max(moved, -np.float32(1) / inverse), np.float32(1) / inverse)


@njit(cache=True, fastmath={"contract", "nsz"})
def _sparse(
    w: Any,
    rows: Any,
    columns: Any,
    first: Any,
    at: Any,
    step: Any,
    inverse: Any,
    bend: Any,
    soft: Any,
    noise: Any,
    pool: Any,
    seed: int,
) -> None:
    state, last = np.uint64(seed), np.uint64(len(pool) - w.shape[1])
    half, top = bend * np.float32(0.5), np.float32(1) / inverse
    for i in range(w.shape[0]):
        row = w[i]
        for b in range(rows.shape[0]):
            train = rows[b, i]
            if train == 0:
                continue
            state += STEP
            offset = np.int64(bits(state) % last)
            for n in range(first[b], first[b + 1]):
                j = at[n]
                k = _coincidences(train, columns[b, j])
                if k > 0:
                    s = _direction(train, columns[b, j])
                    steps = k + noise * np.sqrt(k) * pool[offset + n - first[b]]
                    if soft:
                        row[j] += (s - row[j] * inverse) * step * (steps - half * (k * k - k))
                    else:
                        row[j] = min(max(row[j] + s * step * steps, -top), top)


def pulsed_update(
    w: Tensor,
    x: Tensor,
    d: Tensor,
    generator: torch.Generator,
    *,
    lr: float,
    step: float = 0.001,
    w_max: float = 0.6,
    noise: float = 0.3,
    soft: bool = True,
    slots: int = SLOTS,
) -> None:
    """Update weights in place by pulse trains, sample after sample.

    Args:
        w: `(out, in)`, float32, contiguous, between −w_max and w_max.
        x: inputs `(samples, in)`.
        d: errors `(samples, out)`; the wanted change is `−lr d xᵀ`, summed over the samples.
        generator: source of everything random.
        lr: learning rate.
        step: of a device at w = 0, default 0.001.
        w_max: bound, default 0.6.
        noise: cycle-to-cycle coefficient of variation of a step, default 0.3.
        soft: ν = 1 (default) or, False, constant steps that stop at the bounds.
        slots: of a train, default 31, the most.

    Raises:
        InputError: shapes that do not fit, values that are not finite, or numbers out of range.
    """
    if w.ndim != 2 or w.dtype != torch.float32 or not w.is_contiguous():
        raise InputError("pulsed_update.w", "a contiguous float32 matrix", f"{w.dtype} {tuple(w.shape)}", "convert it")
    if x.ndim != 2 or d.ndim != 2 or len(x) != len(d) or (d.shape[1], x.shape[1]) != tuple(w.shape):
        got = f"x {tuple(x.shape)}, d {tuple(d.shape)}, w {tuple(w.shape)}"
        raise InputError("pulsed_update", "x (samples, in), d (samples, out), w (out, in)", got, "match the shapes")
    if not bool(torch.isfinite(x).all() and torch.isfinite(d).all()):
        raise InputError("pulsed_update", "finite x and d", "values that are not", "check the error signal")
    fine = all(math.isfinite(v) for v in (lr, step, w_max, noise)) and lr >= 0 and 0 < step < w_max and noise >= 0
    if not (fine and 1 <= slots <= SLOTS):
        got = f"lr {lr!r}, step {step!r}, w_max {w_max!r}, noise {noise!r}, slots {slots!r}"
        raise InputError("pulsed_update", f"lr, noise >= 0, 0 < step < w_max, 1 to {SLOTS} slots", got, "choose others")
    seeds = torch.randint(2**62, (4,), generator=generator).tolist()
    scale = math.sqrt(lr / (step * slots))
    columns = _trains(x.detach().float().numpy(), scale, slots, False, seeds[0])
    rows = _trains(d.detach().float().numpy(), scale, slots, True, seeds[1])
    used = int(np.count_nonzero(columns)) * w.shape[0]
    pool = np.zeros(min(POOL, max(2**14, used // 64)) + w.shape[1], np.float32)
    if noise:
        normal(pool, seeds[2])
    f = np.float32
    common = (f(step), f(1 / w_max), f(step / w_max), soft, f(noise), pool, seeds[3])
    with torch.no_grad():
        held = w.detach().numpy()
        if np.count_nonzero(columns) < SPARSE * columns.size:
            sample, at = np.nonzero(columns)
            first = np.searchsorted(sample, np.arange(len(columns) + 1))
            _sparse(held, rows, columns, first, at, *common)
        else:
            _dense(held, rows, columns, *common)
