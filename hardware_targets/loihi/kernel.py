"""The chip's loop in whole numbers (numba, compiled when first used and then cached).

Since every synapse takes a step, all populations step together, loops or not. Each sample runs alone, so that
its state stays in the first-level cache, and the chip's products need 32 bits only: with `n = 4096 h + l`,

    trunc(n k / 4096) = sign(n) (|h| k + (|l| k >> 12)),    |n| ≤ 2²³, k ≤ 4096

A spike adds its source's row of weights to the sums: work goes with the spikes, not with the synapses. Rows
that are mostly empty (convolutions) are lists of targets.
"""

# pyright: reportCallIssue=false, reportIndexIssue=false
from __future__ import annotations

import numba
import numpy as np

I32, I16 = np.int32, np.int16
U, V, BIAS, THRESHOLD, KEEP_U, KEEP_V = range(6)
SOURCE, TARGET, LAG, EXPONENT, DENSE, FIRST = range(6)


PLACES = np.array([(*(i for i in range(8) if byte >> i & 1), *[0] * 8)[:8] for byte in range(256)], np.int32)
"""Which bits of a byte are set, in their order."""
ONES = (np.arange(256)[:, None] >> np.arange(8) & 1).sum(axis=1)
"""How many."""
BLOCK = 16
"""Samples that go through time together: their state fits the cache, and what they read lies together."""
TO_BITS = np.uint64(0x0102040810204080)
"""Eight bytes of 0 or 1, as one number, times this: a bit of the highest byte for each."""


@numba.njit(inline="always")
def _decayed(n, k):
    size = I32(abs(n))
    kept = I32(I32(size >> I32(12)) * k) + I32(I32(I32(size & I32(4095)) * k) >> I32(12))
    return I32(kept) if n >= I32(0) else I32(-kept)


