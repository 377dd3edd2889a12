"""The report in a real browser."""

import json
import re
import shutil
import subprocess
from html import unescape
from xml.etree import ElementTree

import pytest

import neurospin as ns
from experiments.report_opening import Browser
from neurospin.report.html import _embedded, write_report
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
        config.parse({**SMALL, "learners": titles, "targets": ["reference", "loihi", "crossbar"]}, "test"),
        folder,
        Quiet(),
    )
    return folder


def test_the_report_is_one_safe_file(run):
    html = (run / "report.html").read_text()
    assert "<script>alert(1)" not in html and "&lt;script&gt;alert(1)" in html
    for tag in re.findall(r"<[^>]*(?:src|href)=[^>]*>", html):  # references inside the file, and links to click
        assert re.search(r"""href=["'](?:#|data:image/png)""", tag) or tag.startswith('<a href="https://'), tag
    assert "default-src 'none'" in html and "<link" not in html and "@import" not in html
    assert len(html) < 5_000_000
    assert (run / "figures" / "raster.svg").is_file()


def test_the_report_tells_what_the_run_found(run):
    """Numbers of the page are those of results.json; the configuration and the sources are whole."""
    results, html = json.loads((run / "results.json").read_text()), (run / "report.html").read_text()
    text = unescape(re.sub(r"<[^>]*>", " ", html))
    for learner in results["learners"].values():
        assert f"{100 * learner['average_accuracy']:.1f}" in text and str(learner["parameters"]) in text
    for name, target in results["targets"].items():
        certificate = target["certificate"]
        assert f"On {name}:" in text
        for cause in certificate["causes"]:
            assert cause["name"] in text and str(cause["alone"]["differing"]) in text
        for part, (low, high) in certificate["energy"].items():
            assert part.replace("_", " ") in text and f"{1e9 * low:.4g}" in text and f"{1e9 * high:.4g}" in text
    assert unescape((run / "config.yaml").read_text()).strip() in unescape(html)
    assert all(name in text and version in text for name, version in results["versions"].items())
    for source in results["citations"]:
        doi = re.search(r"doi:(\S+)", source)
        assert f'href="https://doi.org/{doi[1]}"' in html if doi else source.split(",")[0] in text


def test_nothing_that_differs_is_called_equal(run):
    results, html = json.loads((run / "results.json").read_text()), (run / "report.html").read_text()
    for name, target in results["targets"].items():
        exact = target["certificate"]["exact"]
        section = html[html.index(f'id="on-{name}"') :].split("</h3>")[0]
        assert ("every spike equal" in section) == exact


def test_a_report_without_arrays_says_so(run, tmp_path):
    shutil.copytree(run, tmp_path / "copy")
    (tmp_path / "copy" / "figures" / "arrays.npz").unlink()
    write_report(tmp_path / "copy")
    assert "holds no figures/arrays.npz" in (tmp_path / "copy" / "report.html").read_text()
    (tmp_path / "copy" / "results.json").write_text("{")
    with pytest.raises(ns.ConfigError, match="expected JSON"):
        write_report(tmp_path / "copy")


def test_a_target_has_a_raster_of_its_own_where_it_differs(run, tmp_path):
    """Where every spike is equal it would be the same picture again."""
    shutil.copytree(run, tmp_path / "copy")
    place = tmp_path / "copy" / "results.json"
    results = json.loads(place.read_text())
    for name, exact in (("reference", True), ("loihi", False)):
        results["targets"][name]["certificate"]["exact"] = exact
    place.write_text(json.dumps(results))
    html = write_report(tmp_path / "copy").read_text()
    assert 'data-name="raster-loihi"' in html and 'data-name="raster-reference"' not in html


PROBE = """<script>
"use strict";
const column = n => [...document.querySelectorAll("#learners tbody tr")].map(r => r.cells[n].innerText);
const heads = document.querySelectorAll("#learners th button"), numbers = n => column(n).map(parseFloat);
heads[1].click(); const first = numbers(1); heads[1].click(); const second = numbers(1);
const sorted = heads[1].parentElement.getAttribute("aria-sort");
heads[0].click(); const words = column(0);
const figure = document.querySelector("figure[data-name=raster]"), svg = figure.querySelector("svg");
const box = () => svg.getAttribute("viewBox").split(/[ ,]+/).map(Number), whole = box();
svg.dispatchEvent(new WheelEvent("wheel", {deltaY: -400, bubbles: true})); const closed = box();
figure.click(); const zoomed = figure.classList.contains("zoomed");
const place = svg.getBoundingClientRect(), x = place.x + place.width * 0.25, y = place.y + place.height * 0.5;
const point = () => new DOMPoint(x, y).matrixTransform(svg.getScreenCTM().inverse());
const before = point();
svg.dispatchEvent(new WheelEvent("wheel", {deltaY: -400, clientX: x, clientY: y, bubbles: true, cancelable: true}));
const near = box(), after = point();
const still = Math.hypot(before.x - after.x, before.y - after.y);
svg.dispatchEvent(new MouseEvent("dblclick", {bubbles: true})); const again = box();
document.dispatchEvent(new KeyboardEvent("keydown", {key: "Escape"}));
const ids = [...document.querySelectorAll("[id]")].map(e => e.id);
const out = {first, second, sorted, words, zoomed, whole, closed, near, again, still, ids,
  open: figure.classList.contains("zoomed"),
  names: [...document.querySelectorAll("figure")].map(f => f.dataset.name),
  links: [...document.querySelectorAll("nav a")].map(a => document.querySelector(a.getAttribute("href")) !== null),
  wide: document.documentElement.scrollWidth <= window.innerWidth,
  empty: [...document.querySelectorAll("figure svg")].filter(s => s.checkVisibility() && s.getBBox().width < 50).length};
document.body.dataset.out = JSON.stringify(out);
</script></body>"""


