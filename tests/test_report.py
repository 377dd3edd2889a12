"""The report in a real browser."""

import json
import re
import shutil
import subprocess

import pytest

import neurospin as ns
from neurospin.report.html import write_report
from neurospin.runs import config, experiment
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
