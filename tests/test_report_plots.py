"""Figures by their data: what an artist holds is what was given; every axis says what it shows."""

import re

import numpy as np
import pytest
from matplotlib.image import imread
from scipy.ndimage import label
from scipy.spatial.distance import squareform

import neurospin as ns
from neurospin import plots
from neurospin.data.shj import shj_curves
from neurospin.twins import geometry
from tests.test_certificate import layered


def test_the_matrix_shows_its_numbers():
    matrix = np.array([[0.9, 0.1], [0.4, 0.8]])
    _, ax = plots.accuracy_matrix(matrix, ["task 1", "task 2"])
    assert sorted(t.get_text() for t in ax.texts) == ["10", "40", "80", "90"]
    np.testing.assert_array_equal(ax.images[0].get_array(), 100 * matrix)
    assert ax.get_xlabel() == "tested on task" and ax.get_ylabel() == "after learning task"


def test_the_raster_shows_every_spike_at_its_time():
    spikes = np.zeros((5, 3))
    spikes[1, 2] = spikes[4, 0] = 1
    _, ax = plots.raster({"input": spikes}, 2e-3)
    assert sorted(map(tuple, dots(ax.patches[0]))) == [(4.0, 2.0), (10.0, 0.0)]
    assert ax.get_xlabel() == "time (ms)"


def test_every_spike_is_seen_in_pixels_and_in_vectors(tmp_path):
    spikes = np.random.default_rng(0).random((50, 30)) < 0.1
    figure, _ = plots.raster({"input": spikes}, 1e-3)
    plots.save(figure, tmp_path / "r.png")
    blue = np.abs(imread(tmp_path / "r.png")[..., :3] - np.array([0, 0x72 / 255, 0xB2 / 255])).max(-1) < 0.05
    assert label(blue)[1] > 0.8 * spikes.sum()  # neighbours touch
    (path,) = re.findall(r'd="([^"]*)" [^>]*stroke: #0072b2', plots.svg(figure))
    assert path.count("M") == spikes.sum() and "stroke-linecap: square" in plots.svg(figure)


def dots(patch):
    """Where the spikes of one path are."""
    return patch.get_path().vertices[::2].tolist()


def test_a_raster_tells_what_only_one_side_has():
    here, there = np.zeros((4, 2)), np.zeros((4, 2))
    here[0, 0] = here[2, 1] = there[2, 1] = there[3, 0] = 1
    _, ax = plots.raster({"input": here, "lif1": here}, 1e-3, against={"lif1": there}, names=("network", "loihi"))
    alone, ours, theirs, both = map(dots, ax.patches)
    assert len(alone) == 2 and [ours, theirs, both] == [[[1, 6]], [[4, 6]], [[3, 7]]]
    told = [t.get_text() for t in ax.get_legend().get_texts()]
    assert told == ["only network: 1", "only loihi: 1", "both: 1"]


def test_forgetting_curves_are_means_over_tasks_seen():
    matrix = np.array([[0.9, 0.1], [0.4, 0.8]])
    _, ax = plots.forgetting_curves({"a": np.stack([matrix, matrix + 0.1])})
    np.testing.assert_allclose(ax.lines[0].get_ydata(), [95, 65])
    band = ax.collections[0].get_paths()[0].vertices[:, 1]  # ± t (12.7062 for two seeds) · 10 / √2 / √2
    assert band.max() == pytest.approx(95 + 63.531, abs=1e-3) and band.min() == pytest.approx(65 - 63.531, abs=1e-3)


def test_hidden_values_are_densities():
    draw = np.random.default_rng(0).normal(size=10_000)
    _, ax = plots.hidden_values([draw], ["task 1"])
    values, edges, _ = ax.patches[0].get_data()
    assert np.sum(values * np.diff(edges)) == pytest.approx(1)


def test_traces_mark_spikes_above_the_threshold():
    spikes = np.zeros((4, 1))
    spikes[2] = 1
    _, ax = plots.traces(np.zeros((4, 1)), 1e-3, threshold=1.0, spikes=spikes)
    assert list(ax.lines[1].get_xdata()) == [3.0] and ax.lines[1].get_ydata()[0] > 1


def test_a_figure_is_the_same_text_every_time():
    matrix = np.eye(2)
    assert plots.svg(plots.accuracy_matrix(matrix, ["a", "b"])[0]) == plots.svg(
        plots.accuracy_matrix(matrix, ["a", "b"])[0]
    )


