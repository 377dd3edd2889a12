"""What the metadata add to a graph: units, schemes, resets, refractory periods."""

from itertools import pairwise

import nir
import numpy as np
import pytest
import torch

import neurospin as ns
from tests.graphs import neuron
from tests.oracle import Oracle

RNG = np.random.default_rng(5)


def two(size=6, **metadata):
    """Two spiking layers."""
    nodes = {
        "input": nir.Input({"input": np.array([size])}),
        "w": nir.Linear(weight=(9 * (RNG.normal(size=(size, size)) + 0.5)).astype(np.float32)),
        "a": neuron("lif", size, RNG),
        "u": nir.Linear(weight=(9 * (RNG.normal(size=(size, size)) + 0.5)).astype(np.float32)),
        "b": neuron("cubalif", size, RNG),
        "output": nir.Output({"output": np.array([size])}),
    }
    names = list(nodes)
    return nir.NIRGraph(nodes, list(pairwise(names)), metadata={"neurospin": metadata})


def spikes(graph):
    size = int(graph.nodes["input"].input_type["input"][0])
    return (RNG.random((40, 6, size)) < 0.5).astype(np.float32)


def test_mixed_resets_and_refractory_periods_are_told_per_node():
    about = {"dt": 1e-3, "reset": "subtract", "neurons": {"a": {"reset": "value"}, "b": {"refractory": 3e-3}}}
    graph = two(**about)
    x = spikes(graph)
    found = ns.simulate(graph, x, record=["a", "b"], dtype="float64")
    oracle = Oracle(graph, 1e-3, resets={"a": "value", "b": "subtract"}, refractory={"b": 3e-3})
    truth = oracle.run({"input": x}, 40, 6)
    for name in ("a", "b"):
        assert 0.02 < found.records[name].mean() < 0.98
        np.testing.assert_array_equal(found.records[name], truth[name])
    plain = ns.simulate(two(dt=1e-3), x).output
    assert plain.shape == found.output.shape
    net = ns.from_graph(graph)
    assert net.neurons()["a"].reset == "value" and net.neurons()["b"].reset == "subtract"
    with torch.no_grad():
        run = net(torch.from_numpy(x), record=("spikes",))
    single = ns.simulate(graph, x, record=["a", "b"])
    for name in ("a", "b"):
        np.testing.assert_array_equal(run.spikes[name].numpy(), single.records[name])
    back = ns.to_graph(net).metadata["neurospin"]
    assert back["reset"] == "subtract" and back["neurons"]["a"] == {"reset": "value"}
    np.testing.assert_allclose(back["neurons"]["b"]["refractory"], 3e-3, rtol=1e-6)


def test_the_exponential_scheme_is_exact_for_a_constant_input(tmp_path):
    one = np.ones(1)
    nodes = {
        "input": nir.Input({"input": np.array([1])}),
        "n": nir.LI(tau=0.01 * one, r=2 * one, v_leak=0.5 * one),
        "output": nir.Output({"output": np.array([1])}),
    }
    graph = nir.NIRGraph(nodes, [("input", "n"), ("n", "output")])
    x = np.ones((30, 1, 1))
    found = ns.simulate(graph, x, dt=1e-3, scheme="exponential", dtype="float64").output.ravel()
    np.testing.assert_allclose(found, 2.5 * (1 - np.exp(-0.1 * np.arange(1, 31))), rtol=1e-12)
    coarse = ns.simulate(graph, x, dt=0.02, scheme="exponential", dtype="float64").output.ravel()
    np.testing.assert_allclose(coarse, 2.5 * (1 - np.exp(-2.0 * np.arange(1, 31))), rtol=1e-12)
    with pytest.raises(ns.GraphError, match=r"n.tau: expected at least dt = 0.02 s, got 0.01 s"):
        ns.simulate(graph, x, dt=0.02)
    graph.metadata["neurospin"] = {"dt": 1e-3, "scheme": "exponential"}
    np.testing.assert_array_equal(ns.simulate(graph, x, dtype="float64").output.ravel(), found)
    graph.metadata["neurospin"] = {"dt": 0.02, "scheme": "exponential"}  # longer than τ, which only Euler refuses
    ns.write(tmp_path / "g.nir", graph)
    np.testing.assert_array_equal(ns.simulate(ns.read(tmp_path / "g.nir"), x, dtype="float64").output.ravel(), coarse)
    graph.metadata["neurospin"] = {"dt": 0.02, "scheme": "heun"}
    for reader in (ns.from_graph, lambda graph: ns.simulate(graph, x)):
        with pytest.raises(ns.UnknownName, match="heun"):
            reader(graph)


