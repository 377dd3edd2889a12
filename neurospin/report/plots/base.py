"""What all figures share: colours, style, axes, bands, and how they are written."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from neurospin.errors import OutputError
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


def axes_of(axes: Axes | None, width: float, height: float) -> tuple[Figure, Axes]:
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


def save(figure: Figure, path: str | Path) -> None:
    """Write a figure as .svg, .png (200 dots per inch) or .pdf, by its suffix; whole or not at all.

    Raises:
        OutputError: the name ends in something else.
    """
    path = Path(path)
    if path.suffix not in (".svg", ".png", ".pdf"):
        raise OutputError(str(path), "a name that ends in .svg, .png or .pdf", path.suffix or "none", "rename it")
    if path.suffix == ".svg":
        write_text(path, svg(figure))
        return
    kind = path.suffix.removeprefix(".")
    with replacing(path) as temporary, temporary.open("wb") as file, mpl.rc_context(STYLE):
        figure.savefig(file, format=kind, dpi=200, metadata={"Software": None} if kind == "png" else None)


def spread(
    ax: Axes, x: np.ndarray, stack: np.ndarray, colour: str, label: str, *, marker: str = "o", of_mean: bool = False
) -> None:
    """A line of means over the first axis of `stack`, `(seeds, points)`, and a band around it.

    The band is ± one standard deviation, or, with `of_mean`, the 95 % interval of the mean.
    """
    mean = stack.mean(0)
    ax.plot(x, mean, f"{marker}-", ms=4, color=colour, label=label)
    if len(stack) > 1:
        from neurospin.continual.comparison import half_interval

        half = np.array([half_interval(column) for column in stack.T]) if of_mean else stack.std(0, ddof=1)
        ax.fill_between(x, mean - half, mean + half, color=colour, alpha=0.2, lw=0)


def time_marks(ax: Axes, first: float, last: float) -> None:
    """Lines at a minute, a day and a year on an axis of seconds, where they lie between first and last."""
    for word, length in (("a minute", 60.0), ("a day", 86_400.0), ("a year", 31_557_600.0)):
        if first < length < last:
            ax.axvline(length, color="0.86", lw=0.8, zorder=0)
            place = {"transform": ax.get_xaxis_transform(), "ha": "center", "va": "bottom"}
            ax.text(length, 1.0, word, fontsize=7, color="0.4", **place)
