"""Whether a graph in memory is one: structure, shapes, types and values of every node."""

from __future__ import annotations

import math
from typing import Any

import nir
import numpy as np

from neurospin.errors import GraphError
from neurospin.graph.contract import checked_step, metadata, neuron_settings, ports, stored_weights
from neurospin.graph.metadata import check_name
from neurospin.graph.order import STATEFUL, flatten, order
from neurospin.graph.scheme import scheme_of

FIELDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "Input": (("shape",), ()),
    "Output": (("shape",), ()),
    "Affine": (("weight", "bias"), ()),
    "Linear": (("weight",), ()),
    "Scale": (("scale",), ()),
    "Conv1d": (("weight", "stride", "padding", "dilation", "groups", "bias"), ("input_shape",)),
    "Conv2d": (("weight", "stride", "padding", "dilation", "groups", "bias"), ("input_shape",)),
    "SumPool2d": (("kernel_size", "stride", "padding"), ()),
    "AvgPool2d": (("kernel_size", "stride", "padding"), ()),
    "Flatten": ((), ("start_dim", "end_dim", "input_type")),
    "Delay": (("delay",), ()),
    "Threshold": (("threshold",), ()),
    "I": (("r",), ()),
    "IF": (("r", "v_threshold"), ("v_reset",)),
    "LI": (("tau", "r", "v_leak"), ()),
    "LIF": (("tau", "r", "v_leak", "v_threshold"), ("v_reset",)),
    "CubaLI": (("tau_syn", "tau_mem", "r", "v_leak"), ("w_in",)),
    "CubaLIF": (("tau_syn", "tau_mem", "r", "v_leak", "v_threshold"), ("v_reset", "w_in")),
}
"""Every primitive of NIR 1.0.8: required and optional fields."""

NUMBERS = {"weight", "bias", "scale", "delay", "threshold", "r", "v_threshold", "v_reset", "v_leak", "w_in"}
TIMES = {"tau", "tau_syn", "tau_mem"}
NEURONS = ("I", "IF", "LI", "LIF", "CubaLI", "CubaLIF")
LARGEST = 2**28  # values that a node may give in one step
DEPTH = 32  # graphs in one another


def validate(graph: nir.NIRGraph) -> None:
    """Refuse a graph that is malformed.

    Raises:
        GraphError: names the node, the field and the value at fault.
    """
    if not isinstance(graph, nir.NIRGraph):
        raise GraphError("graph", "a nir.NIRGraph", type(graph).__name__, "wrap the nodes in a nir.NIRGraph")
    _names(graph, "graph")
    nodes, edges = flatten(graph)
    for name, node in nodes.items():
        _node(name, node)
    seen: set[tuple[str, str]] = set()
    for edge in edges:
        if edge in seen:
            raise GraphError(f"edge {edge[0]} -> {edge[1]}", "each edge once", "the same edge twice", "remove one")
        seen.add(edge)
    for kind in (nir.Input, nir.Output):
        if not ports(graph, kind):
            raise GraphError("graph", f"an {kind.__name__} node", "none", f"add an {kind.__name__}")
    shapes(graph)
    check_metadata(graph)
    if "dt" in metadata(graph):
        dt = checked_step(metadata(graph)["dt"])
        for name, node in nodes.items() if metadata(graph).get("scheme", "euler") == "euler" else ():
            for field in sorted(TIMES):
                value = getattr(node, field, None)
                if value is not None and float(np.min(value)) < dt * (1 - 1e-6):
                    raise GraphError(
                        f"{name}.{field}",
                        f"at least dt = {dt:g} s",
                        f"{float(np.min(value)):g} s",
                        "take a smaller dt",
                    )


