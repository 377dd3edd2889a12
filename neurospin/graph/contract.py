"""What a graph states beside its nodes: step, shapes, names; and the checks of what is fed to it.

NIR has no step, no reset mode and no notion of weight storage. neurospin keeps them in the graph's
metadata under one key, every entry optional::

    graph.metadata["neurospin"] = {
        "dt": 1e-3,             # step in seconds
        "time_unit": "s",       # the times of this graph are seconds (nothing else is written)
        "scheme": "euler",      # or "exponential"
        "reset": "value",       # or "subtract": of every spiking node that has no entry of its own
        "neurons": {NAME: {"reset": …, "refractory": seconds, "surrogate": {"kind": …, …}}},
        "weights": {NAME: {"kind": "binary" or "levels", …, "scale": …, "hidden": stored values}},
        "quantisation": {"target": NAME, …},    # how a target rounded the graph while it was trained
    }

Names are those of the flat graph: a node of a nested graph is `outer.inner`. Where a network mixes
reset modes, `"reset"` is `"subtract"`, so that a target that can only reset to a value refuses it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import nir
import numpy as np

from neurospin.errors import GraphError, InputError, unknown_name
from neurospin.graph.order import SPIKING, STATEFUL, flatten
from neurospin.surrogate import KINDS as SURROGATES
from neurospin.surrogate import Surrogate

KEY = "neurospin"
TIMES = ("tau", "tau_syn", "tau_mem")


def metadata(graph: nir.NIRGraph) -> dict[str, Any]:
    """What neurospin recorded in the graph; empty for a graph written by another tool."""
    found = (graph.metadata or {}).get(KEY, {})
    return dict(found) if isinstance(found, dict) else {}


def resolve_dt(graph: nir.NIRGraph, dt: float | None) -> float:
    """The step in seconds: `dt` when it is given, else the one that the graph records.

    Raises:
        GraphError: neither is there, it is not a positive finite number, or the graph's time constants
            only make sense in another unit than seconds.
    """
    value = metadata(graph).get("dt") if dt is None else dt
    step = checked_step(value)
    check_units(graph, step)
    return step


def checked_step(value: Any) -> float:
    """A step in seconds, after it is found to be one.

    Raises:
        GraphError: there is none, or it is not a positive finite number.
    """
    if value is None:
        raise GraphError("dt", "the step in seconds", "a graph that records none", "give dt (--dt SECONDS)")
    try:
        step = math.nan if isinstance(value, bool | np.bool_) else float(value)
    except (TypeError, ValueError):
        step = math.nan
    if not (math.isfinite(step) and step > 0):
        raise GraphError("dt", "a positive number of seconds", repr(value), "give dt (--dt SECONDS)")
    return step


def check_units(graph: nir.NIRGraph, dt: float | None = None) -> None:
    """Refuse time constants that are all a second or more while the step is at most 10 ms, or is not known.

    Raises:
        GraphError: asks which unit they are in, unless the graph says that they are seconds; or it says another.
    """
    unit = metadata(graph).get("time_unit")
    if unit not in (None, "s"):
        fix = "convert them: graph = neurospin.in_seconds(graph, UNIT) (--time-unit UNIT)"
        raise GraphError("time_unit", "times in seconds", f"times in {str(unit)[:20]!r}", fix)
    dt = metadata(graph).get("dt") if dt is None else dt
    if unit == "s" or (isinstance(dt, int | float) and dt > 1e-2):
        return
    nodes = flatten(graph)[0].items()
    found = {f"{name}.{f}": float(np.min(getattr(node, f))) for name, node in nodes for f in TIMES if hasattr(node, f)}
    if found and min(found.values()) >= 1:
        where = min(found, key=found.__getitem__)
        fix = 'say what they are: graph = neurospin.in_seconds(graph, "ms"), "us", "steps", or "s" if they are right'
        fix += " (--time-unit)"
        step = f", with a step of {dt:g} s" if isinstance(dt, int | float) else ""
        raise GraphError(where, f"seconds{step}", f"{found[where]:g}, which may be milliseconds or steps", fix)


def neuron_settings(graph: nir.NIRGraph) -> dict[str, dict[str, Any]]:
    """Reset mode, refractory period and surrogate of every spiking node, as far as the metadata tell.

    Raises:
        GraphError: a reset mode, a refractory period or a surrogate that is none.
    """
    told, found = _by_name(graph, "neurons"), {}
    nodes = flatten(graph)[0]
    for name in neurons(graph, spiking=True):
        found[name] = {"reset": metadata(graph).get("reset", "value"), **told.get(name, {})}
        if found[name]["reset"] not in ("value", "subtract"):
            raise GraphError(f"{name}: reset", "value or subtract", repr(found[name]["reset"]), "mend the metadata")
        if "refractory" in found[name]:
            _refractory(name, found[name]["refractory"], np.shape(nodes[name].v_threshold))  # type: ignore[union-attr]
        given = found[name].get("surrogate")
        if isinstance(given, Mapping):
            found[name]["surrogate"] = _surrogate(name, given)
    return found


def stored_weights(graph: nir.NIRGraph) -> dict[str, dict[str, Any]]:
    """What every synapse stores, by name, as far as the metadata tell.

    Raises:
        GraphError: an entry that is no mapping.
    """
    return _by_name(graph, "weights")


def _by_name(graph: nir.NIRGraph, key: str) -> dict[str, dict[str, Any]]:
    told = metadata(graph).get(key, {})
    if not isinstance(told, dict) or not all(isinstance(entry, dict) for entry in told.values()):
        raise GraphError(f"metadata: {key}", "a mapping for each node by name", repr(told)[:40], "mend the metadata")
    return told


def _refractory(name: str, value: Any, shape: tuple[int, ...]) -> None:
    array = np.asarray(value)
    if array.dtype.kind not in "fiu" or not np.isfinite(array).all() or (array < 0).any():
        got = repr(value).replace("\n", " ")[:40]
        raise GraphError(f"{name}: refractory", "seconds >= 0", got, "mend the metadata")
    if array.ndim and array.shape != shape:
        raise GraphError(f"{name}: refractory", f"one number or shape {shape}", f"shape {array.shape}", "mend it")


def _surrogate(name: str, told: Mapping[str, Any]) -> Surrogate:
    values = dict(told)
    kind = values.pop("kind", None)
    if kind not in SURROGATES:
        raise unknown_name(f"{name}: surrogate", str(kind), SURROGATES, "surrogate")
    try:
        return SURROGATES[kind](**values)
    except (TypeError, ValueError) as error:
        raise GraphError(f"{name}: surrogate", f"settings of {kind}", str(error)[:80], "mend the metadata") from error


def ports(graph: nir.NIRGraph, kind: type[nir.NIRNode]) -> dict[str, tuple[int, ...]]:
    """Name and shape of the graph's inputs (`nir.Input`) or outputs (`nir.Output`).

    Raises:
        GraphError: one has no shape.
    """
    field = "input_type" if kind is nir.Input else "output_type"
    key = "input" if kind is nir.Input else "output"
    found = {name: getattr(node, field)[key] for name, node in graph.nodes.items() if isinstance(node, kind)}
    for name, shape in found.items():
        if shape is None:
            raise GraphError(f"node {name}", "a shape", "none", "give the port its shape")
    return {name: tuple(int(n) for n in np.atleast_1d(shape)) for name, shape in found.items()}


def check_ports(graph: nir.NIRGraph) -> None:
    """Refuse a graph whose inputs or outputs have no shape.

    Raises:
        GraphError: names the port.
    """
    for kind in (nir.Input, nir.Output):
        ports(graph, kind)


def input_shape(graph: nir.NIRGraph) -> tuple[int, ...]:
    """Shape of the graph's only input, without time and batch.

    Raises:
        GraphError: the graph has no input or several.
    """
    found = ports(graph, nir.Input)
    if len(found) != 1:
        raise GraphError("graph", "one Input", f"{len(found)}: {', '.join(found)}", "give one array per input by name")
    return next(iter(found.values()))


def check_inputs(graph: nir.NIRGraph, spikes: np.ndarray | Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The inputs by name as float32 arrays, after their shapes and values are found fit.

    Args:
        graph: the graph that is to be fed.
        spikes: `(time, batch, *input)`; of several inputs, one such array by name.

    Raises:
        InputError: an input is missing, unknown, of a wrong shape or length, or not finite numbers.
    """
    found = ports(graph, nir.Input)
    if not isinstance(spikes, Mapping):
        input_shape(graph)
        spikes = {next(iter(found)): spikes}
    if set(spikes) != set(found):
        got = ", ".join(map(str, spikes)) or "none"
        raise InputError("spikes", f"inputs {', '.join(found)}", got, "give one array for each input, by name")
    arrays = {
        name: _checked("spikes" if len(found) == 1 else f"spikes {name}", spikes[name], found[name]) for name in found
    }
    lengths = {array.shape[:2] for array in arrays.values()}
    if len(lengths) > 1:
        raise InputError("spikes", "inputs of one length and batch", str(sorted(lengths)), "cut or pad them")
    return arrays


