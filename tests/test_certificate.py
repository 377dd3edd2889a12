"""Certificates: what they count against counting again, and where they lay the blame against independent runs."""

import copy
import json

import nir
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import neurospin as ns
from hardware_targets.crossbar.devices import BoundedLinear, Ideal
from hardware_targets.crossbar.target import Crossbar
from hardware_targets.loihi import limits
from hardware_targets.loihi.compiler import CAUSES, compile
from hardware_targets.loihi.target import Loihi
from neurospin.target import Explainable
from tests.graphs import Made, graphs, interpret, random_spikes


def by_name(certificate):
    return {cause.name: cause for cause in certificate.causes}


def layered(tau=8e-3, weight=None, seed=0):
    """Two layers that fire."""
    ns_weight = weight or ns.Float()
    blocks = [ns.Dense(40, 60, weight=ns_weight), ns.LIF(60, tau), ns.Dense(60, 20, weight=ns_weight), ns.LIF(20, tau)]
    graph = ns.to_graph(ns.Network(blocks, dt=1e-3))
    rng = np.random.default_rng(seed)
    if weight is None:
        for name in ("dense1", "dense2"):
            graph.nodes[name].weight = (0.3 + rng.normal(size=graph.nodes[name].weight.shape)).astype(np.float32)
    return graph, (rng.random((30, 16, 40)) < 0.4).astype(np.float32)


@given(graphs(), st.integers(1, 3))
def test_the_reference_is_exact(made, batch):
    spikes = random_spikes(made, 10, batch)
    certificate = ns.certify(made.graph, spikes, "reference")
    assert certificate.exact and certificate.trace is None and certificate.output_error["max"] == 0
    assert all(sum(node.differing_by_step) == 0 for node in certificate.nodes.values())


@given(graphs(skips=True))
def test_without_any_cause_loihi_runs_the_graph_as_it_is_defined(made):
    """Against an interpreter in plain numpy, float64: loops, skips, biases and resets included."""
    spikes = random_spikes(made, 14, 3)
    target = Loihi().only([])
    tail = ns.deploy(made.graph, spikes[:1], target).latency_steps
    padded = np.concatenate([spikes, np.zeros((tail, *spikes.shape[1:]), np.float32)])
    report = ns.deploy(made.graph, padded, target, record=made.spiking())
    truth = interpret(made, spikes)
    for name in made.spiking():
        late = report.info["latency"][name]
        np.testing.assert_array_equal(report.records[name][late:][:14], truth[name])
        at = report.voltages[name][late:][:14]
        fired = at > made.graph.nodes[name].v_threshold
        assert np.mean(fired == truth[name]) > 0.999  # float32 voltages: a tie may fall on the other side


def rounded(graph, cause):
    """The graph that a chip with just one kind of rounding would run, from the program's registers."""
    program, graph = compile(graph, 1e-3), copy.deepcopy(graph)
    for population in program.populations:
        node = graph.nodes[population.name]
        if cause == "decays":  # gain and drive stay: r and the leak make up for the new tau
            tau = 1e-3 * limits.DECAY_ONE / population.dv
            longer = tau / node.tau
            node.tau, node.r = tau, node.r * longer
            node.v_leak = node.v_reset + (node.v_leak - node.v_reset) * longer
        if cause == "thresholds":
            node.v_threshold = population.vth * 2.0**limits.SHIFT / population.scale + population.zero
        if cause == "biases":
            node.v_leak = node.v_reset + population.bias / population.scale / (1e-3 / node.tau)
        if cause == "weights":
            (projection,) = [p for p in program.projections if p.target == population.name]
            volts = projection.weights * 2.0 ** (projection.exponent + limits.SHIFT) / population.scale[:, None]
            graph.nodes[population.name.replace("lif", "dense")].weight = volts / (1e-3 / node.tau * node.r)[:, None]
    return graph


@pytest.mark.parametrize("cause", ["weights", "decays", "thresholds", "biases"])
def test_one_cause_alone_is_the_graph_with_just_that_rounding(cause):
    """The rounded graph runs in plain numpy, float64; every neuron has constants of its own."""
    graph, spikes = layered(7.3e-3)
    rng = np.random.default_rng(1)
    for name in ("lif1", "lif2"):
        node = graph.nodes[name]
        shape = node.tau.shape
        node.tau, node.v_leak = rng.uniform(3e-3, 60e-3, shape), rng.uniform(-0.3, 0.3, shape)
        node.v_threshold, node.v_reset = rng.uniform(0.5, 1.5, shape), rng.uniform(-0.4, 0.2, shape)
    made, other = (Made(g, list(graph.nodes), set()) for g in (graph, rounded(graph, cause)))
    wanted, truth = interpret(other, spikes), interpret(made, spikes)
    differing = sum(int((wanted[name] != truth[name]).sum()) for name in made.spiking())
    assert by_name(ns.certify(graph, spikes, "loihi"))[cause].alone.differing == differing
    assert differing > {"weights": 20, "decays": 2, "thresholds": 0, "biases": -1}[cause]


