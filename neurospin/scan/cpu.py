"""The time loop as numba kernels: one factory for every neuron, its flags constants at compile time.

The forward pass does the operations of `neurospin.scan.reference.step` in the same order, without
contraction, so that its spikes are those of the reference, bit for bit. The backward pass is the
adjoint of that loop: in reverse order of time, with `λ = dL/dv[t]` and `φ` the surrogate,

    dL/du[t] = (dL/ds[t] + dL/da[t]) φ(u[t] − θ[t]) + (1 − s[t]) λ      (reset to a value)
    dL/du[t] = (dL/ds[t] + dL/da[t]) φ(u[t] − θ[t]) + λ                 (reset by subtraction)
    λ ← decay · dL/du[t],    dL/dx[t] = gain · dL/du[t]

Arrays are `(time, batch, neuron)` in float32; a shared coefficient is one number, and then batch and
neuron are one axis. Columns go in blocks whose state stays in the first-level cache.
"""

# pyright: reportPossiblyUnboundVariable=false, reportCallIssue=false
from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numba
import numpy as np

from neurospin.scan.cpu_math import OPTIONS, F, exp, float_as_bits, widen
from neurospin.scan.spec import (
    ADAPT_DECAY,
    ADAPTATION,
    ARCTAN,
    DECAY,
    FAST_SIGMOID,
    GAIN,
    LEAK,
    REFRACTORY,
    RESET,
    SIGMOID,
    SYNAPSE_DECAY,
    SYNAPSE_GAIN,
    THRESHOLD,
    TRIANGLE,
    Spec,
)

WIDTH = 1024
HALF_PI = F(np.pi / 2)