@numba.njit(inline="always")
def _listed(words, width, places):
    """Fill places with the positions of the ones among `width` bytes, eight at a time, and count them."""
    n = 0
    for word in range((width + 7) // 8):
        if words[word] == 0:
            continue
        bits = (words[word] * TO_BITS) >> np.uint64(56)
        found, base = PLACES[bits], I32(8 * word)
        for k in range(8):
            places[n + k] = base + found[k]
        n += ONES[bits]
    return n


@numba.njit(cache=True, nogil=True, error_model="numpy")
def run(
    given, bounds, waits, neurons, projections, rows, starts, targets, values, sums, ring, spikes, volts, before, at, fired
):  # fmt: skip
    """Run every sample; fills spikes, volts, before and how often every source fired.

    Args:
        given: zeros and ones of the input, uint8 `(time, batch, inputs)`.
        bounds: where each source begins among all sources; the input is source 0, populations follow.
        waits: first step of each population.
        neurons: int32 `(6, neurons)`: u and v before the first step, bias, threshold, kept of u and of v.
        projections: int64 `(projections, 6)`: source, target population, lag, exponent, whether rows are
            dense, and the row of the first source.
        rows: int16 `(dense rows, widest target)`.
        starts: where the list of each sparse row begins; one more at the end.
        targets: of the lists.
        values: their weights, int16.
        sums: scratch `(widest target,)`, int16 where no sum of weights passes 15 bits, else int32.
        ring: longest lag plus one.
        spikes: uint8 `(time, batch, recorded)`.
        volts: int32 `(time, batch, recorded)`, after the reset.
        before: int32 `(time, batch, recorded)`, before it.
        at: int64 `(3, populations)`: column in spikes, volts and before; -1 where not wanted.
        fired: int64, one entry per source neuron.
    """
    steps, batch, inputs = given.shape
    groups = bounds.size - 1
    total = bounds[groups]
    states = np.empty((BLOCK, 2, total - inputs), np.int32)
    all_lists = np.empty((BLOCK, ring, total + 8), np.int32)  # eight are written at a time
    all_counts = np.zeros((BLOCK, ring, groups), np.int64)
    widest = sums.size
    arriving, high = np.zeros(widest, np.int32), np.zeros(8 * (max(widest, inputs) // 8 + 1), np.uint8)
    words = high.view(np.uint64)
    sums[:] = 0
    for origin_b in range(0, batch, BLOCK):
        block = min(BLOCK, batch - origin_b)
        for c in range(block):
            states[c, 0], states[c, 1] = neurons[U], neurons[V]
        all_counts[:] = 0
        for t in range(steps):
            for c in range(block):
                b, state, lists, counts = origin_b + c, states[c], all_lists[c], all_counts[c]
                now = t % ring
                high[:inputs] = given[t, b]
                high[inputs : inputs + 7 & ~7] = 0
                n = _listed(words, inputs, lists[now])
                counts[now, 0] = n
                for j in range(n):
                    fired[lists[now, j]] += 1
                for g in range(1, groups):
                    counts[now, g] = 0
                    lo, hi = bounds[g] - inputs, bounds[g + 1] - inputs
                    if t < waits[g - 1]:
                        continue
                    w = hi - lo
                    a, total_a = sums[:w], arriving[:w]
                    total_a[:] = 0
                    for p in range(projections.shape[0]):
                        source, lag = projections[p, SOURCE], projections[p, LAG]
                        if projections[p, TARGET] != g or t < lag:
                            continue
                        slot = (t - lag) % ring
                        many, origin = counts[slot, source], bounds[source]
                        if many == 0:
                            continue
                        first, exponent = projections[p, FIRST], projections[p, EXPONENT]
                        if projections[p, DENSE]:
                            q = 0
                            while q + 4 <= many:
                                r0, r1 = (
                                    rows[first + lists[slot, origin + q]],
                                    rows[first + lists[slot, origin + q + 1]],
                                )
                                r2, r3 = (
                                    rows[first + lists[slot, origin + q + 2]],
                                    rows[first + lists[slot, origin + q + 3]],
                                )
                                for k in range(w):
                                    a[k] += r0[k] + r1[k] + r2[k] + r3[k]
                                q += 4
                            while q < many:
                                r0 = rows[first + lists[slot, origin + q]]
                                for k in range(w):
                                    a[k] += r0[k]
                                q += 1
                        else:
                            for q in range(many):
                                row = first + lists[slot, origin + q]
                                for e in range(starts[row], starts[row + 1]):
                                    a[targets[e]] += values[e]
                        left, right = I32(max(exponent, 0) + 6), I32(max(-exponent, 0))
                        for k in range(w):
                            total_a[k] = I32(total_a[k] + I32(I32(I32(a[k]) >> right) << left))
                            a[k] = 0
                    u, v = state[0, lo:hi], state[1, lo:hi]
                    bias, threshold = neurons[BIAS, lo:hi], neurons[THRESHOLD, lo:hi]
                    keep_u, keep_v = neurons[KEEP_U, lo:hi], neurons[KEEP_V, lo:hi]
                    h = high[:w]
                    for k in range(w):
                        new = I32(_decayed(u[k], keep_u[k]) + total_a[k])
                        new = I32(new - I32(1 << 24)) if new > I32(1 << 23) else new
                        u[k] = I32(new + I32(1 << 24)) if new <= I32(-(1 << 23)) else new
                    for k in range(w):
                        new = I32(I32(_decayed(v[k], keep_v[k]) + u[k]) + bias[k])
                        v[k] = min(max(new, I32(-(1 << 23) + 1)), I32((1 << 23) - 1))
                    if at[2, g - 1] >= 0:
                        before[t, b, at[2, g - 1] : at[2, g - 1] + w] = v
                    for k in range(w):
                        h[k] = v[k] > threshold[k]
                    for k in range(w):
                        v[k] = I32(0) if v[k] > threshold[k] else v[k]
                    if at[1, g - 1] >= 0:
                        volts[t, b, at[1, g - 1] : at[1, g - 1] + w] = v
                    if at[0, g - 1] >= 0:
                        spikes[t, b, at[0, g - 1] : at[0, g - 1] + w] = h
                    high[w : w + 7 & ~7] = 0
                    origin = bounds[g]
                    n = _listed(words, w, lists[now, origin:])
                    counts[now, g] = n
                    for k in range(n):
                        fired[origin + lists[now, origin + k]] += 1


@numba.njit(cache=True, nogil=True, error_model="numpy")
def deviation(current, fired, wanted, unit, neurons, wait, error):
    """Add up, for each neuron, the squared error of its voltage below the threshold, before every reset.

    Spikes are given: a wrong one does not change what comes after it.

    Args:
        current: what arrives, int32 `(time, batch, neurons)`.
        fired: whether the neuron spikes, uint8, same shape.
        wanted: voltage below the threshold as it should be, float64, same shape.
        unit: volts of an integer step, `(neurons,)`.
        neurons: as in `run`.
        wait: first step of the population.
        error: float64 `(neurons,)`, added to.
    """
    steps, batch, width = current.shape
    u, v = np.empty(width, np.int32), np.empty(width, np.int32)
    bias, threshold, keep_u, keep_v = neurons[BIAS], neurons[THRESHOLD], neurons[KEEP_U], neurons[KEEP_V]
    for b in range(batch):
        u[:], v[:] = neurons[U], neurons[V]
        for t in range(wait, steps):
            for k in range(width):
                u[k] = I32(_decayed(u[k], keep_u[k]) + current[t, b, k])
                new = I32(I32(_decayed(v[k], keep_v[k]) + u[k]) + bias[k])
                new = min(max(new, I32(-(1 << 23) + 1)), I32((1 << 23) - 1))
                off = (new - threshold[k]) * unit[k] - wanted[t, b, k]
                error[k] += off * off
                v[k] = I32(0) if fired[t, b, k] else new
