"""A graph as a picture: boxes with shapes and ranges of parameters, loops dashed, a target's problems in red."""

from __future__ import annotations

import html
import math
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import nir
import numpy as np

from neurospin.graph.check import TIMES, shapes, validate
from neurospin.graph.contract import metadata
from neurospin.graph.order import STATEFUL, order
from neurospin.graph.repair import repaired
from neurospin.report.layout import Layout, Line, arranged
from neurospin.target import Problem, check

TITLE, TEXT, ROW, PAD, WIDEST = 14.0, 11.5, 16.0, 10.0, 40
# Okabe and Ito's colours, which people with any colour vision tell apart; a class differs in its word too
COLOURS = {"port": "#6b7280", "weights": "#0072b2", "neuron": "#a85b00", "map": "#007a5a"}
RED = "#b3261e"
WORDS = {
    "tau": "τ", "tau_mem": "τ mem", "tau_syn": "τ syn", "v_threshold": "threshold", "v_reset": "reset",
    "v_leak": "leak", "r": "r", "w_in": "w in", "weight": "weights", "bias": "bias", "delay": "delay",
    "scale": "scale", "threshold": "threshold",
}  # fmt: skip
SETTINGS = ("kernel_size", "stride", "padding", "dilation", "groups", "start_dim", "end_dim")
DEFAULTS = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1}


@dataclass(frozen=True)
class _Box:
    """What one node's box says."""

    name: str
    kind: str
    group: str
    rows: list[str]
    red: list[str]

    @property
    def size(self) -> tuple[float, float]:
        title = _width(_cut(self.name), TITLE, bold=True) + 14 + _width(self.kind, TEXT)
        wide = max([title, *(_width(row, TEXT) for row in (*self.rows, *self.red))])
        return max(wide + 2 * PAD, 120.0), 30 + ROW * (len(self.rows) + len(self.red)) + (6 if self.rows else 0)


def draw(graph: nir.NIRGraph, target: str | None = None, *, engine: str | None = None) -> str:
    """A graph as SVG.

    A box for every node, with its shape and the least and greatest value of its parameters (time
    constants in seconds, milliseconds or microseconds); nested graphs framed; edges that carry the
    previous step dashed, with `t−1`.

    Args:
        graph: a NIR graph.
        target: name of a target; its problems are written in red where they are.
        engine: what places the boxes: `"dot"` (Graphviz), `"layers"` (our own), or `None` (default):
            Graphviz where it is installed.

    Raises:
        GraphError: the graph is malformed.
        UnknownName: no such target, or no such engine.
        MissingDependency: Graphviz is asked for and not installed.
    """
    graph = repaired(graph)
    validate(graph)
    problems = check(graph, target) if target is not None else []
    plan, found = order(graph), shapes(graph)
    names = [name for component in plan.components for name in component]
    boxes = {name: _box(name, plan.nodes[name], found[name], problems) for name in names}
    lines = [Line(source, name, False) for name in names for source in plan.sources[name]]
    lines += [Line(source, name, True) for name in names for source in plan.delayed[name]]
    layout = arranged({name: box.size for name, box in boxes.items()}, lines, engine)
    return _svg(boxes, layout, _head(graph, target, problems, boxes))


def _box(name: str, node: nir.NIRNode, shape: tuple[int, ...], problems: Iterable[Problem]) -> _Box:
    group = "neuron" if isinstance(node, STATEFUL) and not isinstance(node, nir.Delay) else "map"
    group = "port" if isinstance(node, nir.Input | nir.Output) else group
    group = "weights" if hasattr(node, "weight") else group
    rows = ["shape " + (" × ".join(map(str, shape)) or "one")]
    for field, word in WORDS.items():
        value = getattr(node, field, None)
        if value is None or (field == "bias" and not np.any(value)):
            continue
        size = f" {' × '.join(map(str, np.shape(value)))}" if field == "weight" else ""
        rows.append(f"{word}{size + ':' if size else ''} {_range(value, time=field in TIMES or field == 'delay')}")
    told = [_setting(field, getattr(node, field)) for field in SETTINGS if getattr(node, field, None) is not None]
    rows += textwrap.wrap(", ".join(filter(None, told)), WIDEST)
    red = [line for p in problems if p.node == name for line in _problem(p)]
    return _Box(name, type(node).__name__, group, rows, red)


