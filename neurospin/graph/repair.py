"""Harmless quirks of the files that other tools write, repaired; every repair is told.

What is repaired is what can be meant in one way only. A graph that could be meant in two ways stays as
it is, and the check refuses it.
"""

from __future__ import annotations

import copy
import math
import os
import warnings
from typing import Any

import nir
import numpy as np
import torch

from neurospin.errors import GraphError
from neurospin.graph.check import FIELDS, NEURONS, NUMBERS, TIMES, own_shape, shape_of, well_formed
from neurospin.graph.order import flatten, order


class GraphWarning(UserWarning):
    """Something harmless in a graph that was repaired."""


SPREAD = 2**22  # neurons over which one number is spread at most
_DEFAULTS = {"start_dim": 1, "end_dim": -1}


def complete(name: str, kind: str, given: dict[str, Any], repairs: list[str]) -> dict[str, Any]:
    """Fill in what older files lack, and spread one number over the other constants of its node."""
    given = {key: value if key in NUMBERS | TIMES else _whole(kind, value) for key, value in given.items()}
    for field in FIELDS[kind][1]:
        if field in given or field not in _DEFAULTS:
            continue
        repairs.append(f"{name}.{field}: {_DEFAULTS[field]} is taken")
        given[field] = _DEFAULTS[field]
    axes = {"Affine": 2, "Linear": 2, "Conv1d": 3, "Conv2d": 4}.get(kind, 0)
    got = np.ndim(given.get("weight", 0))
    if got < axes or (axes > 2 and got > axes):
        raise GraphError(f"{name}.weight", f"{axes} axes", f"shape {np.shape(given['weight'])}", "mend the node")
    if "bias" in given and axes:
        weight = np.shape(given["weight"])
        wanted = weight[:-1] if kind == "Affine" else weight[:1]
        if np.size(given["bias"]) == 1 and np.shape(given["bias"]) != wanted:
            _spread(name, "bias", given, wanted, repairs)
    if kind in NEURONS:
        constants = [field for field in given if field in NUMBERS | TIMES]
        shape = max((np.shape(given[field]) for field in constants), key=lambda s: (math.prod(s), len(s)))
        for field in constants:
            if np.shape(given[field]) != shape and np.size(given[field]) == 1:
                _spread(name, field, given, shape, repairs)
        for field, like, value in (("v_reset", "v_threshold", 0), ("w_in", "r", 1)):
            if field in FIELDS[kind][1] and field not in given:
                repairs.append(f"{name}.{field}: {value} is taken")
                given[field] = np.full_like(given[like], value)
        for field in constants:
            if np.shape(given[field]) != shape:
                raise GraphError(
                    f"{name}.{field}", f"shape {shape}", f"shape {np.shape(given[field])}", "match the shapes"
                )
    return given


def _whole(kind: str, value: Any) -> Any:
    """Whole numbers as nir has them in memory: a Python number, in a convolution a tuple, in pooling an array."""
    if not isinstance(value, np.ndarray | np.generic):
        return value
    if np.ndim(value) == 0:
        return int(value)
    return tuple(int(n) for n in np.ravel(value)) if kind.startswith("Conv") else value


def _spread(name: str, field: str, given: dict[str, Any], shape: tuple[int, ...], repairs: list[str]) -> None:
    if math.prod(shape) > SPREAD:
        raise GraphError(f"{name}.{field}", f"shape {shape}", f"shape {np.shape(given[field])}", "write every value")
    repairs.append(f"{name}.{field}: one number for {shape}")
    given[field] = np.full(shape, np.ravel(given[field])[0])


