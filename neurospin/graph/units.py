"""Units of time: NIR has none, neurospin counts in seconds."""

from __future__ import annotations

import copy

import nir
import numpy as np

from neurospin.errors import GraphError, unknown_name
from neurospin.graph.contract import KEY, TIMES, metadata
from neurospin.graph.order import flatten
from neurospin.graph.repair import repaired

UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6}


def in_seconds(graph: nir.NIRGraph, time_unit: str, dt: float | None = None) -> nir.NIRGraph:
    """A copy of a graph whose times are seconds, and which says so.

    Time constants and delays are multiplied by the unit, and the `r` of I and IF, which counts volts
    per unit of time, is divided by it. Nothing else has a unit of time.

    Args:
        graph: a graph whose times are in another unit.
        time_unit: `"s"` (the numbers stay), `"ms"`, `"us"`, or `"steps"` of `dt`.
        dt: step in seconds, to be recorded; needed for `"steps"`. A step that the graph records
            already is taken to be in seconds.

    Raises:
        UnknownName: no unit of that name.
        GraphError: steps without a step.
    """
    if time_unit not in (*UNITS, "steps"):
        raise unknown_name("time_unit", str(time_unit), (*UNITS, "steps"), "unit")
    graph = repaired(graph)
    step = metadata(graph).get("dt") if dt is None else dt
    if time_unit == "steps" and step is None:
        raise GraphError("dt", "the step in seconds", "none", "give dt")
    unit = float(step) if time_unit == "steps" and step is not None else UNITS[time_unit]
    result = copy.deepcopy(graph)
    for node in flatten(result)[0].values() if unit != 1 else ():
        for field in (*TIMES, "delay"):
            if hasattr(node, field):
                setattr(node, field, _times(getattr(node, field), unit))
        if isinstance(node, nir.I | nir.IF):
            node.r = _times(node.r, 1 / unit)
    result.metadata[KEY] = {**metadata(result), "time_unit": "s"} | ({} if step is None else {"dt": float(step)})
    return result


def _times(value: np.ndarray, factor: float) -> np.ndarray:
    array = np.asarray(value)
    return (array * factor).astype(array.dtype if array.dtype.kind == "f" else np.float64)