@pytest.mark.browser
def test_a_browser_shows_sorts_and_zooms(run, tmp_path):
    if CHROMIUM is None:
        pytest.skip("no Chromium: apt-get install chromium")
    page = tmp_path / "page.html"
    page.write_text((run / "report.html").read_text().replace("</body>", PROBE))
    profile = f"--user-data-dir={tmp_path / 'profile'}"
    command = [CHROMIUM, *FLAGS, profile, "--window-size=1150,900", "--dump-dom", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    found = json.loads(unescape(re.search(r'data-out="([^"]*)"', done.stdout).group(1)))
    assert found["first"] == sorted(found["first"], reverse=True) and found["second"] == sorted(found["second"])
    assert found["sorted"] == "ascending" and found["words"] == sorted(found["words"], reverse=True)
    assert found["closed"] == found["whole"] == found["again"]  # a wheel scrolls the page until a figure is opened
    assert found["zoomed"] and not found["open"]
    assert found["near"][2] == pytest.approx(found["whole"][2] / 2.718281828, rel=1e-3)
    assert found["still"] < 1e-3 * found["whole"][2]  # what is under the pointer stays there
    wanted = {"matrix-a", "forgetting", "losses", "synapses-a-dense1", "agreement", "graph", "certificate-loihi",
              "raster", "traces", "output"}  # fmt: skip
    assert wanted <= set(found["names"]) and not found["empty"]
    assert found["wide"] and all(found["links"]) and len(found["links"]) > 5
    assert len(set(found["ids"])) == len(found["ids"])  # figures do not share clips and markers
    assert not [line for line in done.stderr.splitlines() if "CONSOLE" in line and "page.html" in line]


@pytest.mark.browser
def test_a_phone_shows_the_page_without_scrolling_sideways(run, tmp_path):
    if CHROMIUM is None:
        pytest.skip("no Chromium: apt-get install chromium")
    with Browser(tmp_path / "profile") as browser:
        _, session = browser.open((run / "report.html").as_uri(), width=390, height=800)
        assert browser.evaluate(session, "document.documentElement.scrollWidth") == 390
        assert browser.evaluate(session, "[...document.querySelectorAll('figure')].every(f => f.offsetWidth <= 390)")


def test_a_figure_in_the_page_is_drawn_as_it_is_in_its_file(run):
    """Less text, the same picture: every path, mark, word and image of the file, to a hundredth of a point."""
    for place in (run / "figures").glob("*.svg"):
        whole = place.read_text()
        slim = _embedded(whole, place.stem)
        assert len(slim) < 0.9 * len(whole) or place.stem == "graph"  # not made by matplotlib
        drawn = [[e for e in ElementTree.fromstring(text).iter() if shape(e)] for text in (whole, slim)]
        assert [shape(e) for e in drawn[0]] == [shape(e) for e in drawn[1]]
        for one, other in zip(*drawn, strict=True):
            for key in ("d", "x", "y", "transform"):
                numbers = [[float(n) for n in re.findall(r"-?\d+\.?\d*", e.get(key, ""))] for e in (one, other)]
                assert numbers[0] == pytest.approx(numbers[1], abs=0.0101), (place.name, key)
            assert (one.text or "").strip() == (other.text or "").strip()


def shape(element):
    """The kind of an element that is drawn, and its style."""
    kind = element.tag.rpartition("}")[2]
    return (kind, element.get("style")) if kind in ("path", "use", "text", "image", "line", "rect") else None


@pytest.mark.browser
def test_the_browser_refuses_what_comes_from_elsewhere(run, tmp_path):
    """The policy in the page: an image from another place is not loaded, whatever a name smuggled in."""
    if CHROMIUM is None:
        pytest.skip("no Chromium: apt-get install chromium")
    page = tmp_path / "page.html"
    (tmp_path / "spy.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>")
    page.write_text((run / "report.html").read_text().replace("</body>", '<img src="spy.svg"></body>'))
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert "violates the following Content Security Policy" in done.stderr
