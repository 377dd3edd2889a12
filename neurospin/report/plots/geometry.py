"""Representations: dissimilarity matrices beside each other with their likeness, and dimension while learning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.spatial.distance import squareform

from neurospin.errors import InputError
from neurospin.report.plots.base import COLOURS, STYLE, axes_of, spread

if TYPE_CHECKING:
    from neurospin.twins.geometry import RSA


@mpl.rc_context(STYLE)
def rdms(matrices: Mapping[str, np.ndarray], likeness: Mapping[str, RSA]) -> tuple[Figure, list[Axes]]:
    """Dissimilarity matrices in a row, and how alike each is to the subjects, under the noise ceiling.

    Every matrix has its own range, from its least to its greatest dissimilarity, so that order and not size is
    compared, as rank correlations do.

    Args:
        matrices: dissimilarities `(pairs,)` by name, in the order of `neurospin.twins.geometry.rdm`.
        likeness: of models to the subjects, from `neurospin.twins.geometry.rsa`; bars with 95 % intervals, and the
            ceiling of the first that has one.

    Returns:
        The figure, and its axes: one a matrix, then the bars.
    """
    if not matrices:
        raise InputError("plots.rdms", "at least one matrix", "none", "give dissimilarities by name")
    figure = Figure(figsize=(1.9 * len(matrices) + 2.3, 2.5), layout="constrained")
    shares = [*[1.0] * len(matrices), 1.15]
    *squares, bars = figure.subplots(1, len(matrices) + 1, width_ratios=shares)
    for ax, (name, pairs) in zip(squares, matrices.items(), strict=True):
        square = squareform(np.asarray(pairs, dtype=float))
        ax.imshow(square, cmap="cividis", interpolation="nearest")
        ax.set_title(name)
        ax.set_xticks([])
        ax.set_yticks([])
        ax.set_xlabel(f"{len(square)} conditions")
        ax.spines[:].set_visible(False)
    ceiling = next((found.ceiling for found in likeness.values() if found.ceiling), None)
    if ceiling:
        bars.axhspan(*ceiling, color="0.85", lw=0)
        bars.text(len(likeness) - 0.5, ceiling[1], "noise ceiling", ha="right", va="bottom", fontsize=7, color="0.35")
    for place, found in enumerate(likeness.values()):
        bars.bar(place, found.mean, 0.6, color=COLOURS[place % 8])
        bars.plot([place, place], [found.low, found.high], color="black", lw=1.2)
    bars.axhline(0, color="0.3", lw=0.8)
    bars.set_xticks(range(len(likeness)), list(likeness), rotation=20, ha="right")
    bars.set_xlim(-0.6, len(likeness) - 0.4)
    bars.set_ylabel("likeness (correlation)")
    bars.set_title("to the subjects")
    return figure, [*squares, bars]


@mpl.rc_context(STYLE)
def dimension(
    values: Mapping[str, np.ndarray], at: Sequence[float] | None = None, *, unit: str = "tasks learned",
    units: int | None = None, title: str = "", axes: Axes | None = None,
) -> tuple[Figure, Axes]:  # fmt: skip
    """Dimension of a representation while it is learned, for example of `neurospin.twins.geometry.participation_ratio`.

    Args:
        values: by layer or learner, `(points,)`, or `(seeds, points)`: then a line of means and a band of ± one
            standard deviation.
        at: where the points lie; default 1, 2, …
        unit: of `at`, for the axis.
        units: number of units, the largest dimension there can be, as a dashed line.
        title: above the lines.
        axes: to draw on; a new figure otherwise.
    """
    figure, ax = axes_of(axes, 4.4, 2.8)
    for number, (name, array) in enumerate(values.items()):
        stack = np.atleast_2d(np.asarray(array, dtype=float))
        spread(ax, np.arange(1, stack.shape[1] + 1) if at is None else np.asarray(at), stack, COLOURS[number % 8], name)
    if units is not None:
        ax.axhline(units, color="0.5", lw=0.8, ls=(0, (4, 3)))
        ax.text(
            0.01, units, "number of units", transform=ax.get_yaxis_transform(), va="bottom", fontsize=7, color="0.4"
        )
    ax.set_ylim(bottom=0)
    ax.set_xlabel(unit)
    ax.set_ylabel("dimension")
    ax.legend(fontsize=8)
    ax.set_title(title)
    return figure, ax