def well_formed(graph: nir.NIRGraph, where: str = "graph", depth: int = 0) -> None:
    """Refuse what is no graph at all: nodes that are none, edges that are no pairs, fields without numbers.

    It looks at types and shapes only, which `simulate` and all others rely on; `validate` looks at values, too.

    Raises:
        GraphError: names the node and the field.
    """
    if depth > DEPTH:
        raise GraphError(where[:80], f"at most {DEPTH} graphs in one another", "more", "flatten the graph")
    parts = (("nodes", dict, graph.nodes), ("edges", list, graph.edges), ("metadata", dict, graph.metadata or {}))
    for field, kind, value in parts:
        if not isinstance(value, kind):
            raise GraphError(f"{where}.{field}", f"a {kind.__name__}", type(value).__name__, "build the graph anew")
    for edge in graph.edges:
        if not isinstance(edge, tuple | list) or len(edge) != 2:
            raise GraphError(f"{where}.edges", "pairs of node names", ascii(edge)[:40], "build the graph anew")
        for end in edge:
            if end not in graph.nodes:
                what = f"edge {' -> '.join(map(str, edge))}"
                raise GraphError(what, "two nodes of the graph", f"no node {end!r}", "remove the edge")
    for name, node in graph.nodes.items():
        if not isinstance(node, nir.NIRNode):
            raise GraphError(f"node {ascii(name)[:60]}", "a node of nir", type(node).__name__, "replace the node")
        if isinstance(node, nir.NIRGraph):
            well_formed(node, f"{where}.{ascii(name)[1:-1]}"[:80], depth + 1)
            continue
        required, optional = FIELDS.get(type(node).__name__, ((), ()))
        for field in (f for f in (*required, *optional) if f in NUMBERS | TIMES):
            value = getattr(node, field, None)
            if value is None and field in optional:
                continue
            array = np.asarray(value)
            if array.dtype.kind not in "fiu":
                got = "none" if value is None else f"dtype {array.dtype}"
                raise GraphError(f"{name}.{field}", "real numbers", got, "convert to float32")
        if isinstance(node, STATEFUL):
            _one_shape(str(name), node)


def _one_shape(name: str, node: nir.NIRNode) -> None:
    required, optional = FIELDS[type(node).__name__]
    shape = np.shape(next(getattr(node, f) for f in required))
    for field in (*required, *optional):
        value = getattr(node, field, None)
        if value is not None and np.shape(value) != shape:
            raise GraphError(f"{name}.{field}", f"shape {shape}", f"shape {np.shape(value)}", "match the shapes")


def check_metadata(graph: nir.NIRGraph) -> None:
    """Refuse metadata of ours that say nothing sensible.

    Raises:
        GraphError: names the entry.
        UnknownName: a scheme or a surrogate that is none.
    """
    scheme_of(graph)
    neuron_settings(graph)
    stored_weights(graph)
    if "dt" in metadata(graph):
        checked_step(metadata(graph)["dt"])


def _names(graph: nir.NIRGraph, where: str, depth: int = 0) -> None:
    """Refuse names that no file can hold, and edges between nodes that are not there."""
    if depth > DEPTH:
        raise GraphError(where[:80], f"at most {DEPTH} graphs in one another", "more", "flatten the graph")
    for name, node in graph.nodes.items():
        check_name(name, f"{where}: name of a node")
        if isinstance(node, nir.NIRGraph):
            _names(node, f"{where}.{name}", depth + 1)
    for edge in graph.edges:
        missing = [str(end) for end in edge if end not in graph.nodes]
        if missing or len(edge) != 2:
            got = f"no node {missing[0]!r}" if missing else f"{len(edge)} names"
            raise GraphError(f"edge {' -> '.join(map(str, edge))}", "two nodes of the graph", got, "remove the edge")


def _node(name: str, node: nir.NIRNode) -> None:
    kind = type(node).__name__
    if kind not in FIELDS:
        raise GraphError(f"node {name}", "a primitive of NIR 1.0.8", kind, "replace the node")
    required, optional = FIELDS[kind]
    for field in (*required, *optional):
        value = getattr(node, field, None)
        if value is None or isinstance(value, str):
            continue
        if field in NUMBERS | TIMES:
            _values(f"{name}.{field}", value, time=field in TIMES or field == "delay", zero=field == "delay")
        elif field not in ("shape", "input_type"):
            _whole(f"{name}.{field}", value, signed=kind == "Flatten")
    if isinstance(node, nir.Input | nir.Output) and own_shape(node):
        _whole(f"{name}.shape", own_shape(node))
    if isinstance(node, STATEFUL):
        _one_shape(name, node)
    threshold, reset = getattr(node, "v_threshold", None), getattr(node, "v_reset", None)
    if threshold is not None:
        floor = np.zeros_like(threshold) if reset is None else reset
        bad = np.flatnonzero(np.ravel(threshold) <= np.ravel(floor))
        if bad.size:
            value = float(np.ravel(threshold)[bad[0]])
            raise GraphError(
                f"{name}.v_threshold",
                f"more than v_reset = {float(np.ravel(floor)[bad[0]]):g}",
                f"{value:g}",
                "raise it",
            )


