"""How devices answer pulses, how many chips are good, how they age and wear. Plain arrays in volts, seconds and siemens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from neurospin.errors import InputError
from neurospin.report.plots.base import COLOURS, STYLE, axes_of, time_marks

Series = Sequence[float] | np.ndarray


def _lines(where: str, x: Series, lines: Mapping[str, Series]) -> dict[str, np.ndarray]:
    """Lines over x as `(repeats, points)`."""
    found = {name: np.atleast_2d(np.asarray(values, dtype=float)) for name, values in lines.items()}
    for name, values in found.items():
        if values.ndim != 2 or values.shape[1] != len(np.asarray(x)):
            expected = f"{len(np.asarray(x))} points a line"
            raise InputError(f"{where}: {name}", expected, str(values.shape), "give one value for each point")
    return found


@mpl.rc_context(STYLE)
def hysteresis(volts: Series, g: np.ndarray, *, title: str = "", axes: Axes | None = None) -> tuple[Figure, Axes]:
    """Conductance of devices over a sequence of write voltages, in its order; every device thin, their mean thick.

    Args:
        volts: of the pulses, one after the other, `(pulses,)`.
        g: after each pulse, `(devices, pulses)` or `(pulses,)`, siemens.
        title: above.
        axes: to draw on; a new figure otherwise.
    """
    v = np.asarray(volts, dtype=float)
    lines = 1e6 * _lines("plots.hysteresis", v, {"g": g})["g"]
    figure, ax = axes_of(axes, 3.8, 2.8)
    ax.plot(v, lines[:40].T, color=COLOURS[0], lw=0.6, alpha=0.25)
    ax.plot(v, lines.mean(0), color=COLOURS[1], lw=1.8, label=f"mean of {len(lines)}")
    ax.set_xlabel("write pulse (V)")
    ax.set_ylabel("conductance after it (µS)")
    ax.legend(fontsize=8)
    ax.set_title(title)
    return figure, ax


@mpl.rc_context(STYLE)
def pulse_response(g: Mapping[str, np.ndarray], *, title: str = "", axes: Axes | None = None) -> tuple[Figure, Axes]:
    """Conductance over the number of pulses: mean of devices, and the band between their 10 % and 90 % quantiles.

    Args:
        g: by what was applied, `(devices, pulses + 1)`, the first before any pulse, siemens.
        title: above.
        axes: to draw on; a new figure otherwise.
    """
    figure, ax = axes_of(axes, 3.8, 2.8)
    for number, (name, values) in enumerate(g.items()):
        lines = 1e6 * np.atleast_2d(np.asarray(values, dtype=float))
        count, colour = np.arange(lines.shape[1]), COLOURS[number % 8]
        ax.plot(count, lines.mean(0), "o-", ms=3, color=colour, label=name)
        if len(lines) > 1:
            ax.fill_between(count, *np.quantile(lines, (0.1, 0.9), axis=0), color=colour, alpha=0.2, lw=0)
    ax.set_xlabel("pulses")
    ax.set_ylabel("conductance (µS)")
    ax.legend(fontsize=8)
    ax.set_title(title)
    return figure, ax


@mpl.rc_context(STYLE)
def switching(
    volts: Series, law: Mapping[str, Series], *, counted: Mapping[str, Series] | None = None, title: str = "",
    axes: Axes | None = None,
) -> tuple[Figure, Axes]:  # fmt: skip
    """Switching probability over the voltage of a pulse, on a logarithmic scale; counted shares as dots.

    Args:
        volts: `(points,)`.
        law: probabilities by what distinguishes the lines, `(points,)` each.
        counted: shares of devices that switched, by the same names; zeros are left out.
        title: above.
        axes: to draw on; a new figure otherwise.
    """
    v, lines = np.asarray(volts, dtype=float), _lines("plots.switching", volts, law)
    dots = _lines("plots.switching", volts, counted or {})
    figure, ax = axes_of(axes, 3.8, 2.8)
    for number, (name, values) in enumerate(lines.items()):
        ax.plot(v, np.where(values[0] > 0, values[0], np.nan), color=COLOURS[number % 8], label=name)
        if name in dots:
            seen = dots[name][0] > 0
            ax.plot(v[seen], dots[name][0][seen], "o", ms=3.5, color=COLOURS[number % 8])
    ax.set_yscale("log")
    ax.set_ylim(1e-6, 1.5)
    ax.set_xlabel("write pulse (V)")
    ax.set_ylabel("switching probability")
    ax.legend(fontsize=8)
    ax.set_title(title)
    return figure, ax


@mpl.rc_context(STYLE)
def yields(
    accuracy: Mapping[str, Series], *, reference: float | None = None, title: str = "", axes: Axes | None = None
) -> tuple[Figure, Axes]:
    """Share of chips that reach an accuracy, over that accuracy.

    Args:
        accuracy: of every chip, by design, shares.
        reference: accuracy without devices; a line.
        title: above.
        axes: to draw on; a new figure otherwise.
    """
    figure, ax = axes_of(axes, 3.8, 2.8)
    lowest = 1.0
    for number, (name, values) in enumerate(accuracy.items()):
        chips = np.sort(np.asarray(values, dtype=float).ravel())
        if not len(chips):
            raise InputError(f"plots.yields: {name}", "at least one chip", "none", "run some")
        lowest = min(lowest, chips[0])
        ax.step(100 * np.r_[0, chips], 100 * np.r_[1, 1 - np.arange(len(chips)) / len(chips)], where="pre",
                color=COLOURS[number % 8], label=f"{name} ({len(chips)} chips)")  # fmt: skip
        ax.plot([100 * chips[-1]] * 2, [100 / len(chips), 0], color=COLOURS[number % 8])
    if reference is not None:
        ax.axvline(100 * reference, color="0.4", lw=0.8, ls=(0, (4, 3)), label="reference")
    ax.set_xlim(max(0.0, 100 * lowest - 5), 101)
    ax.set_ylim(0, 104)
    ax.set_xlabel("accuracy at least (%)")
    ax.set_ylabel("chips (%)")
    ax.legend(fontsize=8, loc="lower left")
    ax.set_title(title)
    return figure, ax


@mpl.rc_context(STYLE)
def ageing(
    points: Series, accuracy: Mapping[str, np.ndarray], *, unit: str = "s", reference: float | None = None,
    title: str = "", axes: Axes | None = None,
) -> tuple[Figure, Axes]:  # fmt: skip
    """Accuracy over the logarithm of time, or over temperature: every chip thin, their mean thick.

    Args:
        points: seconds (a first 0 is drawn a decade before the second) or kelvin, `(points,)`.
        accuracy: by design, `(points, chips)`, shares.
        unit: `"s"` or `"K"`.
        reference: accuracy without devices; a line.
        title: above.
        axes: to draw on; a new figure otherwise.
    """
    x = np.asarray(points, dtype=float)
    lines = _lines(
        "plots.ageing", x, {n: np.asarray(a, dtype=float).reshape(len(x), -1).T for n, a in accuracy.items()}
    )
    figure, ax = axes_of(axes, 4.4, 2.8)
    if unit == "s":
        x = np.where(x > 0, x, x[x > 0].min() / 10 if (x > 0).any() else 1.0)
        ax.set_xscale("log")
        time_marks(ax, x.min(), x.max())
    for number, (name, values) in enumerate(lines.items()):
        ax.plot(x, 100 * values.T, color=COLOURS[number % 8], lw=0.6, alpha=0.35)
        ax.plot(x, 100 * values.mean(0), "o-", ms=4, color=COLOURS[number % 8], label=name)
    if reference is not None:
        ax.axhline(100 * reference, color="0.4", lw=0.8, ls=(0, (4, 3)), label="reference")
    ax.set_ylim(0, 104)
    ax.set_xlabel("time since programming (s)" if unit == "s" else "temperature (K)")
    ax.set_ylabel("accuracy (%)")
    ax.legend(fontsize=8)
    ax.set_title(title, pad=12)
    return figure, ax


@mpl.rc_context(STYLE)
def wear(
    cycles: Mapping[str, np.ndarray], *, endurance: float | None = None, title: str = "", axes: Axes | None = None
) -> tuple[Figure, Axes]:
    """How many write cycles devices have taken: share of devices with at least so many.

    Args:
        cycles: of every device, by port or layer, any shape.
        endurance: rated cycles; a line.
        title: above.
        axes: to draw on; a new figure otherwise.
    """
    figure, ax = axes_of(axes, 3.8, 2.8)
    for number, (name, values) in enumerate(cycles.items()):
        sorted_ = np.sort(np.asarray(values, dtype=float).ravel())
        level, first = np.unique(sorted_, return_index=True)
        ax.step(np.maximum(level, 0.5), 1 - first / len(sorted_), where="pre", color=COLOURS[number % 8], label=name)
    if endurance is not None:
        ax.axvline(endurance, color="0.4", lw=0.8, ls=(0, (4, 3)), label="rated endurance")
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlabel("cycles at least")
    ax.set_ylabel("share of devices")
    ax.legend(fontsize=8)
    ax.set_title(title)
    return figure, ax
