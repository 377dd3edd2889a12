"""From the float weights of one population to the chip's integers.

Each neuron has a scale: integer steps of its voltage per model unit, its own or one for all neurons of the population.
It is limited by the registers (no current may ever wrap, the threshold must fit), and below that limit it is searched
for: the scale whose rounded weights lie closest to the true ones. Weights that are multiples of one value (binary,
ternary, few levels) are met exactly, because the threshold takes up the scale. `calibrate` looks at voltages instead.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hardware_targets.loihi import limits
from hardware_targets.loihi.neuron import MARGIN, Model, decays, largest_scale, threshold_register
from hardware_targets.loihi.sparse import Matrix, row_largest, row_of, row_sums, with_values
from neurospin.errors import unknown_name

HEADROOM = 32.0
"""Voltages this many thresholds below the reset are kept from clipping."""
EXACT_HEADROOMS = ((128.0, 0), (32.0, 0), (32.0, 1), (8.0, 0))
"""The same, where it costs no bit of any weight, and a bit of voltage given up so that the largest weight fills its 8
bits; the first of them at which every weight is exact."""
SPREAD = 4
"""Bits of voltage that the neuron with the largest weights gives up so that others keep theirs."""
EXACT = 1e-6
"""Relative error of a weight below which it counts as met exactly: float32 rounding."""
WHOLE = 1e-4
"""What stochastic rounding takes for a whole number of steps: float32 rounding at 8 bits."""
SCALINGS = ("neuron", "layer")
ROUNDINGS = ("nearest", "stochastic")


@dataclass(frozen=True)
class Scheme:
    """What may be chosen when weights are rounded.

    Attributes:
        scaling: a scale for each `"neuron"` (default), or one for each `"layer"`, whose neurons then share decays,
            bias and threshold as far as the graph's do.
        rounding: to the `"nearest"` integer (default), or `"stochastic"`: up with a probability that is the fraction,
            so that the mean weight is right.
        seed: of stochastic rounding.
    """

    scaling: str = "neuron"
    rounding: str = "nearest"
    seed: int = 0

    def __post_init__(self) -> None:
        for name, known in (("scaling", SCALINGS), ("rounding", ROUNDINGS)):
            if getattr(self, name) not in known:
                raise unknown_name("target", str(getattr(self, name)), known, name)

    def settings(self) -> dict[str, str]:
        """What a user sets."""
        return {"scaling": self.scaling, "rounding": self.rounding}

    def with_seed(self, seed: int) -> Scheme:
        """The same with another seed."""
        return Scheme(self.scaling, self.rounding, seed if self.rounding == "stochastic" else 0)

    @property
    def draw(self) -> int:
        """Number of the random draw that decides stochastic rounding; 0 rounds to the nearest."""
        return 1 + self.seed if self.rounding == "stochastic" else 0


NEAREST = Scheme()


@dataclass(frozen=True)
class Weights:
    """The synapses of one projection as integers, `(target, source)`, and their shared exponent."""

    mantissas: Matrix
    exponent: int


@dataclass(frozen=True)
class Grid:
    """On what the weights of one population are rounded; it settles all of their integers.

    Attributes:
        scale: integer steps per volt at which they are rounded, `(target,)`.
        exponents: of every projection, in the order of the edges.
        draw: for each neuron the number of the random draw that rounds its weights, `(target,)`; 0 rounds to the nearest.
        shared: whether the neurons share one scale, which rounding must not part.
    """

    scale: np.ndarray
    exponents: tuple[int, ...]
    draw: np.ndarray
    shared: bool = False

    def to_dict(self) -> dict[str, Any]:
        """As metadata of a graph."""
        told: dict[str, Any] = {"scale": self.scale.copy(), "exponents": list(self.exponents)}
        if self.draw.any():
            told["draw"] = self.draw.copy()
        if self.shared:
            told["scaling"] = "layer"
        return told

    @classmethod
    def from_dict(cls, told: Any) -> Grid:
        """From metadata; what says nothing sensible gives a grid that fits nothing."""
        try:
            scale = np.asarray(told["scale"], np.float64)
            draw = np.asarray(told.get("draw", np.zeros(scale.shape)), np.int64)
            exponents = tuple(int(exponent) for exponent in told["exponents"])
            return cls(scale, exponents, draw, told.get("scaling") == "layer")
        except (AttributeError, TypeError, ValueError, LookupError):
            return cls(np.zeros(0), (), np.zeros(0, np.int64))


@dataclass(frozen=True)
class Laid:
    """Weights on a grid.

    Attributes:
        scale: that fits the rounded weights best, `(target,)`; integer steps per volt.
        weights: one for each projection.
        grid: on which they lie.
        error: largest relative error of a weight, of the neuron's largest.
    """

    scale: np.ndarray
    weights: list[Weights]
    grid: Grid
    error: float = field(compare=False)


def chosen(neuron: Model, matrices: list[Matrix], depth: int, scheme: Scheme = NEAREST) -> Laid:
    """The weights of a population on the best grid that is found.

    Args:
        neuron: the population.
        matrices: one `(target, source)` for each projection, in volts a step.
        depth: steps by which the population starts early.
        scheme: what may be chosen.
    """
    if not matrices:
        scale = largest_scale(neuron, matrices, depth, HEADROOM)
        if scheme.scaling == "layer":
            scale = np.full_like(scale, scale.min(initial=np.inf))
        return laid(neuron, matrices, Grid(scale, (), np.zeros(scale.shape, np.int64), scheme.scaling == "layer"))
    parts = [*vars(neuron).values(), *(array for m in matrices for array in (m.data, m.indices, m.indptr))]
    key = hashlib.sha256(repr((depth, scheme, [m.shape for m in matrices])).encode())
    for array in parts:
        key.update(np.ascontiguousarray(array).data)
    name = key.digest()
    if name not in _searched:
        if len(_searched) >= SEARCHES:
            _searched.pop(next(iter(_searched)))
        _searched[name] = _best(neuron, matrices, depth, scheme)
    return _searched[name]


def fits(neuron: Model, matrices: list[Matrix], depth: int, grid: Grid) -> bool:
    """Whether every register holds the population on a grid that was chosen elsewhere, perhaps for other weights."""
    scale, (lowest, highest) = grid.scale, limits.WEIGHT_EXPONENT
    if not scale.shape == grid.draw.shape == neuron.bias.shape or len(grid.exponents) != len(matrices):
        return False
    if not (np.isfinite(scale).all() and (scale > 0).all() and all(lowest <= e <= highest for e in grid.exponents)):
        return False
    if (grid.draw < 0).any() or (grid.shared and np.unique(scale).size > 1):
        return False
    least = min(headroom for headroom, _ in EXACT_HEADROOMS)
    if (scale * MARGIN > largest_scale(neuron, matrices, depth, least) * (1 + 1e-9)).any():
        return False
    return all(
        (row_largest(matrix) * scale <= _top(step) * 2.0 ** (exponent + limits.SHIFT) * (1 + 1e-9)).all()
        for matrix, step, exponent in zip(matrices, steps_of(matrices), grid.exponents, strict=True)
    )


SEARCHES = 32
"""Populations whose scales are kept: a certificate compiles the same graph once for every cause."""
_searched: dict[bytes, Laid] = {}


@dataclass(frozen=True)
class Way:
    """One way to spend the bits of a population.

    Attributes:
        exponents: of every projection.
        limit: the largest scale of every neuron at which its registers hold it.
        spacing: of the weights of every projection, in integer steps.
        exact: whether it is meant for weights that it meets exactly.
    """

    exponents: tuple[int, ...]
    limit: np.ndarray
    spacing: list[float]
    exact: bool

    def scales(self, matrices: list[Matrix], shared: bool) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Scales from the limit to half of it that put a row's largest weight exactly on the grid, and which are such."""
        filled = [row_largest(m) / grid for m, grid in zip(matrices, self.spacing, strict=True)]
        per_scale = np.max(filled, axis=0)
        if shared:
            per_scale = np.full_like(per_scale, per_scale.max())
        top = np.floor(self.limit * per_scale * (1 + 1e-12))
        for down in range(limits.WEIGHT_ONE_SIGN // 2 + 1):
            wanted = top - down
            there = wanted >= np.maximum(np.ceil(top / 2), 1)
            if not there.any():
                return
            yield np.divide(wanted, per_scale, out=self.limit.copy(), where=there), there


def ways(neuron: Model, matrices: list[Matrix], depth: int, scheme: Scheme) -> Iterator[Way]:
    """What is tried, the most precise first; the last takes any weights."""
    for headroom, bits in EXACT_HEADROOMS:
        yield _way(matrices, largest_scale(neuron, matrices, depth, headroom), 0, bits, scheme, exact=True)
    # a shift to the right cuts bits of every sum, which costs less than bits of weight
    lowest = limits.WEIGHT_EXPONENT[0]
    yield _way(matrices, largest_scale(neuron, matrices, depth, HEADROOM), lowest, 0, scheme, exact=False)


def _way(matrices: list[Matrix], scale: np.ndarray, lowest: int, bits: int, scheme: Scheme, *, exact: bool) -> Way:
    """At most at this scale; exponents `bits` below what it allows, and at least `lowest`."""
    exponents, steps = [], steps_of(matrices)
    if scheme.scaling == "layer":
        scale = np.full_like(scale, scale.min())
    for step, matrix in zip(steps, matrices, strict=True):
        big = row_largest(matrix)
        exponents.append(max(_exponent(scale * big / _top(step)) - bits, lowest))
        full = _top(step) * 2.0 ** (exponents[-1] + limits.SHIFT)
        scale = np.minimum(scale, np.divide(full, big, out=np.full_like(scale, np.inf), where=big > 0))
        if scheme.scaling == "layer":
            scale = np.full_like(scale, scale.min())
    spacing = [step * 2.0 ** (exponent + limits.SHIFT) for step, exponent in zip(steps, exponents, strict=True)]
    return Way(tuple(exponents), scale, spacing, exact)


def _best(neuron: Model, matrices: list[Matrix], depth: int, scheme: Scheme) -> Laid:
    shared = scheme.scaling == "layer"
    for way in ways(neuron, matrices, depth, scheme):
        scale = _search(neuron, way, matrices, shared)
        found = laid(neuron, matrices, Grid(scale, way.exponents, np.full(scale.shape, scheme.draw), shared))
        if not way.exact or found.error < EXACT:
            return found
    raise AssertionError("the last way is taken whatever its error")


def steps_of(matrices: list[Matrix]) -> list[int]:
    """Smallest difference of two weights: 2 where signs are mixed, whose lowest bit is lost to the sign."""
    return [2 if (m.data > 0).any() and (m.data < 0).any() else 1 for m in matrices]


def _top(step: int) -> int:
    return limits.WEIGHT_SIGNED if step == 2 else limits.WEIGHT_ONE_SIGN


def laid(neuron: Model, matrices: list[Matrix], grid: Grid) -> Laid:
    """The weights of a population on a grid that `fits`."""
    units = [2.0 ** (exponent + limits.SHIFT) for exponent in grid.exponents]
    spacing = [step * unit for step, unit in zip(steps_of(matrices), units, strict=True)]
    scale, rounded = _fit(neuron, grid, matrices, spacing)
    error, found = 0.0, []
    for matrix, integers, unit, exponent in zip(matrices, rounded, units, grid.exponents, strict=True):
        row, big = row_of(matrix), row_largest(matrix)
        off = np.abs(integers / scale[row] - matrix.data)
        error = max(error, float((off / big[row]).max(initial=0)))
        mantissas = with_values(matrix, np.rint(integers / unit).astype(np.int16))
        found.append(Weights(mantissas, exponent))
    return Laid(scale, found, grid, error)


def _exponent(filled: np.ndarray) -> int:
    """Shared exponent for rows whose largest weight fills this part of the 8 bits times 64."""
    filled = filled[filled > 0] / (1 << limits.SHIFT)
    if not filled.size:
        return 0
    highest, lowest = (int(np.ceil(np.log2(x))) for x in (filled.max(), filled.min()))
    # rows with small weights keep their bits; never at the price of a shift to the right
    wanted = max(lowest, highest - SPREAD, min(0, highest))
    return int(np.clip(wanted, *limits.WEIGHT_EXPONENT))


def _search(neuron: Model, way: Way, matrices: list[Matrix], shared: bool) -> np.ndarray:
    """For each neuron, or for all, the scale that rounds weights and threshold best: squared voltages are summed."""
    level = np.where(np.isfinite(neuron.threshold), neuron.threshold, 0.0)
    best, error = way.limit.copy(), np.full(way.limit.shape, np.inf)
    norm = sum((row_sums(m, np.square(m.data)) for m in matrices), np.zeros(level.shape))
    norm = np.where(norm > 0, norm, 1.0)
    rows = [row_of(m) for m in matrices]
    for candidate, there in way.scales(matrices, shared):
        there = there & (error > 1e-14)
        if not there.any():
            break
        off = np.square(threshold_register(level, candidate) * 2.0**limits.SHIFT / candidate - level)
        for matrix, row, grid in zip(matrices, rows, way.spacing, strict=True):
            step = (grid / candidate)[row]
            off += np.bincount(row, np.square(np.rint(matrix.data / step) * step - matrix.data), len(level))
        off = np.full_like(off, (off / norm).mean()) if shared else off / norm
        better = there & (off < error * (1 - 1e-9))
        best[better], error[better] = candidate[better], off[better]
    return best


def _rounded(matrix: Matrix, number: int, grid: Grid, spacing: float, scale: np.ndarray) -> np.ndarray:
    """Entries of projection `number` as multiples of the spacing."""
    row = row_of(matrix)
    x = matrix.data * scale[row] / spacing
    found = np.rint(x)
    between = np.abs(x - found) > WHOLE
    for draw in np.unique(grid.draw[grid.draw > 0]):
        chance = np.random.default_rng([int(draw), number]).random(x.size)
        found = np.where((grid.draw[row] == draw) & between, np.floor(x + chance), found)
    return found * spacing


def _fit(
    neuron: Model, grid: Grid, matrices: list[Matrix], spacing: list[float]
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Rounded entries, and the scale that fits them best; smaller where a current could wrap."""
    du, _ = decays(neuron)
    scale, n = grid.scale.copy(), len(grid.scale)
    rows = [row_of(m) for m in matrices]
    while True:
        rounded = [_rounded(m, k, grid, g, scale) for k, (m, g) in enumerate(zip(matrices, spacing, strict=True))]
        up, down = (
            sum(
                (np.bincount(row, np.maximum(sign * r, 0), n) for row, r in zip(rows, rounded, strict=True)),
                np.zeros(n),
            )
            for sign in (1, -1)
        )
        slack = len(matrices) << limits.SHIFT  # a shift to the right cuts up to one unit
        wraps = (np.maximum(up, down) + slack) * limits.DECAY_ONE / (du + 1) > limits.STATE
        if not matrices or not wraps.any():
            break
        scale[wraps | grid.shared] *= 0.95
    if grid.shared:
        return scale, rounded
    power = sum((row_sums(m, np.square(m.data)) for m in matrices), np.zeros(n))
    shared = sum((row_sums(m, r * m.data) for m, r in zip(matrices, rounded, strict=True)), np.zeros(n))
    fitted = np.divide(shared, power, out=scale.copy(), where=power > 0)
    return np.where(fitted > 0, fitted, scale), rounded
