"""Spikes and membranes over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path

from neurospin.report.plots.base import COLOURS, STYLE, axes_of


@mpl.rc_context(STYLE)
def raster(
    layers: Mapping[str, np.ndarray], dt: float, *, against: Mapping[str, np.ndarray] | None = None,
    names: tuple[str, str] = ("network", "target"), title: str = "", axes: Axes | None = None,
) -> tuple[Figure, Axes]:  # fmt: skip
    """Spikes of several layers, one above the other.

    Compared with others, spikes that are in both are grey, and those that only one side has are in colour.

    Args:
        layers: spikes `(time, neurons)` by layer, the first at the bottom.
        dt: step in seconds.
        against: spikes of the other side, by layer, moved by its latency; layers that it lacks are drawn alone.
        names: of the two sides, for the legend.
        title: above the raster.
        axes: to draw on; a new figure otherwise.
    """
    figure, ax = axes_of(axes, 6.4, 3.6)
    base, places, steps = 0, [], 1
    told = {names[0]: COLOURS[0], names[1]: COLOURS[1], "both": "0.6"}
    found = dict.fromkeys(told, 0)
    for number, (layer, spikes) in enumerate(layers.items()):
        here = np.asarray(spikes).reshape(len(spikes), -1) != 0
        if against is None or layer not in against:
            _marks(ax, here, base, dt, COLOURS[number % 8] if against is None else "0.6")
        else:
            there = np.asarray(against[layer]).reshape(len(here), -1) != 0
            for name, chosen in zip(told, (here & ~there, there & ~here, here & there), strict=True):
                found[name] += int(chosen.sum())
                _marks(ax, chosen, base, dt, told[name])
        places.append(base + here.shape[1] / 2)
        base += here.shape[1] + max(4, here.shape[1] // 16)
        steps = max(steps, len(here))
    if against is not None:
        for name, count in found.items():
            label = f"{'both' if name == 'both' else 'only ' + name}: {count}"
            ax.scatter([], [], s=14, marker="s", color=told[name], label=label)
        ax.legend(fontsize=7, ncols=3, loc="lower right", bbox_to_anchor=(1.0, 1.0), borderaxespad=0.2)
    ax.set_yticks(places, [f"{name}\n({int(np.prod(np.shape(s)[1:]))})" for name, s in layers.items()])
    ax.tick_params(axis="y", length=0)
    ax.set_xlim(0, 1e3 * dt * (steps + 1))
    ax.set_ylim(-4, base)
    ax.set_xlabel("time (ms)")
    ax.set_title(title)
    return figure, ax


def _marks(ax: Axes, spikes: np.ndarray, base: int, dt: float, colour: str) -> None:
    """All spikes as one path of dots, which a browser draws many times faster than a mark for each."""
    steps, neurons = np.nonzero(spikes)
    ends = np.stack([1e3 * dt * (steps + 1), base + neurons], 1).repeat(2, 0).astype(float)
    ends[1::2, 0] += (
        1e-3 * 1e3 * dt * len(spikes)
    )  # square caps make a dot of nearly no length; of none, not everywhere
    path = Path(ends, np.tile([Path.MOVETO, Path.LINETO], len(steps)) if len(steps) else None)
    path.should_simplify = False
    ax.add_patch(PathPatch(path, fill=False, edgecolor=colour, lw=2.2, capstyle="projecting", snap=False))


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
