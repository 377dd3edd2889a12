"""Studies of many chips against one deployment each, and their pictures against the numbers that they show."""

import numpy as np
import pytest
import torch

import neurospin as ns
from hardware_targets.crossbar.studies import ageing, heat, monte_carlo
from hardware_targets.crossbar.target import Crossbar
from neurospin.report import plots


@pytest.fixture(scope="module")
def made():
    torch.manual_seed(0)
    net = ns.Network([ns.Dense(30, 40, weight=ns.Binary(gain=8)), ns.LIF(40, 8e-3), ns.Dense(40, 4), ns.LI(4)], dt=1e-3)
    graph = ns.to_graph(net)
    spikes = (np.random.default_rng(0).random((12, 50, 30)) < 0.3).astype(np.float32)
    return graph, spikes, ns.simulate(graph, spikes).output.sum(0).argmax(1)


@pytest.mark.parametrize(
    "options", [{"device": "hfox"}, {"device": "binary_mtj", "wires": 0.2, "rows": 16, "calibration": 5}]
)
def test_chips_side_by_side_are_the_chips_one_by_one(options, made, monkeypatch):
    graph, spikes, labels = made
    target = Crossbar(**options)
    alone = [
        np.mean(ns.deploy(graph, spikes, target, seed=seed).spikes.sum(0).argmax(1) == labels) for seed in range(7, 12)
    ]
    together = monte_carlo(graph, spikes, labels, target, chips=5, seed=7)
    np.testing.assert_array_equal(together.accuracy, [alone])
    assert together.reference == 1.0 and together.seeds == (7, 8, 9, 10, 11)
    monkeypatch.setattr("hardware_targets.crossbar.studies.TOGETHER", 2 * spikes.size)
    np.testing.assert_array_equal(monte_carlo(graph, spikes, labels, target, chips=5, seed=7).accuracy, [alone])
    level = float(np.median(alone))
    assert together.reaching(level)[0] == np.mean(np.array(alone) >= level)


def test_loops_run_side_by_side_too():
    from hardware_targets.cases import CASES

    case = CASES["loop"]
    spikes, labels = case.spikes(15, 6), np.zeros(6, int)
    target = Crossbar("pcm")
    alone = [np.mean(ns.deploy(case.make(), spikes, target, seed=s).spikes.sum(0).argmax(1) == 0) for s in range(3)]
    np.testing.assert_array_equal(monte_carlo(case.make(), spikes, labels, target, chips=3).accuracy, [alone])


def test_time_and_heat_age_the_same_chips(made):
    graph, spikes, labels = made
    weak = Crossbar({"kind": "binary_mtj", "delta": 32.0})
    fresh = monte_carlo(graph, spikes, labels, weak, chips=3)
    old = ageing(graph, spikes, labels, weak, [0.0, 1.0, 1e6], chips=3)
    np.testing.assert_array_equal(old.accuracy[0], fresh.accuracy[0])
    # retention of 1 ns · e^32 = 22 h: nothing is lost in a second, nearly all in 1e6 s
    np.testing.assert_allclose(old.accuracy[1], fresh.accuracy[0], atol=0.03)
    assert old.accuracy[2].mean() < 0.6 < fresh.accuracy.mean()
    hot = heat(graph, spikes, labels, weak, [300.0, 400.0], 100.0, chips=3)
    # at 400 K the barrier is 24: retention of 26 s
    assert hot.accuracy[1].mean() < 0.6 and hot.unit == "K"
    np.testing.assert_allclose(hot.accuracy[0], fresh.accuracy[0], atol=0.05)
    drifting = ageing(graph, spikes, labels, Crossbar("pcm"), [1e8], chips=2)
    assert drifting.accuracy.shape == (1, 2)


def test_impossible_studies_are_refused(made):
    graph, spikes, labels = made
    for times in ([], [2.0, 1.0], [-1.0], [float("nan")]):
        with pytest.raises(ns.InputError, match="rising times"):
            ageing(graph, spikes, labels, Crossbar(), times)
    with pytest.raises(ns.InputError, match="> 0 K"):
        heat(graph, spikes, labels, Crossbar(), [0.0], 1.0)
    with pytest.raises(ns.InputError, match="labels"):
        monte_carlo(graph, spikes, labels[1:], Crossbar())
    with pytest.raises(ns.InputError, match="chips"):
        monte_carlo(graph, spikes, labels, Crossbar(), chips=0)


def test_pictures_show_their_numbers(tmp_path):
    rng = np.random.default_rng(0)
    figure, ax = plots.yields({"a": [0.9, 0.8, 0.95, 0.8]}, reference=1.0)
    x, y = ax.lines[0].get_data()
    for level in (0.5, 0.8, 0.85, 0.95):
        shown = y[np.searchsorted(x, 100 * level)]
        assert shown == pytest.approx(100 * np.mean(np.array([0.9, 0.8, 0.95, 0.8]) >= level))
    figures = [figure]
    g = rng.random((5, 9))
    figures.append(plots.hysteresis(np.linspace(-1, 1, 9), g)[0])
    np.testing.assert_allclose(figures[-1].axes[0].lines[-1].get_ydata(), 1e6 * g.mean(0))
    figures.append(plots.pulse_response({"up": g, "down": g[0]})[0])
    figure, ax = plots.switching([0.1, 0.2], {"h": [1e-3, 0.5]}, counted={"h": [0.0, 0.4]})
    assert ax.get_yscale() == "log" and list(ax.lines[1].get_ydata()) == [0.4]
    figures.append(figure)
    figure, ax = plots.ageing([0, 10, 1e9], {"a": np.array([[1.0, 0.9], [0.8, 0.8], [0.5, 0.3]])})
    np.testing.assert_allclose(ax.lines[-1].get_ydata(), [95, 80, 40])
    assert ax.lines[-1].get_xdata()[0] == 1.0
    figures.append(figure)
    figure, ax = plots.wear({"gate": np.array([0, 0, 3, 10])}, endurance=2000)
    np.testing.assert_allclose(ax.lines[0].get_data(), [[0.5, 3, 10], [1, 0.5, 0.25]])
    figures.append(figure)
    for number, figure in enumerate(figures):
        plots.save(figure, tmp_path / f"{number}.svg")
    with pytest.raises(ns.InputError, match="one value for each point"):
        plots.switching([0.1, 0.2], {"h": [1e-3]})
    with pytest.raises(ns.InputError, match="at least one chip"):
        plots.yields({"a": []})
