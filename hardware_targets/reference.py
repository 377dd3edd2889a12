"""The reference target: float32 execution of a graph by its definition."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import nir
import numpy as np

from neurospin.errors import NeurospinError, unknown_name
from neurospin.graph.check import validate
from neurospin.graph.contract import TIMES, neuron_settings, neurons
from neurospin.graph.order import flatten
from neurospin.graph.scheme import SCHEMES, scheme_of
from neurospin.graph.simulate import RESETS, simulate
from neurospin.target import Problem, Report

DISCRETISATION, RESET_MODE = "discretisation", "reset mode"


@dataclass(frozen=True)
class Reference:
    """Runs a graph in float32 with `neurospin.graph.simulate`; no delay, no approximation.

    With a scheme or a reset of its own it answers what another simulator or chip would make of the graph:
    `certify(graph, spikes, Reference(scheme="exponential"))` counts the spikes that differ. The causes of a
    certificate are `"discretisation"` and `"reset mode"`, as far as they are given.

    Attributes:
        scheme: `"euler"` or `"exponential"`; default, what the graph records.
        reset: `"value"` or `"subtract"` for every spiking node; default, what the graph records.
    """

    scheme: str | None = None
    reset: str | None = None
    name: ClassVar[str] = "reference"
    several_ports: ClassVar[bool] = True
    settings: ClassVar[tuple[str, ...]] = ("scheme", "reset")

    def __post_init__(self) -> None:
        for field, known in (("scheme", SCHEMES), ("reset", RESETS)):
            value = getattr(self, field)
            if value is not None and value not in known:
                raise unknown_name(f"Reference.{field}", str(value), known, field)

    @property
    def causes(self) -> tuple[str, ...]:
        """What may make it differ from the graph."""
        given = ((DISCRETISATION, self.scheme), (RESET_MODE, self.reset))
        return tuple(cause for cause, value in given if value is not None)

    def only(self, causes: Iterable[str]) -> Reference:
        """The same target with just these causes."""
        acting = set(causes)
        return Reference(
            self.scheme if DISCRETISATION in acting else None, self.reset if RESET_MODE in acting else None
        )

    def adjusted(self, **settings: str) -> Reference:
        """The same target with another scheme or reset."""
        return replace(self, **settings)

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
        self,
        graph: nir.NIRGraph,
        spikes: np.ndarray | Mapping[str, np.ndarray],
        *,
        dt: float,
        seed: int = 0,
        record: Iterable[str] = (),
    ) -> Report:
        """Exact by definition; `seed` changes nothing."""
        wanted = tuple(record)
        result = simulate(
            graph, spikes, dt=dt, record=wanted, before_reset=[n for n in neurons(graph, spiking=True) if n in wanted],
            scheme=self.scheme, reset=self.reset,
        )  # fmt: skip
        info = {"latency": dict.fromkeys(wanted, 0), "approximations": self._approximations(graph, dt)}
        outputs = result.outputs if len(result.outputs) > 1 else {}
        first = next(iter(result.outputs.values()))
        return Report(first, 0, {}, {}, info, result.records, result.before_reset, outputs)

    def _approximations(self, graph: nir.NIRGraph, dt: float) -> list[dict[str, Any]]:
        """Every node that is integrated or reset otherwise than the graph says."""
        found: list[dict[str, Any]] = []
        if self.scheme not in (None, scheme_of(graph)):
            for name, node in flatten(graph)[0].items():
                rates = [dt / np.asarray(getattr(node, field), float) for field in TIMES if hasattr(node, field)]
                if rates:
                    size = max(float(np.abs(np.exp(-rate) - (1 - rate)).max()) for rate in rates)
                    found.append({"node": name, "what": f"{self.scheme} decay: largest difference", "size": size})
        for name, settings in neuron_settings(graph).items() if self.reset is not None else ():
            if settings["reset"] != self.reset:
                found.append({"node": name, "what": f"reset: {self.reset} in place of {settings['reset']}", "size": 1})
        return found


target = Reference()
