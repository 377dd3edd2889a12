"""Random graphs of up to twelve nodes, with loops over several nodes and nested graphs."""

import nir
import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import neurospin as ns
from tests.graphs import neuron
from tests.oracle import Oracle
from tests.test_graph_build import same

KINDS = ["lif", "cubalif", "if", "li", "cubali"]


def node(draw, rng, size):
    """A random node that keeps the size, or a nested graph with a loop of its own."""
    kind = draw(st.sampled_from([*KINDS, *KINDS, "linear", "affine", "scale", "threshold", "delay", "nested"]))
    weight = (3 * rng.normal(size=(size, size))).astype(np.float32)
    if kind in KINDS:
        return neuron(kind, size, rng)
    if kind == "linear":
        return nir.Linear(weight=weight)
    if kind == "affine":
        return nir.Affine(weight=weight, bias=rng.normal(size=size).astype(np.float32))
    if kind == "scale":
        return nir.Scale(scale=rng.uniform(-3, 3, size).astype(np.float32))
    if kind == "threshold":
        return nir.Threshold(threshold=rng.uniform(0.1, 1, size).astype(np.float32))
    if kind == "delay":
        return nir.Delay(delay=(1e-3 * rng.integers(1, 4, size)).astype(np.float32))
    inner = {
        "in": nir.Input({"input": np.array([size])}),
        "cell": neuron(draw(st.sampled_from(KINDS[:3])), size, rng),
        "rec": nir.Affine(weight=weight, bias=rng.normal(size=size).astype(np.float32)),
        "out": nir.Output({"output": np.array([size])}),
    }
    return nir.NIRGraph(inner, [("in", "cell"), ("cell", "rec"), ("rec", "cell"), ("cell", "out")], metadata={})


@st.composite
def webs(draw):
    """Nodes in a row, random edges onward, and random edges back into neurons: every loop has one."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    size, count = draw(st.integers(1, 5)), draw(st.integers(2, 10))
    nodes = {"input": nir.Input({"input": np.array([size])})}
    nodes |= {"w": nir.Linear(weight=(9 * rng.normal(size=(size, size))).astype(np.float32))}
    edges = [("input", "w")]
    names = ["w"]
    for i in range(count - 1):
        nodes[f"n{i}"] = node(draw, rng, size)
        sources = draw(st.lists(st.sampled_from(names[-4:]), min_size=1, max_size=2, unique=True))
        edges += [(source, f"n{i}") for source in sources]
        names.append(f"n{i}")
    held = [n for n in names if isinstance(nodes[n], nir.LIF | nir.CubaLIF | nir.IF)]
    for target in held:
        later = names[names.index(target) :]
        if draw(st.booleans()):
            source = draw(st.sampled_from(later))
            if (source, target) not in edges:
                edges.append((source, target))
    nodes["output"] = nir.Output({"output": np.array([size])})
    edges.append((names[-1], "output"))
    edges = draw(st.permutations(edges))
    return nir.NIRGraph(nodes, list(edges), metadata={"neurospin": {"dt": 1e-3}}, type_check=False)


def watched(graph):
    from neurospin.graph.contract import neurons

    return neurons(graph, spiking=True)


@settings(max_examples=40)
@given(webs(), st.integers(0, 99), st.sampled_from(["euler", "exponential"]))
def test_a_web_means_the_same_in_memory_on_disk_and_as_a_network(tmp_path_factory, graph, seed, scheme):
    graph.metadata["neurospin"]["scheme"] = scheme
    rng = np.random.default_rng(seed)
    size = int(graph.nodes["input"].input_type["input"][0])
    x = (rng.random((9, 3, size)) < 0.5).astype(np.float32)
    spiking = watched(graph)
    here = ns.simulate(graph, x, record=spiking)
    path = tmp_path_factory.mktemp("webs") / "g.nir"
    ns.write(path, graph)
    there = ns.simulate(ns.read(path), x, record=spiking)
    net = ns.from_graph(graph)
    with torch.no_grad():
        run = net(torch.from_numpy(x), record=("spikes",))
        first = net(torch.from_numpy(x[:4]))
        second = net(torch.from_numpy(x[4:]), first.state, record=("spikes",))
    np.testing.assert_array_equal(here.output, there.output)
    np.testing.assert_array_equal(here.output, run.output.numpy())
    for name in spiking:
        np.testing.assert_array_equal(here.records[name], there.records[name])
        np.testing.assert_array_equal(here.records[name], run.spikes[name].numpy())
        np.testing.assert_array_equal(here.records[name][4:], second.spikes[name].numpy())
    same(graph, ns.to_graph(net))


@settings(max_examples=40)
@given(webs(), st.sampled_from(["euler", "exponential"]), st.sampled_from(["value", "subtract"]))
def test_a_web_means_what_plain_numpy_says(graph, scheme, reset):
    size = int(graph.nodes["input"].input_type["input"][0])
    x = (np.random.default_rng(1).random((9, 3, size)) < 0.5).astype(np.float32)
    spiking = watched(graph)
    found = ns.simulate(graph, x, record=spiking, dtype="float64", scheme=scheme, reset=reset)
    truth = Oracle(graph, 1e-3, scheme=scheme, reset=reset).run({"input": x}, 9, 3)
    for name in spiking:
        np.testing.assert_array_equal(found.records[name], truth[name])
    np.testing.assert_allclose(found.output, truth["output"], rtol=1e-7, atol=1e-9)


@settings(max_examples=15)
@given(st.integers(0, 2**32 - 1))
def test_gradients_through_an_imported_graph_are_those_of_finite_differences(seed):
    """A loop of leaky integrators through weights, in float64: there the derivative is that of the function."""
    rng = np.random.default_rng(seed)
    nodes = {
        "input": nir.Input({"input": np.array([3])}),
        "w": nir.Linear(weight=rng.normal(size=(4, 3)).astype(np.float32)),
        "n": neuron("cubali", 4, rng),
        "rec": nir.Affine(weight=rng.normal(size=(4, 4)).astype(np.float32), bias=np.ones(4, np.float32)),
        "late": nir.Delay(delay=np.full(4, 2e-3, np.float32)),
        "s": nir.Scale(scale=rng.normal(size=4).astype(np.float32)),
        "output": nir.Output({"output": np.array([4])}),
    }
    edges = [("input", "w"), ("w", "n"), ("n", "rec"), ("rec", "n"), ("n", "late"), ("late", "s"), ("s", "output")]
    graph = nir.NIRGraph(nodes, edges, metadata={"neurospin": {"dt": 1e-3}})
    net = ns.from_graph(graph, learn=("tau_mem", "tau_syn", "r", "v_leak", "w_in")).double()
    x = torch.from_numpy(rng.normal(size=(6, 2, 3)))
    named = dict(net.named_parameters())

    def loss(*values):
        out = torch.func.functional_call(net, dict(zip(named, values, strict=True)), (x,)).output
        return out.square().sum()

    values = tuple(p.detach().clone().requires_grad_() for p in named.values())
    assert len(values) == 9
    assert torch.autograd.gradcheck(loss, values, eps=1e-7, atol=1e-6, rtol=1e-4)