def add_ports(nodes: dict[str, nir.NIRNode], edges: list[tuple[str, str]], repairs: list[str]) -> None:
    """Give a graph without an Input one before every node that nothing feeds, and likewise an Output."""
    for kind, end in ((nir.Input, 1), (nir.Output, 0)):
        if any(isinstance(node, kind) for node in nodes.values()):
            continue
        connected = {edge[end] for edge in edges}
        for name in [name for name in nodes if name not in connected]:
            node, word = nodes[name], kind.__name__.lower()
            shape = (_wanted(node) or own_shape(node)) if kind is nir.Input else None
            port = f"{word}_{name}"
            if port in nodes or isinstance(node, nir.Input | nir.Output) or (kind is nir.Input and shape is None):
                continue
            repairs.append(f"no {kind.__name__}: {port} is added")
            nodes[port] = kind({word: None if shape is None else np.array(shape)})  # type: ignore[dict-item]
            edges.append((port, name) if end else (name, port))


def repaired(graph: nir.NIRGraph) -> nir.NIRGraph:
    """A graph in memory as `read` would give it: itself, or a copy that is repaired, with a `GraphWarning`.

    Tensors of torch, which some exporters leave in their nodes, become arrays without a word.

    Raises:
        GraphError: it is no graph, or not well formed.
    """
    if not isinstance(graph, nir.NIRGraph):
        fix = "read the file first: neurospin.read(PATH)" if isinstance(graph, str | os.PathLike) else "give a graph"
        raise GraphError("graph", "a nir.NIRGraph", type(graph).__name__, fix)
    repairs: list[str] = []
    plain = graph
    try:
        result = _apart(graph)
        plain = _apart(result) if _untensored(result) else graph
        repair(result, repairs)
    except (GraphError, AttributeError, LookupError, RecursionError, TypeError, ValueError):
        well_formed(plain)
        return plain  # the check says why
    well_formed(result)
    if not repairs:
        return plain
    warnings.warn(f"graph: {'; '.join(repairs)}", GraphWarning, stacklevel=3)
    return result


def _apart(graph: nir.NIRGraph) -> nir.NIRGraph:
    """A copy with nodes of its own, whose arrays are shared."""
    result = copy.copy(graph)
    result.nodes = {n: _apart(m) if isinstance(m, nir.NIRGraph) else copy.copy(m) for n, m in graph.nodes.items()}
    return result


def _untensored(graph: nir.NIRGraph) -> bool:
    """Turn tensors of torch into arrays, in place; whether there were any."""
    found = False
    for node in graph.nodes.values():
        if isinstance(node, nir.NIRGraph):
            found |= _untensored(node)
            continue
        for field, value in list(vars(node).items()):
            if isinstance(value, torch.Tensor):
                plain = value.detach().cpu()
                setattr(node, field, (plain.float() if plain.dtype == torch.bfloat16 else plain).numpy())
                found = True
    return found


def repair(graph: nir.NIRGraph, repairs: list[str]) -> None:
    """Repair in place what only the neighbours tell: too few constants in a node, ones in the shape of a port.

    A node whose constants are one number (or one number a channel, of as many axes as the layer) gets
    them for every neuron of the layer that feeds it. An Input or Output whose shape differs from its
    neighbour's by ones alone, or by batch and time before it, gets its neighbour's.
    """
    _inputs(graph, repairs)
    try:
        plan = order(graph)
    except GraphError:
        return  # the check says why
    square = all(n.weight.shape[-1] == n.weight.shape[-2] for n in plan.nodes.values() if isinstance(n, nir.Conv2d))
    found: dict[str, tuple[int, ...]] = {}
    for name in (name for component in plan.components for name in component):
        node = plan.nodes[name]
        sources = [s for s in (*plan.sources[name], *plan.delayed[name]) if s in found]
        given = found[sources[0]] if sources else None
        told = own_shape(node)
        if given is not None:
            _types(name, node, given, square, repairs)
            if isinstance(node, nir.Flatten):
                _batch_axis(
                    name, node, given, {_wanted(plan.nodes[b]) for b in plan.nodes if name in plan.sources[b]}, repairs
                )
        if given is not None and told != given:
            if isinstance(node, nir.Output):
                if told is None or not square or _same(told, given):
                    repairs.append(f"{name}: shape {'none' if told is None else told} read as {given}")
                    node.output_type = {"output": np.array(given)}
                    node.__post_init__()
            elif told is not None:
                _widen(name, node, told, given, repairs)
        try:
            found[name] = shape_of(name, node, given)
        except GraphError:
            return  # the check says why


