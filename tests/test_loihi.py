"""The compiler and the emulator against whole-number arithmetic written out, and against float semantics."""

import nir
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import neurospin as ns
from hardware_targets.loihi.compiler import compile_graph
from hardware_targets.loihi.emulator import emulate
from hardware_targets.loihi.program import Connection, Population, Program
from hardware_targets.loihi.target import target
from tests.graphs import graphs, interpret, random_spikes


def by_hand(program, spikes):
    """The chip, neuron by neuron in Python's whole numbers, from the equations of the arithmetic."""
    pops = program.populations
    u = {n: [int(x) for x in p.u0] for n, p in pops.items()}
    v = {n: [int(x) for x in p.v0] for n, p in pops.items()}
    fired = {n: [0] * p.size for n, p in pops.items()} | {program.input: [0] * program.inputs}
    out = {n: [] for n in pops}
    voltage = {n: [] for n in pops}
    for row in spikes:
        before, fired = fired, {program.input: [int(x) for x in row]}
        for name, p in pops.items():
            fired[name] = []
            for j in range(p.size):
                a = 0
                for c in program.connections:
                    if c.target == name:
                        a += sum(int(w) for w, s in zip(c.weights[j], before[c.source], strict=True) if s) << c.exponent
                x = u[name][j] * (4096 - (int(p.du[j]) + 1))
                new = (abs(x) >> 12) * (1 if x > 0 else -1) + (a << 6)
                new = new - 2**24 if new > 2**23 else new + 2**24 if new <= -(2**23) else new
                u[name][j] = new
                y = v[name][j] * (4096 - int(p.dv[j]))
                w = (abs(y) >> 12) * (1 if y > 0 else -1) + new + (int(p.bias_mantissa[j]) << int(p.bias_exponent[j]))
                w = max(-(2**23) + 1, min(2**23 - 1, w))
                spike = int(w > int(p.vth[j]) << 6)
                v[name][j] = 0 if spike else w
                fired[name].append(spike)
            out[name].append(list(fired[name]))
            voltage[name].append(list(v[name]))
    return out, voltage


