"""One pass over junctions for a pulse on both ports: the laws of `magnetic`, in the order in which they are cheap to settle.

A device flips when a draw u is below `1 − e^{−x}`. Without protection x would be `(t / τ₀) e^{−height}`, so that most
draws are settled before the protection is computed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from hardware_targets.crossbar.readout import _RATIO, _STEP, _WIDTH, _bits, _other, _part


@njit(cache=True, fastmath={"contract", "nsz"})
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
    one, two, seconds = np.float32(1), np.float32(2), law[1]
    attempts, delta, vcma, endurance = np.float32(law[0]), np.float32(law[4]), np.float32(law[5]), np.float32(law[6])
    slope_p, slope_ap, track, m = (
        delta / np.float32(law[2]),
        delta / np.float32(law[3]),
        np.float32(law[7]),
        np.float32(law[8]),
    )
    v0, tau_up, tau_down, noise, gate_endurance = law[9], law[10], law[11], np.float32(law[12]), np.float32(law[13])
    at_rest = attempts * np.exp(-delta)
    state, sv, sg = np.uint64(seed), len(volts) > 1, len(gate) > 1
    pulses, joules, most, gated, squares, most_gated = 0, 0.0, np.float32(0), 0, 0.0, np.float32(0)
    last, up_rate, down_rate = np.float32(0), np.float32(0), np.float32(0)
    for i in range(len(parallel)):
        v, g = volts[i if sv else 0], gate[i if sg else 0]
        up, count = parallel[i] < 0.5, cycles[i]
        worn = stuck[i] or count >= endurance
        if v != 0 and seconds > 0:
            pulses += 1
            ohms = r_p[i] * (one + tmr[i]) if up else r_p[i]
            joules += v * v * (track if track > 0 else one / ohms)
            count += one
        new_parallel[i], new_cycles[i] = parallel[i], count
        most = max(most, count)
        if not worn and attempts > 0:
            state += _STEP
            u = np.float64(_bits(state) >> np.uint64(11)) * 2.0**-53
            free = at_rest
            if v != 0 or vcma != 0:
                lift = (slope_p if up else slope_ap) * v / v_scale[i] - delta + vcma * g
                free = attempts * np.exp(min(lift, np.float32(80)))
            if u < free:
                x = free
                if hidden:
                    e = np.exp(-m * abs(h[i]))
                    e = two * e / (one + e * e)
                    x = free * e * e
                x = min(x, attempts)
                if u < x and (x > 37 or u < -np.expm1(-np.float64(x))):
                    new_parallel[i] = one - parallel[i]
        if hidden:
            now = h[i]
            new_h[i], new_used[i] = now, used[i]
            if g != 0 and (tau_up > 0 or tau_down > 0):
                gated += 1
                squares += g * g
                new_used[i] = used[i] + one
                if not worn and used[i] < gate_endurance:
                    if abs(g) != last:
                        last = abs(g)
                        rate = 2 * np.sinh(np.float64(last) / v0)
                        up_rate, down_rate = np.float32(rate * tau_up), np.float32(rate * tau_down)
                    left = np.exp(-(up_rate if g > 0 else down_rate) * h_rate[i])
                    step = (one - now) * (one - left) if g > 0 else now * (left - one)
                    state += _STEP
                    w, layer = _part(_bits(state) & np.uint64(0xFFFFFFFF))
                    xi = w * _WIDTH[layer]
                    if abs(w) >= _RATIO[layer]:
                        xi, state = _other(w, layer, state)
                    new_h[i] = min(max(now + step * (one + noise * xi), np.float32(0)), one)
            most_gated = max(most_gated, new_used[i])
    return pulses, joules * seconds, most, gated, squares, most_gated