def check_input(graph: nir.NIRGraph, spikes: np.ndarray) -> np.ndarray:
    """The input as a float32 array, after its shape and values are found fit.

    Args:
        graph: the graph that is to be fed.
        spikes: array of shape `(time, batch, *input)`.

    Raises:
        InputError: wrong shape, no steps, no samples, not numbers, or not finite.
    """
    return _checked("spikes", spikes, input_shape(graph))


def _checked(where: str, spikes: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    array = np.asarray(spikes)
    words = ", ".join(str(n) for n in shape)
    if array.dtype.kind not in "fiub":
        raise InputError(where, "an array of numbers", f"dtype {array.dtype}", "convert the array to float32")
    if array.ndim != 2 + len(shape) or array.shape[2:] != shape:
        raise InputError(where, f"shape (time, batch, {words})", f"shape {array.shape}", "put time first, then batch")
    if 0 in array.shape:
        raise InputError(where, "at least one step and one sample", f"shape {array.shape}", "give a longer input")
    result = np.ascontiguousarray(array, dtype=np.float32)
    bad = int(result.size - np.isfinite(result).sum())
    if bad:
        raise InputError(where, "finite numbers", f"{bad} of {result.size} are not", "clean the input")
    return result


def neurons(graph: nir.NIRGraph, *, spiking: bool = False) -> list[str]:
    """Names of the graph's nodes with a state, nested graphs laid flat; only spiking ones on request."""
    kinds = SPIKING if spiking else STATEFUL
    return [name for name, node in flatten(graph)[0].items() if isinstance(node, kinds)]


def check_record(graph: nir.NIRGraph, record: Iterable[str]) -> tuple[str, ...]:
    """The recorded names, after each is found among the graph's neurons.

    Raises:
        UnknownName: a name that is no neuron of the graph.
    """
    known = neurons(graph)
    wanted = tuple(record)
    for name in wanted:
        if name not in known:
            raise unknown_name("record", name, known, "neuron node")
    return wanted