@st.composite
def programs(draw):
    """Programs whose currents wrap and whose voltages clip now and then."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    sizes = {f"p{k}": draw(st.integers(1, 4)) for k in range(draw(st.integers(1, 3)))}
    pops, links, names = {}, [], ["in", *sizes]
    for name, n in sizes.items():
        whole = lambda low, high, n=n: rng.integers(low, high, n)  # noqa: E731
        pops[name] = Population(
            name, whole(0, 4096), whole(0, 4097), whole(1, 2**17), whole(-4095, 4096), whole(0, 8),
            whole(-(2**22), 2**22), whole(-(2**22), 2**22), True, np.ones(n), np.zeros(n), 1,
        )  # fmt: skip
        for source in names:
            if source == "in" or rng.random() < 0.6:
                m = 3 if source == "in" else sizes[source]
                links.append(Connection(source, name, 2 * rng.integers(-127, 128, (n, m)), int(rng.integers(0, 9))))
    return Program("in", 3, pops, links, name, (n,), {k: (s,) for k, s in sizes.items()})


@given(programs(), st.integers(1, 12))
def test_the_emulator_is_whole_number_arithmetic(program, steps):
    spikes = np.random.default_rng(0).integers(0, 2, (steps, 2, 3))
    names = list(program.populations)
    result = emulate(program, spikes, names, names)
    for sample in range(2):
        fired, voltage = by_hand(program, spikes[:, sample])
        for name in names:
            assert result.spikes[name][:, sample].tolist() == fired[name]
            assert result.voltages[name][:, sample].tolist() == voltage[name]


@given(graphs(skips=True))
def test_spikes_are_those_of_the_graph_up_to_rounding(made):
    """Latency, loops, skips, biases and shifted resets are right: what differs is rounding, and rare."""
    spikes = random_spikes(made, 12, 20)
    report = target.run(made.graph, spikes, dt=1e-3, record=made.spiking())
    truth = interpret(made, spikes)
    for name in made.spiking():
        late = report.info["latency"][name]
        got, wanted = report.records[name][late:], truth[name][: 12 - late]
        early = [a for a in report.info["approximations"] if "before their input" in a["what"]]
        assert early or np.mean(got == wanted) > 0.97, name


def test_a_binary_network_with_a_representable_decay_loses_nothing():
    """Decay 1/8 and weights ± c: the program holds the same numbers, and every spike is equal."""
    net = ns.Network(
        [
            ns.Dense(40, 60, weight=ns.Binary(gain=5.1)),
            ns.LIF(60, 8e-3),
            ns.Dense(60, 20, weight=ns.Binary(gain=7.3)),
            ns.LIF(20, 8e-3),
        ],
        dt=1e-3,
    )
    spikes = (np.random.default_rng(0).random((40, 64, 40)) < 0.4).astype(np.float32)
    program = compile_graph(ns.to_graph(net), 1e-3)
    for connection in program.connections:
        assert len(np.unique(np.abs(connection.weights))) == 1
    assert not [a for a in program.approximations if "weights" in a["what"]]
    assert max(a["size"] for a in program.approximations) < 1e-5
    certificate = ns.certify(net, spikes, "loihi")
    assert certificate.nodes["lif1"].total_spikes > 5000 and certificate.nodes["lif2"].total_spikes > 500
    assert certificate.exact
    assert (certificate.latency_steps, certificate.nodes["lif1"].latency_steps) == (2, 1)


def test_a_readout_gives_voltages_in_model_units():
    net = ns.Network([ns.Dense(5, 4, bias=True), ns.LI(4, v_leak=0.3)], dt=1e-3)
    spikes = (np.random.default_rng(0).random((30, 3, 5)) < 0.4).astype(np.float32)
    graph = ns.to_graph(net)
    report = ns.deploy(graph, spikes, "loihi")
    assert report.latency_steps == 1 and report.spikes.shape == (30, 3, 4)
    wanted = ns.simulate(graph, spikes).output[:-1]
    np.testing.assert_allclose(report.spikes[1:], wanted, atol=2e-2 * np.abs(wanted).max())
    assert report.operations["neuron_updates"] == 30 * 3 * 4
    assert report.operations["synaptic"] == spikes.sum() * 4


def test_what_does_not_fit_is_told_with_its_reason():
    subtract = ns.to_graph(ns.Network([ns.Dense(3, 2), ns.LIF(2, reset="subtract")], dt=1e-3))
    (problem,) = ns.check(subtract, "loihi")
    assert "reset by subtraction" in str(problem) and "Fix:" in str(problem)
    with pytest.raises(ns.TargetError, match="reset by subtraction"):
        ns.deploy(subtract, np.ones((2, 1, 3)), "loihi")
    graph = ns.to_graph(ns.Network([ns.Dense(3, 2), ns.LIF(2)], dt=1e-3))
    assert ns.check(graph, "loihi") == []
    with pytest.raises(ns.InputError, match="0 or 1"):
        ns.deploy(graph, np.full((2, 1, 3), 0.5), "loihi")


def test_a_loop_over_two_layers_is_refused_by_name():
    """The way back takes two connections; the graph allows it one step."""
    w, one = np.eye(2, dtype=np.float32), np.ones(2, np.float32)
    lif = lambda: nir.LIF(tau=0.01 * one, r=one, v_leak=0 * one, v_threshold=one, v_reset=0 * one)  # noqa: E731
    nodes = {"input": nir.Input({"input": np.array([2])}), "w1": nir.Linear(weight=w), "a": lif(), "w2": nir.Linear(weight=w), "b": lif(),
             "w3": nir.Linear(weight=w), "output": nir.Output({"output": np.array([2])})}  # fmt: skip
    edges = [("input", "w1"), ("w1", "a"), ("a", "w2"), ("w2", "b"), ("b", "w3"), ("w3", "a"), ("b", "output")]
    (problem,) = ns.check(nir.NIRGraph(nodes, edges), "loihi")
    assert "a loop over several layers" in problem.value
