"""The interpreter of graphs against one that shares no code with it, and networks through the disk."""

import nir
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import neurospin as ns
from tests.graphs import graphs, interpret, random_spikes


@settings(max_examples=60)
@given(graphs(skips=True), st.integers(1, 12), st.integers(1, 4))
def test_simulate_equals_the_plain_interpreter(made, steps, batch):
    spikes = random_spikes(made, steps, batch)
    nodes = made.spiking()
    result = ns.simulate(made.graph, spikes, record=nodes, dtype="float64")
    truth = interpret(made, spikes)
    for name in nodes:
        np.testing.assert_array_equal(result.records[name], truth[name])
    np.testing.assert_allclose(result.output, truth["output"], rtol=1e-9, atol=1e-12)


@given(graphs())
def test_float32_differs_only_where_a_voltage_meets_its_threshold(made):
    spikes = random_spikes(made, 8, 3)
    single = ns.simulate(made.graph, spikes).output
    double = ns.simulate(made.graph, spikes, dtype="float64").output
    assert np.mean(np.abs(single - double) > 1e-3) < 0.02


def test_a_network_gives_its_own_spikes_through_the_disk(tmp_path):
    net = ns.Network(
        [
            ns.Dense(64, 128, weight=ns.Binary(gain=8), bias=True),
            ns.LIF(128, tau_mem=torch.linspace(5e-3, 30e-3, 128), learn=("tau_mem", "v_threshold")),
            ns.Dense(128, 32, weight=ns.Float(gain=30)),
            ns.LIF(32, v_reset=-0.2, v_leak=0.1, reset="value"),
            ns.Dense(32, 10),
            ns.LI(10),
        ],
        dt=1e-3,
    )
    x = (torch.rand(30, 256, 64) < 0.4).float()
    with torch.no_grad():
        run = net(x, record=("spikes",))
    assert 0.01 < float(run.spikes["lif1"].mean()) < 0.9 and float(run.spikes["lif2"].sum()) > 100
    ns.write(tmp_path / "net.nir", ns.to_graph(net))
    report = ns.deploy(ns.read(tmp_path / "net.nir"), x.numpy(), "reference", record=["lif1", "lif2"])
    for name in ("lif1", "lif2"):
        np.testing.assert_array_equal(report.records[name], run.spikes[name].numpy())
    np.testing.assert_array_equal(report.spikes, run.output.numpy())


def test_subtraction_is_carried_by_metadata():
    net = ns.Network([ns.Dense(20, 30, weight=ns.Float(gain=8)), ns.LIF(30, reset="subtract")], dt=1e-3)
    x = (torch.rand(40, 8, 20) < 0.5).float()
    with torch.no_grad():
        run = net(x)
    graph = ns.to_graph(net)
    np.testing.assert_array_equal(ns.simulate(graph, x.numpy()).output, run.output.numpy())
    graph.metadata["neurospin"]["reset"] = "value"
    assert (ns.simulate(graph, x.numpy()).output != run.output.numpy()).any()


def test_back_edges_cost_one_step_and_bias_acts_at_once():
    """A neuron without input, whose loop carries a bias: v[0] = dt/τ · b exactly."""
    one = np.ones(1, np.float32)
    nodes = {
        "input": nir.Input({"input": np.array([1])}),
        "w": nir.Linear(weight=np.zeros((1, 1), np.float32)),
        "n": nir.LI(tau=0.01 * one, r=one, v_leak=0 * one),
        "loop": nir.Affine(weight=np.zeros((1, 1), np.float32), bias=2 * one),
        "output": nir.Output({"output": np.array([1])}),
    }
    edges = [("input", "w"), ("w", "n"), ("n", "loop"), ("loop", "n"), ("n", "output")]
    out = ns.simulate(nir.NIRGraph(nodes, edges), np.zeros((3, 1, 1), np.float32), dt=1e-3).output.ravel()
    np.testing.assert_allclose(out, [0.2, 0.38, 0.542], rtol=1e-6)


