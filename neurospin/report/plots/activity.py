"""Spikes and membranes over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from neurospin.report.plots.base import COLOURS, STYLE, axes_of


@mpl.rc_context(STYLE)
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
    figure, ax = axes_of(axes, 6.4, 3.6)
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


@mpl.rc_context(STYLE)
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
    figure, ax = axes_of(axes, 6.4, 2.6)
    time = 1e3 * dt * (np.arange(len(voltages)) + 1)
    top = max(float(np.max(voltages, initial=0.0)), 0.0 if threshold is None else threshold)
    row = 0.09 * ((top - float(np.min(voltages, initial=0.0))) or 1.0)
    for neuron in range(voltages.shape[1]):
        colour = COLOURS[neuron % 8]
        ax.plot(time, voltages[:, neuron], color=colour, lw=1.2, label=names[neuron] if names else None)
        if spikes is not None and threshold is not None:  # a row of marks for each neuron
            fired = np.flatnonzero(spikes[:, neuron])
            ax.plot(time[fired], np.full(len(fired), top + (1 + neuron) * row), "|", color=colour, ms=6, mew=1.2)
    if threshold is not None:
        ax.axhline(threshold, color="0.4", lw=0.8, ls="--")
        ax.text(1.0, threshold, " threshold", transform=ax.get_yaxis_transform(), va="center", fontsize=7, color="0.4")
    ax.set_xlim(0, time[-1] + time[0])
    ax.set_xlabel("time (ms)")
    ax.set_ylabel("voltage (model units)")
    if names:
        ax.legend(fontsize=7, loc="lower left", bbox_to_anchor=(1.0, 0.0))
    ax.set_title(title)
    return figure, ax
