"""What is no graph, in memory: every way in says so in one line, and `check` does not raise."""

import nir
import numpy as np
import pytest

import neurospin as ns

X = np.zeros((4, 2, 3), np.float32)


def good():
    one = np.ones(4, np.float32)
    lif = nir.LIF(tau=0.01 * one, r=one, v_leak=0 * one, v_threshold=one, v_reset=0 * one)
    ends = nir.Input({"input": np.array([3])}), nir.Output({"output": np.array([4])})
    nodes = {"input": ends[0], "w": nir.Linear(np.ones((4, 3), np.float32)), "n": lif, "output": ends[1]}
    edges = [("input", "w"), ("w", "n"), ("n", "output")]
    return nir.NIRGraph(nodes, edges, metadata={}, type_check=False)


def spoil(change):
    graph = good()
    change(graph)
    return graph


def put(node, **fields):
    for field, value in fields.items():
        setattr(node, field, value)


WRONG = {
    "no nodes": (lambda g: put(g, nodes=None), "graph.nodes: expected a dict, got NoneType"),
    "no edges": (lambda g: put(g, edges=None), "graph.edges: expected a list, got NoneType"),
    "odd metadata": (lambda g: put(g, metadata=7), "graph.metadata: expected a dict, got int"),
    "half an edge": (lambda g: put(g, edges=[("input",)]), "graph.edges: expected pairs of node names"),
    "an edge to nowhere": (lambda g: g.edges.append(("n", "zz")), "zz"),
    "no node": (lambda g: g.nodes.update(w=None), "node 'w': expected a node of nir, got NoneType"),
    "itself": (lambda g: g.nodes.update(g=g), "expected at most 32 graphs in one another, got more"),
    "no weight": (lambda g: put(g.nodes["w"], weight=None), "w.weight: expected real numbers, got none"),
    "no tau": (lambda g: put(g.nodes["n"], tau=None), "n.tau: expected real numbers, got none"),
    "complex": (lambda g: put(g.nodes["n"], tau=np.ones(4) * 1j), "n.tau: expected real numbers, got dtype complex128"),
    "text": (lambda g: put(g.nodes["n"], v_threshold="a"), "n.v_threshold: expected real numbers, got dtype <U1"),
    "objects": (lambda g: put(g.nodes["n"], r=np.ones(4, object)), "n.r: expected real numbers, got dtype object"),
    "another shape": (lambda g: put(g.nodes["n"], tau=np.ones((2, 3))), "n.r: expected shape (2, 3), got shape (4,)"),
    "a port without a shape": (lambda g: put(g.nodes["input"], input_type={"input": None}), "node input"),
}


@pytest.mark.parametrize("name", list(WRONG))
def test_every_way_in_says_what_is_wrong(tmp_path, name):
    change, words = WRONG[name]
    graph = spoil(change)
    for way in (
        lambda: ns.simulate(graph, X, dt=1e-3),
        lambda: ns.from_graph(graph, 1e-3) if "port" not in name else ns.simulate(graph, X, dt=1e-3),
        lambda: ns.write(tmp_path / "g.nir", graph),
        lambda: ns.deploy(graph, X, "reference", dt=1e-3),
        lambda: (
            ns.in_seconds(graph, "ms") if "port" not in name and "nowhere" not in name else ns.deploy(graph, X, "loihi")
        ),
    ):
        with pytest.raises(ns.NeurospinError) as told:
            way()
        assert words in str(told.value) and "\n" not in str(told.value)
    for target in ("reference", "loihi", "crossbar"):
        assert ns.check(graph, target)
    assert list(tmp_path.iterdir()) == []