def _problem(problem: Problem) -> list[str]:
    text = f"expected {problem.limit}, got {problem.value}. {problem.fix[:1].upper()}{problem.fix[1:]}."
    return textwrap.wrap(" ".join(text.split()), WIDEST)


def _setting(field: str, value: Any) -> str:
    plain = value if isinstance(value, str) else " × ".join(_number(int(n)) for n in np.atleast_1d(value))
    if field in DEFAULTS and not isinstance(value, str) and np.all(np.asarray(value) == DEFAULTS[field]):
        return ""
    return f"{field.replace('_size', '').replace('_dim', '')} {plain}"


def _range(value: Any, *, time: bool) -> str:
    """The least and the greatest value: `5–20 ms`, `−0.31 … 0.42`."""
    low, high = float(np.min(value)), float(np.max(value))
    unit = ""
    if time:
        scale, unit = next(((s, u) for s, u in ((1.0, " s"), (1e3, " ms")) if high * s >= 1), (1e6, " µs"))
        low, high = low * scale, high * scale
    a, b = _number(low), _number(high)
    return (a if a == b else f"{a}–{b}" if time else f"{a} … {b}") + unit


def _number(value: float) -> str:
    return f"{value:.3g}".replace("-", "−") if math.isfinite(value) else str(value)


def _head(graph: nir.NIRGraph, target: str | None, problems: list[Problem], boxes: Mapping[str, _Box]) -> list[str]:
    """The line above the picture, then the problems of the graph as a whole, which are red."""
    about = metadata(graph)
    told = [f"{len(boxes)} nodes"]
    told += [f"dt {_range(about['dt'], time=True)}"] if isinstance(about.get("dt"), int | float) else ["records no dt"]
    if isinstance(about.get("reset"), str):
        told.append({"value": "reset to value", "subtract": "reset by subtraction"}.get(about["reset"], ""))
    if target is not None:
        told.append(f"{target}: {len(problems) or 'no'} problem{'s' if len(problems) != 1 else ''}")
    return ["  ·  ".join(filter(None, told)), *(line for p in problems if p.node not in boxes for line in _problem(p))]


def _svg(boxes: Mapping[str, _Box], layout: Layout, head: list[str]) -> str:
    parts: list[str] = []
    frames, xs, ys = _frames(boxes, layout), [], []
    for name, box in boxes.items():
        (x, y), (w, h) = layout.centres[name], box.size
        xs += [x - w / 2, x + w / 2]
        ys += [y - h / 2, y + h / 2]
    for _, (x, y, w, h) in frames:
        xs += [x, x + w]
        ys += [y, y + h]
    for line in layout.lines:
        xs += [x + 12 for x, _ in line.points]
        ys += [y for _, y in line.points]
    over = 26 + 15 * (len(head) - 1) + 14
    left, top = min(xs) - 24, min(ys) - 12 - over
    wide = max(max(xs) - left + 24, max(_width(line, 12) for line in head) + 48)
    high = max(ys) - top + 24
    parts += [_text(left + 24, top + 24 + 15 * n, line, 12, RED if n else "#4b5563") for n, line in enumerate(head)]
    for name, (x, y, w, h) in frames:
        parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{w:.1f}" height="{h:.1f}" rx="12" fill="#f3f4f6" stroke="#9ca3af"/>'
        )
        parts.append(_text(x + 10, y + 16, _cut(name), 12, "#4b5563", bold=True))
    parts += [_line(line) for line in layout.lines]
    parts += [_card(box, *layout.centres[name]) for name, box in boxes.items()]
    parts += [_mark(line) for line in layout.lines if line.back]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{left:.1f} {top:.1f} {wide:.1f} {high:.1f}" '
            f'width="{wide:.0f}" height="{high:.0f}" '
            'font-family="Inter, Helvetica, Arial, \'DejaVu Sans\', sans-serif" role="img">',
            "<title>A spiking network as a graph</title>",
            '<defs><marker id="tip" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" '
            'orient="auto"><path d="M0 1L10 5L0 9z" fill="#374151"/></marker></defs>',
            f'<rect x="{left:.1f}" y="{top:.1f}" width="{wide:.1f}" height="{high:.1f}" fill="white"/>',
            *parts,
            "</svg>\n",
        ]
    )


