"""A certificate as a figure: where spikes differ, the neuron that differs first, and what each cause is worth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from neurospin.report.plots.base import COLOURS, STYLE

if TYPE_CHECKING:
    from neurospin.certificate import Cause, Certificate, Trace

REFERENCE, TARGET = COLOURS[0], COLOURS[1]
LATENCY = "latency"
WHITE = {"facecolor": "white", "edgecolor": "none", "pad": 0.6}


def certificate(certificate: Certificate) -> tuple[Figure, list[Axes]]:
    """Three panels: differing spikes over time by node; voltages of the neuron that differs first; causes.

    A panel that has nothing to show is left out: without a difference there is no trace, and a target
    that declares no causes has no bars.

    Args:
        certificate: from `neurospin.certify`; one that compared something.

    Returns:
        The figure, and the axes of its panels, in that order.
    """
    causes = [cause for cause in certificate.causes if cause.name != LATENCY]
    with mpl.rc_context(STYLE):
        height = max(2.4 + (2.6 if certificate.trace else 0), 1.3 + 0.36 * (len(causes) + 1))
        figure = Figure(figsize=(7.2, height), layout="constrained")
        grid = figure.add_gridspec(2 if certificate.trace else 1, 2, width_ratios=(3, 2) if causes else (1, 1e-6))
        over_time(certificate, figure.add_subplot(grid[0, 0]))
        if certificate.trace:
            trace(certificate.trace, certificate.dt, figure.add_subplot(grid[1, 0]), certificate.target)
        if causes:
            by_cause(certificate, causes, figure.add_subplot(grid[:, 1]))
    return figure, figure.axes


def over_time(certificate: Certificate, ax: Axes) -> None:
    """Share of each node's neurons whose spikes differ, over time; a triangle at its first difference."""
    time = 1e3 * certificate.dt * (np.arange(certificate.steps) + 1)
    highest = 0.0
    for number, (name, node) in enumerate(certificate.nodes.items()):
        share = 100 * np.array(node.differing_by_step) * certificate.steps / node.entries
        highest = max(highest, float(share.max(initial=0)))
        colour = COLOURS[(number + 2) % 8]
        label = f"{name}: {node.differing:,} of {node.entries:,}".replace(",", "\u202f")
        ax.plot(time, share, drawstyle="steps-mid", color=colour, lw=1.2, label=label)
        if node.first_difference is not None:
            first = node.first_difference.time
            ax.plot(time[first], share[first], "v", color=colour, mec="white", ms=7, zorder=3, clip_on=False)
    ax.set_ylim(-0.03 * (highest or 1), 1.45 * (highest or 1))
    ax.set_xlim(0, time[-1] + time[0])
    ax.set_xlabel("time (ms)")
    ax.set_ylabel("neurons that differ (%)")
    told = "every spike equal"
    if not certificate.exact:
        entries = sum(node.entries for node in certificate.nodes.values())
        told = f"{100 * certificate.differing / entries:.2g} % of entries differ"
    if certificate.latency_steps:
        told += f", after {certificate.latency_steps} steps of latency"
    ax.set_title(f"{certificate.target}: {told}")
    if certificate.nodes:
        if not certificate.exact:
            ax.plot([], [], "v", color="0.4", mec="white", ms=6, label="first difference")
        ax.legend(fontsize=7, ncols=2, loc="upper left", borderaxespad=0)


def trace(trace: Trace, dt: float, ax: Axes, target: str) -> None:
    """Voltages before the reset of the neuron that differs first, on both sides, with its threshold."""
    steps = np.arange(len(trace.expected))
    time = 1e3 * dt * (steps + 1)
    ax.axhline(trace.threshold, color="0.4", lw=0.8, ls=(0, (4, 3)), label="threshold")
    sides: list[tuple[str, Sequence[float], list[int], str, float, str]] = [
        ("reference", trace.expected, trace.spikes_expected, REFERENCE, 2.4, "-"),
        (target, trace.got, trace.spikes_got, TARGET, 1.1, "-"),
    ]
    values = np.array([*trace.expected, *trace.got, trace.threshold])
    span = float(np.ptp(values)) or 1.0
    for row, (name, voltages, spikes, colour, width, style) in enumerate(sides):
        height = float(values.max()) + (0.2 - 0.1 * row) * span
        ax.plot(time[spikes], np.full(len(spikes), height), "|", color=colour, ms=6, mew=1.4)
        if voltages:
            ax.plot(time, voltages, style, color=colour, lw=width, label=name)
        else:
            ax.plot([], [], "|", color=colour, label=f"{name} (spikes only)")
    ax.axvspan(time[trace.time] - 0.5e3 * dt, time[trace.time] + 0.5e3 * dt, color="0.88", lw=0, zorder=0)
    ax.set_xlim(0, time[-1] + time[0])
    ax.set_ylim(float(values.min()) - 0.05 * span, float(values.max()) + 0.28 * span)
    neuron = ", ".join(map(str, trace.neuron))
    ax.set_title(f"first difference: {trace.node}[{neuron}], sample {trace.sample}, step {trace.time}")
    ax.set_xlabel("time (ms)")
    ax.set_ylabel("voltage before reset")
    ax.legend(fontsize=7, ncols=3, loc="upper left", bbox_to_anchor=(0, -0.28), borderaxespad=0)


def by_cause(certificate: Certificate, causes: Sequence[Cause], ax: Axes) -> None:
    """Two bars a cause: the reference with it alone, and the target without it; a line at the whole target."""
    spiking = bool(certificate.nodes)

    def size(deviation: object) -> float:
        return float(getattr(deviation, "differing" if spiking else "output_error"))

    whole = float(certificate.differing if spiking else certificate.output_error["max"])
    ordered = sorted(causes, key=lambda cause: -size(cause.alone))
    rows = [(cause.name, size(cause.alone), size(cause.without)) for cause in ordered]
    if certificate.unexplained is not None:
        rows.append(("none of them", size(certificate.unexplained), np.nan))
    places = np.arange(len(rows))
    largest = max([whole, *(value for _, *values in rows for value in values if np.isfinite(value))]) or 1.0
    for shift, column, colour, label in ((-0.19, 1, TARGET, "alone"), (0.19, 2, "0.72", "all others")):
        values = np.array([row[column] for row in rows], dtype=float)
        ax.barh(places + shift, np.nan_to_num(values), 0.34, color=colour, label=label)
        for place, value in zip(places, values, strict=True):
            if np.isfinite(value):
                text = f"{int(value):,}".replace(",", "\u202f") if spiking else f"{value:.2g}"
                ax.text(value + 0.015 * largest, place + shift, text, va="center", fontsize=7, color="0.25", bbox=WHITE)
    ax.axvline(whole, color="0.3", lw=0.8, ls=(0, (4, 3)), zorder=0)
    ax.text(whole, -0.72, "together", ha="center", fontsize=7, color="0.3")
    ax.set_yticks(places, [row[0] for row in rows])
    ax.tick_params(axis="y", length=0)
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.set_xlim(0, 1.22 * largest)
    ax.xaxis.set_major_locator(mpl.ticker.MaxNLocator(4, integer=spiking))  # type: ignore[attr-defined]
    ax.set_xlabel("spikes that differ" if spiking else "largest output error")
    ax.set_title("what costs how much", pad=20)
    ax.legend(
        fontsize=7, ncols=2, loc="upper left", bbox_to_anchor=(0, -0.1 if certificate.trace else -0.28), borderaxespad=0
    )
