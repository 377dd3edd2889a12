"""The reference target: float32 execution of a graph by its definition."""

from __future__ import annotations

from collections.abc import Iterable

import nir
import numpy as np

from neurospin.errors import NeurospinError
from neurospin.graph.check import validate
from neurospin.graph.contract import neurons
from neurospin.graph.simulate import simulate
from neurospin.target import Problem, Report


class Reference:
    """Runs a graph in float32 with `neurospin.graph.simulate`; no delay, no approximation."""

    name = "reference"

    def unavailable(self) -> str:
        """Always there."""
        return ""

    def check(self, graph: nir.NIRGraph) -> list[Problem]:
        """What keeps the interpreter from running the graph."""
        try:
            validate(graph)
        except NeurospinError as error:
            return [Problem(error.where, error.expected, error.got, error.fix)]
        return []

    def run(
        self, graph: nir.NIRGraph, spikes: np.ndarray, *, dt: float, seed: int = 0, record: Iterable[str] = ()
    ) -> Report:
        """Exact by definition; `seed` changes nothing."""
        wanted = tuple(record)
        result = simulate(
            graph, spikes, dt=dt, record=wanted, before_reset=[n for n in neurons(graph, spiking=True) if n in wanted]
        )
        info = {"latency": dict.fromkeys(wanted, 0), "approximations": []}
        return Report(result.output, 0, {}, {}, info, result.records, result.before_reset)


target = Reference()