def test_a_network_that_the_chip_holds_exactly_has_no_cause_to_differ():
    graph, spikes = layered(8e-3, ns.Binary(gain=6.3))
    certificate = ns.certify(graph, spikes, "loihi", labels=np.arange(16) % 20)
    assert certificate.exact and min(node.total_spikes for node in certificate.nodes.values()) > 100
    causes = by_name(certificate)
    assert tuple(causes) == (*CAUSES, "latency")
    assert [causes[name].alone.differing for name in CAUSES] == [0] * len(CAUSES)
    assert [causes[name].without.differing for name in CAUSES] == [0] * len(CAUSES)
    assert causes["latency"].alone.differing > 1000
    assert certificate.unexplained == ns.Deviation(0, 0.0, certificate.accuracy["before"])


def test_each_cause_changes_what_it_should():
    found = {}
    for tau in (8e-3, 31e-3):
        for kind in (None, ns.Binary(gain=6.3)):
            graph, spikes = layered(tau, kind)
            causes = by_name(ns.certify(graph, spikes, "loihi"))
            found[tau, kind is not None] = {name: causes[name].alone.differing for name in CAUSES}
    for (tau, binary), alone in found.items():
        assert (alone["weights"] == 0) == binary
        assert (alone["decays"] == 0) == (tau == 8e-3 or binary)  # the binary network fires too rarely to notice
        assert alone["biases"] == alone["start"] == 0  # no leak, no bias, and silence before the input


def test_biases_and_the_start_cost_spikes_where_they_must():
    """Voltages that creep up to the threshold on their leak; and one that is above it before its input comes."""
    count = 60
    net = ns.Network([ns.Dense(1, count), ns.LIF(count, tau_mem=20e-3)], dt=1e-3)
    graph, spikes = ns.to_graph(net), np.zeros((400, 1, 1), np.float32)
    graph.nodes["lif1"].v_leak = (1 + np.logspace(-5, -2, count)).astype(np.float32)
    made, other = (Made(g, list(graph.nodes), set()) for g in (graph, rounded(graph, "biases")))
    differing = int((interpret(made, spikes)["lif1"] != interpret(other, spikes)["lif1"]).sum())
    certificate = ns.certify(graph, spikes, "loihi")
    causes = by_name(certificate)
    assert causes["biases"].alone.differing == differing > 10
    assert causes["start"].alone == certificate.unexplained  # float32 against float64, a hair below the threshold
    blocks = [ns.Dense(1, 1), ns.LIF(1, tau_mem=20e-3), ns.Dense(1, 1), ns.LIF(1, tau_mem=20e-3)]
    graph = ns.to_graph(ns.Network(blocks, dt=1e-3))
    node = graph.nodes["lif2"]  # wound back by two steps it would spike on the way, so it starts lower
    node.v_leak[:], node.v_reset[:] = -30, -3
    for name in ("dense1", "dense2"):
        graph.nodes[name].weight[:] = 51
    certificate = ns.certify(graph, np.ones((30, 1, 1), np.float32), "loihi")
    causes = by_name(certificate)
    assert certificate.unexplained.differing == 0 and causes["start"].alone.differing > 0
    assert causes["start"].without.differing < certificate.differing


def test_causes_are_independent_runs():
    """`alone` and `without` are what one finds by running the parts oneself; only whole runs are compared."""
    graph, spikes = layered(7.3e-3)
    certificate = ns.certify(graph, spikes, "loihi")
    truth = ns.simulate(graph, spikes, record=["lif1", "lif2"]).records
    padded = np.concatenate([spikes, np.zeros((2, *spikes.shape[1:]), np.float32)])

    def differing(causes):
        report = ns.deploy(graph, padded, Loihi(causes), record=["lif1", "lif2"])
        late = {"lif1": 1, "lif2": 2}
        return sum(int((report.records[n][late[n] :][:30] != truth[n]).sum()) for n in late)

    for name in CAUSES:
        cause = by_name(certificate)[name]
        assert cause.alone.differing == differing([name])
        assert cause.without.differing == differing([c for c in CAUSES if c != name])
    assert certificate.differing == differing(CAUSES) > 0


@settings(max_examples=8)
@given(graphs(skips=True, loops=False, readout=False))
def test_latency_is_taken_out_where_paths_are_unequal(made):
    """Without rounding, every node's spikes are equal only if each is moved by its own latency."""
    spikes = random_spikes(made, 14, 3)
    certificate = ns.certify(made.graph, spikes, Loihi(()))
    depth = {}
    for name in [n for n in made.sequence if n in made.spiking()]:
        feeding = [a for a, b in made.graph.edges if b == name]
        sources = [a for weights in feeding for a, b in made.graph.edges if b == weights]
        depth[name] = 1 + max(depth.get(source, 0) for source in sources)
    assert {name: node.latency_steps for name, node in certificate.nodes.items()} == depth
    assert certificate.latency_steps == depth[made.spiking()[-1]] and certificate.exact
    if certificate.nodes[made.spiking()[0]].total_spikes > 20:
        truth = interpret(made, spikes)
        moved = sum(
            int((np.roll(truth[n], k, 0) != truth[n])[k:].sum()) + int(truth[n][:k].sum()) for n, k in depth.items()
        )
        assert by_name(certificate)["latency"].alone.differing == moved