def _whole(where: str, value: Any, *, signed: bool = False) -> None:
    array = np.asarray(value)
    if array.dtype.kind not in "iu" or array.size == 0 or (not signed and array.min() < 0):
        raise GraphError(where, "whole numbers" if signed else "whole numbers >= 0", repr(value)[:40], "mend the node")


def _values(where: str, value: Any, *, time: bool, zero: bool) -> None:
    array = np.asarray(value)
    if array.dtype.kind not in "fiu":
        raise GraphError(where, "real numbers", f"dtype {array.dtype}", "convert to float32")
    if array.size == 0:
        raise GraphError(where, "at least one number", f"shape {array.shape}", "remove the node")
    bad = int(array.size - np.isfinite(array).sum())
    if bad:
        raise GraphError(where, "finite numbers", f"{bad} of {array.size} that are not", "write the file anew")
    smallest = float(array.min())
    if time and (smallest < 0 or (smallest == 0 and not zero)):
        raise GraphError(where, ">= 0 s" if zero else "> 0 s", f"{smallest:g} s", "give seconds")


def shapes(graph: nir.NIRGraph) -> dict[str, tuple[int, ...]]:
    """Shape of what every node gives, nested graphs laid flat, without time and batch.

    Raises:
        GraphError: two shapes along an edge differ; both are named.
    """
    plan = order(graph)
    found: dict[str, tuple[int, ...]] = {}
    names = [name for component in plan.components for name in component]
    for name in names:
        node = plan.nodes[name]
        sources = [s for s in (*plan.sources[name], *plan.delayed[name]) if s in found]
        given = {found[s] for s in sources}
        if len(given) > 1:
            raise GraphError(
                f"edges into {name}", "one shape", " and ".join(map(str, sorted(given))), "match the shapes"
            )
        if not (plan.sources[name] or plan.delayed[name]) and not isinstance(node, nir.Input):
            raise GraphError(f"node {name}", "an edge into it", "none", "connect the node or remove it")
        found[name] = shape_of(name, node, next(iter(given), None))
        if not 0 < math.prod(found[name]) <= LARGEST:
            raise GraphError(f"node {name}", f"1 to {LARGEST} values", f"shape {found[name]}", "mend the shape")
    for name in names:  # back edges, now that every shape is known
        for source in plan.delayed[name]:
            shape_of(name, plan.nodes[name], found[source])
    return found


def shape_of(name: str, node: nir.NIRNode, given: tuple[int, ...] | None) -> tuple[int, ...]:
    """Shape of what a node gives when it is fed `given` (`None`: nothing known), after the two are found to fit."""
    wanted = expected = own_shape(node)
    if isinstance(node, nir.Affine | nir.Linear):
        weight = tuple(np.shape(node.weight))
        if len(weight) < 2:
            raise GraphError(f"{name}.weight", "shape (…, out, in)", f"shape {weight}", "give a matrix")
        wanted, expected = (*weight[:-2], weight[-1]), weight[:-1]
        if isinstance(node, nir.Affine) and np.shape(node.bias) != expected:
            raise GraphError(f"{name}.bias", f"shape {expected}", f"shape {np.shape(node.bias)}", "one bias per output")
    elif isinstance(node, nir.Conv1d | nir.Conv2d | nir.SumPool2d | nir.AvgPool2d | nir.Flatten):
        if given is None:
            raise GraphError(f"node {name}", "an input of known shape", "none", "connect the node")
        return _spatial(name, node, given)
    if given is not None and wanted is not None and given != wanted:
        raise GraphError(f"node {name}", f"input of shape {wanted}", f"shape {given}", "match the node before")
    if expected is None:
        if given is None:
            raise GraphError(f"node {name}", "a shape", "none", "connect the node")
        return given
    return expected


