"""Many chips of one graph, one chip over years, and heat: accuracy against what varies.

Chips of one design run side by side: their samples are one batch of the graph's neurons, and each chip's arrays see
their own part of it. A point of a study is the accuracy of one chip on all samples.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import nir
import numpy as np
import torch
from torch import Tensor

from hardware_targets.crossbar.mapping import Layer
from hardware_targets.crossbar.target import Chip, Crossbar
from neurospin.errors import InputError, TargetError
from neurospin.graph.contract import check_input, resolve_dt
from neurospin.graph.repair import repaired
from neurospin.graph.simulate import simulate

TOGETHER = 2**24
"""Values of the input, chips × time × batch × inputs, that are run at a time."""


@dataclass(frozen=True)
class Study:
    """Accuracies of chips.

    Attributes:
        accuracy: `(points, chips)`, share of right decisions.
        points: what varies from row to row: seconds, or kelvin; one row and `nan` for a yield.
        unit: of the points, `"s"`, `"K"` or `""`.
        reference: accuracy of the graph by its definition.
        seeds: of the chips.
    """

    accuracy: np.ndarray
    points: np.ndarray
    unit: str
    reference: float
    seeds: tuple[int, ...]

    def reaching(self, accuracy: float) -> np.ndarray:
        """Share of chips with at least this accuracy, for every point: the yield."""
        return (self.accuracy >= accuracy).mean(1)


def monte_carlo(
    graph: nir.NIRGraph, spikes: np.ndarray, labels: np.ndarray, target: Crossbar, *,
    chips: int = 20, seed: int = 0, dt: float | None = None,
) -> Study:  # fmt: skip
    """Accuracy of chips that differ by their devices only; `Study.reaching` is the yield curve.

    Args:
        graph: a NIR graph with one input and one output.
        spikes: `(time, batch, *input)`.
        labels: class of each sample, `(batch,)`; the decision is the largest sum over time of the output.
        target: a crossbar.
        chips: how many, default 20; their seeds are `seed`, `seed + 1`, ….
        seed: of the first, default 0.
        dt: step in seconds; default, the one that the graph records.

    Raises:
        InputError: no chips, or labels that do not fit.
        TargetError: the graph does not fit the target.
    """
    bench = _Bench(graph, spikes, labels, target, chips, seed, dt)
    return bench.study([bench.accuracies()], np.array([np.nan]), "")


def ageing(
    graph: nir.NIRGraph, spikes: np.ndarray, labels: np.ndarray, target: Crossbar, seconds: Sequence[float], *,
    temperature: float = 300.0, chips: int = 5, seed: int = 0, dt: float | None = None,
) -> Study:  # fmt: skip
    """Accuracy after times without writing: the same chips grow older from point to point.

    Args:
        graph: as `monte_carlo`, and so on.
        spikes: input.
        labels: classes.
        target: a crossbar.
        seconds: after programming, rising, at least 0.
        temperature: kelvin in storage, default 300.
        chips: default 5.
        seed: of the first.
        dt: step.
    """
    times = np.asarray(list(seconds), float)
    if times.ndim != 1 or not len(times) or not np.isfinite(times).all() or times[0] < 0 or (np.diff(times) <= 0).any():
        raise InputError("ageing.seconds", "rising times >= 0", str(list(seconds))[:80], "sort them, in seconds")
    bench, found = _Bench(graph, spikes, labels, target, chips, seed, dt), []
    for step in np.diff(times, prepend=0.0):
        for chip in bench.chips:
            if step:
                chip.relax(float(step), temperature)
        found.append(bench.accuracies())
    return bench.study(found, times, "s")


def heat(
    graph: nir.NIRGraph, spikes: np.ndarray, labels: np.ndarray, target: Crossbar, kelvin: Sequence[float], seconds: float, *,
    chips: int = 5, seed: int = 0, dt: float | None = None,
) -> Study:  # fmt: skip
    """Accuracy after `seconds` at each temperature; barriers scale as 1/T, so that heat is time.

    Args:
        graph: as `monte_carlo`, and so on.
        spikes: input.
        labels: classes.
        target: a crossbar.
        kelvin: temperatures above 0.
        seconds: in storage.
        chips: default 5; the same for every temperature.
        seed: of the first.
        dt: step.
    """
    degrees = np.asarray(list(kelvin), float)
    if not len(degrees) or not np.isfinite(degrees).all() or (degrees <= 0).any() or not 0 <= seconds < np.inf:
        raise InputError("heat", "temperatures > 0 K and seconds >= 0", f"{list(kelvin)}, {seconds!r}", "check units")
    found: list[np.ndarray] = []
    bench: _Bench | None = None
    for temperature in degrees:
        bench = _Bench(graph, spikes, labels, target, chips, seed, dt)
        for chip in bench.chips:
            chip.relax(seconds, float(temperature))
        found.append(bench.accuracies())
    assert bench is not None
    return bench.study(found, degrees, "K")


class _Bench:
    """Programmed chips of one graph with one labelled input."""

    def __init__(
        self, graph: nir.NIRGraph, spikes: np.ndarray, labels: np.ndarray, target: Crossbar, chips: int, seed: int,
        dt: float | None,
    ) -> None:  # fmt: skip
        self.graph = repaired(graph)
        self.x, self.labels = check_input(self.graph, spikes), np.asarray(labels)
        if self.labels.shape != (self.x.shape[1],):
            raise InputError("labels", f"({self.x.shape[1]},)", str(self.labels.shape), "one class for each sample")
        if chips < 1:
            raise InputError("chips", "at least 1", repr(chips), "choose a number")
        problems = target.check(self.graph)
        if problems:
            raise TargetError("crossbar", problems[0].limit, problems[0].value, problems[0].fix)
        self.dt, self.seeds = resolve_dt(self.graph, dt), tuple(range(seed, seed + chips))
        self.chips: list[Chip] = [target.prepare(self.graph, s) for s in self.seeds]
        if target.options.calibration:
            for chip in self.chips:
                chip.calibrate(self.x[:, : target.options.calibration], self.dt)

    def accuracies(self) -> np.ndarray:
        """Of every chip now."""
        at_once = max(1, TOGETHER // self.x.size)
        return np.concatenate([self._some(self.chips[k : k + at_once]) for k in range(0, len(self.chips), at_once)])

    def _some(self, chips: list[Chip]) -> np.ndarray:
        x = np.tile(self.x, (1, len(chips), *(1,) * (self.x.ndim - 2)))
        operators = {name: _Side([chip.layers[name] for chip in chips], len(self.labels)) for name in chips[0].layers}
        return self._right(simulate(self.graph, x, dt=self.dt, operators=operators).output, len(chips))

    def _right(self, output: np.ndarray, chips: int) -> np.ndarray:
        sums = output.sum(0).reshape(chips, len(self.labels), -1)
        return (sums.argmax(2) == self.labels).mean(1)

    def study(self, accuracies: Iterable[Any], points: np.ndarray, unit: str) -> Study:
        """With the reference beside it."""
        truth = float(self._right(simulate(self.graph, self.x, dt=self.dt).output, 1)[0])
        return Study(np.array(list(accuracies)), points, unit, truth, self.seeds)


class _Side:
    """The same node of several chips; samples come as time × chips × batch, or chips × batch within a loop."""

    def __init__(self, layers: list[Layer], batch: int) -> None:
        self.layers, self.batch = layers, batch
        for layer in layers:
            layer.batch = batch

    def __call__(self, x: Tensor) -> Tensor:
        parts = x.unflatten(0, (-1, len(self.layers), self.batch))
        made = [layer(parts[:, k].flatten(0, 1)).unflatten(0, (-1, self.batch)) for k, layer in enumerate(self.layers)]
        return torch.stack(made, 1).flatten(0, 2)