@given(graphs(readout=False))
def test_a_voltage_before_the_reset_is_what_met_the_threshold(made):
    spikes = random_spikes(made, 12, 2)
    result = ns.simulate(made.graph, spikes, record=made.spiking(), before_reset=made.spiking())
    for name in made.spiking():
        fired = result.before_reset[name] > made.graph.nodes[name].v_threshold
        np.testing.assert_array_equal(fired, result.records[name] > 0)


def test_the_first_difference_has_both_voltages_and_a_trace():
    """One neuron, by hand: v ← v/2 + w/2; the target's weight is smaller."""
    one = np.ones(1, np.float32)

    def made(weight):
        nodes = {
            "input": nir.Input({"input": np.array([1])}),
            "w": nir.Linear(weight=np.full((1, 1), weight, np.float32)),
            "n": nir.LIF(tau=2e-3 * one, r=one, v_leak=0 * one, v_threshold=one, v_reset=0 * one),
            "output": nir.Output({"output": np.array([1])}),
        }
        edges = [("input", "w"), ("w", "n"), ("n", "output")]
        return nir.NIRGraph(nodes, edges, metadata={"neurospin": {"dt": 1e-3}})

    spikes = np.array([1, 1, 1, 0, 1], np.float32).reshape(5, 1, 1)
    certificate = ns.certify(made(1.4), spikes, _Other(made(1.25)))
    first = certificate.nodes["n"].first_difference
    assert (first.time, first.sample, first.neuron, first.expected, first.got) == (1, 0, (0,), 1, 0)
    assert (first.voltage_expected, first.voltage_got, first.threshold) == pytest.approx((1.05, 0.9375, 1.0))
    trace = certificate.trace
    assert (trace.node, trace.time, trace.spikes_expected, trace.spikes_got) == ("n", 1, [1], [2])
    assert trace.expected == pytest.approx([0.7, 1.05, 0.7, 0.35, 0.875], rel=1e-6)
    assert trace.got == pytest.approx([0.625, 0.9375, 1.09375, 0.0, 0.625])
    assert certificate.causes == [] and certificate.unexplained is None  # it declares none
    assert "reference at 1.05, target at 0.9375, threshold 1" in str(certificate)
    json.dumps(certificate.to_dict())


class _Other:
    """A target that runs another graph, and has nothing but what the protocol asks."""

    name = "other"

    def __init__(self, graph):
        self.graph = graph

    def check(self, graph):
        return []

    def run(self, graph, spikes, *, dt, seed=0, record=()):
        return ns.deploy(self.graph, spikes, "reference", dt=dt, seed=seed, record=record)


def test_crossbar_causes_are_switched_one_at_a_time():
    graph, spikes = layered()
    device = BoundedLinear(programming_noise=0.03, read_noise=0.02, levels=16)
    target = Crossbar(device, adc_bits=6)
    assert isinstance(target, Explainable) and not isinstance(_Other(graph), Explainable)
    assert target.causes == ("levels", "programming noise", "read noise", "ADC")
    certificate = ns.certify(graph, spikes, target)
    causes = by_name(certificate)
    assert certificate.unexplained.differing == 0
    assert all(cause.alone.differing > 0 for cause in causes.values())
    truth = ns.simulate(graph, spikes, record=["lif1", "lif2"]).records

    def differing(crossbar):
        report = ns.deploy(graph, spikes, crossbar, record=["lif1", "lif2"])
        return sum(int((report.records[n] != truth[n]).sum()) for n in truth)

    assert causes["ADC"].alone.differing == differing(Crossbar(Ideal(), adc_bits=6))
    assert causes["ADC"].without.differing == differing(Crossbar(device, adc_bits=None))
    quiet = BoundedLinear(programming_noise=0.0, read_noise=0.0, levels=16)
    assert causes["levels"].alone.differing == differing(Crossbar(quiet, adc_bits=None))
    assert Crossbar(quiet, adc_bits=None).causes == ("levels",)


def test_levels_are_evenly_spaced_and_enough_of_them_are_exact():
    import torch

    device = BoundedLinear(g_min=10e-6, g_max=70e-6, programming_noise=0, levels=4)
    given = torch.tensor([10e-6, 19e-6, 21e-6, 45e-6, 70e-6], dtype=torch.float64)
    got = device.program(given, torch.Generator().manual_seed(0))
    np.testing.assert_allclose(got.numpy(), [10e-6, 10e-6, 30e-6, 50e-6, 70e-6], rtol=1e-9)
    with pytest.raises(ns.InputError, match="levels: expected at least 2"):
        BoundedLinear(levels=1)


def test_causes_can_be_left_out_and_cost_nothing_then():
    graph, spikes = layered(7.3e-3)
    plain, whole = ns.certify(graph, spikes, "loihi", causes=False), ns.certify(graph, spikes, "loihi")
    assert plain.causes == [] and plain.nodes == whole.nodes and plain.trace == whole.trace
