"""Figures: one function each, arrays in, `(figure, axes)` out.

Colours can be told apart by colour-blind readers (Okabe & Ito; cividis); every axis has its unit. No
global state of matplotlib is used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from neurospin.files import replacing, write_text

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
STYLE: Any = {
    "font.size": 9,
    "font.family": "sans-serif",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "neurospin",
}


def _axes(axes: Axes | None, width: float, height: float) -> tuple[Figure, Axes]:
    """The axes to draw on, or those of a new figure."""
    if axes is not None:
        figure = axes.figure
        assert isinstance(figure, Figure)
        return figure, axes
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        return figure, figure.add_subplot()


def svg(figure: Figure) -> str:
    """The figure as SVG text, the same every time."""
    text = StringIO()
    with mpl.rc_context(STYLE):
        FigureCanvasSVG(figure).print_svg(text, metadata={"Date": None, "Creator": None})
    content = text.getvalue()
    return content[content.index("<svg") :]


def save(figure: Figure, path: Path) -> None:
    """Write a figure as .svg, .png (200 dots per inch) or .pdf, by its suffix; whole or not at all."""
    if path.suffix == ".svg":
        write_text(path, svg(figure))
        return
    kind = path.suffix.removeprefix(".")
    with replacing(path) as temporary, temporary.open("wb") as file, mpl.rc_context(STYLE):
        figure.savefig(file, format=kind, dpi=200, metadata={"Software": None} if kind == "png" else None)


def accuracy_matrix(
    matrix: np.ndarray, tasks: Sequence[str], *, title: str = "", axes: Axes | None = None
) -> tuple[Figure, Axes]:
    """Accuracy on every task (columns) after every task (rows), in per cent.

    Args:
        matrix: `(tasks, tasks)`, shares of 1.
        tasks: their names.
        title: above the matrix.
        axes: to draw on; a new figure otherwise.
    """
    figure, ax = _axes(axes, 3.4, 3.0)
    values = 100 * np.asarray(matrix, dtype=float)
    ax.imshow(values, cmap="cividis", vmin=0, vmax=100)
    few = len(values) <= 12
    for (i, j), value in np.ndenumerate(values):
        if few and np.isfinite(value):
            colour = "black" if value > 55 else "white"
            ax.text(j, i, f"{value:.0f}", ha="center", va="center", color=colour, fontsize=9)
    numbers = [name.removeprefix("task ") for name in tasks]
    shown = range(0, len(tasks), 1 if few else -(-len(tasks) // 10))
    ax.set_xticks(shown, [numbers[i] for i in shown])
    ax.set_yticks(shown, [numbers[i] for i in shown])
    ax.set_xlabel("tested on task")
    ax.set_ylabel("after learning task")
    ax.spines[:].set_visible(False)
    ax.set_title(title)
    return figure, ax


def raster(
    layers: Mapping[str, np.ndarray], dt: float, *, title: str = "", axes: Axes | None = None
) -> tuple[Figure, Axes]:
    """Spikes of several layers, one above the other.

    Args:
        layers: spikes `(time, neurons)` by layer, the first at the bottom.
        dt: step in seconds.
        title: above the raster.
        axes: to draw on; a new figure otherwise.
    """
    figure, ax = _axes(axes, 6.4, 3.6)
    base, places = 0, []
    for number, (_, spikes) in enumerate(layers.items()):
        steps, neurons = np.nonzero(np.asarray(spikes).reshape(len(spikes), -1))
        count = int(np.prod(np.shape(spikes)[1:]))
        ax.scatter(1e3 * dt * (steps + 1), base + neurons, s=2.2, marker="s", linewidths=0, color=COLOURS[number % 8])
        places.append(base + count / 2)
        base += count + max(4, count // 16)
    ax.set_yticks(places, [f"{name}\n({int(np.prod(np.shape(s)[1:]))})" for name, s in layers.items()])
    ax.tick_params(axis="y", length=0)
    steps = max((len(s) for s in layers.values()), default=1)
    ax.set_xlim(0, 1e3 * dt * (steps + 1))
    ax.set_ylim(-4, base)
    ax.set_xlabel("time (ms)")
    ax.set_title(title)
    return figure, ax


def traces(
    voltages: np.ndarray, dt: float, *, threshold: float | None = None, spikes: np.ndarray | None = None,
    names: Sequence[str] = (), title: str = "", axes: Axes | None = None,
) -> tuple[Figure, Axes]:  # fmt: skip
    """Voltages of a few neurons over time.

    Args:
        voltages: `(time, neurons)`, model units.
        dt: step in seconds.
        threshold: drawn as a dashed line.
        spikes: `(time, neurons)`; each spike is marked above the threshold.
        names: of the neurons.
        title: above the traces.
        axes: to draw on; a new figure otherwise.
    """
    figure, ax = _axes(axes, 6.4, 2.6)
    time = 1e3 * dt * (np.arange(len(voltages)) + 1)
    for neuron in range(voltages.shape[1]):
        colour = COLOURS[neuron % 8]
        ax.plot(time, voltages[:, neuron], color=colour, lw=1.2, label=names[neuron] if names else None)
        if spikes is not None and threshold is not None:
            fired = np.flatnonzero(spikes[:, neuron])
            ax.plot(time[fired], np.full(len(fired), 1.12 * threshold), "|", color=colour, ms=8)
    if threshold is not None:
        ax.axhline(threshold, color="0.4", lw=0.8, ls="--")
        ax.text(time[-1], threshold, " threshold", va="center", fontsize=8, color="0.4")
    ax.set_xlabel("time (ms)")
    ax.set_ylabel("voltage (model units)")
    if names:
        ax.legend(ncols=2, fontsize=7, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    ax.set_title(title)
    return figure, ax


def hidden_values(
    values: Sequence[np.ndarray], tasks: Sequence[str], *, title: str = "", axes: Axes | None = None
) -> tuple[Figure, Axes]:
    """Distribution of the hidden values after every task, from light (first) to dark (last).

    Args:
        values: hidden values of any shape, one array per task.
        tasks: their names.
        title: above the histograms.
        axes: to draw on; a new figure otherwise.
    """
    figure, ax = _axes(axes, 3.4, 2.4)
    limit = max(float(np.abs(v).max(initial=0.0)) for v in values) or 1.0
    edges = np.linspace(-limit, limit, 61)
    shades = mpl.colormaps["cividis_r"](np.linspace(0.15, 1.0, len(values)))
    for shade, array, task in zip(shades, values, tasks, strict=True):
        density, _ = np.histogram(np.ravel(array), edges, density=True)
        ends = task in (tasks[0], tasks[-1])
        ax.stairs(density, edges, color=shade, lw=1.3, label=f"after {task}" if ends else None)
    ax.set_xlabel("hidden value h (sign acts as the weight)")
    ax.set_ylabel("density")
    ax.set_yscale("log")
    ax.legend(fontsize=7, loc="upper right")
    ax.set_title(title, fontsize=8)
    return figure, ax


def forgetting_curves(
    matrices: Mapping[str, np.ndarray], *, title: str = "", axes: Axes | None = None
) -> tuple[Figure, Axes]:
    """Mean accuracy on the tasks seen so far, after every task, in per cent.

    Args:
        matrices: by learner, `(tasks, tasks)`, or `(seeds, tasks, tasks)`: then the line is the mean and
            the band is ± one standard deviation over seeds.
        title: above the curves.
        axes: to draw on; a new figure otherwise.
    """
    figure, ax = _axes(axes, 4.4, 2.8)
    for number, (name, matrix) in enumerate(matrices.items()):
        stack = 100 * np.atleast_3d(np.asarray(matrix, dtype=float).reshape(-1, *np.shape(matrix)[-2:]))
        seen = np.array([[m[i, : i + 1].mean() for i in range(len(m))] for m in stack])
        tasks = np.arange(1, seen.shape[1] + 1)
        mean, spread = seen.mean(0), seen.std(0, ddof=1) if len(seen) > 1 else 0 * seen[0]
        ax.plot(tasks, mean, "o-", ms=4, color=COLOURS[number % 8], label=name)
        ax.fill_between(tasks, mean - spread, mean + spread, color=COLOURS[number % 8], alpha=0.2, lw=0)
        ax.set_xticks(tasks[:: max(1, len(tasks) // 10)])
    ax.set_ylim(0, 102)
    ax.set_xlabel("tasks learned")
    ax.set_ylabel("accuracy, tasks so far (%)")
    ax.legend(fontsize=8, loc="lower left")
    ax.set_title(title)
    return figure, ax


def learning_curves(
    losses: Mapping[str, Sequence[float]], epochs: int, *, title: str = "", axes: Axes | None = None
) -> tuple[Figure, Axes]:
    """Training loss over epochs, with the borders of the tasks.

    Args:
        losses: of every epoch in order, by learner.
        epochs: per task.
        title: above the curves.
        axes: to draw on; a new figure otherwise.
    """
    figure, ax = _axes(axes, 6.4, 2.4)
    longest = 0
    for number, (name, loss) in enumerate(losses.items()):
        ax.plot(np.arange(1, len(loss) + 1), loss, color=COLOURS[number % 8], lw=1.2, label=name)
        longest = max(longest, len(loss))
    for border in range(epochs, longest, epochs):
        ax.axvline(border + 0.5, color="0.8", lw=0.8, zorder=0)
    ax.set_xlabel("epoch (lines: a new task begins)")
    ax.set_ylabel("cross-entropy (nats)")
    ax.legend(fontsize=8)
    ax.set_title(title)
    return figure, ax


def agreement(
    differing: Mapping[str, float], accuracy: Mapping[str, tuple[float, float]], *, axes: Axes | None = None
) -> tuple[Figure, Axes]:
    """Accuracy before and after, by target, with the share of spikes that differ.

    Args:
        differing: entries that differ per spike of the reference, by target.
        accuracy: before and after, shares of 1, by target.
        axes: to draw on; a new figure otherwise.
    """
    figure, ax = _axes(axes, 4.4, 0.7 + 0.45 * len(differing))
    names = list(differing)
    for row, name in enumerate(names):
        before, after = (100 * a for a in accuracy[name])
        ax.plot([before, after], [row, row], color="0.7", lw=2, zorder=1)
        ax.plot(before, row, "o", mfc="white", mec=COLOURS[0], ms=7, label="network" if row == 0 else None)
        ax.plot(after, row, "o", color=COLOURS[1], ms=5, label="target" if row == 0 else None)
        told = "every spike equal" if differing[name] == 0 else f"{100 * differing[name]:.2g} % of spikes differ"
        ax.text(102, row, told, va="center", fontsize=8)
    ax.set_yticks(range(len(names)), names)
    ax.invert_yaxis()
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.set_xlim(0, 100)
    ax.set_xlabel("accuracy on all tasks (%)")
    ax.legend(fontsize=8, ncols=2, loc="lower left", bbox_to_anchor=(0, 1.0))
    return figure, ax
