"""Programs with fractions: one cause of difference left out at a time, vectorised over samples in numpy.

Numbers are float64. A population outside every loop gets its whole input in one product over time and samples;
the members of a loop take one product for each step.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from hardware_targets.loihi import limits
from hardware_targets.loihi.program import Population, Program, Projection

DENSE = 8
"""Projections with at least one weight in so many are multiplied as dense matrices."""
CHUNK_BYTES = 64 << 20
"""Memory that the currents of one population may take; larger batches run in parts."""

Arrays = dict[str, np.ndarray]


def run(
    program: Program, spikes: np.ndarray, voltages: tuple[str, ...], before_reset: tuple[str, ...]
) -> tuple[Arrays, Arrays, Arrays]:
    """Spikes of every source, wanted voltages after the reset, and before it; each `(time, batch, size)`."""
    steps, batch, _ = spikes.shape
    widest = max(population.size for population in program.populations)
    part = max(1, CHUNK_BYTES // (8 * steps * widest))
    pieces = [_run(program, spikes[:, i : i + part], voltages, before_reset) for i in range(0, batch, part)]
    if len(pieces) == 1:
        return pieces[0]
    joined = [{key: np.concatenate([p[k][key] for p in pieces], axis=1) for key in pieces[0][k]} for k in range(3)]
    return joined[0], joined[1], joined[2]


def _run(
    program: Program, spikes: np.ndarray, voltages: tuple[str, ...], before_reset: tuple[str, ...]
) -> tuple[Arrays, Arrays, Arrays]:
    steps, batch, _ = spikes.shape
    given = {program.input: np.ascontiguousarray(spikes, np.float32)}
    kept: dict[str, np.ndarray] = {}
    met: dict[str, np.ndarray] = {}
    synapses = {
        name: [Synapses(p, program.whole) for p in program.projections if p.target == name] for name in _names(program)
    }
    for component in _components(program):
        members = []
        for name in component:
            population = program.population(name)
            outer = [s for s in synapses[name] if s.source not in component]
            inner = [s for s in synapses[name] if s.source in component]
            current = np.zeros((steps, batch, population.size))
            for synapse in outer:
                synapse.add_all(given[synapse.source], current)
            given[name] = np.zeros((steps, batch, population.size), np.float32)
            kind = np.int32 if program.whole else np.float64
            for names, arrays in ((voltages, kept), (before_reset, met)):
                if name in names:
                    arrays[name] = np.zeros((steps, batch, population.size), kind)
            wait = 0 if program.wound_back else population.depth
            members.append(
                _Neurons(
                    population, batch, current, given[name], kept.get(name), met.get(name), inner, program.whole, wait
                )
            )
        for t in range(steps):
            for neurons in members:
                for synapse in neurons.inner:
                    synapse.add_step(given[synapse.source], t, neurons.current[t])
            for neurons in members:
                neurons.step(t)
    return given, kept, met


def _names(program: Program) -> list[str]:
    return [population.name for population in program.populations]


def _components(program: Program) -> list[list[str]]:
    """Populations in groups: those of a loop together, sources before targets."""
    names = _names(program)
    index = {name: i for i, name in enumerate(names)}
    links = [(index[p.source], index[p.target]) for p in program.projections if p.source in index]
    rows, columns = [a for a, _ in links], [b for _, b in links]
    graph = coo_matrix((np.ones(len(links)), (rows, columns)), shape=(len(names), len(names)))
    count, label = connected_components(graph, directed=True, connection="strong")
    after = {(int(label[a]), int(label[b])) for a, b in links if label[a] != label[b]}
    waiting, ordered = list(range(count)), []
    while waiting:
        ready = next(c for c in waiting if not any(b == c and a in waiting for a, b in after))
        waiting.remove(ready)
        ordered.append([name for name in names if label[index[name]] == ready])
    return ordered


class Synapses:
    """One projection, ready for products.

    Args:
        projection: the synapses.
        whole: whether sums are cut as the chip cuts them.
    """

    def __init__(self, projection: Projection, whole: bool) -> None:
        self.source = projection.source
        self.lag = 1 + projection.delay
        self.cut = min(projection.exponent, 0) if whole else 0
        unit = 2.0 ** (limits.SHIFT + projection.exponent) if self.cut == 0 else 1.0
        weights = projection.weights
        exact = weights.dtype.kind == "i" and np.abs(weights).sum(axis=1).max(initial=0) < 2**24
        kind = np.float32 if exact else np.float64
        # a power of two as common factor leaves every partial sum as exact as it was
        scaled = weights.astype(np.float64) * unit
        dense = weights.nnz * DENSE >= np.prod(weights.shape)
        self.weights = np.ascontiguousarray(scaled.toarray().T, kind) if dense else scaled.T.tocsr().astype(kind)

    def add_all(self, spikes: np.ndarray, current: np.ndarray) -> None:
        """Add what arrives over the whole sequence, `(time, batch, target)`."""
        steps, batch, size = spikes.shape
        if self.lag < steps:
            sums = spikes[: steps - self.lag].reshape(-1, size).astype(self.weights.dtype, copy=False) @ self.weights
            current[self.lag :] += self._shift(sums).reshape(steps - self.lag, batch, -1)

    def add_step(self, spikes: np.ndarray, t: int, current: np.ndarray) -> None:
        """Add what arrives at step `t`, `(batch, target)`."""
        if t >= self.lag:
            current += self._shift(spikes[t - self.lag].astype(self.weights.dtype, copy=False) @ self.weights)

    def _shift(self, sums: np.ndarray) -> np.ndarray:
        if self.cut:
            np.floor(np.multiply(sums, 2.0**self.cut, out=sums), out=sums)
            sums *= 1 << limits.SHIFT
        return sums


@dataclass
class _Neurons:
    """One population with its state and its currents, ready to be stepped."""

    population: Population
    batch: int
    current: np.ndarray
    spikes: np.ndarray
    voltages: np.ndarray | None
    before_reset: np.ndarray | None
    inner: list[Synapses]
    whole: bool
    wait: int
    u: np.ndarray = field(init=False)
    v: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        p = self.population
        shape = (self.batch, p.size)
        self.u = np.array(np.broadcast_to(p.u0, shape), np.float64)
        self.v = np.array(np.broadcast_to(p.v0, shape), np.float64)
        self.keep_u = (limits.DECAY_ONE - p.du - 1) / limits.DECAY_ONE
        self.keep_v = (limits.DECAY_ONE - p.dv) / limits.DECAY_ONE
        self.bias = p.bias.astype(np.float64)
        self.threshold = (p.vth * (1 << limits.SHIFT)).astype(np.float64)
        self.fired = np.empty(shape, bool)

    def step(self, t: int) -> None:
        if t < self.wait:
            return
        u, v = self.u, self.v
        np.multiply(u, self.keep_u, out=u)
        np.multiply(v, self.keep_v, out=v)
        if self.whole:
            np.trunc(u, out=u)
            np.trunc(v, out=v)
        u += self.current[t]
        if self.whole:
            self._wrap(u)
        v += u
        v += self.bias
        if self.whole:
            np.clip(v, -limits.STATE, limits.STATE, out=v)
        if self.before_reset is not None:
            np.copyto(self.before_reset[t], v, casting="unsafe")
        np.greater(v, self.threshold, out=self.fired)
        np.copyto(v, 0.0, where=self.fired)
        np.copyto(self.spikes[t], self.fired)
        if self.voltages is not None:
            np.copyto(self.voltages[t], v, casting="unsafe")

    @staticmethod
    def _wrap(u: np.ndarray) -> None:
        """Beyond 2²³ a current comes in again from the other end, once; −2²³ itself does, 2²³ does not."""
        bound = limits.STATE + 1
        if u.max() > bound or u.min() <= -bound:
            high, low = u > bound, u <= -bound
            u[high] -= 2 * bound
            u[low] += 2 * bound
