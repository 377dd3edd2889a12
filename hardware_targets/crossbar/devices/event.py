"""One pass over junctions for a pulse on both ports: the laws of `magnetic` at 300 K, many devices an instruction.

Exponentials are those of Cephes in float32 (relative error below 2e-7). Draws hash the number of the device and a key
that is drawn for every call; they have 64 bits, so that rare flips stay rare. The noise of gate pulses comes from exact
normal deviates, 2¹⁵ a call at most, read from an offset drawn for every 1024 devices.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import extending, njit, types

from hardware_targets.crossbar.readout import STEP, bits, normal

intrinsic: Any = extending.intrinsic
BLOCK = 1024
POOL = 2**15
_FAST = {"contract", "nsz", "nnan", "reassoc"}


@intrinsic
def _power(context: Any, n: Any) -> Any:
    """2 to a whole power from −126 to 127."""

    def make(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        whole = builder.fptosi(arguments[0], ir.IntType(32))
        biased = builder.add(whole, ir.Constant(ir.IntType(32), 127))
        return builder.bitcast(builder.shl(biased, ir.Constant(ir.IntType(32), 23)), ir.FloatType())

    return types.float32(types.float32), make


@intrinsic
def _uniform(context: Any, number: Any, key: Any, other: Any) -> Any:
    """A deviate in [0, 1] of a number and two keys: two 32-bit hashes as the upper and the lower bits."""

    def make(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        word, constant = ir.IntType(32), lambda value: ir.Constant(ir.IntType(32), value)
        number, *keys = (builder.trunc(x, word) if x.type.width > 32 else x for x in arguments)

        def hashed(x: Any, key: Any) -> Any:
            x = builder.add(x, key)
            for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B), (16, 0x9E3779B1)):
                x = builder.mul(builder.xor(x, builder.lshr(x, constant(shift))), constant(factor))
            return builder.xor(x, builder.lshr(x, constant(15)))

        upper = hashed(number, keys[0])
        lower = hashed(builder.xor(upper, keys[1]), keys[1])
        scale = lambda x, s: builder.fmul(builder.uitofp(x, ir.FloatType()), ir.Constant(ir.FloatType(), s))  # noqa: E731
        return builder.fadd(scale(upper, 2.0**-32), scale(lower, 2.0**-64))

    return types.float32(types.int64, types.uint32, types.uint32), make


@njit(inline="always", error_model="numpy", fastmath=_FAST)
def _exp(x: Any) -> Any:
    x = min(max(x, np.float32(-87)), np.float32(87))
    n = np.floor(x * np.float32(1.44269504) + np.float32(0.5))
    f = x - n * np.float32(0.693359375) + n * np.float32(2.12194440e-4)
    p = np.float32(1.9875691500e-4) * f + np.float32(1.3981999507e-3)
    p = (p * f + np.float32(8.3334519073e-3)) * f + np.float32(4.1665795894e-2)
    p = (p * f + np.float32(1.6666665459e-1)) * f + np.float32(0.5)
    return (p * f * f + f + np.float32(1)) * _power(n)


@njit(cache=True, error_model="numpy", fastmath=_FAST)
def _protection(h: Any, m: Any, out: Any) -> None:
    """`1 / cosh²(m h)`."""
    for j in range(len(h)):
        e = _exp(-m * abs(h[j]))
        e = np.float32(2) * e / (np.float32(1) + e * e)
        out[j] = e * e


@njit(cache=True, error_model="numpy", fastmath=_FAST)
def _chance(parallel: Any, v_scale: Any, volts: Any, gate: Any, protection: Any, law: Any, out: Any) -> None:
    """Switching probability; 1 − e^{−x} by its series where x is small."""
    attempts, up, down, delta, vcma = law
    one = np.float32(1)
    for j in range(len(out)):
        slope = up if parallel[j] < np.float32(0.5) else down
        x = attempts * _exp(slope * volts[j] / v_scale[j] - delta + vcma * gate[j]) * protection[j]
        x = min(x, attempts)
        small = x * (one - x * (np.float32(0.5) - x * np.float32(0.16666667)))
        large = one - _exp(-x)
        out[j] = small if x < np.float32(0.02) else large


@njit(cache=True, error_model="numpy", fastmath=_FAST)
def _flip(
    parallel: Any, chance: Any, stuck: Any, cycles: Any, endurance: Any, first: Any, key: Any, other: Any, out: Any
) -> None:
    for j in range(len(out)):
        flips = (_uniform(first + j, key, other) < chance[j]) & (stuck[j] == 0) & (cycles[j] < endurance)
        out[j] = np.float32(1) - parallel[j] if flips else parallel[j]


@njit(cache=True, error_model="numpy", fastmath=_FAST)
def _count(cycles: Any, volts: Any, acts: Any, out: Any) -> Any:
    """New cycles; pulses, the sum of squared volts, and the most cycles."""
    pulses, squares, most = np.float32(0), np.float32(0), np.float32(0)
    for j in range(len(out)):
        on = acts if volts[j] != np.float32(0) else np.float32(0)
        after = cycles[j] + on
        out[j] = after
        pulses += on
        squares += on * volts[j] * volts[j]
        most = max(most, after)
    return pulses, squares, most


@njit(cache=True, error_model="numpy", fastmath=_FAST)
def _power_through(parallel: Any, r_p: Any, tmr: Any, volts: Any) -> Any:
    """Watts of all junctions before the pulse."""
    watts = np.float32(0)
    for j in range(len(volts)):
        raised = np.float32(1) + tmr[j]
        watts += volts[j] * volts[j] / (r_p[j] * (raised if parallel[j] < np.float32(0.5) else np.float32(1)))
    return watts


@njit(cache=True, error_model="numpy", fastmath=_FAST)
def _moved(h: Any, h_rate: Any, gate: Any, xi: Any, law: Any, out: Any) -> None:
    """h after the gate pulse, whatever the device."""
    inverse, up, down, noise = law
    one, zero = np.float32(1), np.float32(0)
    for j in range(len(out)):
        e = _exp(abs(gate[j]) * inverse)
        left = _exp(-(e - one / e) * (up if gate[j] > zero else down) * h_rate[j])
        rise, fall = (one - h[j]) * (one - left), h[j] * (left - one)
        step = rise if gate[j] > zero else fall
        out[j] = min(max(h[j] + step * (one + noise * xi[j]), zero), one)


@njit(cache=True, error_model="numpy", fastmath=_FAST)
def _kept(h: Any, moved: Any, stuck: Any, cycles: Any, used: Any, endurance: Any, of_gate: Any, out: Any) -> None:
    for j in range(len(out)):
        free = (stuck[j] == 0) & (cycles[j] < endurance) & (used[j] < of_gate)
        out[j] = moved[j] if free else h[j]


@njit(cache=True)
def event(
    parallel: Any, r_p: Any, tmr: Any, v_scale: Any, cycles: Any, h: Any, h_rate: Any, used: Any, stuck: Any,
    volts: Any, gate: Any, law: Any, hidden: bool, seed: int, new_parallel: Any, new_cycles: Any, new_h: Any, new_used: Any,
) -> Any:  # fmt: skip
    """Fill the new state of devices from the old one, at 300 K; all arrays have one axis.

    Args:
        parallel, r_p, tmr, v_scale, cycles, h, h_rate, used, stuck: of the state; `used` are the cycles of the gate.
        volts: one value, or one per device.
        gate: same.
        law: t / τ₀, t, V_c up, V_c down, Δ, vcma, endurance, track (siemens or 0), m, V₀, t_gate / τ up, / τ down,
            noise of h, endurance of the gate.
        hidden: whether there is an h.
        seed: of the draws.
        new_parallel, new_cycles, new_h, new_used: to be filled; without an h the last two are not looked at.

    Returns:
        Pulses, joules, most cycles; pulses, sum of squared volts and most cycles of the gate.
    """
    f, count = np.float32, len(parallel)
    key = bits(np.uint64(seed))
    first, second = np.uint32(key & np.uint64(0xFFFFFFFF)), np.uint32(key >> np.uint64(32))
    port = (f(law[0]), f(law[4] / law[2]), f(law[4] / law[3]), f(law[4]), f(law[5]))
    gate_law, endurance, track = (f(1 / law[9]), f(law[10]), f(law[11]), f(law[12])), f(law[6]), f(law[7])
    acts, gate_acts, of_gate = f(law[1] > 0), f(law[10] > 0 or law[11] > 0), f(law[13])
    same_volts, same_gate = np.full(BLOCK, volts[0], np.float32), np.full(BLOCK, gate[0], np.float32)
    chance, protection, size = np.empty(BLOCK, np.float32), np.ones(BLOCK, np.float32), min(POOL, count)
    pool = np.zeros(size + BLOCK if hidden else 1, np.float32)
    if hidden:
        normal(pool, np.int64(key >> np.uint64(2)))
    books = np.zeros(6)
    for a in range(0, count, BLOCK):
        b = min(a + BLOCK, count)
        n = b - a
        v = volts[a:b] if len(volts) > 1 else same_volts[:n]
        g = gate[a:b] if len(gate) > 1 else same_gate[:n]
        if hidden:
            _protection(h[a:b], f(law[8]), protection)
        _chance(parallel[a:b], v_scale[a:b], v, g, protection, port, chance[:n])
        _flip(parallel[a:b], chance, stuck[a:b], cycles[a:b], endurance, a, first, second, new_parallel[a:b])
        pulses, squares, most = _count(cycles[a:b], v, acts, new_cycles[a:b])
        books[0] += pulses
        books[1] += squares * track if track > 0 else acts * _power_through(parallel[a:b], r_p[a:b], tmr[a:b], v)
        books[2] = max(books[2], most)
        if hidden:
            key += STEP
            offset = a if count <= POOL else np.int64(bits(key) % np.uint64(size))
            _moved(h[a:b], h_rate[a:b], g, pool[offset : offset + n], gate_law, chance[:n])
            _kept(h[a:b], chance, stuck[a:b], cycles[a:b], used[a:b], endurance, of_gate, new_h[a:b])
            pulses, squares, most = _count(used[a:b], g, gate_acts, new_used[a:b])
            books[3] += pulses
            books[4] += squares
            books[5] = max(books[5], most)
    return books[0], books[1] * law[1], books[2], books[3], books[4], books[5]