def _frames(boxes: Mapping[str, _Box], layout: Layout) -> list[tuple[str, tuple[float, float, float, float]]]:
    """Frames of nested graphs, outer ones first; none where a node of another graph would lie inside."""
    prefixes = {name[:n] for name in boxes for n in range(len(name)) if name[n] == "."}
    frames = []
    for prefix in sorted(prefixes):
        inside = [name for name in boxes if name.startswith(f"{prefix}.")]
        edges = [_edges(boxes[name], *layout.centres[name]) for name in inside]
        depth = 12 + 10 * max(name[len(prefix) + 1 :].count(".") for name in inside)
        x, y = min(e[0] for e in edges) - depth, min(e[1] for e in edges) - depth - 12
        w, h = max(e[2] for e in edges) + depth - x, max(e[3] for e in edges) + depth - y
        others = [_edges(boxes[name], *layout.centres[name]) for name in boxes if name not in inside]
        if len(inside) > 1 and not any(e[0] < x + w and e[2] > x and e[1] < y + h and e[3] > y for e in others):
            frames.append((prefix, (x, y, w, h)))
    return frames


def _edges(box: _Box, x: float, y: float) -> tuple[float, float, float, float]:
    w, h = box.size
    return x - w / 2, y - h / 2, x + w / 2, y + h / 2


def _line(line: Line) -> str:
    start, *rest = line.points
    path = f"M{start[0]:.1f} {start[1]:.1f}C" + " ".join(f"{x:.1f} {y:.1f}" for x, y in rest)
    dash = ' stroke-dasharray="5 4"' if line.back else ""
    return f'<path d="{path}" fill="none" stroke="#374151" stroke-width="1.4"{dash} marker-end="url(#tip)"/>'


def _mark(line: Line) -> str:
    """`t−1` at the middle of a line: of its middle piece, or between its two middle pieces."""
    pieces = len(line.points) // 3
    first = line.points[3 * ((pieces - 1) // 2) :][:4]
    weights = (0.125, 0.375, 0.375, 0.125) if pieces % 2 else (0, 0, 0, 1)
    x, y = (sum(w * p[axis] for w, p in zip(weights, first, strict=True)) for axis in (0, 1))
    return _text(x + 6, y + 4, "t−1", TEXT, "#374151", halo=True)


def _card(box: _Box, x: float, y: float) -> str:
    w, h = box.size
    left, top, colour = x - w / 2, y - h / 2, COLOURS[box.group]
    edge = f'stroke="{RED}" stroke-width="2.5"' if box.red else f'stroke="{colour}" stroke-width="1.2"'
    parts = [
        f"<g><title>{_safe(box.name)}: {box.kind}</title>",
        f'<rect x="{left:.1f}" y="{top:.1f}" width="{w:.1f}" height="{h:.1f}" rx="7" fill="white" {edge}/>',
        f'<path d="M{left + 7:.1f} {top:.1f}h{w - 14:.1f}a7 7 0 0 1 7 7v17h{-w:.1f}v-17a7 7 0 0 1 7 -7z" '
        f'fill="{colour}"/>',
        _text(left + PAD, top + 17, _cut(box.name), TITLE, "white", bold=True),
        _text(left + w - PAD, top + 17, box.kind, TEXT, "white", anchor="end"),
    ]
    for n, row in enumerate((*box.rows, *box.red)):
        ink = "#1f2937" if n < len(box.rows) else RED
        parts.append(_text(left + PAD, top + 41 + ROW * n, row, TEXT, ink))
    return "".join(parts) + "</g>"


def _text(
    x: float, y: float, text: str, size: float, ink: str, *, bold: bool = False, anchor: str = "", halo: bool = False
) -> str:
    more = ' font-weight="600"' if bold else ""
    more += f' text-anchor="{anchor}"' if anchor else ""
    more += ' stroke="white" stroke-width="3" paint-order="stroke"' if halo else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size:g}" fill="{ink}"{more}>{_safe(text)}</text>'


def _safe(text: str) -> str:
    """Text that no reader of SVG takes for anything else."""
    return html.escape("".join(c if c.isprintable() else "�" for c in text))


def _cut(name: str) -> str:
    return name if len(name) <= 28 else f"{name[:13]}…{name[-13:]}"


def _width(text: str, size: float, *, bold: bool = False) -> float:
    """Pixels that a text takes, on the wide side."""
    wide = sum(
        1.0 if ord(c) > 0x2E7F else 0.9 if c in "mwMW@" else 0.35 if c in " .,:;'|il!()[]" else 0.62 for c in text
    )
    return wide * size * (1.06 if bold else 1.0)
