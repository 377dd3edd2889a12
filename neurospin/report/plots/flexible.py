"""Figures of a study of flexible dimensionality: measures over learning, over switches, and what was kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from neurospin.errors import InputError
from neurospin.report.plots.base import COLOURS, STYLE, spread

Lines = Mapping[str, tuple[np.ndarray, np.ndarray]]
"""By name: where the points lie `(points,)`, and values `(seeds, points)`."""


@mpl.rc_context(STYLE)
def over_learning(
    panels: Mapping[str, Mapping[str, Lines]], *, unit: str = "epochs", switches: Sequence[float] = (),
    names: Sequence[str] = (), chance: Mapping[str, float] | None = None,
) -> tuple[Figure, np.ndarray]:  # fmt: skip
    """Measures over learning: a row for each measure, a column for each form of the learner; means ± one standard deviation.

    Args:
        panels: by measure, by column, the lines.
        unit: of the horizontal axis.
        switches: where a new task begins, as vertical lines.
        names: of the tasks, written above the first row; one more than switches.
        chance: by measure, a level that is drawn dashed.

    Returns:
        The figure and its axes, `(rows, columns)`.
    """
    if not panels or not all(panels.values()):
        raise InputError("plots.over_learning", "at least one measure and column", "none", "give panels")
    rows, columns = len(panels), len(next(iter(panels.values())))
    figure = Figure(figsize=((5.2 if switches else 3.4) * columns, 1.9 * rows + 0.6), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey="row")
    for row, (measure, across) in enumerate(panels.items()):
        for column, (title, lines) in enumerate(across.items()):
            ax: Axes = axes[row, column]
            for number, (name, (at, stack)) in enumerate(lines.items()):
                spread(ax, at, stack, COLOURS[number % 8], name, marker="")
            for place in switches:
                ax.axvline(place, color="0.75", lw=0.8, zorder=0)
            if chance and measure in chance:
                ax.axhline(chance[measure], color="0.5", lw=0.8, ls=(0, (4, 3)), zorder=0)
            if row == 0:
                ax.set_title(title, pad=16 if names else 6)
                _named(ax, switches, names, lines)
            if column == 0:
                ax.set_ylabel(measure)
            if row == rows - 1:
                ax.set_xlabel(unit)
    axes[0, 0].xaxis.set_major_locator(MaxNLocator(integer=True))
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), fontsize=8)
    return figure, axes


def _named(ax: Axes, switches: Sequence[float], names: Sequence[str], lines: Lines) -> None:
    """Names of the tasks in the middle of each, above the axes."""
    if not names:
        return
    ends = [min(at[0] for at, _ in lines.values()), *switches, max(at[-1] for at, _ in lines.values())]
    for name, low, high in zip(names, ends, ends[1:], strict=False):
        ax.text((low + high) / 2, 1.02, name, transform=ax.get_xaxis_transform(), ha="center", fontsize=8, color="0.35")


@mpl.rc_context(STYLE)
def changes(effects: Mapping[str, Sequence[tuple[str, float, float, float]]], *, label: str) -> tuple[Figure, Axes]:
    """Differences with their intervals, one under the other, about a line at 0.

    Args:
        effects: by group (one colour each), names with difference, low and high end of the interval.
        label: of the horizontal axis.
    """
    number = sum(map(len, effects.values()))
    figure = Figure(figsize=(4.8, 0.32 * number + 0.9), layout="constrained")
    ax = figure.subplots()
    place, ticks = 0, []
    for group, (title, found) in enumerate(effects.items()):
        for name, middle, low, high in found:
            ax.plot([low, high], [place, place], color=COLOURS[group % 8], lw=1.6)
            ax.plot(middle, place, "o", ms=5, color=COLOURS[group % 8])
            ticks.append(f"{title}: {name}")
            place += 1
    ax.axvline(0, color="0.3", lw=0.8)
    ax.set_yticks(range(place), ticks)
    ax.invert_yaxis()
    ax.set_xlabel(label)
    return figure, ax
