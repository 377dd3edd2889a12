"""From the float parameters of one population to the chip's integers.

Each neuron has a scale of its own: integer steps of its voltage per model unit. It is limited by the
registers (no current may ever wrap, the threshold must fit), and below that limit it is searched for:
the scale whose rounded weights lie closest to the true ones. Weights that are multiples of one value
(binary, ternary, few levels) are met exactly, because the threshold takes up the scale.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import nir
import numpy as np

from hardware_targets.loihi import limits
from neurospin.graph.order import SPIKING

HEADROOM = 32.0
"""Voltages this many thresholds below the reset are kept from clipping."""
EXACT_HEADROOMS = ((128.0, 0), (32.0, 0), (32.0, 1), (8.0, 0))
"""The same, where it costs no bit of any weight, and a bit of voltage given up so that the largest weight fills its 8
bits; the first of them at which every weight is exact."""
SPREAD = 4
"""Bits of voltage that the neuron with the largest weights gives up so that others keep theirs."""
EXACT = 1e-6
"""Relative error of a weight below which it counts as met exactly: float32 rounding."""
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


@dataclass(frozen=True)
class Grid:
    """On what the weights of one population are rounded; it settles all of their integers.

    Attributes:
        scale: integer steps per volt at which they are rounded, `(target,)`.
        exponents: of every projection, in the order of the edges.
    """

    scale: np.ndarray
    exponents: tuple[int, ...]


def weights(
    neuron: Model, matrices: list[np.ndarray], depth: int, grid: Grid | None = None
) -> tuple[np.ndarray, list[Weights], Grid]:
    """Scale of every neuron, and the integers of every projection into the population.

    Args:
        neuron: the population.
        matrices: one `(target, source)` for each projection, in volts a step.
        depth: steps by which the population starts early.
        grid: on what to round, one that `fits`; default, the best that is found.

    Returns:
        The scale `(target,)` in integer steps per volt, one `Weights` for each matrix, and the grid.
    """
    if grid is not None and matrices:
        return (*_laid(neuron, matrices, grid)[:2], grid)
    if not matrices:
        scale = _largest_scale(neuron, matrices, depth, HEADROOM) if grid is None else grid.scale
        return scale.copy(), [], Grid(scale, ())
    parts = [*vars(neuron).values(), *matrices]
    key = hashlib.sha256(repr((depth, [m.shape for m in parts])).encode())
    for array in parts:
        key.update(np.ascontiguousarray(array, np.float64).tobytes())
    name = key.digest()
    if name not in _searched:
        if len(_searched) >= SEARCHES:
            _searched.pop(next(iter(_searched)))
        _searched[name] = _searched_for(neuron, matrices, depth)
    scale, found, grid = _searched[name]
    return scale.copy(), list(found), grid


def fits(neuron: Model, matrices: list[np.ndarray], depth: int, grid: Grid) -> bool:
    """Whether every register holds the population on a grid that was chosen elsewhere, perhaps for other weights."""
    scale, (lowest, highest) = grid.scale, limits.WEIGHT_EXPONENT
    if scale.shape != neuron.bias.shape or len(grid.exponents) != len(matrices):
        return False
    if not (np.isfinite(scale).all() and (scale > 0).all() and all(lowest <= e <= highest for e in grid.exponents)):
        return False
    least = min(headroom for headroom, _ in EXACT_HEADROOMS)
    if (scale * MARGIN > _largest_scale(neuron, matrices, depth, least) * (1 + 1e-9)).any():
        return False
    for matrix, exponent in zip(matrices, grid.exponents, strict=True):
        mixed = (matrix > 0).any() and (matrix < 0).any()
        full = (limits.WEIGHT_SIGNED if mixed else limits.WEIGHT_ONE_SIGN) * 2.0 ** (exponent + limits.SHIFT)
        if (np.abs(matrix).max(axis=1) * scale > full * (1 + 1e-9)).any():
            return False
    return True


SEARCHES = 32
"""Populations whose scales are kept: a certificate compiles the same graph once for every cause."""
_searched: dict[bytes, tuple[np.ndarray, list[Weights], Grid]] = {}


def _searched_for(neuron: Model, matrices: list[np.ndarray], depth: int) -> tuple[np.ndarray, list[Weights], Grid]:
    for headroom, bits in EXACT_HEADROOMS:
        limit = _largest_scale(neuron, matrices, depth, headroom)
        grid = _grid(neuron, limit, matrices, lowest=0, bits=bits)
        scale, found, error = _laid(neuron, matrices, grid)
        if error < EXACT:
            return scale, found, grid
    # a shift to the right cuts bits of every sum, which costs less than bits of weight
    limit = _largest_scale(neuron, matrices, depth, HEADROOM)
    grid = _grid(neuron, limit, matrices, lowest=limits.WEIGHT_EXPONENT[0])
    return (*_laid(neuron, matrices, grid)[:2], grid)


def _steps(matrices: list[np.ndarray]) -> list[int]:
    """Smallest difference of two weights: 2 where signs are mixed, whose lowest bit is lost to the sign."""
    return [2 if (m > 0).any() and (m < 0).any() else 1 for m in matrices]


def _grid(neuron: Model, scale: np.ndarray, matrices: list[np.ndarray], lowest: int, bits: int = 0) -> Grid:
    """The best grid at most at this scale; exponents `bits` below what it allows, and at least `lowest`."""
    largest = [np.abs(m).max(axis=1) for m in matrices]
    steps = _steps(matrices)
    tops = [limits.WEIGHT_SIGNED if step == 2 else limits.WEIGHT_ONE_SIGN for step in steps]
    exponents = []
    for top, big in zip(tops, largest, strict=True):
        exponents.append(max(_exponent(scale * big / top) - bits, lowest))
        full = top * 2.0 ** (exponents[-1] + limits.SHIFT)
        scale = np.minimum(scale, np.divide(full, big, out=np.full_like(scale, np.inf), where=big > 0))
    spacing = [step * 2.0 ** (exponent + limits.SHIFT) for step, exponent in zip(steps, exponents, strict=True)]
    return Grid(_search(neuron, scale, matrices, largest, spacing), tuple(exponents))


def _laid(neuron: Model, matrices: list[np.ndarray], grid: Grid) -> tuple[np.ndarray, list[Weights], float]:
    """The scale that fits the rounded weights best, their integers, and their largest relative error."""
    units = [2.0 ** (exponent + limits.SHIFT) for exponent in grid.exponents]
    spacing = [step * unit for step, unit in zip(_steps(matrices), units, strict=True)]
    scale, rounded = _fit(neuron, grid.scale, matrices, spacing)
    error = 0.0
    for matrix, integers in zip(matrices, rounded, strict=True):
        big = np.abs(matrix).max(axis=1)
        off = np.abs(integers / scale[:, None] - matrix).max(axis=1)
        error = max(error, float(np.divide(off, big, out=np.zeros_like(off), where=big > 0).max()))
    found = [
        Weights(np.rint(r / unit).astype(np.int16), exponent)
        for r, unit, exponent in zip(rounded, units, grid.exponents, strict=True)
    ]
    return scale, found, error


@dataclass(frozen=True)
class Reach:
    """How far a population can go at most, when every source spikes in every step; volts, `(size,)`.

    Attributes:
        current: largest magnitude of the current.
        low: voltage below the reset; infinite for an integrator without leak that can be inhibited.
        high: voltage above the reset, were there no threshold.
    """

    current: np.ndarray
    low: np.ndarray
    high: np.ndarray


def reach(neuron: Model, matrices: list[np.ndarray]) -> Reach:
    """How far a population can go at most."""
    du, dv = decays(neuron)
    decay_u = (du + 1) / limits.DECAY_ONE
    decay_v = np.where(dv > 0, dv / limits.DECAY_ONE, neuron.decay_v)
    start = np.abs(neuron.u0)
    ends = []
    for sign in (-1, 1):
        current = sum((np.maximum(sign * m, 0).sum(axis=1) for m in matrices), np.zeros_like(decay_u)) / decay_u
        drive = current + start + np.maximum(sign * neuron.bias, 0)
        voltage = np.divide(drive, decay_v, out=np.full_like(drive, np.inf), where=decay_v > 0)
        ends.append((current, np.where(drive > 0, voltage, 0.0) + np.abs(neuron.v0)))
    return Reach(np.maximum(ends[0][0], ends[1][0]), ends[0][1], ends[1][1])


def _largest_scale(neuron: Model, matrices: list[np.ndarray], depth: int, headroom: float) -> np.ndarray:
    """The scale at which the first register is full."""
    most = reach(neuron, matrices)
    spiking = np.isfinite(neuron.threshold)
    kept = headroom * np.maximum(np.where(spiking, neuron.threshold, 0.0), np.abs(neuron.v0))
    u_before, v_before = _before(neuron, depth)
    low = np.maximum(most.low, np.abs(v_before))
    current = most.current + np.abs(u_before)
    bounds = [
        # a start that lies far back must not cost the precision of all that follows
        (
            limits.STATE,
            np.where(spiking, np.minimum(current, np.maximum(most.current + np.abs(neuron.u0), kept)), current),
        ),
        (limits.STATE, np.where(spiking, np.minimum(low, kept), low)),
        (
            limits.THRESHOLD << limits.SHIFT,
            np.where(spiking, neuron.threshold, np.maximum(most.low, most.high)),
        ),
        (limits.BIAS_MANTISSA << limits.BIAS_EXPONENT, np.abs(neuron.bias)),
    ]
    scales = [np.divide(cap, size, out=np.full(size.shape, np.inf), where=size > 0) for cap, size in bounds]
    scale = np.min(scales, axis=0)
    return np.where(np.isfinite(scale) & (scale > 0), MARGIN * scale, 1.0)


def _before(neuron: Model, depth: int) -> tuple[np.ndarray, np.ndarray]:
    """Current and voltage `depth` input-free steps before the start, in float."""
    u, v = neuron.u0, neuron.v0
    keep_u, keep_v = 1 - neuron.decay_u, 1 - neuron.decay_v
    for _ in range(depth):
        v = np.divide(v - u - neuron.bias, keep_v, out=np.zeros_like(v), where=keep_v > 0)
        u = np.divide(u, keep_u, out=np.zeros_like(u), where=keep_u > 0)
    return u, v


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
    neuron: Model,
    scale: np.ndarray,
    matrices: list[np.ndarray],
    largest: list[np.ndarray],
    grids: list[float],
) -> np.ndarray:
    """For each neuron, the scale between the largest and half of it that rounds weights and threshold best.

    Candidates put the row's largest weight exactly on the grid; the error is a sum of squared voltages.
    """
    level = np.where(np.isfinite(neuron.threshold), neuron.threshold, 0.0)
    filled = np.stack([big / grid for big, grid in zip(largest, grids, strict=True)])
    per_scale = filled.max(axis=0)
    top = np.floor(scale * per_scale * (1 + 1e-12))
    best, error = scale.copy(), np.full(scale.shape, np.inf)
    norm = sum(np.square(m).sum(axis=1) for m in matrices)
    for down in range(limits.WEIGHT_ONE_SIGN // 2 + 1):
        wanted = top - down
        open_rows = (wanted >= np.maximum(np.ceil(top / 2), 1)) & (error > 1e-14 * norm)
        rows = np.flatnonzero(open_rows)
        if not rows.size:
            break
        candidate = wanted[rows] / per_scale[rows]
        off = np.square(threshold_register(level[rows], candidate) * 2.0**limits.SHIFT / candidate - level[rows])
        for matrix, grid in zip(matrices, grids, strict=True):
            chosen = matrix[rows]
            step = (grid / candidate)[:, None]
            off += np.square(np.rint(chosen / step) * step - chosen).sum(axis=1)
        better = off < error[rows] * (1 - 1e-9)
        best[rows[better]], error[rows[better]] = candidate[better], off[better]
    return best


def threshold_register(threshold: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """The register `vth`: cut, not rounded, which is exact for voltages that are whole multiples of 64.

    What is added first is the rounding of float32, so that 2.9999999 is 3.
    """
    cut = np.floor(threshold * scale / (1 << limits.SHIFT) * (1 + 2.0**-23))
    return np.clip(cut, 0, limits.THRESHOLD)


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
