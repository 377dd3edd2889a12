"""From the float parameters of one population to the chip's integers.

Each neuron has a scale of its own: integer steps of its voltage per model unit. It is limited by the
registers (no current may ever wrap, the threshold must fit), and below that limit it is searched for:
the scale whose rounded weights lie closest to the true ones. Weights that are multiples of one value
(binary, ternary, few levels) are met exactly, because the threshold takes up the scale.
"""

from __future__ import annotations

from dataclasses import dataclass

import nir
import numpy as np

from hardware_targets.loihi import limits
from neurospin.graph.order import SPIKING

HEADROOM = 16.0
"""Voltages this many thresholds away from the reset are kept from clipping."""
SPREAD = 4
"""Bits of voltage that the neuron with the largest weights gives up so that others keep theirs."""
MARGIN = 0.98
"""Part of a register that the scale may fill before weights are rounded."""


@dataclass(frozen=True)
class Model:
    """One population in float64, as the chip counts: voltage from the reset value, current in volts a step.

    Attributes:
        decay_u: share of the current that is lost in each step.
        decay_v: share of the voltage that is lost in each step.
        gain: current per unit of weighted input.
        bias: added to the voltage in each step.
        u0: current before the first step.
        v0: voltage before the first step.
        threshold: voltage of the spike; infinite for a readout.
        zero: voltage of the graph at which the chip's is 0.
    """

    decay_u: np.ndarray
    decay_v: np.ndarray
    gain: np.ndarray
    bias: np.ndarray
    u0: np.ndarray
    v0: np.ndarray
    threshold: np.ndarray
    zero: np.ndarray


def model(node: nir.NIRNode, drive: np.ndarray, dt: float) -> Model:
    """The exact float mapping of a neuron node.

    A constant input of a neuron with a synaptic current is a bias of `input / decay_u` and a current
    that starts at minus as much: their sum rises as the synaptic current does.

    Args:
        node: IF, LIF, CubaLIF, LI or CubaLI.
        drive: constant input, `(size,)`.
        dt: step in seconds.
    """

    def get(key: str, default: float) -> np.ndarray:
        value = getattr(node, key, None)
        array = np.asarray(default if value is None else value, np.float64)
        return np.array(np.broadcast_to(array.reshape(-1), drive.shape))

    tau = "tau" if hasattr(node, "tau") else "tau_mem"
    leaky = hasattr(node, tau)
    rate = np.minimum(dt / get(tau, 1.0), 1.0) if leaky else np.zeros(drive.shape)
    synapse = np.minimum(dt / get("tau_syn", dt), 1.0)
    gain = (rate if leaky else dt) * get("r", 1.0) * synapse * get("w_in", 1.0)
    zero = get("v_reset", 0.0)
    constant = gain * drive / synapse
    return Model(
        decay_u=synapse, decay_v=rate, gain=gain, bias=rate * (get("v_leak", 0.0) - zero) + constant,
        u0=np.where(synapse < 1, -constant, 0.0), v0=-zero,
        threshold=get("v_threshold", np.inf) - zero if isinstance(node, SPIKING) else np.full(drive.shape, np.inf),
        zero=zero,
    )  # fmt: skip


def decays(neuron: Model) -> tuple[np.ndarray, np.ndarray]:
    """The registers `du` and `dv` of a population."""
    du = np.clip(np.rint(neuron.decay_u * limits.DECAY_ONE).astype(np.int64) - 1, 0, limits.DECAY_ONE - 1)
    dv = np.clip(np.rint(neuron.decay_v * limits.DECAY_ONE).astype(np.int64), 0, limits.DECAY_ONE - 1)
    return du, dv


@dataclass(frozen=True)
class Weights:
    """The synapses of one projection as integers, `(target, source)`, and their shared exponent."""

    mantissas: np.ndarray
    exponent: int


