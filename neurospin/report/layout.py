"""Where the boxes of a drawn graph stand and how the lines between them run: by Graphviz, or by layers of our own."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from neurospin.errors import MissingDependency, unknown_name

Point = tuple[float, float]
GAP_X, GAP_Y = 34.0, 46.0


@dataclass(frozen=True)
class Line:
    """An edge: cubic Bézier points from its source's border to its target's.

    Attributes:
        source: name of the box that it leaves.
        target: name of the box that it enters.
        back: whether it carries the previous step.
        points: start, then three points a piece.
    """

    source: str
    target: str
    back: bool
    points: tuple[Point, ...] = ()


@dataclass(frozen=True)
class Layout:
    """Centres of the boxes and the lines, in pixels, the origin at the top left."""

    centres: dict[str, Point]
    lines: list[Line]


def arranged(sizes: Mapping[str, Point], lines: Sequence[Line], engine: str | None) -> Layout:
    """Arrange boxes from top to bottom.

    Args:
        sizes: width and height of every box, in order of evaluation.
        lines: without points.
        engine: `"dot"`, `"layers"`, or `None`: Graphviz where it is installed and succeeds.

    Raises:
        MissingDependency: `"dot"` is asked for and not installed.
        UnknownName: another engine.
    """
    if engine not in (None, "dot", "layers"):
        raise unknown_name("engine", engine, ("dot", "layers"))
    found = shutil.which("dot") if engine != "layers" else None
    if engine == "dot" and found is None:
        raise MissingDependency("engine", "Graphviz", "no program dot", "apt-get install graphviz, or engine='layers'")
    made = _by_dot(found, sizes, lines) if found else None
    return made or _by_layers(sizes, lines)


def _by_dot(program: str, sizes: Mapping[str, Point], lines: Sequence[Line]) -> Layout | None:
    """Graphviz's places. It is told numbers, never names."""
    key = {name: f"n{i}" for i, name in enumerate(sizes)}
    name = {number: name for name, number in key.items()}
    text = [f'digraph {{ nodesep={GAP_X / 72} ranksep={GAP_Y / 72} node [shape=box fixedsize=true label=""]']
    text += [f"{key[n]} [width={w / 72:.4f} height={h / 72:.4f}]" for n, (w, h) in sizes.items()]
    told: dict[tuple[str, str], list[Line]] = {}
    for line in lines:  # a back edge is told the other way round, so that the ranks follow the evaluation
        a, b = (line.target, line.source) if line.back else (line.source, line.target)
        told.setdefault((key[a], key[b]), []).append(line)
        text.append(f"{key[a]} -> {key[b]} [dir=none]")
    try:
        done = subprocess.run(
            [program, "-Tplain"], input="\n".join([*text, "}"]), capture_output=True, text=True, timeout=30, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    centres: dict[str, Point] = {}
    routed: list[Line] = []
    height = 0.0
    for words in (row.split() for row in done.stdout.splitlines()):
        if words[:1] == ["graph"]:
            height = float(words[3])
        elif words[:1] == ["node"]:
            centres[name[words[1]]] = (float(words[2]) * 72, (height - float(words[3])) * 72)
        elif words[:1] == ["edge"]:
            numbers = [float(word) for word in words[4 : 4 + 2 * int(words[3])]]
            points = [(x * 72, (height - y) * 72) for x, y in zip(numbers[::2], numbers[1::2], strict=True)]
            line = told[words[1], words[2]].pop(0)
            routed.append(replace(line, points=tuple(points[::-1] if line.back else points)))
    return Layout(centres, routed)


def _by_layers(sizes: Mapping[str, Point], lines: Sequence[Line]) -> Layout:
    """Every box one layer below the lowest that feeds it; within a layer, below the mean of what feeds it."""
    before: dict[str, list[str]] = {name: [] for name in sizes}
    for line in lines:
        if not line.back:
            before[line.target].append(line.source)
    layer: dict[str, int] = {}
    for name in sizes:  # in order of evaluation, so that what feeds a box is known
        layer[name] = 1 + max((layer[source] for source in before[name] if source in layer), default=-1)
    rows: list[list[str]] = [[] for _ in range(1 + max(layer.values(), default=0))]
    for name, row in layer.items():
        rows[row].append(name)
    # what feeds a loop stands at the right, where the loop's line runs; what skips layers at the left
    sides = {line.source: -1 for line in lines if not line.back and layer[line.target] > layer[line.source] + 1}
    sides |= {line.source: 1 for line in lines if line.back}
    centres: dict[str, Point] = {}
    top = 0.0
    for row in rows:
        means = {n: _mean([centres[s][0] for s in before[n] if s in centres]) for n in row}
        row.sort(key=lambda n: (sides.get(n, 0), means[n]))
        width = sum(sizes[n][0] for n in row) + GAP_X * (len(row) - 1)
        middle = _mean(list(means.values()))
        left, height = middle - width / 2, max(sizes[n][1] for n in row)
        for name in row:
            centres[name] = (left + sizes[name][0] / 2, top + height / 2)
            left += sizes[name][0] + GAP_X
        top += height + GAP_Y
    return Layout(centres, _routed(sizes, lines, layer, centres))


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _routed(
    sizes: Mapping[str, Point], lines: Sequence[Line], layer: Mapping[str, int], centres: Mapping[str, Point]
) -> list[Line]:
    """Straight down to the next layer; around the outside for a skip (left) and for a loop (right)."""
    right = max((centres[n][0] + sizes[n][0] / 2 for n in sizes), default=0.0)
    left = min((centres[n][0] - sizes[n][0] / 2 for n in sizes), default=0.0)
    routed, lanes = [], {True: 0, False: 0}
    for line in lines:
        (ax, ay), (bx, by) = centres[line.source], centres[line.target]
        (aw, ah), (bw, bh) = sizes[line.source], sizes[line.target]
        if not line.back and layer[line.target] == layer[line.source] + 1:
            start, end, bend = (ax, ay + ah / 2), (bx, by - bh / 2), GAP_Y / 2
            points = (start, (ax, start[1] + bend), (bx, end[1] - bend), end)
        else:
            lanes[line.back] += 1
            far = 24.0 + 16.0 * lanes[line.back]
            side = 1 if line.back else -1
            lane = right + far if line.back else left - far
            shift = 0.0 if line.source != line.target else bh / 4
            start, end = (ax + side * aw / 2, ay + shift), (bx + side * bw / 2, by - shift)
            middle = (lane, (start[1] + end[1]) / 2)
            points = (start, (lane, start[1]), (lane, start[1]), middle, (lane, end[1]), (lane, end[1]), end)
        routed.append(replace(line, points=points))
    return routed