def test_nested_graphs_and_delays():
    one = np.ones(2, np.float32)
    inner = nir.NIRGraph(
        {
            "i": nir.Input({"input": np.array([2])}),
            "d": nir.Delay(delay=np.array([0.0, 2e-3])),
            "o": nir.Output({"output": np.array([2])}),
        },
        [("i", "d"), ("d", "o")],
    )
    nodes = {
        "input": nir.Input({"input": np.array([2])}),
        "sub": inner,
        "s": nir.Scale(scale=2 * one),
        "output": nir.Output({"output": np.array([2])}),
    }
    graph = nir.NIRGraph(nodes, [("input", "sub"), ("sub", "s"), ("s", "output")], type_check=False)
    x = np.arange(1, 9, dtype=np.float32).reshape(4, 1, 2)
    np.testing.assert_array_equal(ns.simulate(graph, x, dt=1e-3).output[:, 0], [[2, 0], [6, 0], [10, 4], [14, 8]])


def test_convolution_and_pooling_match_torch():
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(4, 2, 3, 2)).astype(np.float32)
    bias = rng.normal(size=4).astype(np.float32)
    conv = nir.Conv2d(input_shape=(7, 6), weight=weight, stride=(2, 1), padding=(1, 0), dilation=1, groups=1, bias=bias)
    nodes = {
        "input": nir.Input({"input": np.array([2, 7, 6])}),
        "c": conv,
        "p": nir.SumPool2d(kernel_size=np.array([2, 2]), stride=np.array([2, 1]), padding=np.array([0, 0])),
        "f": nir.Flatten(start_dim=0, end_dim=-1, input_type={"input": np.array([4, 2, 4])}),
        "output": nir.Output({"output": np.array([32])}),
    }
    graph = nir.NIRGraph(nodes, [("input", "c"), ("c", "p"), ("p", "f"), ("f", "output")], type_check=False)
    x = rng.normal(size=(3, 2, 2, 7, 6)).astype(np.float32)
    got = ns.simulate(graph, x, dt=1e-3).output
    flat = torch.from_numpy(x).reshape(6, 2, 7, 6)
    y = torch.nn.functional.conv2d(flat, torch.from_numpy(weight), torch.from_numpy(bias), (2, 1), (1, 0))
    y = 4 * torch.nn.functional.avg_pool2d(y, 2, (2, 1))
    np.testing.assert_allclose(got.reshape(6, -1), y.reshape(6, -1).numpy(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: s[:, 0], "time, batch, 3"),
        (lambda s: s[..., :2], "shape"),
        (lambda s: s[:0], "at least one step"),
        (lambda s: s.astype(str), "numbers"),
        (lambda s: np.where(s > 0, np.nan, s), "finite"),
    ],
)
def test_wrong_input_is_told(change, words):
    net = ns.Network([ns.Dense(3, 2), ns.LIF(2)], dt=1e-3)
    with pytest.raises(ns.InputError, match=words) as caught:
        ns.simulate(ns.to_graph(net), change(np.ones((4, 2, 3))))
    assert "\n" not in str(caught.value) and "Fix:" in str(caught.value)


def test_a_graph_without_a_step_asks_for_it():
    graph = ns.to_graph(ns.Network([ns.Dense(3, 2), ns.LIF(2)], dt=1e-3))
    graph.metadata = {}
    with pytest.raises(ns.GraphError, match="dt: expected the step in seconds"):
        ns.simulate(graph, np.ones((1, 1, 3)))


def test_a_loop_without_delay_is_named():
    w = np.ones((1, 1), np.float32)
    nodes = {
        "input": nir.Input({"input": np.array([1])}),
        "a": nir.Linear(weight=w),
        "b": nir.Linear(weight=w),
        "output": nir.Output({"output": np.array([1])}),
    }
    graph = nir.NIRGraph(nodes, [("input", "a"), ("a", "b"), ("b", "a"), ("b", "output")])
    with pytest.raises(ns.GraphError, match=r"loop .*a.*b"):
        ns.simulate(graph, np.ones((1, 1, 1)), dt=1e-3)