def own_shape(node: nir.NIRNode) -> tuple[int, ...] | None:
    """The shape of a node that maps a shape to itself."""
    if isinstance(node, nir.Input | nir.Output):
        kind = node.input_type["input"] if isinstance(node, nir.Input) else node.output_type["output"]
        return None if kind is None else tuple(int(n) for n in np.atleast_1d(kind))
    for field in ("r", "scale", "delay", "threshold"):
        if hasattr(node, field):
            return tuple(np.shape(getattr(node, field)))
    return None


def _spatial(name: str, node: Any, given: tuple[int, ...]) -> tuple[int, ...]:
    if isinstance(node, nir.Flatten):
        rank = len(given)
        start, end = int(node.start_dim), int(node.end_dim)
        if not (-rank <= start < rank and -rank <= end < rank and start % rank <= end % rank):
            raise GraphError(f"node {name}", f"axes of {given}", f"{start} to {end}", "count axes without time, batch")
        start, end = start % rank, end % rank
        return (*given[:start], math.prod(given[start : end + 1]), *given[end + 1 :])
    convolution = isinstance(node, nir.Conv1d | nir.Conv2d)
    axes = 1 if isinstance(node, nir.Conv1d) else 2
    if len(given) != axes + 1:
        raise GraphError(f"node {name}", f"input of {axes + 1} axes", f"shape {given}", "match the node before")
    told = getattr(node, "input_shape", None)
    if told is not None and tuple(int(n) for n in np.atleast_1d(told)) != given[1:]:
        raise GraphError(f"{name}.input_shape", f"{given[1:]}", f"{told}", "match the node before")
    kernel = list(np.shape(node.weight)[2:]) if convolution else _numbers(name, node.kernel_size, axes)
    stride = _numbers(name, node.stride, axes)
    dilation = _numbers(name, node.dilation, axes) if convolution else [1] * axes
    channels = given[0]
    if convolution:
        out, per_group = np.shape(node.weight)[:2]
        groups = int(node.groups)
        if np.ndim(node.weight) != axes + 2 or groups < 1 or per_group * groups != channels or out % groups:
            got = f"weight {np.shape(node.weight)} in {groups} groups for {channels} channels"
            raise GraphError(f"{name}.weight", "channels that fit the input", got, "match channels and groups")
        if np.shape(node.bias) != (out,):
            raise GraphError(f"{name}.bias", f"shape ({out},)", f"shape {np.shape(node.bias)}", "one bias per channel")
        channels = out
    if isinstance(node.padding, str) if convolution else False:
        if node.padding == "same":
            if stride != [1] * axes:
                raise GraphError(f"{name}.padding", "a number, with a stride above 1", "'same'", "give numbers")
            return (channels, *given[1:])
        if node.padding != "valid":
            raise GraphError(f"{name}.padding", "'same', 'valid' or numbers", repr(node.padding), "give numbers")
        padding = [0] * axes
    else:
        padding = _numbers(name, node.padding, axes)
    if min(stride) < 1 or min(kernel) < 1 or min(dilation) < 1 or min(padding) < 0:
        raise GraphError(
            f"node {name}", "positive kernel, stride, dilation", "one that is not", "give positive numbers"
        )
    if not convolution and any(2 * p > k for p, k in zip(padding, kernel, strict=True)):
        raise GraphError(f"{name}.padding", f"at most half of the kernel {kernel}", f"{padding}", "pad less")
    sizes = [
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, p, d, k, s in zip(given[1:], padding, dilation, kernel, stride, strict=True)
    ]
    if min(sizes) < 1:
        raise GraphError(
            f"node {name}", "an input larger than the kernel", f"input {given}, kernel {kernel}", "shrink it"
        )
    return (channels, *sizes)


def _numbers(name: str, value: Any, axes: int) -> list[int]:
    numbers = [int(n) for n in np.atleast_1d(value)]
    if len(numbers) not in (1, axes):
        raise GraphError(f"node {name}", f"one number per axis ({axes})", f"{len(numbers)}", "give one or all")
    return numbers * axes if len(numbers) == 1 else numbers
