"""The picture of a graph: every node once, ranges, loops dashed, problems in red, and nothing that runs."""

import re
import shutil
import xml.etree.ElementTree as ET

import nir
import numpy as np
import pytest
from typer.testing import CliRunner

import neurospin as ns
from neurospin.cli import app
from neurospin.report import layout
from tests.bad_inputs.test_damage import images, nested
from tests.bad_inputs.test_fields import zoo

ENGINES = ["layers", pytest.param("dot", marks=pytest.mark.skipif(not shutil.which("dot"), reason="no Graphviz"))]
SVG = "{http://www.w3.org/2000/svg}"


def loop(name="hidden"):
    """A recurrent layer with a skip around it."""
    tau = np.array([5e-3, 20e-3, 12e-3])
    one = np.ones(3)
    lif = nir.LIF(tau=tau, r=one, v_leak=0 * one, v_threshold=one, v_reset=0 * one)
    weight = np.array([[-0.5, 0, 0], [0, 0.25, 0], [0, 0, 2]])
    ends = {"input": nir.Input({"input": np.array([3])}), "output": nir.Output({"output": np.array([3])})}
    nodes = {**ends, "w": nir.Linear(weight), name: lif, "back": nir.Affine(weight, one), "out": nir.LI(tau, one, one)}
    edges = [
        ("input", "w"),
        ("w", name),
        (name, "back"),
        ("back", name),
        (name, "out"),
        ("w", "out"),
        ("out", "output"),
    ]
    return nir.NIRGraph(nodes, edges, metadata={"neurospin": {"dt": 1e-3, "reset": "value"}})


def parsed(text):
    root = ET.fromstring(text)
    return root, ["".join(node.itertext()) for node in root.iter(f"{SVG}text")]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("make", [loop, nested, images, zoo])
def test_boxes_are_whole_apart_and_inside_the_page(make, engine):
    graph = make()
    root, texts = parsed(ns.draw(graph, engine=engine))
    left, top, width, height = map(float, root.get("viewBox").split())
    boxes = []
    for group in root.iter(f"{SVG}g"):
        rect = group.find(f"{SVG}rect")
        boxes.append([float(rect.get(k)) for k in ("x", "y", "width", "height")])
    names = re.findall(r"<g><title>(.*?): ", ns.draw(graph, engine=engine))
    assert len(names) == len(set(names)) == len(boxes) == len(ns.graph.order.flatten(graph)[0])
    for n, (x, y, w, h) in enumerate(boxes):
        assert left <= x and x + w <= left + width and top <= y and y + h <= top + height
        for a, b, c, d in boxes[:n]:
            assert x >= a + c or a >= x + w or y >= b + d or b >= y + h
    assert ("g" in texts) == (make is nested)  # the frame of a nested graph


@pytest.mark.parametrize("engine", ENGINES)
def test_it_says_what_the_graph_says(engine):
    root, texts = parsed(ns.draw(loop(), engine=engine))
    assert "τ 5–20 ms" in texts and "weights 3 × 3: −0.5 … 2" in texts and "bias 1" in texts and "threshold 1" in texts
    assert texts[0] == "6 nodes  ·  dt 1 ms  ·  reset to value"
    paths = [p for p in root.iter(f"{SVG}path") if p.get("marker-end")]
    assert len(paths) == 7 and sum(p.get("stroke-dasharray") is not None for p in paths) == texts.count("t−1") == 1


def test_every_line_leaves_and_enters_its_boxes():
    sizes = dict.fromkeys("abcd", (100.0, 40.0))
    lines = [layout.Line("a", "b", False), layout.Line("b", "c", False), layout.Line("a", "c", False)]
    lines += [layout.Line("c", "a", True), layout.Line("d", "d", True)]
    engines = ["layers", "dot"] if shutil.which("dot") else ["layers"]
    for engine in engines:
        found = layout.arranged(sizes, lines, engine)
        assert {(x.source, x.target, x.back) for x in found.lines} == {(x.source, x.target, x.back) for x in lines}
        for line in found.lines:
            assert len(line.points) % 3 == 1
            for (x, y), name in ((line.points[0], line.source), (line.points[-1], line.target)):
                cx, cy = found.centres[name]
                assert abs(x - cx) <= 52 and abs(y - cy) <= 22  # on the border
        if engine == "layers":
            assert found.centres["a"][1] < found.centres["b"][1] < found.centres["c"][1]


def test_without_graphviz_the_layers_are_taken(monkeypatch):
    expected = ns.draw(loop(), engine="layers")
    monkeypatch.setattr(layout.shutil, "which", lambda name: None)
    assert ns.draw(loop()) == expected
    with pytest.raises(ns.MissingDependency, match="apt-get install graphviz"):
        ns.draw(loop(), engine="dot")
    monkeypatch.setattr(layout.shutil, "which", lambda name: "/bin/false")
    assert ns.draw(loop()) == expected
    with pytest.raises(ns.UnknownName, match="one of dot, layers"):
        ns.draw(loop(), engine="neato")


def test_problems_are_red_and_where_they_are():
    text = ns.draw(zoo(), "lava", engine="layers")
    problems = ns.check(zoo(), "lava")
    assert problems
    _, texts = parsed(text)
    written = " ".join(texts)
    for problem in problems:
        assert problem.value.split()[0] in written
    assert text.count('stroke-width="2.5"') == len({p.node for p in problems if p.node})
    assert f"lava: {len(problems)} problem" in texts[0]
    assert "#b3261e" not in ns.draw(loop(), "reference")


@pytest.mark.parametrize("engine", ENGINES)
def test_names_cannot_run(engine):
    name = '"]<script>alert(1)</script>&\'"; x [URL="javascript:1"]'
    text = ns.draw(loop(name), engine=engine)
    root, _ = parsed(text)
    assert {node.tag.removeprefix(SVG) for node in root.iter()} <= {
        "svg", "title", "defs", "marker", "path", "rect", "g", "text",
    }  # fmt: skip
    assert not [key for node in root.iter() for key in node.attrib if key.startswith("on") or "href" in key]
    assert any(node.text and node.text.startswith(name) for node in root.iter(f"{SVG}title"))


def test_the_command_draws(tmp_path):
    ns.write(tmp_path / "g.nir", loop())
    done = CliRunner().invoke(app, ["draw", str(tmp_path / "g.nir"), "--target", "loihi"])
    assert done.exit_code == 0 and done.output.strip() == str(tmp_path / "g.svg")
    parsed((tmp_path / "g.svg").read_text())
    CliRunner().invoke(app, ["draw", str(tmp_path / "g.nir"), "-o", str(tmp_path / "other.svg")])
    assert (tmp_path / "other.svg").exists()
