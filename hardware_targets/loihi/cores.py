"""Which neurons go onto which core of the chip, and where a core is full.

A core holds up to 1024 neurons and 128 KB of synaptic memory, and the chip has 128 cores (Davies et al. 2018,
doi:10.1109/MM.2018.112130359). Spikes reach a core through 4096 input axons, one for each source neuron with a
synapse there, and leave it through 4096 output axons, one for each neuron and core that it reaches (Lin et al. 2018,
doi:10.1145/3192366.3192371; nengo-loihi 1.1 checks the same four numbers). How the chip packs synapses depends on
its compiler; counted here are 8 bits of weight and, where less than half of a neuron's row is there, 10 bits of
address; 6 more with a delay. Every core holds neurons of one population, a run of neighbours.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from hardware_targets.loihi.sparse import Matrix
from neurospin.target import Problem

CORES = 128
NEURONS = 1024
SYNAPSE_BITS = 128 * 1024 * 8
AXONS = 4096
WEIGHT_BITS, ADDRESS_BITS, DELAY_BITS = 8, 10, 6


@dataclass(frozen=True)
class Link:
    """Synapses between two populations.

    Attributes:
        source: name of the population that sends, or of the input.
        target: name of the population that receives.
        there: `(target, source)`; its entries are the synapses.
        delayed: whether they hold spikes back.
    """

    source: str
    target: str
    there: Matrix
    delayed: bool


@dataclass(frozen=True)
class Core:
    """What one core holds.

    Attributes:
        population: whose neurons.
        first: the first of them.
        neurons: how many.
        synapse_bits: memory of the synapses that arrive.
        in_axons: source neurons with a synapse here.
        out_axons: neurons times the cores that each of them reaches.
    """

    population: str
    first: int
    neurons: int
    synapse_bits: int
    in_axons: int
    out_axons: int


def partition(sizes: Mapping[str, int], links: Sequence[Link]) -> list[Core]:
    """Cores for every population: as few equal shares as the limits of what arrives allow, then of what leaves.

    Args:
        sizes: number of neurons of each population.
        links: all synapses.

    Returns:
        The cores in order. Where one neuron alone is too much, its core is over a limit; `problems` says so.
    """
    cost = {name: _arriving(name, size, links) for name, size in sizes.items()}
    shares = {
        name: min(size, max(math.ceil(size / NEURONS), math.ceil(cost[name][0].sum() / SYNAPSE_BITS)))
        for name, size in sizes.items()
    }
    for name, size in sizes.items():
        while shares[name] < size and _too_full(_bounds(size, shares[name]), *cost[name]):
            shares[name] += 1
    while True:
        cores = _cores(sizes, shares, cost, links)
        over = {c.population for c in cores if c.out_axons > AXONS and c.neurons > 1}
        if not over:
            return cores
        for name in over:
            shares[name] += 1


def problems(cores: Sequence[Core]) -> list[Problem]:
    """What does not fit, one for each population and limit, and the chip as a whole."""
    found = []
    for kind, limit, what, fix in (
        ("synapse_bits", SYNAPSE_BITS, "bits of synapses into one core", "remove synapses of its neurons"),
        ("in_axons", AXONS, "sources of one core", "give its neurons fewer inputs"),
        ("out_axons", AXONS, "cores that one neuron reaches", "make the populations behind it smaller"),
    ):
        worst: dict[str, int] = {}
        for core in cores:
            value = getattr(core, kind)
            if value > limit:
                worst[core.population] = max(worst.get(core.population, 0), value)
        found += [Problem(name, f"at most {limit} {what}", str(value), fix) for name, value in worst.items()]
    if len(cores) > CORES:
        largest = max(summary(cores), key=lambda row: row["cores"])
        got = f"{len(cores)} cores, {largest['cores']} of them for {largest['node']}"
        found.append(Problem("", f"{CORES} cores", got, "make the network smaller or spread it over chips"))
    return found


def summary(cores: Sequence[Core]) -> list[dict[str, Any]]:
    """For each population: its cores, and the fullest of them."""
    rows = []
    for name in dict.fromkeys(core.population for core in cores):
        mine = [core for core in cores if core.population == name]
        fullest = {k: max(getattr(c, k) for c in mine) for k in ("neurons", "synapse_bits", "in_axons", "out_axons")}
        rows.append({"node": name, "cores": len(mine), **fullest})
    return rows


def _bounds(size: int, shares: int) -> np.ndarray:
    return np.arange(shares + 1) * size // shares


def _arriving(name: str, size: int, links: Sequence[Link]) -> tuple[np.ndarray, list[Matrix]]:
    """Bits of synapses of each neuron, and from each source population where synapses are, `(size, source)`."""
    bits, sources = np.zeros(size, np.int64), {}
    for link in (link for link in links if link.target == name):
        count = np.diff(link.there.indptr)
        sparse = count * 2 < link.there.shape[1]
        bits += count * (WEIGHT_BITS + np.where(sparse, ADDRESS_BITS, 0) + DELAY_BITS * link.delayed)
        there = _ones(link.there)
        sources[link.source] = sources[link.source] + there if link.source in sources else there
    return bits, list(sources.values())


def _ones(there: Matrix) -> Matrix:
    return csr_array((np.ones(there.nnz, np.int32), there.indices, there.indptr), there.shape)


def _reached(bounds: np.ndarray, there: Matrix) -> Matrix:
    """Which source has a synapse in which share, `(share, source)`."""
    size = there.shape[0]
    share = csr_array((np.ones(size, np.int32), np.arange(size), bounds), (len(bounds) - 1, size))
    return share @ _ones(there)


def _too_full(bounds: np.ndarray, bits: np.ndarray, sources: list[Matrix]) -> bool:
    return bool((_sums(bounds, bits) > SYNAPSE_BITS).any() or (_in_axons(bounds, sources) > AXONS).any())


def _sums(bounds: np.ndarray, values: np.ndarray) -> np.ndarray:
    return np.add.reduceat(values, bounds[:-1])


def _in_axons(bounds: np.ndarray, sources: list[Matrix]) -> np.ndarray:
    counts = [np.diff(_reached(bounds, there).indptr) for there in sources]
    return np.sum(counts, axis=0) if counts else np.zeros(len(bounds) - 1, np.int64)


def _cores(
    sizes: Mapping[str, int],
    shares: Mapping[str, int],
    cost: Mapping[str, tuple[np.ndarray, list[Matrix]]],
    links: Sequence[Link],
) -> list[Core]:
    reached = {name: np.zeros(size, np.int64) for name, size in sizes.items()}
    for link in links:
        if link.source in reached:
            bounds = _bounds(sizes[link.target], shares[link.target])
            columns = _reached(bounds, link.there).indices
            reached[link.source] += np.bincount(columns, minlength=len(reached[link.source]))
    cores = []
    for name, size in sizes.items():
        bounds = _bounds(size, shares[name])
        bits, sources = cost[name]
        columns = (_sums(bounds, bits), _in_axons(bounds, sources), _sums(bounds, reached[name]))
        for first, end, *counts in zip(bounds[:-1], bounds[1:], *columns, strict=True):
            cores.append(Core(name, int(first), int(end - first), *(int(c) for c in counts)))
    return cores
