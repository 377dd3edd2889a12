"""Runs a program as the chip does; equal to lava-nc 0.10 bit by bit: its spikes, its voltages.

Whole numbers run in a compiled loop (`kernel`); programs with fractions, which tell the causes of a difference
apart, in numpy (`fractions`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from hardware_targets.loihi import fractions, limits
from hardware_targets.loihi.program import INTEGERS, Population, Program, Projection
from hardware_targets.loihi.sparse import row_sums

SPARSE = 8
"""Projections with less than one weight in so many are kept as lists."""


@dataclass(frozen=True)
class Emulation:
    """What a program gave; every array as the chip emits it, late by the population's depth.

    Attributes:
        spikes: of each recorded population, uint8 `(time, batch, size)`.
        voltages: of each population whose voltage was wanted, int32 `(time, batch, size)`, after the reset.
        before_reset: the same for each population asked for, before the reset.
        operations: `synaptic` (spikes times their synapses with a weight), `neuron_updates`, `spikes`.
    """

    spikes: dict[str, np.ndarray]
    voltages: dict[str, np.ndarray]
    operations: dict[str, float]
    before_reset: dict[str, np.ndarray] = field(default_factory=dict)


def run(
    program: Program,
    spikes: np.ndarray,
    record: Iterable[str] = (),
    voltages: Iterable[str] = (),
    before_reset: Iterable[str] = (),
) -> Emulation:
    """Run a program.

    Args:
        program: the compiled graph.
        spikes: input of zeros and ones, `(time, batch, size of the input)`.
        record: names of populations whose spikes are wanted.
        voltages: names of populations whose voltages are wanted.
        before_reset: names of populations whose voltages before the reset are wanted.
    """
    record, voltages, before_reset = tuple(record), tuple(voltages), tuple(before_reset)
    if _fits(program):
        return _whole(program, spikes, record, voltages, before_reset)
    steps, batch, _ = spikes.shape
    given, kept, met = fractions.run(program, spikes, voltages, before_reset)
    counts = {name: array.sum(axis=(0, 1), dtype=np.float64) for name, array in given.items()}
    found = {name: given[name].astype(np.uint8) for name in record}
    return Emulation(found, kept, _operations(program, counts, steps * batch), met)


def _fits(program: Program) -> bool:
    """Whether all numbers are whole and no sum leaves 32 bits; every compiled program without fractions does."""
    arrays = [getattr(p, key) for p in program.populations for key in INTEGERS]
    if not program.whole or any(a.dtype.kind != "i" for a in (*arrays, *(p.weights for p in program.projections))):
        return False
    for population in program.populations:
        arriving = [p for p in program.projections if p.target == population.name]
        sums = [_most(p) * 2.0 ** (limits.SHIFT + max(p.exponent, 0)) for p in arriving]
        # a step that brings more than one wrap takes back would let the current grow beyond 32 bits
        if np.sum(sums, axis=0).max(initial=0) > 2**24 or np.abs(population.bias).max(initial=0) > 2**30:
            return False
        if max(np.abs(population.u0).max(initial=0), np.abs(population.v0).max(initial=0)) > 2**23:
            return False
    return True


def registers(p: Population) -> np.ndarray:
    """A population as the kernel reads it, int32 `(6, size)`."""
    keep = limits.DECAY_ONE - p.du - 1, limits.DECAY_ONE - p.dv
    return np.stack([p.u0, p.v0, p.bias, p.vth * (1 << limits.SHIFT), *keep]).astype(np.int32)


def _most(projection: Projection) -> np.ndarray:
    return row_sums(projection.weights, np.abs(projection.weights.data.astype(np.float64)))


def _whole(
    program: Program,
    spikes: np.ndarray,
    record: tuple[str, ...],
    voltages: tuple[str, ...],
    before_reset: tuple[str, ...],
) -> Emulation:
    from hardware_targets.loihi import kernel  # numba takes a second to load

    steps, batch, inputs = spikes.shape
    populations = program.populations
    index = {program.input: 0, **{p.name: i for i, p in enumerate(populations, 1)}}
    bounds = np.cumsum([0, inputs, *(p.size for p in populations)])
    neurons = np.concatenate([registers(p) for p in populations], axis=1)
    waits = np.array([0 if program.wound_back else p.depth for p in populations])
    projections, rows, (starts, targets, values) = _synapses(program, index)
    wide = max([0, *(int(_most(p).max(initial=0)) for p in program.projections)]) >= 1 << 15
    sums = np.zeros(max(p.size for p in populations), np.int32 if wide else np.int16)
    at, arrays = np.full((3, len(populations)), -1), []
    for row, (names, kind) in enumerate(((record, np.uint8), (voltages, np.int32), (before_reset, np.int32))):
        width = 0
        for name in dict.fromkeys(names):
            at[row, index[name] - 1] = width
            width += program.population(name).size
        arrays.append(np.zeros((steps, batch, width), kind))
    fired = np.zeros(bounds[-1], np.int64)
    given = np.ascontiguousarray(spikes, np.uint8)
    ring = 1 + int(projections[:, kernel.LAG].max(initial=1))
    emitted, after, before = arrays
    kernel.run(
        given, bounds, waits, neurons, projections, rows, starts, targets, values, sums, ring, emitted, after, before,
        at, fired,
    )  # fmt: skip

    def views(row: int, names: tuple[str, ...]) -> dict[str, np.ndarray]:
        columns = {name: int(at[row, index[name] - 1]) for name in names}
        return {name: arrays[row][..., c : c + program.population(name).size] for name, c in columns.items()}

    counts = {name: fired[bounds[i] : bounds[i + 1]].astype(np.float64) for name, i in index.items()}
    return Emulation(
        views(0, record), views(1, voltages), _operations(program, counts, steps * batch), views(2, before_reset)
    )


def _synapses(program: Program, index: dict[str, int]) -> tuple[np.ndarray, np.ndarray, tuple[np.ndarray, ...]]:
    """All projections as the kernel reads them: what they are, rows of weights by source, and lists for the sparse."""
    table, dense, lists = [], [], []
    widest = max(p.size for p in program.populations)
    used = [0, 0]
    for p in program.projections:
        size, sources = p.weights.shape
        full = bool(p.weights.nnz * SPARSE >= size * sources)
        table.append([index[p.source], index[p.target], 1 + p.delay, p.exponent, int(full), used[full]])
        used[full] += sources
        if full:
            dense.append(np.pad(p.weights.toarray().T.astype(np.int16), ((0, 0), (0, widest - size))))
        else:
            lists.append(p.weights.T.tocsr())
    rows = np.concatenate(dense) if dense else np.zeros((0, widest), np.int16)
    starts = np.concatenate([[0], *(np.diff(by_source.indptr) for by_source in lists)]).cumsum()
    targets = np.concatenate([np.zeros(0, np.int32), *(by_source.indices for by_source in lists)]).astype(np.int32)
    values = np.concatenate([np.zeros(0, np.int16), *(by_source.data for by_source in lists)]).astype(np.int16)
    return np.array(table, np.int64).reshape(-1, 6), rows, (starts, targets, values)


def _operations(program: Program, counts: dict[str, np.ndarray], updates: int) -> dict[str, float]:
    """Counted work of a run."""
    synaptic = sum(float(counts[p.source] @ p.fan_out) for p in program.projections)
    return {
        "synaptic": synaptic,
        "neuron_updates": float(updates * sum(p.size for p in program.populations)),
        "spikes": float(sum(counts[p.name].sum() for p in program.populations)),
    }
