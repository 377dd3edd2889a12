"""Figures by their data, and the report in a real browser."""

import json
import re
import shutil
import subprocess

import numpy as np
import pytest

import neurospin as ns
from neurospin.report import plots
from neurospin.report.certificate import certificate_figure
from neurospin.report.html import write_report
from neurospin.runs import config, experiment
from tests.test_certificate import layered
from tests.test_runs import SMALL, Quiet

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--virtual-time-budget=2000", "--enable-logging=stderr",
]  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report") / "run"
    titles = {"a": {"title": "<script>alert(1)</script> & A", "m": 20.0}, "b": {"title": "B", "m": 0.0}}
    experiment.run(
        config.parse({**SMALL, "learners": titles, "targets": ["reference", "loihi"]}, "test"), folder, Quiet()
    )
    return folder


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
    assert sorted(map(tuple, ax.collections[0].get_offsets().tolist())) == [(4.0, 2.0), (10.0, 0.0)]
    assert ax.get_xlabel() == "time (ms)"


def test_forgetting_curves_are_means_over_tasks_seen():
    matrix = np.array([[0.9, 0.1], [0.4, 0.8]])
    _, ax = plots.forgetting_curves({"a": np.stack([matrix, matrix + 0.1])})
    np.testing.assert_allclose(ax.lines[0].get_ydata(), [95, 65])


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
    over_time, trace, causes = certificate_figure(certificate).axes
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
    assert len(certificate_figure(exact).axes) == 1 and "every spike equal" in certificate_figure(exact).axes[
        0
    ].get_title(loc="left")


def test_the_report_is_one_safe_file(run):
    html = (run / "report.html").read_text()
    assert "<script>alert(1)" not in html and "&lt;script&gt;alert(1)" in html
    loads = re.findall(r"""(?:src|href)=["']([^"'#][^"']*)""", html)
    assert [load for load in loads if not load.startswith("data:")] == []
    assert len(html) < 5_000_000
    assert "every spike" in html or "none" in html
    assert (run / "figures" / "raster.svg").is_file()


def test_a_report_without_arrays_says_so(run, tmp_path):
    shutil.copytree(run, tmp_path / "copy")
    (tmp_path / "copy" / "figures" / "arrays.npz").unlink()
    write_report(tmp_path / "copy")
    assert "holds no figures/arrays.npz" in (tmp_path / "copy" / "report.html").read_text()
    (tmp_path / "copy" / "results.json").write_text("{")
    with pytest.raises(ns.ConfigError, match="expected JSON"):
        write_report(tmp_path / "copy")


@pytest.mark.browser
def test_a_browser_shows_sorts_and_zooms(run, tmp_path):
    if CHROMIUM is None:
        pytest.skip("no Chromium: apt-get install chromium")
    probe = """<script>
    const column = n => [...document.querySelectorAll("#learners tbody tr")].map(r => parseFloat(r.cells[n].innerText));
    const head = document.querySelectorAll("#learners th")[1];
    head.click(); const first = column(1); head.click(); const second = column(1);
    const figure = document.querySelector("figure"); figure.click(); const zoomed = figure.classList.contains("zoomed");
    document.dispatchEvent(new KeyboardEvent("keydown", {key: "Escape"}));
    const out = {first, second, zoomed, after: figure.classList.contains("zoomed"),
      figures: document.querySelectorAll("figure svg").length,
      wide: document.documentElement.scrollWidth <= window.innerWidth,
      drawn: [...document.querySelectorAll("figure svg")].every(s => s.getBoundingClientRect().width > 50)};
    document.body.dataset.out = JSON.stringify(out);
    </script></body>"""
    page = tmp_path / "page.html"
    page.write_text((run / "report.html").read_text().replace("</body>", probe))
    command = [
        CHROMIUM,
        *FLAGS,
        f"--user-data-dir={tmp_path / 'profile'}",
        "--window-size=1100,900",
        "--dump-dom",
        page.as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    found = json.loads(re.search(r'data-out="([^"]*)"', done.stdout).group(1).replace("&quot;", '"'))
    assert found["first"] == sorted(found["first"], reverse=True) and found["second"] == sorted(found["second"])
    assert found["zoomed"] and not found["after"] and found["figures"] >= 10 and found["drawn"] and found["wide"]
    assert not [line for line in done.stderr.splitlines() if "CONSOLE" in line and "page.html" in line]
