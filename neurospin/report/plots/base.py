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


def spread(ax: Axes, x: np.ndarray, stack: np.ndarray, colour: str, label: str, *, marker: str = "o") -> None:
    """A line of means over the first axis of `stack`, `(seeds, points)`, and a band of ± one standard deviation."""
    mean = stack.mean(0)
    ax.plot(x, mean, f"{marker}-", ms=4, color=colour, label=label)
    if len(stack) > 1:
        deviation = stack.std(0, ddof=1)
        ax.fill_between(x, mean - deviation, mean + deviation, color=colour, alpha=0.2, lw=0)
