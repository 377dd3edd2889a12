"""Runs side by side, in one table and one figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.table import Table

from neurospin.continual.comparison import Paired, half_interval
from neurospin.report.console import print_table
from neurospin.report.plots import COLOURS, STYLE

COLUMNS = ("all tasks (%)", "just learned (%)", "backward transfer (points)")
Values = Mapping[int, float]
Gain = Paired | float | None


def comparison_table(
    arms: Mapping[str, Sequence[Values]], gains: Mapping[str, Sequence[Gain]], confidence: float = 0.95
) -> None:
    """Mean ± standard deviation of every arm, then the paired gain of every other arm over the first.

    Args:
        arms: by label, one mapping from seed to value (a share of 1) per column of `COLUMNS`.
        gains: by label, one gain per column.
        confidence: of the intervals, as in `gains`.
    """
    table = Table(title="runs side by side, mean ± standard deviation over seeds")
    table.add_column("learner", overflow="fold")
    table.add_column("seeds", justify="right")
    for name in COLUMNS:
        table.add_column(name, justify="right")
    for label, metrics in arms.items():
        table.add_row(label, str(len(metrics[0])), *(_spread(list(values.values())) for values in metrics))
    print_table(table)
    if not gains:
        return
    first = next(iter(arms))
    many = f"; p not corrected for {len(gains)} comparisons" if len(gains) > 1 else ""
    table = Table(title=f"gain over {first}, seed by seed, with {100 * confidence:.0f} % interval (Student's t){many}")
    table.add_column("learner", overflow="fold")
    table.add_column("seeds", justify="right")
    for name in COLUMNS:
        table.add_column(name, justify="right")
    for label, found in gains.items():
        seeds = found[0].seeds if isinstance(found[0], Paired) else int(found[0] is not None)
        table.add_row(label, str(seeds), *map(_gain, found))
    print_table(table)


def _spread(values: Sequence[float]) -> str:
    text = f"{100 * float(np.mean(values)):.1f}"
    return f"{text} ± {100 * float(np.std(values, ddof=1)):.1f}" if len(values) > 1 else text


def _gain(found: Gain) -> str:
    if found is None:
        return "no seed in common"
    if not isinstance(found, Paired):
        return f"{100 * found:+.1f}"
    p = f"p = {found.p_value:.2g}" if found.p_value >= 1e-4 else "p < 1e-4"
    return f"{100 * found.difference:+.1f} [{100 * found.low:+.1f}, {100 * found.high:+.1f}] {p}"


def comparison_figure(
    arms: Mapping[str, Values], matrices: Mapping[str, Mapping[int, np.ndarray]], gains: Mapping[str, Gain]
) -> tuple[Figure, Sequence[Axes]]:
    """Accuracy on all tasks, seed by seed; the paired gain over the first arm; accuracy as tasks come.

    Args:
        arms: by label, accuracy (a share of 1) by seed.
        matrices: by label, accuracy matrix `(tasks, tasks)` by seed.
        gains: by label of every arm but the first, its paired gain.
    """
    with mpl.rc_context(STYLE):
        rows = max(2.6, 0.34 * len(arms) + 1.2)
        figure = Figure(figsize=(11, rows), layout="constrained")
        dots, forest, course = figure.subplots(1, 3, width_ratios=(1.25, 1, 1.2))
    labels, places = list(arms), -np.arange(len(arms))
    for seed in sorted({seed for values in arms.values() for seed in values}):
        line = [(100 * arms[n][seed], y) for n, y in zip(labels, places, strict=True) if seed in arms[n]]
        dots.plot(*zip(*line, strict=True), color="0.8", linewidth=0.7, zorder=1)
    for number, (label, y) in enumerate(zip(labels, places, strict=True)):
        values, colour = 100 * np.array(list(arms[label].values())), COLOURS[number % len(COLOURS)]
        dots.scatter(values, np.full(len(values), y), s=14, color=colour, alpha=0.6, linewidths=0, zorder=2)
        dots.errorbar(
            values.mean(), y, xerr=half_interval(values), color=colour, fmt="|", markersize=11, capsize=3, zorder=3
        )
    dots.set_yticks(places, labels)
    dots.set_xlabel("accuracy on all tasks at the end (%)")
    dots.set_title("dots: seeds; bars: mean and 95 % interval")
    for number, label in enumerate(labels[1:], 1):
        found = gains[label]
        middle = found.difference if isinstance(found, Paired) else found
        if middle is not None:
            half = 100 * (found.high - found.difference) if isinstance(found, Paired) else None
            forest.errorbar(
                100 * middle, places[number], xerr=half, color=COLOURS[number % len(COLOURS)], fmt="o", capsize=3
            )
    forest.axvline(0, color="0.6", linewidth=0.8)
    forest.set_ylim(dots.get_ylim())
    forest.set_yticks([])
    forest.set_xlabel("gain in accuracy (points)")
    forest.set_title(f"paired with {labels[0]}")
    for number, label in enumerate(labels):
        found = [100 * np.array([row[: i + 1].mean() for i, row in enumerate(m)]) for m in matrices[label].values()]
        lengths = {len(curve) for curve in found}
        if len(lengths) == 1:
            course.plot(range(1, 1 + lengths.pop()), np.mean(found, axis=0), color=COLOURS[number % len(COLOURS)])
    course.set_xlabel("tasks learned")
    course.xaxis.get_major_locator().set_params(integer=True)
    course.set_ylabel("accuracy on them (%)")
    course.set_title("mean over seeds")
    return figure, (dots, forest, course)
