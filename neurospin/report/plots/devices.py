"""Arrays of nanodevices: conductances, what wires take away, and ageing. Plain arrays in siemens and seconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from neurospin.errors import InputError
from neurospin.report.plots.base import COLOURS, STYLE, axes_of, spread, time_marks

TWO_SIGNS = LinearSegmentedColormap.from_list("blue to orange", ["#0072B2", "#f7f7f7", "#D55E00"])


def _map(array: np.ndarray, where: str, ax: Axes, **options: Any) -> AxesImage:
    values = np.asarray(array, dtype=float)
    if values.ndim != 2 or 0 in values.shape:
        raise InputError(where, "an array of shape (rows, columns)", str(values.shape), "give one tile")
    square = 0.2 < values.shape[0] / values.shape[1] < 5
    image = ax.imshow(values, aspect="equal" if square else "auto", **options)
    image.set_interpolation("nearest")
    ax.set_xlabel("column (output)")
    ax.set_ylabel("row (input)")
    return image


@mpl.rc_context(STYLE)
def conductances(
    g: np.ndarray, *, bounds: tuple[float, float] | None = None, title: str = "", axes: Axes | None = None
) -> tuple[Figure, Axes]:
    """Conductances of a tile, in microsiemens.

    Args:
        g: `(rows, columns)`, siemens.
        bounds: of the device, siemens: the ends of the scale. Default: the least and the greatest value.
        title: above the map.
        axes: to draw on; a new figure otherwise.
    """
    figure, ax = axes_of(axes, 3.6, 3.0)
    low, high = (None, None) if bounds is None else (1e6 * bounds[0], 1e6 * bounds[1])
    image = _map(1e6 * np.asarray(g, dtype=float), "plots.conductances", ax, cmap="cividis", vmin=low, vmax=high)
    figure.colorbar(image, ax=ax, label="conductance (µS)", shrink=0.85)
    ax.set_title(title)
    return figure, ax


@mpl.rc_context(STYLE)
def ir_drop(
    programmed: np.ndarray, effective: np.ndarray, *, title: str = "", axes: Axes | None = None
) -> tuple[Figure, Axes]:
    """What the resistance of wires takes from each device: `effective / programmed − 1`, in per cent.

    Devices that hold no conductance are left white. Where wires only take, the scale ends at 0; otherwise 0 is in the
    middle.

    Args:
        programmed: `(rows, columns)`, siemens.
        effective: the matrix that the wired array multiplies by, same shape, for example
            `hardware_targets.crossbar.wires.effective_conductance`.
        title: above the map.
        axes: to draw on; a new figure otherwise.
    """
    held, acts = np.asarray(programmed, dtype=float), np.asarray(effective, dtype=float)
    if held.shape != acts.shape:
        raise InputError("plots.ir_drop", "two arrays of one shape", f"{held.shape} and {acts.shape}", "match them")
    lost = np.full(held.shape, np.nan)
    np.divide(100 * (acts - held), held, out=lost, where=held != 0)
    figure, ax = axes_of(axes, 3.6, 3.0)
    low, high = (float(f(lost)) for f in (np.nanmin, np.nanmax)) if np.isfinite(lost).any() else (0.0, 0.0)
    if high <= 0:  # passive wires only take
        options: dict[str, Any] = {"cmap": "cividis", "vmin": min(low, -1e-12), "vmax": 0.0}
    else:
        options = {"cmap": TWO_SIGNS, "vmin": -max(high, -low), "vmax": max(high, -low)}
    image = _map(lost, "plots.ir_drop", ax, **options)
    figure.colorbar(image, ax=ax, label="change by wires (%)", shrink=0.85)
    ax.set_title(title or f"mean {np.nanmean(lost):+.2g} %, worst {low if -low > high else high:+.2g} %")
    return figure, ax


@mpl.rc_context(STYLE)
def drift(
    seconds: Sequence[float] | np.ndarray, g: Mapping[str, np.ndarray], *, title: str = "", axes: Axes | None = None
) -> tuple[Figure, Axes]:
    """Conductance over the logarithm of time: mean of devices, and a band of ± one standard deviation.

    Args:
        seconds: since programming, `(times,)`, above 0.
        g: by what was programmed, `(times,)` or `(devices, times)`, siemens.
        title: above the lines.
        axes: to draw on; a new figure otherwise.
    """
    time = np.asarray(seconds, dtype=float)
    if time.ndim != 1 or not (time > 0).all():
        raise InputError("plots.drift.seconds", "times above 0", str(time), "leave out the moment of programming")
    figure, ax = axes_of(axes, 4.4, 2.8)
    for number, (name, values) in enumerate(g.items()):
        spread(ax, time, 1e6 * np.atleast_2d(np.asarray(values, dtype=float)), COLOURS[number % 8], name)
    ax.set_xscale("log")
    time_marks(ax, time.min(), time.max())
    ax.set_ylim(bottom=0)
    ax.set_xlabel("time since programming (s)")
    ax.set_ylabel("conductance (µS)")
    ax.legend(fontsize=8)
    ax.set_title(title, pad=12)
    return figure, ax
