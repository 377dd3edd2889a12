"""What a target changes, and what it costs."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

from neurospin.errors import InputError
from neurospin.report.plots.base import COLOURS, STYLE, axes_of


@mpl.rc_context(STYLE)
def agreement(
    differing: Mapping[str, float], accuracy: Mapping[str, tuple[float, float]], *, axes: Axes | None = None
) -> tuple[Figure, Axes]:
    """Accuracy before and after, by target, with the share of spikes that differ.

    Args:
        differing: entries that differ per spike of the reference, by target.
        accuracy: before and after, shares of 1, by target.
        axes: to draw on; a new figure otherwise.
    """
    figure, ax = axes_of(axes, 4.4, 0.7 + 0.45 * len(differing))
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


@mpl.rc_context(STYLE)
def pareto(
    energy: Mapping[str, tuple[float, float]], accuracy: Mapping[str, float], *, per: str = "sample", title: str = "",
    axes: Axes | None = None,
) -> tuple[Figure, Axes]:  # fmt: skip
    """Energy against accuracy, and the front of what nothing else beats in both.

    Energies are ranges; the front is drawn through their middles (of the logarithm), over those that no other one beats.

    Args:
        energy: joules, lowest and highest, by name.
        accuracy: shares of 1, by name.
        per: what the joules are for, for the axis.
        title: above the points.
        axes: to draw on; a new figure otherwise.
    """
    if set(energy) != set(accuracy) or not all(0 < low <= high for low, high in energy.values()):
        expected = "the same names, and 0 < lowest <= highest joules"
        raise InputError("plots.pareto", expected, f"{sorted(energy)} and {sorted(accuracy)}", "match them")
    figure, ax = axes_of(axes, 4.6, 3.2)
    middle = {name: float(np.sqrt(low * high)) for name, (low, high) in energy.items()}
    front = [
        name
        for name in sorted(energy, key=middle.__getitem__)
        if not any(
            (middle[o] <= middle[name] and accuracy[o] > accuracy[name])
            or (middle[o] < middle[name] and accuracy[o] >= accuracy[name])
            for o in energy
        )
    ]
    line = [[middle[n] for n in front], [100 * accuracy[n] for n in front]]
    ax.plot(*line, color="0.7", lw=1.5, zorder=1, label="front" if len(front) > 1 else None)
    for name, (low, high) in energy.items():
        colour = COLOURS[0] if name in front else "0.55"
        ax.plot([low, high], 2 * [100 * accuracy[name]], color=colour, lw=1.2)
        ax.plot(middle[name], 100 * accuracy[name], "o", color=colour, mec="white", ms=7, zorder=3)
        place = (middle[name], 100 * accuracy[name])
        ax.annotate(name, place, (6, -11), textcoords="offset points", ha="left", fontsize=8, color=colour)
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
    ax.xaxis.set_major_formatter(EngFormatter("J"))
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.margins(0.15, 0.2)
    ax.set_xlabel(f"energy per {per} (lines: lowest to highest)")
    ax.set_ylabel("accuracy (%)")
    if len(front) > 1:
        ax.legend(fontsize=8, loc="best")
    ax.set_title(title)
    return figure, ax
