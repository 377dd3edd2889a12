"""Crossbar layers against their formulas, and against brute force where there is a shorter way."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import neurospin as ns
from hardware_targets.crossbar.array import Array
from hardware_targets.crossbar.devices import BoundedLinear, Ideal
from hardware_targets.crossbar.target import Crossbar
from tests.graphs import graphs, random_spikes


@given(graphs(), st.integers(1, 3))
def test_an_ideal_crossbar_gives_the_reference(made, batch):
    spikes = random_spikes(made, 10, batch)
    ideal = Crossbar(Ideal(), adc_bits=None, rows=3)
    got = ideal.run(made.graph, spikes, dt=1e-3, record=made.spiking())
    wanted = ns.simulate(made.graph, spikes, record=made.spiking())
    for name in made.spiking():
        np.testing.assert_array_equal(got.records[name], wanted.records[name])
    np.testing.assert_array_equal(got.spikes, wanted.output)


def test_an_ideal_crossbar_gives_every_spike_and_every_voltage_of_a_network():
    net = ns.Network(
        [ns.Dense(64, 128, weight=ns.Binary(gain=8)), ns.LIF(128, 8e-3), ns.Dense(128, 10, bias=True), ns.LI(10)],
        dt=1e-3,
    )
    spikes = (np.random.default_rng(0).random((20, 256, 64)) < 0.4).astype(np.float32)
    graph = ns.to_graph(net)
    got = Crossbar(Ideal(), adc_bits=None).run(graph, spikes, dt=1e-3, record=["lif1"])
    wanted = ns.simulate(graph, spikes, record=["lif1"])
    np.testing.assert_array_equal(got.records["lif1"], wanted.records["lif1"])
    np.testing.assert_array_equal(got.spikes, wanted.output)


def test_weights_map_to_pairs_of_conductances_and_back():
    weight = np.array([[1.0, -2.0, 0.0], [0.5, 2.0, -0.25]])
    device = BoundedLinear(programming_noise=0, read_noise=0)
    made = Array(torch.as_tensor(weight, dtype=torch.float32), device, torch.Generator(), adc_bits=None)
    plus, minus = (s.mT.numpy() for s in made.state[0])
    np.testing.assert_allclose(plus, 10e-6 + 90e-6 * np.clip(weight, 0, None) / 2, rtol=1e-6)
    np.testing.assert_allclose(minus, 10e-6 + 90e-6 * np.clip(-weight, 0, None) / 2, rtol=1e-6)
    np.testing.assert_allclose(made(torch.eye(3)).numpy(), weight.T, rtol=1e-5, atol=1e-6)


def test_programming_noise_has_the_stated_spread():
    device = BoundedLinear(programming_noise=0.02, read_noise=0)
    wanted = torch.full((400, 400), 50e-6, dtype=torch.float64)
    error = (device.program(wanted, torch.Generator().manual_seed(0)) - wanted) / 90e-6
    count = error.numel()
    assert abs(float(error.mean())) < 4 * 0.02 / count**0.5
    assert abs(float(error.std()) / 0.02 - 1) < 4 / (2 * count) ** 0.5
    low = device.program(torch.full((1000,), 10e-6), torch.Generator().manual_seed(0))
    assert float(low.min()) >= 10e-6 * (1 - 1e-6) and abs(float((low <= 10.0001e-6).float().mean()) - 0.5) < 0.07


def test_saturation_is_counted_and_told():
    graph = ns.to_graph(ns.Network([ns.Dense(100, 1), ns.LI(1)], dt=1e-3))
    graph.nodes["dense1"].weight[:] = 1
    report = Crossbar(Ideal()).run(graph, np.ones((1, 1, 100), np.float32), dt=1e-3)
    assert report.info["mapping"][0]["clipped"] == 1  # 100 flows, 4 √100 is the full scale
    assert any("saturate" in a["what"] and a["size"] == 1 for a in report.info["approximations"])
    dense = ns.simulate(graph, np.full((1, 1, 100), 0.4, np.float32)).output
    np.testing.assert_allclose(report.spikes, dense, rtol=1e-6)


def test_noise_costs_spikes_and_is_fixed_by_its_seed():
    net = ns.Network([ns.Dense(30, 60, weight=ns.Binary(gain=6)), ns.LIF(60, 8e-3)], dt=1e-3)
    graph = ns.to_graph(net)
    spikes = (np.random.default_rng(0).random((20, 40, 30)) < 0.4).astype(np.float32)
    truth = ns.simulate(graph, spikes).output
    wrong = []
    for noise in (0.0, 0.01, 0.05, 0.2):
        crossbar = Crossbar(BoundedLinear(programming_noise=noise, read_noise=noise))
        a, b, c = (crossbar.run(graph, spikes, dt=1e-3, seed=seed).spikes for seed in (1, 1, 2))
        np.testing.assert_array_equal(a, b)
        assert noise == 0 or (a != c).any()
        wrong.append((a != truth).mean())
    assert sorted(wrong) == wrong and wrong[3] > 3 * wrong[1]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: BoundedLinear(g_min=2e-6, g_max=1e-6), "0 <= g_min < g_max"),
        (lambda: BoundedLinear(read_noise=-1), "read_noise: expected a number >= 0"),
        (lambda: BoundedLinear(programming_noise=float("nan")), "programming_noise"),
        (lambda: Crossbar(adc_bits=0), "2 to 24"),
        (lambda: Crossbar(rows=0), "at least 1"),
    ],
)
def test_impossible_devices_are_refused(make, words):
    with pytest.raises(ns.InputError, match=words):
        make()
