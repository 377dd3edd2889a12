"""Counted work against counts by hand and by a plain loop; joules against published numbers multiplied by hand."""

import json

import nir
import numpy as np
import pytest

import neurospin as ns
from neurospin import energy

ONE = np.ones(2, np.float32)


def two_layers() -> nir.NIRGraph:
    """Three inputs, two IF neurons that fire on any input, one readout. Worked out on paper below."""
    nodes = {
        "input": nir.Input({"input": np.array([3])}),
        "w1": nir.Linear(np.array([[1, 1, 0], [0, 1, 1]], np.float32)),
        "n1": nir.IF(r=1e3 * ONE, v_threshold=0.5 * ONE, v_reset=0 * ONE),
        "w2": nir.Affine(np.array([[1, 0]], np.float32), np.zeros(1, np.float32)),
        "n2": nir.LI(tau=1e-2 * ONE[:1], r=ONE[:1], v_leak=0 * ONE[:1]),
        "output": nir.Output({"output": np.array([1])}),
    }
    edges = [("input", "w1"), ("w1", "n1"), ("n1", "w2"), ("w2", "n2"), ("n2", "output")]
    return nir.NIRGraph(nodes, edges, metadata={"neurospin": {"dt": 1e-3}})


def test_two_layers_counted_by_hand():
    # step 0: input 0 fires -> 1 synapse, neuron 0 fires -> 1 synapse; step 1: input 1 -> 2 synapses, both neurons
    # fire -> 1 synapse (the other weight is zero); step 2: nothing
    x = np.zeros((3, 1, 3), np.float32)
    x[0, 0, 0] = x[1, 0, 1] = 1
    assert energy.operations(two_layers(), x) == {
        "synaptic": 1 + 1 + 2 + 1, "input_macs": 0, "macs": 0, "neuron_updates": 9, "spikes": 3,
        "weight_reads": 5, "state_accesses": 18,
    }  # fmt: skip
    rate = energy.rate_operations(two_layers(), steps=3, samples=1)
    assert rate == {"input_macs": 12, "macs": 3, "neuron_updates": 9, "weight_reads": 15, "state_accesses": 18}


def test_analog_input_costs_products():
    x = np.zeros((2, 1, 3), np.float32)
    x[0, 0] = [0.7, 1.0, 0.0]
    found = energy.operations(two_layers(), x)
    # 0.7 -> 1 product; 1.0 -> 2 additions; both neurons fire -> 1 addition
    assert (found["input_macs"], found["macs"], found["synaptic"], found["weight_reads"]) == (1, 0, 3, 4)


def test_joules_and_seconds_are_the_published_ones_times_the_counts():
    found = energy.estimate({"synaptic": 5, "neuron_updates": 9, "spikes": 3}, energy.LOIHI, steps=3, cores=2)
    assert found.joules["synaptic"] == pytest.approx((118e-12, 118e-12), rel=1e-12)
    assert found.joules["neuron_updates"] == pytest.approx((468e-12, 729e-12), rel=1e-12)
    assert found.total == pytest.approx((591.1e-12, 852.1e-12), rel=1e-12)
    # 3 barriers and the work: 17.5 + 47.7 ns spread over two cores, 17.5 + 75.6 ns on one
    assert found.seconds == pytest.approx((339e-9 + 32.6e-9, 1395e-9 + 93.1e-9), rel=1e-12)
    assert "10.1109/MM.2018.112130359" in found.source
    # the usual figures of 45 nm: 0.9 pJ an addition, 4.6 pJ a product with its addition
    digital = energy.estimate({"synaptic": 1e12, "macs": 1e12}, energy.DIGITAL)
    assert digital.joules == {"synaptic": pytest.approx((0.1, 0.9)), "macs": pytest.approx((0.3, 4.6))}
    assert digital.seconds is None


def test_convolutions_are_counted_as_a_plain_loop_counts_them():
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(2, 1, 3, 3)).astype(np.float32)
    weight[0, 0, 1, 1] = 0
    size = np.ones((2, 3, 3), np.float32)
    nodes = {
        "input": nir.Input({"input": np.array([1, 6, 6])}),
        "conv": nir.Conv2d((6, 6), weight, 2, 1, 1, 1, np.zeros(2, np.float32)),
        "n": nir.IF(r=1e3 * size, v_threshold=size, v_reset=0 * size),
        "output": nir.Output({"output": np.array([2, 3, 3])}),
    }
    graph = nir.NIRGraph(
        nodes, [("input", "conv"), ("conv", "n"), ("n", "output")], metadata={"neurospin": {"dt": 1e-3}}
    )
    x = (rng.random((4, 2, 1, 6, 6)) < 0.3).astype(np.float32)
    padded = np.pad(x[:, :, 0], ((0, 0), (0, 0), (1, 1), (1, 1)))
    by_hand = sum(
        float(padded[:, :, 2 * a + i, 2 * b + j].sum())
        for c in range(2) for a in range(3) for b in range(3) for i in range(3) for j in range(3)
        if weight[c, 0, i, j] != 0
    )  # fmt: skip
    assert energy.operations(graph, x)["synaptic"] == by_hand > 100


def test_a_network_with_a_loop_is_counted_as_the_chip_counts_it():
    """The emulator counts spike by spike on its own; without rounding to zero both see the same synapses."""
    blocks = [
        ns.Dense(12, 20, weight=ns.Binary(gain=9)),
        ns.Recurrent(ns.LIF(20, 8e-3), ns.Dense(20, 20, weight=ns.Binary(gain=2))),
        ns.Dense(20, 4, weight=ns.Binary(gain=2)), ns.LIF(4, 8e-3),
    ]  # fmt: skip
    net = ns.Network(blocks, dt=1e-3)
    x = (np.random.default_rng(0).random((30, 3, 12)) < 0.5).astype(np.float32)
    x[-4:] = 0  # what is under way when the chip stops would not be counted there
    report = ns.deploy(ns.to_graph(net), x, "loihi")
    ours = energy.operations(net, x)
    assert ours["neuron_updates"] == report.operations["neuron_updates"] == 30 * 3 * 24
    certificate = ns.certify(net, x, "loihi", causes=False)
    assert ours["synaptic"] == pytest.approx(report.operations["synaptic"], rel=0.03) and ours["synaptic"] > 5000
    low, high = (sum(part[k] for part in report.energy.values()) for k in (0, 1))
    by_hand = 23.6e-12 * report.operations["synaptic"] + 1.7e-12 * report.operations["spikes"]
    assert low == pytest.approx(by_hand + 52e-12 * 2160, rel=1e-9) and high > low
    assert report.info["seconds"][0] == pytest.approx(
        90 * 113e-9 + (3.5e-9 * report.operations["synaptic"] + 5.3e-9 * 2160) / report.info["cores"], rel=1e-9
    )
    assert "joules" in str(certificate) and json.loads(json.dumps(certificate.to_dict()))["energy"]
    assert type(certificate).from_dict(json.loads(json.dumps(certificate.to_dict()))).energy == certificate.energy
    rate = energy.rate_operations(net, steps=30, samples=3)
    assert rate["macs"] == 90 * (400 + 80) and rate["input_macs"] == 90 * 240
