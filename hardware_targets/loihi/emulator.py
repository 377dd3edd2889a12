"""The integer program, run bit by bit as lava-nc 0.10 runs it, for many samples at once.

All numbers are whole and below 2⁵³, so float64 holds them exactly; the chip's `sign(x) · (|x| · c >> 12)`
is `trunc(x · c / 4096)`. Sums of weights are taken by float32 matrix products while they stay below 2²⁴.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from hardware_targets.loihi.limits import ALIGN, DECAY_UNITY, STATE_LIMIT
from hardware_targets.loihi.program import Connection, Population, Program


@dataclass(frozen=True)
class Emulation:
    """What the program gave, as the chip emits it, `(time, batch, size)`.

    Attributes:
        spikes: of every population asked for, int8.
        voltages: of every population asked for, after the reset, int32.
        fired: number of spikes of the input and of every population.
    """

    spikes: dict[str, np.ndarray]
    voltages: dict[str, np.ndarray]
    fired: dict[str, int]


def emulate(
    program: Program, spikes: np.ndarray, record: Iterable[str] = (), voltages: Iterable[str] = ()
) -> Emulation:
    """Run a program.

    Args:
        program: from `compile_graph`.
        spikes: 0 or 1, shape `(time, batch, inputs)`.
        record: populations whose spikes are wanted.
        voltages: populations whose voltages are wanted.
    """
    kept, traced = set(record), set(voltages)
    given: dict[str, np.ndarray] = {program.input: spikes.astype(np.float32)}
    result = Emulation({}, {}, {program.input: int(spikes.sum())})
    for group, loop in _groups(program):
        machines = {name: _Machine(program.populations[name], spikes.shape[:2], name in traced) for name in group}
        links = [c for c in program.connections if c.target in machines]
        inside = [c for c in links if loop and c.source in machines]
        for c in links:
            if c not in inside:
                machines[c.target].add(_product(given[c.source], c))
        products = [(_Step(c), machines[c.source], machines[c.target]) for c in inside]
        for t in range(len(spikes)):
            for machine in machines.values():
                machine.arriving = None
            for step, source, target in products:
                if t:
                    target.receive(step(source.spikes[t - 1]))
            for machine in machines.values():
                machine.step(t)
        for name, machine in machines.items():
            given[name] = machine.spikes
            result.fired[name] = int(machine.spikes.sum(dtype=np.float64))
            if name in kept:
                result.spikes[name] = machine.spikes.astype(np.int8)
            if machine.trace is not None:
                result.voltages[name] = machine.trace
    return result


class _Step:
    """One connection inside a loop, ready for one step at a time."""

    def __init__(self, connection: Connection) -> None:
        kind = _kind(connection)
        self.weights = np.ascontiguousarray(connection.weights.T, dtype=kind) * kind(2.0**connection.exponent)

    def __call__(self, spikes: np.ndarray) -> np.ndarray:
        return spikes.astype(self.weights.dtype, copy=False) @ self.weights


def _kind(connection: Connection) -> type[np.float32] | type[np.float64]:
    """float32 where every sum of weights is below 2²⁴, and so exact."""
    return np.float32 if np.abs(connection.weights).sum(1).max(initial=0) < 2**24 else np.float64


def _product(spikes: np.ndarray, connection: Connection) -> np.ndarray:
    """Sums of weights for a whole sequence, `(time, batch, size)`: one matrix product."""
    kind = _kind(connection)
    rows = spikes.reshape(-1, spikes.shape[-1]).astype(kind, copy=False)
    sums = rows @ connection.weights.T.astype(kind) * kind(2.0**connection.exponent)
    return sums.reshape(*spikes.shape[:2], -1)


class _Machine:
    """One population at work."""

    def __init__(self, population: Population, shape: tuple[int, ...], traced: bool) -> None:
        time, batch = shape
        size = (batch, population.size)
        self.keep_u = ((DECAY_UNITY - (population.du + 1)) / DECAY_UNITY).astype(np.float64)
        self.keep_v = ((DECAY_UNITY - population.dv) / DECAY_UNITY).astype(np.float64)
        self.threshold = (population.vth << ALIGN).astype(np.float64)
        self.bias = population.bias.astype(np.float64)
        self.u = np.broadcast_to(population.u0.astype(np.float64), size).copy()
        self.v = np.broadcast_to(population.v0.astype(np.float64), size).copy()
        self.fading = bool((self.keep_u != 0).any()) or bool(self.u.any())
        self.spikes = np.zeros((time, *size), dtype=np.float32)
        self.trace = np.zeros((time, *size), dtype=np.int32) if traced else None
        self.whole: np.ndarray | None = None
        self.arriving: np.ndarray | None = None

    def add(self, sums: np.ndarray) -> None:
        """Sums of a connection for the whole sequence."""
        self.whole = sums if self.whole is None else self.whole + sums

    def receive(self, sums: np.ndarray) -> None:
        """Sums of a connection inside a loop, for this step."""
        self.arriving = sums if self.arriving is None else self.arriving + sums

    def step(self, t: int) -> None:
        """One chip step; what a source fired in the step before arrives now."""
        arriving = self.arriving
        if t and self.whole is not None:
            before = self.whole[t - 1]
            arriving = before if arriving is None else arriving + before
        u = np.trunc(self.u * self.keep_u) if self.fading else np.zeros_like(self.u)
        if arriving is not None:
            u += arriving * float(2**ALIGN)
        if u.size and (u.max() > STATE_LIMIT or u.min() <= -STATE_LIMIT):
            u = np.where(u > STATE_LIMIT, u - 2 * STATE_LIMIT, np.where(u <= -STATE_LIMIT, u + 2 * STATE_LIMIT, u))
        v = np.trunc(self.v * self.keep_v)
        v += u
        v += self.bias
        np.clip(v, 1 - STATE_LIMIT, STATE_LIMIT - 1, out=v)
        fired = v > self.threshold
        v[fired] = 0
        self.spikes[t] = fired
        if self.trace is not None:
            self.trace[t] = v
        self.u, self.v = u, v


def _groups(program: Program) -> list[tuple[list[str], bool]]:
    """Populations in the order of their signals; those that form a loop come together."""
    names = list(program.populations)
    index = {name: i for i, name in enumerate(names)}
    edges = [(index[c.source], index[c.target]) for c in program.connections if c.source in index]
    rows, columns = (np.array([e[k] for e in edges], dtype=int) for k in (0, 1))
    links = coo_matrix((np.ones(len(edges)), (rows, columns)), shape=(len(names), len(names)))
    count, label = connected_components(links, directed=True, connection="strong")
    before: list[set[int]] = [set() for _ in range(count)]
    for a, b in edges:
        if label[a] != label[b]:
            before[label[b]].add(int(label[a]))
    loops = {int(label[a]) for a, b in edges if label[a] == label[b]}
    done: list[int] = []
    while len(done) < count:
        done += [g for g in range(count) if g not in done and before[g] <= set(done)]
    return [([n for n in names if label[index[n]] == g], g in loops) for g in done]