@pytest.mark.parametrize(("unit", "factor"), [("ms", 1e-3), ("us", 1e-6), ("steps", 2e-3)])
def test_other_units_of_time_are_asked_for_and_converted(unit, factor):
    graph = two()
    graph.nodes["c"] = nir.IF(r=np.full(6, 80.0), v_threshold=np.ones(6), v_reset=np.zeros(6))
    graph.edges[-1:] = [("b", "c"), ("c", "output")]
    x, dt = spikes(graph), 2e-3 if unit == "steps" else 1e-3
    other = two()
    other.nodes, other.edges = dict(graph.nodes), graph.edges
    for name in ("a", "b", "c"):
        values = {k: v for k, v in vars(graph.nodes[name]).items() if not k.endswith("_type") and k != "metadata"}
        values = {k: v.astype(np.float64) / (factor if k.startswith("tau") else 1) for k, v in values.items()}
        if name == "c":
            values["r"] = values["r"] * factor
        other.nodes[name] = type(graph.nodes[name])(**values)
    with pytest.raises(ns.GraphError, match=r"which may be milliseconds or steps\. Fix: .*in_seconds"):
        ns.simulate(other, x, dt=dt)
    found = ns.simulate(ns.in_seconds(other, unit, dt=dt), x, dtype="float64").output
    np.testing.assert_array_equal(found, ns.simulate(graph, x, dt=dt, dtype="float64").output)
    assert ns.simulate(ns.in_seconds(other, "s"), x, dt=dt).output.shape == found.shape
    with pytest.raises(ns.UnknownName, match="did you mean 'ms'"):
        ns.in_seconds(other, "msec")


def test_unknown_options_are_told():
    graph = two(dt=1e-3)
    for option in ({"scheme": "heun"}, {"reset": "soft"}, {"dtype": "int8"}):
        with pytest.raises(ns.UnknownName):
            ns.simulate(graph, spikes(graph), **option)
    with pytest.raises(ns.GraphError, match="a: reset: expected value or subtract"):
        ns.simulate(two(dt=1e-3, neurons={"a": {"reset": "soft"}}), spikes(graph))


def test_a_target_that_lacks_what_the_metadata_tell_refuses_it():
    told = two(dt=1e-3, scheme="exponential", neurons={"b": {"refractory": 3e-3}})
    problems = [str(problem) for problem in ns.check(told, "loihi")]
    assert any(p.startswith("b: expected no refractory period") for p in problems)
    assert len(problems) == 1  # the scheme is no problem: the chip gets the decays


@pytest.mark.parametrize("dt", [1e-3, 1e-4, 3e-3, 0.1])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_a_time_constant_of_one_step_forgets_everything(tmp_path, dt, kind):
    """Decay 0: the voltage is the input; a synaptic current of one step is no synaptic current."""
    one = np.ones(2, kind)
    lif = nir.LIF(tau=dt * one, r=one, v_leak=0 * one, v_threshold=0.5 * one, v_reset=0 * one)
    cuba = nir.CubaLIF(
        tau_mem=dt * one, tau_syn=dt * one, r=one, v_leak=0 * one, v_threshold=0.5 * one, v_reset=0 * one, w_in=one
    )
    nodes = {
        "input": nir.Input({"input": np.array([2])}),
        "a": lif,
        "b": cuba,
        "output": nir.Output({"output": np.array([2])}),
    }
    graph = nir.NIRGraph(nodes, [("input", "a"), ("a", "b"), ("b", "output")], metadata={"neurospin": {"dt": dt}})
    x = np.random.default_rng(0).random((20, 3, 2)).astype(np.float32)
    truth = (x > 0.5).astype(np.float32)
    ns.write(tmp_path / "g.nir", graph)
    for each in (graph, ns.read(tmp_path / "g.nir")):
        np.testing.assert_array_equal(ns.simulate(each, x).output, truth)
        net = ns.from_graph(each)
        np.testing.assert_array_equal(net(torch.from_numpy(x)).output.numpy(), truth)
        np.testing.assert_array_equal(ns.deploy(each, x, "reference").spikes, truth)
    with pytest.raises(ns.InputError, match=f"LIF.tau_mem: expected more than dt = {dt:g} s, to be learned"):
        ns.from_graph(graph, learn=("tau_mem",))