def weights(neuron: Model, matrices: list[np.ndarray], depth: int) -> tuple[np.ndarray, list[Weights]]:
    """Scale of every neuron, and the integers of every projection into the population.

    Args:
        neuron: the population.
        matrices: one `(target, source)` for each projection, in volts a step.
        depth: steps by which the population starts early.

    Returns:
        The scale `(target,)` in integer steps per volt, and one `Weights` for each matrix.
    """
    scale = _largest_scale(neuron, matrices, depth)
    largest = [np.abs(m).max(axis=1) for m in matrices]
    steps = [2 if (m > 0).any() and (m < 0).any() else 1 for m in matrices]
    tops = [limits.WEIGHT_SIGNED if step == 2 else limits.WEIGHT_ONE_SIGN for step in steps]
    units = []
    for top, big in zip(tops, largest, strict=True):
        unit = 2.0 ** (_exponent(scale * big / top) + limits.SHIFT)
        scale = np.minimum(scale, np.divide(top * unit, big, out=np.full_like(scale, np.inf), where=big > 0))
        units.append(unit)
    if matrices:
        grids = [step * unit for step, unit in zip(steps, units, strict=True)]
        scale = _search(scale, matrices, largest, grids)
        scale, rounded = _fit(neuron, scale, matrices, grids)
    else:
        rounded = []
    found = [
        Weights(np.rint(r / unit).astype(np.int16), int(np.log2(unit)) - limits.SHIFT)
        for r, unit in zip(rounded, units, strict=True)
    ]
    return scale, found


def _largest_scale(neuron: Model, matrices: list[np.ndarray], depth: int) -> np.ndarray:
    """The scale at which the first register is full."""
    du, dv = decays(neuron)
    decay_u = (du + 1) / limits.DECAY_ONE
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        decay_v = np.where(dv > 0, dv / limits.DECAY_ONE, neuron.decay_v)
        up = sum((np.maximum(m, 0).sum(axis=1) for m in matrices), np.zeros_like(decay_u)) / decay_u
        down = sum((np.maximum(-m, 0).sum(axis=1) for m in matrices), np.zeros_like(decay_u)) / decay_u
        kept = HEADROOM * np.maximum(neuron.threshold, np.abs(neuron.v0))
        start = np.where(decay_u < 1, np.abs(neuron.u0) / (1 - decay_u) ** depth, 0.0)
        current = np.maximum(up, down) + np.minimum(start, kept)
        low = (down + np.abs(neuron.u0) + np.maximum(-neuron.bias, 0)) / decay_v + np.abs(neuron.v0)
        high = (up + np.abs(neuron.u0) + np.maximum(neuron.bias, 0)) / decay_v + np.abs(neuron.v0)
        before = np.abs(_before(neuron, decay_u, decay_v, depth))
        spiking = np.isfinite(neuron.threshold)
        threshold = np.where(spiking, neuron.threshold, np.fmax(low, high))
        kept = np.where(spiking, kept, np.inf)
        bias = limits.BIAS_MANTISSA << limits.BIAS_EXPONENT
        bounds = [
            (limits.STATE, current),
            (limits.STATE, np.fmin(np.fmax(low, before), kept)),
            (limits.THRESHOLD << limits.SHIFT, threshold),
            (bias, np.abs(neuron.bias)),
        ]
        scale = np.min([np.where(size > 0, cap / size, np.inf) for cap, size in bounds], axis=0)
    return np.where(np.isfinite(scale) & (scale > 0), MARGIN * scale, 1.0)


def _before(neuron: Model, decay_u: np.ndarray, decay_v: np.ndarray, depth: int) -> np.ndarray:
    """The voltage `depth` input-free steps before the start, in float."""
    u, v = neuron.u0, neuron.v0
    for _ in range(depth):
        v = np.where(decay_v < 1, (v - u - neuron.bias) / (1 - decay_v), 0.0)
        u = np.where(decay_u < 1, u / (1 - decay_u), 0.0)
    return v


def _exponent(filled: np.ndarray) -> int:
    """Shared exponent for rows whose largest weight fills this part of the 8 bits times 64."""
    filled = filled[filled > 0] / (1 << limits.SHIFT)
    if not filled.size:
        return 0
    highest, lowest = (int(np.ceil(np.log2(x))) for x in (filled.max(), filled.min()))
    # rows with small weights keep their bits; never at the price of a shift to the right
    chosen = max(lowest, highest - SPREAD, min(0, highest))
    return int(np.clip(chosen, *limits.WEIGHT_EXPONENT))