def test_a_certificate_is_drawn_from_its_numbers():
    """Panels: differing share over time, the voltages of the neuron that differs first, a pair of bars a cause."""
    graph, spikes = layered(31e-3)
    certificate = ns.certify(graph, spikes, "loihi")
    over_time, trace, causes = plots.certificate(certificate)[1]
    drawn = {line.get_label().split(":")[0]: line for line in over_time.lines}
    for name, node in certificate.nodes.items():
        share = 100 * np.array(node.differing_by_step) / (16 * {"lif1": 60, "lif2": 20}[name])
        np.testing.assert_allclose(drawn[name].get_ydata(), share)
    lines = {line.get_label(): line.get_ydata() for line in trace.lines}
    np.testing.assert_array_equal(lines["reference"], certificate.trace.expected)
    np.testing.assert_array_equal(lines["loihi"], certificate.trace.got)
    assert set(lines["threshold"]) == {certificate.trace.threshold}
    widths = [bar.get_width() for bar in causes.patches]
    shown = sorted((c for c in certificate.causes if c.name != "latency"), key=lambda c: -c.alone.differing)
    assert widths[: len(shown)] == [cause.alone.differing for cause in shown]
    assert widths[len(shown) + 1 : -1] == [cause.without.differing for cause in shown]
    assert [tick.get_text() for tick in causes.get_yticklabels()] == [*(c.name for c in shown), "none of them"]
    exact = ns.certify(graph, spikes, "reference")
    _, axes = plots.certificate(exact)
    assert len(axes) == 1 and "every spike equal" in axes[0].get_title(loc="left")


def test_synapses_are_shown_by_their_quantiles_and_flips():
    first, second = np.linspace(-1, 1, 201), np.abs(np.linspace(-1, 1, 201))
    _, ax = plots.synapses([first, second], ["task 1", "task 2"])
    np.testing.assert_allclose(ax.lines[0].get_ydata(), [0, 0.5], atol=1e-12)
    band = ax.collections[0].get_paths()[0].vertices  # of the middle nine tenths
    assert band[:, 1].min() == pytest.approx(-0.9) and band[:, 1].max() == pytest.approx(0.95)
    assert "50 %" in [t.get_text() for t in ax.texts]  # 100 of 201 signs, rounded
    assert ax.get_ylabel() == "hidden value"


def test_people_and_models_share_a_scale():
    people = shj_curves()
    figure, axes = plots.category_curves(people, {"half as many": {k: v / 2 for k, v in people.items()}})
    assert [ax.get_title(loc="left") for ax in axes] == ["people", "half as many"]
    for line, errors in zip(axes[1].lines, people.values(), strict=False):
        np.testing.assert_allclose(line.get_ydata(), 50 * errors)
    assert axes[0].get_ylim() == axes[1].get_ylim() and axes[0].get_ylabel() == "errors (%)"
    assert [t.get_text() for t in axes[1].get_legend().get_texts()] == list(people)
    assert len(figure.axes) == 2


def test_matrices_stand_beside_their_likeness_and_the_ceiling():
    draw = np.random.default_rng(0)
    true = draw.normal(size=(8, 20))
    subjects = np.stack([geometry.rdm(true + 0.4 * draw.normal(size=true.shape)) for _ in range(5)])
    models = {"good": geometry.rdm(true), "bad": geometry.rdm(draw.normal(size=(8, 20)))}
    found = {name: geometry.rsa(model, subjects, resamples=20) for name, model in models.items()}
    _, axes = plots.rdms({"brain": subjects.mean(0), **models}, found)
    np.testing.assert_allclose(axes[1].images[0].get_array(), squareform(models["good"]))
    *_, bars = axes
    assert [bar.get_height() for bar in bars.patches[1:]] == [found["good"].mean, found["bad"].mean]
    low, high = found["good"].ceiling
    assert (bars.patches[0].get_y(), bars.patches[0].get_height()) == pytest.approx((low, high - low))
    assert list(bars.lines[1].get_ydata()) == [found["bad"].low, found["bad"].high]
    with pytest.raises(ns.InputError, match="at least one matrix"):
        plots.rdms({}, {})


def test_dimension_is_a_mean_over_seeds():
    _, ax = plots.dimension({"lif1": np.array([[2.0, 4.0], [4.0, 6.0]])}, units=20)
    np.testing.assert_array_equal(ax.lines[0].get_xydata(), [[1, 3], [2, 5]])
    band = ax.collections[0].get_paths()[0].vertices[:, 1]
    assert band.min() == pytest.approx(3 - 2**0.5) and band.max() == pytest.approx(5 + 2**0.5)
    assert set(ax.lines[1].get_ydata()) == {20} and ax.get_xlabel() == "tasks learned"


