"""From a float graph to an integer program, with everything that was rounded on the way.

The map is exact in float (LIF: `du = 1`, `dv = dt/τ`, weights `r dt/τ · W`, bias `dt/τ (v_leak − v_reset)`
plus `r dt/τ · b`, threshold `v_threshold − v_reset`, because the chip resets to 0). CubaLIF: `du = dt/τ_syn`
and a constant input c becomes the bias `c` with the initial current `−c`. What rounds is then: decays to
1/4096, weights to 8 bits, thresholds to 17 bits, biases to 13 bits with an exponent.

Every neuron has a scale of its own (counts per model unit), the largest for which its largest weight
uses all 8 bits, its threshold fits, its current cannot wrap, and its voltage has room below.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import nir
import numpy as np

from hardware_targets.loihi.limits import (
    ALIGN,
    BIAS_EXPONENT_MAX,
    BIAS_MANTISSA_MAX,
    DECAY_UNITY,
    STATE_LIMIT,
    THRESHOLD_MAX,
    WEIGHT_EXPONENT_MAX,
    WEIGHT_MAX_MIXED,
    WEIGHT_MAX_ONE_SIGN,
)
from hardware_targets.loihi.program import Connection, Population, Program
from hardware_targets.loihi.wiring import Synapses, Wiring, wire

ROOM = 64  # thresholds of room below for a voltage that no bound limits


@dataclass(frozen=True)
class _Neuron:
    """A population in float: per step, `u ← α u + Σ w s`, `v ← λ v + u + b`; spike where `v > θ`."""

    alpha: np.ndarray
    lam: np.ndarray
    gain: np.ndarray  # synaptic input to u
    bias: np.ndarray
    u0: np.ndarray
    v0: np.ndarray
    theta: np.ndarray | None
    offset: np.ndarray


def compile_graph(graph: nir.NIRGraph, dt: float) -> Program:
    """The integer program of a graph.

    Args:
        graph: one that `limits.check` finds no problem with.
        dt: step in seconds.

    Raises:
        TargetError: a loop that no connection can carry, or an output that is no population.
    """
    wiring = wire(graph, dt)
    told: list[dict[str, Any]] = []
    populations: dict[str, Population] = {}
    connections: list[Connection] = []
    for name in wiring.neurons:
        incoming = [s for s in wiring.synapses if s.target == name]
        size = int(np.prod(wiring.shapes[name]))
        neuron = _neuron(wiring.plan.nodes[name], dt, wiring.constants[name], size)
        scale, exponents = _scale(neuron, incoming)
        populations[name] = _population(name, neuron, scale, wiring.depth[name], told)
        for synapses, exponent in zip(incoming, exponents, strict=True):
            weights = _weights(name, synapses, neuron, scale, exponent, told)
            source = _relayed(synapses, wiring, populations, connections)
            connections.append(Connection(source, name, weights, exponent))
    (start,) = wiring.plan.inputs
    shown = {name: wiring.shapes[name] for name in wiring.neurons}
    inputs = int(np.prod(wiring.shapes[start]))
    return Program(start, inputs, populations, connections, wiring.output, shown[wiring.output], shown, told)


def _neuron(node: Any, dt: float, constant: np.ndarray, size: int) -> _Neuron:
    """The float neuron, shifted so that it resets to 0."""

    def get(field: str, default: float) -> np.ndarray:
        value = getattr(node, field, None)
        return np.full(size, default) if value is None else np.ravel(np.asarray(value, dtype=np.float64))

    r, spiking = get("r", 1.0), getattr(node, "v_threshold", None) is not None
    tau = getattr(node, "tau", None)
    tau = getattr(node, "tau_mem", None) if tau is None else tau
    rate = np.full(size, dt) if tau is None else dt / np.ravel(np.asarray(tau, dtype=np.float64))
    lam = np.ones(size) if tau is None else 1 - rate
    offset = get("v_reset", 0.0) if spiking else np.zeros(size)
    bias = np.zeros(size) if tau is None else rate * (get("v_leak", 0.0) - offset)
    theta = get("v_threshold", 0.0) - offset if spiking else None
    if getattr(node, "tau_syn", None) is None:
        return _Neuron(
            np.zeros(size), lam, rate * r, bias + rate * r * constant, np.zeros(size), -offset, theta, offset
        )
    synapse = dt / get("tau_syn", 1.0)
    steady = rate * r * get("w_in", 1.0) * constant
    gain = rate * r * synapse * get("w_in", 1.0)
    return _Neuron(1 - synapse, lam, gain, bias + steady, -steady, -offset, theta, offset)


def _scale(neuron: _Neuron, incoming: list[Synapses]) -> tuple[np.ndarray, list[int]]:
    """Counts per model unit of every neuron, and the weight exponent of every connection."""
    size = len(neuron.lam)
    matrices = [neuron.gain[:, None] * s.matrix for s in incoming]
    up = sum((np.maximum(m, 0).sum(1) for m in matrices), np.zeros(size))
    down = sum((np.maximum(-m, 0).sum(1) for m in matrices), np.zeros(size))
    push = np.maximum(up, down)
    current = push / np.maximum(1 - neuron.alpha, 1e-12) + np.abs(neuron.u0)
    with np.errstate(divide="ignore"):
        reach = (current + np.abs(neuron.bias)) / (1 - neuron.lam)
    if neuron.theta is None:
        room = 2 * reach + np.abs(neuron.v0)  # a readout must stay far below the largest threshold
        threshold_limit = np.full(size, np.inf)
    else:
        room = np.maximum(neuron.theta + current, np.minimum(reach + np.abs(neuron.v0), ROOM * neuron.theta))
        threshold_limit = THRESHOLD_MAX * 2**ALIGN / neuron.theta
    with np.errstate(divide="ignore"):
        limits = [
            threshold_limit,
            (STATE_LIMIT - 1) / np.maximum(current, 1e-300),
            (STATE_LIMIT - 1) / np.maximum(room, 1e-300),
            (BIAS_MANTISSA_MAX << BIAS_EXPONENT_MAX) / np.maximum(np.abs(neuron.bias), 1e-300),
        ]
    most = np.minimum(np.min(limits, axis=0), 2.0**40)
    largest = np.max([np.zeros(size), *(np.abs(m).max(1) for m in matrices)], axis=0)
    used = largest > 0
    unit = 2**ALIGN * WEIGHT_MAX_MIXED
    shift = 0
    if used.any():
        shift = int(np.clip(np.floor(np.log2((most * largest)[used] / unit).min()), 0, WEIGHT_EXPONENT_MAX))
    scale = np.where(
        used, np.minimum(unit * 2.0**shift / np.where(used, largest, 1.0), most), np.minimum(most, 2.0**20)
    )
    # the largest weight of a row becomes a whole even mantissa, so that binary weights are exact
    mantissa = scale * largest / (2**ALIGN * 2.0**shift)
    even = 2 * np.floor(mantissa / 2 + 1e-9)
    if neuron.theta is not None:
        even = _best_for_threshold(even, neuron.theta / np.where(used, largest, 1.0) * 2.0**shift, matrices)
    scale = np.where(used & (even >= 2), scale * even / np.where(used, mantissa, 1.0), scale)
    exponents = []
    for m in matrices:
        peak = float((scale[:, None] * np.abs(m)).max(initial=0.0)) / unit
        exponents.append(int(np.clip(np.ceil(np.log2(peak) - 1e-9), 0, WEIGHT_EXPONENT_MAX)) if peak > 0 else 0)
    return scale, exponents


def _best_for_threshold(even: np.ndarray, counts: np.ndarray, matrices: list[np.ndarray]) -> np.ndarray:
    """For rows whose weights are all of one size: the mantissa at which the threshold rounds least.

    Any mantissa holds such a row exactly; `counts` is the threshold per unit of the mantissa.
    """
    sizes = np.concatenate([np.abs(m) for m in matrices], axis=1) if matrices else np.zeros((len(even), 0))
    one_size = ((sizes == 0) | (np.abs(sizes - sizes.max(1, initial=0.0)[:, None]) <= 1e-6 * sizes)).all(1)
    tried = np.maximum(even[:, None] - 2 * np.arange(64), 2)
    exact = tried * counts[:, None]
    error = np.abs(exact - np.rint(exact)) / np.maximum(exact, 1e-300)
    best = tried[np.arange(len(even)), (error + 1e-12 * np.arange(64)).argmin(1)]
    return np.where(one_size & (even >= 2), best, even)


def _weights(
    name: str, synapses: Synapses, neuron: _Neuron, scale: np.ndarray, exponent: int, told: list[dict[str, Any]]
) -> np.ndarray:
    """8-bit mantissas, and what rounding them did."""
    wanted = scale[:, None] * neuron.gain[:, None] * synapses.matrix / 2.0 ** (ALIGN + exponent)
    mixed = bool((wanted > 0).any() and (wanted < 0).any())
    step, limit = (2, WEIGHT_MAX_MIXED) if mixed else (1, WEIGHT_MAX_ONE_SIGN)
    rounded = np.clip(np.rint(wanted / step) * step, -limit, limit).astype(np.int64)
    worst = float(np.abs(rounded - wanted).max(initial=0.0)) / max(float(np.abs(wanted).max(initial=0.0)), 1e-300)
    where = f"{synapses.source} -> {name}"
    if worst > 1e-9:
        told.append({"node": where, "what": "weights rounded; largest error over largest weight", "size": worst})
    zeroed = int(((rounded == 0) & (synapses.matrix != 0)).sum())
    if zeroed:
        told.append({"node": where, "what": "weights rounded to zero", "size": zeroed})
    clipped = int((np.abs(wanted) > limit + step / 2).sum())
    if clipped:
        told.append({"node": where, "what": "weights clipped", "size": clipped})
    return rounded


def _population(name: str, neuron: _Neuron, scale: np.ndarray, depth: int, told: list[dict[str, Any]]) -> Population:
    """Decays, thresholds, biases and the state before the first chip step."""
    dv = np.rint(DECAY_UNITY * (1 - neuron.lam)).astype(np.int64)
    du = np.clip(np.rint(DECAY_UNITY * (1 - neuron.alpha)).astype(np.int64) - 1, 0, DECAY_UNITY - 1)
    lam, alpha = 1 - dv / DECAY_UNITY, 1 - (du + 1) / DECAY_UNITY
    for what, exact, got in (("voltage", neuron.lam, lam), ("current", neuron.alpha, alpha)):
        with np.errstate(divide="ignore", invalid="ignore"):
            error = np.nan_to_num(np.abs((got - exact) / (1 - exact)), nan=0.0, posinf=0.0)
        if error.max() > 1e-9:
            told.append(
                {"node": name, "what": f"decay of {what} rounded; largest relative error", "size": float(error.max())}
            )
    if neuron.theta is None:
        vth = np.full(len(lam), THRESHOLD_MAX, dtype=np.int64)
    else:
        exact = neuron.theta * scale / 2**ALIGN
        vth = np.clip(np.rint(exact), 1, THRESHOLD_MAX).astype(np.int64)
        error = float(np.abs(vth / exact - 1).max())
        if error > 1e-9:
            told.append({"node": name, "what": "threshold rounded; largest relative error", "size": error})
    mantissa, exponent = _bias(neuron.bias * scale)
    got = mantissa << exponent
    off = np.abs(got - neuron.bias * scale)
    if off.max(initial=0.0) > 1e-6:
        unit = neuron.theta if neuron.theta is not None else np.maximum(np.abs(neuron.bias), 1e-300)
        size = float((off / scale / unit).max())
        what = "of the threshold" if neuron.theta is not None else "of the bias"
        told.append({"node": name, "what": f"bias rounded; largest error, share {what}", "size": size})
    u0, v0 = _rewound(name, neuron, got / scale, alpha, lam, depth, told)
    state = [np.clip(np.rint(x * scale), 1 - STATE_LIMIT, STATE_LIMIT - 1).astype(np.int64) for x in (u0, v0)]
    return Population(
        name, du, dv, vth, mantissa, exponent, state[0], state[1], neuron.theta is not None, scale, neuron.offset, depth
    )


def _bias(wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """13-bit mantissa and exponent 0 to 7 of every bias."""
    size = np.abs(wanted)
    exponent = np.ceil(np.log2(np.maximum(size, 1.0) / BIAS_MANTISSA_MAX)).clip(0, BIAS_EXPONENT_MAX).astype(np.int64)
    mantissa = np.rint(wanted / 2.0**exponent).clip(-BIAS_MANTISSA_MAX, BIAS_MANTISSA_MAX).astype(np.int64)
    return mantissa, exponent


def _rewound(
    name: str,
    neuron: _Neuron,
    bias: np.ndarray,
    alpha: np.ndarray,
    lam: np.ndarray,
    depth: int,
    told: list[dict[str, Any]],
) -> tuple[np.ndarray, np.ndarray]:
    """The state that reaches the graph's initial state after `depth` steps without input."""
    u, v = neuron.u0.copy(), neuron.v0.copy()
    early = np.zeros(len(v), dtype=bool)
    for _ in range(depth):
        if neuron.theta is not None:
            early |= v > neuron.theta
        with np.errstate(divide="ignore"):
            v = (v - u - bias) / lam
        u = np.where(alpha > 0, u / np.where(alpha > 0, alpha, 1.0), 0.0)
    if neuron.theta is not None:
        early |= v > neuron.theta
    if early.any():
        told.append({"node": name, "what": "neurons that spike before their input arrives", "size": int(early.sum())})
    return u, v


def _relayed(
    synapses: Synapses, wiring: Wiring, populations: dict[str, Population], connections: list[Connection]
) -> str:
    """The source, behind as many relays as its way to the target is too short.

    A relay fires one step after its input, whatever the past: its voltage holds nothing over a step.
    """
    wait = wiring.depth[synapses.target] - wiring.depth[synapses.source] - 1 + synapses.late
    source = synapses.source
    size = synapses.matrix.shape[1]
    for number in range(wait):
        name = f"{synapses.source}~{number + 1}"
        if name not in populations:
            zeros = np.zeros(size, dtype=np.int64)
            full = np.full(size, DECAY_UNITY - 1, dtype=np.int64)
            depth = wiring.depth[synapses.source] + number + 1
            populations[name] = Population(
                name, full, full, zeros + 1, zeros, zeros, zeros, zeros, True, np.ones(size), np.zeros(size), depth
            )
            connections.append(Connection(source, name, np.eye(size, dtype=np.int64) * WEIGHT_MAX_MIXED, 0))
        source = name
    return source
