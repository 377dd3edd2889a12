"""What was learned, kept and forgotten, and what synapses hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from neurospin.report.plots.base import COLOURS, STYLE, axes_of, spread


@mpl.rc_context(STYLE)
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
    figure, ax = axes_of(axes, 3.4, 3.0)
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


@mpl.rc_context(STYLE)
def forgetting_curves(
    matrices: Mapping[str, np.ndarray], *, title: str = "", axes: Axes | None = None
) -> tuple[Figure, Axes]:
    """Mean accuracy on the tasks seen so far, after every task, in per cent.

    Args:
        matrices: by learner, `(tasks, tasks)`, or `(seeds, tasks, tasks)`: then the line is the mean and
            the band its 95 % interval (Student's t).
        title: above the curves.
        axes: to draw on; a new figure otherwise.
    """
    figure, ax = axes_of(axes, 4.4, 2.8)
    for number, (name, matrix) in enumerate(matrices.items()):
        stack = 100 * np.atleast_3d(np.asarray(matrix, dtype=float).reshape(-1, *np.shape(matrix)[-2:]))
        seen = np.array([[m[i, : i + 1].mean() for i in range(len(m))] for m in stack])
        tasks = np.arange(1, seen.shape[1] + 1)
        label = name if len(seen) == 1 else f"{name} ({len(seen)} seeds, 95 %)"
        spread(ax, tasks, seen, COLOURS[number % 8], label, of_mean=True)
        ax.set_xticks(tasks[:: max(1, len(tasks) // 10)])
    ax.set_ylim(0, 102)
    ax.set_xlabel("tasks learned")
    ax.set_ylabel("accuracy, tasks so far (%)")
    ax.legend(fontsize=8, loc="lower left")
    ax.set_title(title)
    return figure, ax


@mpl.rc_context(STYLE)
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
    figure, ax = axes_of(axes, 6.4, 2.4)
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


@mpl.rc_context(STYLE)
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
    figure, ax = axes_of(axes, 3.4, 2.4)
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


@mpl.rc_context(STYLE)
def synapses(
    values: Sequence[np.ndarray], tasks: Sequence[str], *, label: str = "hidden value", title: str = "",
    axes: Axes | None = None,
) -> tuple[Figure, Axes]:  # fmt: skip
    """How stored values spread over tasks: their median, the middle half and the middle nine tenths after every task.

    The share of synapses whose sign changed in a task, and with it the weight of a binary synapse, stands above it.

    Args:
        values: weights or hidden values of any one shape, one array per task.
        tasks: their names.
        label: what the values are, for the axis.
        title: above the bands.
        axes: to draw on; a new figure otherwise.
    """
    figure, ax = axes_of(axes, 4.4, 2.8)
    stack = np.stack([np.ravel(np.asarray(v, dtype=float)) for v in values])
    places = np.arange(1, len(stack) + 1)
    low, quarter, middle, three, high = np.quantile(stack, [0.05, 0.25, 0.5, 0.75, 0.95], axis=1)
    ax.fill_between(places, low, high, color=COLOURS[5], alpha=0.35, lw=0, label="middle 90 %")
    ax.fill_between(places, quarter, three, color=COLOURS[0], alpha=0.45, lw=0, label="middle 50 %")
    ax.plot(places, middle, "o-", ms=4, color=COLOURS[6], lw=1.2, label="median")
    for place, flipped in zip(places[1:], (np.sign(stack[1:]) != np.sign(stack[:-1])).mean(1), strict=True):
        told = f"{100 * flipped:.2g} %"
        ax.text(
            place, 1.0, told, transform=ax.get_xaxis_transform(), ha="center", va="bottom", fontsize=7, color="0.35"
        )
    ax.text(0.0, 1.0, "signs changed:", transform=ax.transAxes, va="bottom", fontsize=7, color="0.35")
    ax.set_xticks(places, list(tasks))
    ax.set_xlabel("after learning")
    ax.set_ylabel(label)
    ax.legend(fontsize=7, loc="upper left", ncols=3)
    ax.margins(y=0.25)
    ax.set_title(title, pad=14)
    return figure, ax


@mpl.rc_context(STYLE)
def category_curves(
    people: Mapping[str, np.ndarray], models: Mapping[str, Mapping[str, np.ndarray]], *, unit: str = "block",
    chance: float = 0.5,
) -> tuple[Figure, list[Axes]]:  # fmt: skip
    """Learning curves of people and models by type of category, a panel each, on one scale.

    Args:
        people: share of errors `(blocks,)` by type, for example `neurospin.data.shj.shj_curves()`.
        models: by name, share of errors `(blocks,)` by type.
        unit: of the horizontal axis.
        chance: share of errors of who guesses, as a dashed line.

    Returns:
        The figure, and its axes: people first.
    """
    panels = {"people": people, **models}
    figure = Figure(figsize=(2.3 * len(panels) + 0.7, 2.6), layout="constrained")
    axes = list(np.atleast_1d(figure.subplots(1, len(panels), sharey=True)))
    for ax, (name, curves) in zip(axes, panels.items(), strict=True):
        for number, (kind, errors) in enumerate(curves.items()):
            blocks = np.arange(1, len(errors) + 1)
            ax.plot(blocks, 100 * np.asarray(errors), "o-", ms=3, lw=1.2, color=COLOURS[number % 8], label=kind)
        ax.axhline(100 * chance, color="0.6", lw=0.8, ls=(0, (4, 3)))
        ax.set_xlabel(unit)
        ax.set_title(name)
    highest = max(float(np.max(errors)) for curves in panels.values() for errors in curves.values())
    axes[0].set_ylim(-1, 104 * max(highest, chance))
    axes[0].set_ylabel("errors (%)")
    axes[-1].legend(fontsize=7, title="type", title_fontsize=7, loc="upper right")
    return figure, axes