def _types(name: str, node: nir.NIRNode, given: tuple[int, ...], square: bool, repairs: list[str]) -> None:
    """Shapes that a node repeats: the axes of an image the other way round, or nir's error with rectangles."""
    if isinstance(node, nir.Conv2d) and node.input_shape is not None:
        told = tuple(int(n) for n in node.input_shape)
        if len(given) == 3 and told != given[1:] and (told[::-1] == given[1:] or not square):
            repairs.append(f"{name}.input_shape: {told} read as {given[1:]}")
            node.input_shape = (given[1], given[2])
            node.__post_init__()
    if isinstance(node, nir.Flatten):
        stored = node.input_type["input"]
        told = None if stored is None else tuple(int(n) for n in np.atleast_1d(stored))
        if told != given:
            if told is not None:
                repairs.append(f"{name}.input_type: {told} read as {given}")
            node.input_type = {"input": np.array(given)}
            node.__post_init__()


def _batch_axis(
    name: str, node: nir.Flatten, given: tuple[int, ...], wanted: set[tuple[int, ...] | None], repairs: list[str]
) -> None:
    """A flattening from axis 1 on that the next weights need from axis 0 on: it counts the batch, as torch does."""
    if int(node.start_dim) == 1 and int(node.end_dim) == -1 and len(given) > 1 and wanted == {(math.prod(given),)}:
        repairs.append(f"{name}.start_dim: 1, which counts the batch, read as 0")
        node.start_dim = 0
        node.__post_init__()


def _inputs(graph: nir.NIRGraph, repairs: list[str]) -> None:
    nodes, edges = flatten(graph)
    for name, node in nodes.items():
        if not isinstance(node, nir.Input):
            continue
        wanted = {_wanted(nodes[b]) for a, b in edges if a == name and b in nodes} - {None}
        told = own_shape(node)
        if len(wanted) == 1:
            (shape,) = wanted
            if shape is not None and told is not None and told != shape and _same(told, shape):
                repairs.append(f"{name}: shape {told} read as {shape}")
                node.input_type = {"input": np.array(shape)}
                node.__post_init__()


def _wanted(node: nir.NIRNode) -> tuple[int, ...] | None:
    """The input shape that a node's own weights fix."""
    if isinstance(node, nir.Affine | nir.Linear) and np.ndim(node.weight) >= 2:
        weight = tuple(np.shape(node.weight))
        return (*weight[:-2], weight[-1])
    return None


def _same(told: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    """Whether the shape of a port is this one with axes of one, or with batch and time before it."""
    squeezed = [[n for n in each if n != 1] for each in (told, shape)]
    return squeezed[0] == squeezed[1] or (0 < len(told) - len(shape) <= 2 and told[-len(shape) :] == shape)


def _widen(name: str, node: nir.NIRNode, told: tuple[int, ...], given: tuple[int, ...], repairs: list[str]) -> None:
    """Give every neuron of the layer its constants, where the node holds one number, or one a channel."""
    fits = len(told) == len(given) and all(n in (1, m) for n, m in zip(told, given, strict=True))
    if hasattr(node, "weight") or not (fits or math.prod(told) == 1) or math.prod(given) > SPREAD:
        return
    for field in NUMBERS | TIMES:
        if getattr(node, field, None) is not None:
            value = np.asarray(getattr(node, field))
            setattr(node, field, np.broadcast_to(value if fits else value.reshape(()), given).copy())
    repairs.append(f"{name}: constants of shape {told} spread over {given}")
    post = getattr(node, "__post_init__", None)
    if post is not None:
        post()