@cache
def forward_kernel(spec: Spec, shared: bool, save: int) -> Callable[..., None]:
    """The forward loop over the columns `first` to `last`; outputs start at column `origin`.

    `save` 0: keeps nothing more; 1: the voltages before the reset; 2: their upper 16 bits; 3: the
    voltages before the reset and every state variable.
    """
    spiking, value, delayed = spec.spiking, spec.value, spec.delayed
    synapse, adapt, refractory = spec.synapse, spec.adapt, spec.refractory
    trace = save == 3
    voltage = spec.voltage or trace

    @numba.njit(**OPTIONS)
    def forward(x, p, i0, a0, r0, v0, out, volt, kept, it, at, rt, i1, a1, r1, v1, first, last, origin):
        steps, batch = x.shape[0], x.shape[1]
        one, zero = F(1), F(0)
        i, a, r, v = np.empty(WIDTH, F), np.empty(WIDTH, F), np.empty(WIDTH, F), np.empty(WIDTH, F)
        decay, gain, leak, threshold, reset = p[DECAY, 0], p[GAIN, 0], p[LEAK, 0], p[THRESHOLD, 0], p[RESET, 0]
        slow, weight = p[SYNAPSE_DECAY, 0], p[SYNAPSE_GAIN, 0]
        fade, rise, hold = p[ADAPT_DECAY, 0], p[ADAPTATION, 0], p[REFRACTORY, 0]
        for b in range(batch):
            for lo in range(first, last, WIDTH):
                hi = min(last, lo + WIDTH)
                w = hi - lo
                v[:w] = v0[b, lo:hi]
                if synapse:
                    i[:w] = i0[b, lo:hi]
                if adapt:
                    a[:w] = a0[b, lo:hi]
                if refractory:
                    r[:w] = r0[b, lo:hi]
                # one row of p per coefficient; where they are shared, one number, read once
                decays, gains, leaks = p[DECAY, lo:hi], p[GAIN, lo:hi], p[LEAK, lo:hi]
                thresholds, resets = p[THRESHOLD, lo:hi], p[RESET, lo:hi]
                slows, inputs = p[SYNAPSE_DECAY, lo:hi], p[SYNAPSE_GAIN, lo:hi]
                fades, rises, holds = p[ADAPT_DECAY, lo:hi], p[ADAPTATION, lo:hi], p[REFRACTORY, lo:hi]
                for t in range(steps):
                    xt, ot = x[t, b, lo:hi], out[t, b, lo - origin : hi - origin]
                    if voltage:
                        vt = volt[t, b, lo - origin : hi - origin]
                    if save:
                        ut = kept[t, b, lo - origin : hi - origin]
                    if trace and synapse:
                        ct = it[t, b, lo - origin : hi - origin]
                    if trace and adapt:
                        bt = at[t, b, lo - origin : hi - origin]
                    if trace and refractory:
                        ht = rt[t, b, lo - origin : hi - origin]
                    for j in range(w):
                        if not shared:
                            decay, gain, leak = decays[j], gains[j], leaks[j]
                        current = xt[j]
                        if synapse:
                            if not shared:
                                slow, weight = slows[j], inputs[j]
                            current = slow * i[j] + weight * current
                            i[j] = current
                        vj = v[j]
                        drive = gain * current + leak
                        if not spiking:
                            u = decay * vj + drive
                            new = u
                            ot[j] = u
                        else:
                            if not shared:
                                threshold = thresholds[j]
                                if value:
                                    reset = resets[j]
                            if delayed:
                                if value:
                                    u = decay * (reset if vj > threshold else vj) + drive
                                else:
                                    u = decay * vj + drive - threshold * (one if vj > threshold else zero)
                                ot[j] = one if u > threshold else zero
                                new = u
                            else:
                                u = decay * vj + drive
                                bar = threshold
                                if adapt:
                                    if not shared:
                                        fade, rise = fades[j], rises[j]
                                    bar = threshold + rise * a[j]
                                fired = u > bar
                                if refractory:
                                    fired = fired & (r[j] <= zero)
                                k = one if fired else zero
                                if value:
                                    new = reset if fired else u
                                else:
                                    new = u - threshold * k
                                if adapt:
                                    a[j] = fade * a[j] + k
                                if refractory:
                                    if not shared:
                                        hold = holds[j]
                                    new = vj if r[j] > zero else new
                                    r[j] = hold if fired else max(r[j] - one, zero)
                                ot[j] = k
                        v[j] = new
                        if voltage:
                            vt[j] = new
                        if save == 1 or trace:
                            ut[j] = u
                        if trace and synapse:
                            ct[j] = current
                        if trace and adapt:
                            bt[j] = a[j]
                        if trace and refractory:
                            ht[j] = r[j]
                        if save == 2:  # the upper half of the bits, to nearest, ties to even
                            bits = float_as_bits(u)
                            ut[j] = np.uint16(
                                (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
                            )
                v1[b, lo - origin : hi - origin] = v[:w]
                if synapse:
                    i1[b, lo - origin : hi - origin] = i[:w]
                if adapt:
                    a1[b, lo - origin : hi - origin] = a[:w]
                if refractory:
                    r1[b, lo - origin : hi - origin] = r[:w]

    return forward


@cache
def backward_kernel(spec: Spec, shared: bool, half: bool, voltage: bool) -> Callable[..., None]:
    """The backward loop over the columns `first` to `last`; what the forward loop saved starts at column `origin`.

    `half`: the kept voltages are upper halves; `voltage`: there is a gradient of the voltages. Voltages kept as
    float32 are overwritten by the gradient of the input: `gx` and `kept` are one array then.
    """
    spiking, value, delayed, through = spec.spiking, spec.value, spec.delayed, spec.through
    synapse, adapt, refractory, learn, shape = spec.synapse, spec.adapt, spec.refractory, spec.learn, spec.shape
    rerun, over = spec.rerun, spec.stored and not half
    exact = not (half or adapt or refractory or delayed)

    @numba.njit(**OPTIONS)
    def backward(
        x, p, slope, i0, a0, r0, v0, out, volt, kept, it, at, rt, gs, gv, gi1, ga1, gv1, gx, gi0, ga0, gv0, gp,
        first, last, origin,
    ):  # fmt: skip
        steps, batch = gs.shape[0], gs.shape[1]
        one, zero = F(1), F(0)
        lam, carry, grow = np.empty(WIDTH, F), np.empty(WIDTH, F), np.empty(WIDTH, F)
        now, then, past = np.empty(WIDTH, F), np.empty(WIDTH, F), np.empty(WIDTH, F)
        decay, gain, threshold, reset = p[DECAY, 0], p[GAIN, 0], p[THRESHOLD, 0], p[RESET, 0]
        slow, weight = p[SYNAPSE_DECAY, 0], p[SYNAPSE_GAIN, 0]
        fade, rise = p[ADAPT_DECAY, 0], p[ADAPTATION, 0]
        steep = HALF_PI * slope
        amplitude = slope / F(2)
        for b in range(batch):
            for lo in range(first, last, WIDTH):
                hi = min(last, lo + WIDTH)
                w = hi - lo
                left, right = lo - origin, hi - origin
                decays, gains = p[DECAY, lo:hi], p[GAIN, lo:hi]
                thresholds, resets = p[THRESHOLD, lo:hi], p[RESET, lo:hi]
                slows, weights = p[SYNAPSE_DECAY, lo:hi], p[SYNAPSE_GAIN, lo:hi]
                fades, rises = p[ADAPT_DECAY, lo:hi], p[ADAPTATION, lo:hi]
                lam[:w] = gv1[b, lo:hi]
                if synapse:
                    carry[:w] = gi1[b, lo:hi]
                if adapt:
                    grow[:w] = ga1[b, lo:hi]
                starts = v0[b, lo:hi]
                if learn:
                    gdecay, ggain, gleak = gp[DECAY, b, lo:hi], gp[GAIN, b, lo:hi], gp[LEAK, b, lo:hi]
                    gthreshold, greset = gp[THRESHOLD, b, lo:hi], gp[RESET, b, lo:hi]
                    gslow, gweight = gp[SYNAPSE_DECAY, b, lo:hi], gp[SYNAPSE_GAIN, b, lo:hi]
                    gfade, grise = gp[ADAPT_DECAY, b, lo:hi], gp[ADAPTATION, b, lo:hi]
                for t in range(steps - 1, -1, -1):
                    gst = gs[t, b, lo:hi]
                    if not over:
                        gxt = gx[t, b, lo:hi]
                    if voltage:
                        gvt = gv[t, b, lo:hi]
                    q = max(t - 1, 0)
                    if learn:
                        xt = x[t, b, lo:hi]
                        if synapse:
                            ct = it[t, b, left:right]
                            cp = it[q, b, left:right] if t > 0 else i0[b, lo:hi]
                    if adapt:
                        bt = at[q, b, left:right] if t > 0 else a0[b, lo:hi]
                    if refractory:
                        ht = rt[q, b, left:right] if t > 0 else r0[b, lo:hi]
                    if spiking:
                        st, sp = out[t, b, left:right], out[q, b, left:right]
                        if half:
                            widen(kept[t, b, left:right], now)
                            ut = now
                        else:
                            ut = kept[t, b, left:right]
                        if delayed and t == 0:
                            for j in range(w):
                                then[j] = one if starts[j] > (threshold if shared else thresholds[j]) else zero
                            sp = then
                    if learn:  # the voltage before the step
                        if t == 0:
                            vt = starts
                        elif rerun:
                            vt = volt[q, b, left:right]
                        elif not spiking:
                            vt = out[q, b, left:right]
                        else:
                            vt = past
                            if half:
                                widen(kept[q, b, left:right], past)
                            else:
                                past[:w] = kept[q, b, left:right]
                            if not delayed:
                                for j in range(w):
                                    if value:
                                        past[j] = (reset if shared else resets[j]) if sp[j] > zero else past[j]
                                    else:
                                        past[j] = past[j] - (threshold if shared else thresholds[j]) * sp[j]
                    for j in range(w):
                        if not shared:
                            decay, gain = decays[j], gains[j]
                        back = lam[j]
                        if voltage:
                            back = back + gvt[j]
                        if not spiking:
                            g = gst[j] + back
                            lam[j] = decay * g
                            if learn:
                                gdecay[j] += g * vt[j]
                        else:
                            if not shared:
                                threshold = thresholds[j]
                                if value:
                                    reset = resets[j]
                            u, cot = ut[j], gst[j]
                            d = u - threshold
                            if exact:  # not read from memory again
                                k = one if u > threshold else zero
                            else:
                                k = st[j]
                            if adapt:
                                if not shared:
                                    fade, rise = fades[j], rises[j]
                                d = u - (threshold + rise * bt[j])
                                cot = cot + grow[j]
                            if shape == ARCTAN:
                                z = steep * d
                                phi = amplitude / (one + z * z)
                            elif shape == FAST_SIGMOID:
                                z = one + slope * abs(d)
                                phi = one / (z * z)
                            elif shape == TRIANGLE:
                                phi = max(one - abs(d) / slope, zero)
                            elif shape == SIGMOID:
                                z = exp(-slope * abs(d))
                                phi = slope * z / ((one + z) * (one + z))
                            else:
                                phi = slope
                            if through:
                                cot = cot + ((reset - u) * back if value else -threshold * back)
                            g = cot * phi
                            if refractory:
                                g = zero if ht[j] > zero else g
                            if learn:
                                gthreshold[j] -= g
                            if adapt:
                                if learn:
                                    gfade[j] += grow[j] * bt[j]
                                    grise[j] -= g * bt[j]
                                grow[j] = fade * grow[j] - rise * g
                            if delayed:
                                g = g + back
                                if value:
                                    low = decay * g
                                    lam[j] = zero if sp[j] > zero else low
                                    if learn:
                                        greset[j] += low if sp[j] > zero else zero
                                        gdecay[j] += g * (reset if sp[j] > zero else vt[j])
                                else:
                                    lam[j] = decay * g
                                    if learn:
                                        gthreshold[j] -= g * sp[j]
                                        gdecay[j] += g * vt[j]
                            else:
                                if value:
                                    g = g + (zero if k > zero else back)
                                    if learn:
                                        greset[j] += back if k > zero else zero
                                else:
                                    g = g + back
                                    if learn:
                                        gthreshold[j] -= k * back
                                if refractory:
                                    held = ht[j] > zero
                                    g = zero if held else g
                                    lam[j] = back if held else decay * g
                                else:
                                    lam[j] = decay * g
                                if learn:
                                    gdecay[j] += g * vt[j]
                        if learn:
                            gleak[j] += g
                            ggain[j] += g * (ct[j] if synapse else xt[j])
                        g = gain * g
                        if synapse:
                            if not shared:
                                slow, weight = slows[j], weights[j]
                            g = g + carry[j]
                            carry[j] = slow * g
                            if learn:
                                gslow[j] += g * cp[j]
                                gweight[j] += g * xt[j]
                            g = weight * g
                        if over:
                            ut[j] = g
                        else:
                            gxt[j] = g
                gv0[b, lo:hi] = lam[:w]
                if synapse:
                    gi0[b, lo:hi] = carry[:w]
                if adapt:
                    ga0[b, lo:hi] = grow[:w]

    return backward