def _search(
    scale: np.ndarray, matrices: list[np.ndarray], largest: list[np.ndarray], grids: list[float]
) -> np.ndarray:
    """For each neuron, the scale between the largest and half of it that rounds its weights best.

    Candidates put the row's largest weight exactly on the grid.
    """
    filled = np.stack([big / grid for big, grid in zip(largest, grids, strict=True)])
    per_scale = filled.max(axis=0)
    top = np.floor(scale * per_scale * (1 + 1e-12))
    best, error = scale.copy(), np.full(scale.shape, np.inf)
    norm = sum(np.square(m).sum(axis=1) for m in matrices)
    for down in range(limits.WEIGHT_ONE_SIGN // 2 + 1):
        wanted = top - down
        open_rows = (wanted >= np.maximum(np.ceil(top / 2), 1)) & (error > 1e-20 * norm)
        rows = np.flatnonzero(open_rows)
        if not rows.size:
            break
        candidate = wanted[rows] / per_scale[rows]
        off = np.zeros(rows.size)
        for matrix, grid in zip(matrices, grids, strict=True):
            chosen = matrix[rows]
            step = (grid / candidate)[:, None]
            off += np.square(np.rint(chosen / step) * step - chosen).sum(axis=1)
        better = off < error[rows] * (1 - 1e-9)
        best[rows[better]], error[rows[better]] = candidate[better], off[better]
    return best


def _fit(
    neuron: Model, scale: np.ndarray, matrices: list[np.ndarray], grids: list[float]
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Rounded weights, and the scale that fits them best; smaller where a current could wrap."""
    du, _ = decays(neuron)
    scale = scale.copy()
    while True:
        rounded = [np.rint(m * scale[:, None] / g) * g for m, g in zip(matrices, grids, strict=True)]
        up = sum(np.maximum(r, 0).sum(axis=1) for r in rounded)
        down = sum(np.maximum(-r, 0).sum(axis=1) for r in rounded)
        slack = len(matrices) << limits.SHIFT  # a shift to the right cuts up to one unit
        wraps = (np.maximum(up, down) + slack) * limits.DECAY_ONE / (du + 1) > limits.STATE
        if not wraps.any():
            break
        scale[wraps] *= 0.95
    power = sum(np.square(m).sum(axis=1) for m in matrices)
    shared = sum((r * m).sum(axis=1) for r, m in zip(rounded, matrices, strict=True))
    fitted = np.divide(shared, power, out=scale.copy(), where=power > 0)
    return np.where(fitted > 0, fitted, scale), rounded


def preimage(value: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """The smallest integer whose product with `factor / 4096`, cut towards zero, is `value`; 0 for a factor of 0."""
    size = -(-np.abs(value) * limits.DECAY_ONE // np.maximum(factor, 1))
    return np.where(factor > 0, np.sign(value) * size, 0)


def rewind(
    u: np.ndarray, v: np.ndarray, du: np.ndarray, dv: np.ndarray, bias: np.ndarray, ceiling: np.ndarray, steps: int
) -> tuple[np.ndarray, np.ndarray]:
    """The state from which `steps` steps without input lead exactly to `(u, v)`, within the registers.

    Args:
        u: current wanted before the first step of the graph.
        v: voltage wanted then.
        du: register of the current's decay.
        dv: register of the voltage's decay.
        bias: added in each step.
        ceiling: voltage above which the neuron spikes; the way back stays below it.
        steps: how many steps.
    """
    for _ in range(steps):
        v = np.minimum(v, ceiling)
        v = np.clip(preimage(v - u - bias, limits.DECAY_ONE - dv), -limits.STATE, limits.STATE)
        u = np.clip(preimage(u, limits.DECAY_ONE - du - 1), -limits.STATE, limits.STATE)
    return u, v
