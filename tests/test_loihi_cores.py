"""The partition over cores, counted by hand and by a plain loop."""

from __future__ import annotations

import nir
import numpy as np
import pytest
from scipy.sparse import csr_array

import neurospin as ns
from hardware_targets.loihi import cores
from hardware_targets.loihi.cores import Link, partition, problems


def full(targets: int, sources: int, density: float = 1.0, seed: int = 0) -> csr_array:
    return csr_array(np.random.default_rng(seed).random((targets, sources)) < density)


def test_a_small_network_takes_one_core_for_each_population() -> None:
    links = [Link("input", "a", full(20, 10), False), Link("a", "b", full(5, 20), True)]
    found = partition({"a": 20, "b": 5}, links)
    assert [(c.population, c.neurons, c.synapse_bits, c.in_axons, c.out_axons) for c in found] == [
        ("a", 20, 200 * 8, 10, 20),
        ("b", 5, 100 * 14, 20, 0),
    ]
    assert problems(found) == []


def test_synaptic_memory_fills_before_neurons() -> None:
    """1000 neurons with 1000 inputs of 8 bits: 131 neurons fill 128 KB, so that eight cores hold 125 each."""
    found = partition({"a": 1000}, [Link("input", "a", full(1000, 1000), False)])
    assert [c.neurons for c in found] == [125] * 8
    assert max(c.synapse_bits for c in found) == 125_000 * 8 <= cores.SYNAPSE_BITS


@pytest.mark.parametrize("seed", range(4))
def test_counts_equal_a_plain_loop(seed: int) -> None:
    rng = np.random.default_rng(seed)
    sizes = {"a": int(rng.integers(1500, 2500)), "b": int(rng.integers(30, 300))}
    links = [
        Link("input", "a", full(sizes["a"], 400, 0.3, seed), False),
        Link("a", "b", full(sizes["b"], sizes["a"], 0.6, seed), False),
        Link("b", "a", full(sizes["a"], sizes["b"], 0.1, seed), True),
        Link("b", "b", full(sizes["b"], sizes["b"], 0.9, seed), False),
    ]
    found, dense = partition(sizes, links), [link.there.toarray() for link in links]
    for name, size in sizes.items():
        assert sum(c.neurons for c in found if c.population == name) == size
    for core in found[:3] + found[-2:]:
        mine = range(core.first, core.first + core.neurons)
        bits, sources, reached = 0, set(), 0
        for link, there in zip(links, dense, strict=True):
            if link.target == core.population:
                for i in mine:
                    count = int(there[i].sum())
                    bits += count * (8 + 10 * (2 * count < there.shape[1]) + 6 * link.delayed)
                    sources |= {(link.source, int(j)) for j in np.flatnonzero(there[i])}
            if link.source == core.population:
                for other in (c for c in found if c.population == link.target):
                    block = there[other.first : other.first + other.neurons]
                    reached += int(block[:, core.first : core.first + core.neurons].any(axis=0).sum())
        assert (bits, len(sources), reached) == (core.synapse_bits, core.in_axons, core.out_axons)
        assert core.neurons <= 1024 and bits <= cores.SYNAPSE_BITS
        assert core.in_axons <= 4096 and core.out_axons <= 4096


def test_what_does_not_fit_is_told_with_node_limit_value_and_fix() -> None:
    found = partition({"a": 2}, [Link("input", "a", full(2, 5000), False)])
    (problem,) = problems(found)
    assert (problem.node, problem.value) == ("a", "5000")
    assert "4096 sources" in problem.limit and problem.fix
    many = partition({"a": 20_000}, [Link("input", "a", full(20_000, 1000), False)])
    (problem,) = problems(many)
    assert problem.node == "" and problem.limit == "128 cores" and "for a" in problem.value


def test_check_and_report_speak_of_cores() -> None:
    def graph(inputs: int, size: int) -> nir.NIRGraph:
        ones = np.ones(size, np.float32)
        nodes = {
            "input": nir.Input({"input": np.array([inputs])}), "w": nir.Linear(np.ones((size, inputs), np.float32)),
            "lif": nir.LIF(0.01 * ones, ones, 0 * ones, ones, 0 * ones), "output": nir.Output({"output": np.array([size])}),
        }  # fmt: skip
        return nir.NIRGraph(nodes, [("input", "w"), ("w", "lif"), ("lif", "output")])

    report = ns.deploy(graph(500, 600), np.zeros((2, 1, 500), np.float32), "loihi", dt=1e-3)
    assert report.info["cores"] == 3
    (row,) = report.info["partition"]
    assert row == {
        "node": "lif", "cores": 3, "neurons": 200, "synapse_bits": 200 * 500 * 8, "in_axons": 500, "out_axons": 0,
    }  # fmt: skip
    (problem,) = ns.check(graph(4200, 3), "loihi")
    assert problem.node == "lif" and problem.value == "4200"