def test_a_network_of_exact_decays_learns_and_goes_back_as_it_came(tmp_path):
    """The decays of the graph are exact; the network's are Euler's with other time constants, and so are the chip's."""
    graph = two(dt=3e-3, scheme="exponential")
    x = spikes(graph)
    net = ns.from_graph(graph, learn=("tau_mem",))
    decay = net.neurons()["a"].dynamics().decay.detach()
    truth = np.exp(
        -3e-3 / graph.nodes["a"].tau_mem if hasattr(graph.nodes["a"], "tau_mem") else -3e-3 / graph.nodes["a"].tau
    )
    np.testing.assert_allclose(decay.numpy(), truth, rtol=1e-6)
    assert ns.to_graph(net).metadata == graph.metadata | {
        "neurospin": {"dt": 3e-3, "time_unit": "s", "scheme": "exponential", "reset": "value"}
    }
    with torch.no_grad():
        for name, free in net.named_parameters():
            if "free_tau" in name:
                free.add_(0.3)
    back = ns.to_graph(net)
    for name in ("a", "b"):
        before, after = (g.nodes[name] for g in (graph, back))
        field = "tau" if hasattr(before, "tau") else "tau_mem"
        assert (getattr(after, field) > 1.1 * getattr(before, field)).all()
        shared = (1 - np.exp(-3e-3 / getattr(g.nodes[name], field).astype(float)) for g in (graph, back))
        old, new = (3e-3 / rate for rate in shared)
        np.testing.assert_allclose(new - 3e-3, (old - 3e-3) * np.exp(0.3), rtol=1e-3)
    ns.write(tmp_path / "g.nir", back)
    with torch.no_grad():
        ours = net(torch.from_numpy(x)).output.numpy()
    np.testing.assert_array_equal(ns.simulate(ns.read(tmp_path / "g.nir"), x).output, ours)
    net.origin = None  # as after `save` and `load`: Euler's method, with the other constants
    plain = ns.to_graph(net)
    assert plain.metadata["neurospin"]["scheme"] == "euler"
    np.testing.assert_array_equal(ns.simulate(plain, x).output, ours)
    assert ns.certify(plain, x, "loihi").nodes == ns.certify(back, x, "loihi").nodes


WRONG = [
    ({"dt": "a"}, "dt: expected a positive number of seconds, got 'a'"),
    ({"dt": True}, "dt: expected a positive number of seconds, got True"),
    ({"dt": [1e-3]}, "dt: expected a positive number of seconds"),
    ({"time_unit": "ms"}, "time_unit: expected times in seconds, got times in 'ms'"),
    ({"scheme": [1]}, r"scheme: expected one of euler, exponential"),
    ({"reset": "soft"}, "a: reset: expected value or subtract, got 'soft'"),
    ({"neurons": 3}, "metadata: neurons: expected a mapping for each node by name, got 3"),
    ({"neurons": {"a": 3}}, "metadata: neurons: expected a mapping"),
    ({"neurons": {"a": {"refractory": "x"}}}, "a: refractory: expected seconds >= 0, got 'x'"),
    ({"neurons": {"a": {"refractory": -1.0}}}, "a: refractory: expected seconds >= 0, got -1.0"),
    ({"neurons": {"a": {"refractory": np.ones(7)}}}, r"a: refractory: expected one number or shape \(6,\)"),
    ({"neurons": {"a": {"surrogate": {"kind": "X"}}}}, "a: surrogate: expected one of ArcTan"),
    ({"neurons": {"a": {"surrogate": {"kind": "ArcTan", "zip": 1}}}}, "a: surrogate: expected settings of ArcTan"),
]


@pytest.mark.parametrize(("about", "words"), WRONG, ids=[str(about)[:40] for about, _ in WRONG])
def test_metadata_that_say_nothing_sensible_are_refused_everywhere(about, words):
    graph = two(**{"dt": 1e-3, **about})
    x = spikes(graph)
    for attempt in (
        lambda: ns.simulate(graph, x),
        lambda: ns.from_graph(graph),
        lambda: ns.deploy(graph, x, "loihi"),
        lambda: ns.deploy(graph, x, "reference"),
    ):
        with pytest.raises(ns.NeurospinError, match=words):
            attempt()
    for target in ("loihi", "reference", "crossbar"):
        (problem,) = ns.check(graph, target)
        assert str(problem).startswith(words.replace("\\", "")[:30])


def test_stored_weights_that_are_no_mapping_are_refused():
    graph = two(dt=1e-3, weights={"w": 3})
    with pytest.raises(ns.GraphError, match="metadata: weights: expected a mapping"):
        ns.from_graph(graph)
    assert ns.check(graph, "loihi")


def test_a_file_in_another_unit_can_be_read_and_converted(tmp_path):
    graph = two(dt=1e-3)
    for name in ("a", "b"):
        for field in ("tau", "tau_mem", "tau_syn"):
            if hasattr(graph.nodes[name], field):
                setattr(graph.nodes[name], field, 1000 * getattr(graph.nodes[name], field))
    x = spikes(graph)
    for about in ({}, {"time_unit": "ms"}):
        graph.metadata["neurospin"] = {"dt": 1e-3, **about}
        ns.write(tmp_path / "g.nir", graph)
        again = ns.read(tmp_path / "g.nir")
        with pytest.raises(ns.GraphError, match="time-unit"):
            ns.simulate(again, x)
        assert ns.simulate(ns.in_seconds(again, "ms"), x).output.shape == x.shape