def test_conductances_are_in_microsiemens():
    g = np.array([[10e-6, 100e-6], [55e-6, 10e-6], [20e-6, 30e-6]])
    figure, ax = plots.conductances(g, bounds=(0, 100e-6))
    np.testing.assert_allclose(ax.images[0].get_array(), 1e6 * g)
    assert ax.images[0].get_clim() == (0, 100) and figure.axes[1].get_ylabel() == "conductance (µS)"
    with pytest.raises(ns.InputError, match="shape"):
        plots.conductances(g[0])


def test_ir_drop_is_a_share_of_what_was_programmed():
    held = np.array([[10e-6, 0.0], [50e-6, 20e-6]])
    _, ax = plots.ir_drop(held, held * np.array([[0.99, 1], [0.9, 0.98]]))
    shown = ax.images[0].get_array()
    np.testing.assert_allclose(
        shown.compressed() if np.ma.is_masked(shown) else shown[np.isfinite(shown)], [-1, -10, -2]
    )
    assert ax.images[0].get_clim() == pytest.approx((-10, 0))
    both = plots.ir_drop(held, held * np.array([[1.02, 1], [0.9, 0.98]]))[1].images[0]
    assert both.get_clim() == pytest.approx((-10, 10))  # white is no change
    assert "worst -10 %" in ax.get_title(loc="left")
    with pytest.raises(ns.InputError, match="one shape"):
        plots.ir_drop(held, held[:1])


def test_drift_is_over_the_logarithm_of_time():
    seconds = np.array([1.0, 10, 1e3, 1e5])
    devices = 20e-6 * seconds ** -np.array([[0.03], [0.05]])
    _, ax = plots.drift(seconds, {"20 µS": devices})
    assert ax.get_xscale() == "log"
    np.testing.assert_allclose(ax.lines[0].get_ydata(), 1e6 * devices.mean(0))
    assert [t.get_text() for t in ax.texts] == ["a minute", "a day"]
    with pytest.raises(ns.InputError, match="above 0"):
        plots.drift([0, 1], {"a": devices[0, :2]})


def test_the_front_is_what_nothing_beats():
    energy = {"cheap": (1e-9, 4e-9), "good": (1e-7, 1e-7), "beaten": (2e-7, 4e-7), "best": (1e-6, 1e-6)}
    accuracy = {"cheap": 0.7, "good": 0.9, "beaten": 0.8, "best": 0.95}
    _, ax = plots.pareto(energy, accuracy)
    np.testing.assert_allclose(ax.lines[0].get_xydata(), [[2e-9, 70], [1e-7, 90], [1e-6, 95]])
    assert ax.get_xscale() == "log" and {t.get_text() for t in ax.texts} == set(energy)
    with pytest.raises(ns.InputError, match="same names"):
        plots.pareto(energy, {"cheap": 1.0})


def test_every_figure_is_written_as_vectors_and_points(tmp_path):
    figure, _ = plots.drift([1, 10], {"a": np.array([1e-6, 2e-6])})
    for suffix, start in ((".svg", b"<svg"), (".pdf", b"%PDF"), (".png", b"\x89PNG")):
        plots.save(figure, tmp_path / f"a{suffix}")
        assert (tmp_path / f"a{suffix}").read_bytes().startswith(start)
    assert b"conductance" in (tmp_path / "a.svg").read_bytes()  # text stays text
    with pytest.raises(ns.OutputError, match="ends in"):
        plots.save(figure, tmp_path / "a.jpg")


def test_colours_differ_for_every_eye():
    """Okabe and Ito's eight, as published; under simulated protanopia and deuteranopia none falls on another."""
    assert len(set(plots.COLOURS)) == 8
    srgb = np.array([[int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)] for c in plots.COLOURS])
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    # Machado, Oliveira & Fernandes 2009, severity 1
    protan = np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    )
    deutan = np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    )
    for eye in (np.eye(3), protan, deutan):
        seen = np.clip(linear @ eye.T, 0, 1) ** (1 / 2.2)
        apart = np.linalg.norm(seen[:, None] - seen, axis=-1) + 10 * np.eye(8)
        assert apart.min() > 0.12
