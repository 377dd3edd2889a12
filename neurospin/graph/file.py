"""NIR files: read with suspicion, written whole or not at all.

The layout is that of nir 1.0.8, whose reader can read what `write` writes, and what crashes nir's own
writer is carried without loss (see `neurospin.graph.metadata`): 0-d parameters, `None`, lists, tuples, a
`/` in a name. One exception is nir's: it infers the shape behind a rectangular kernel wrongly, so such a
file needs `nir.read(path, type_check=False)`.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Mapping
from typing import Any

import h5py
import nir
import numpy as np

from neurospin.errors import GraphError, unknown_name
from neurospin.files import existing, replacing
from neurospin.graph.check import FIELDS, NUMBERS, TIMES, shapes, validate
from neurospin.graph.hdf5 import tree
from neurospin.graph.metadata import escaped, from_file, put, to_file, unescaped
from neurospin.graph.order import order
from neurospin.graph.repair import GraphWarning, add_ports, complete, repair, repaired


def read(path: str | os.PathLike[str]) -> nir.NIRGraph:
    """Read a NIR file.

    Harmless quirks of older files are repaired, and a `GraphWarning` says what was repaired: no
    version, no `v_reset` (0 is taken) or `w_in` (1), one number for a whole layer, no Input or Output, one
    whose shape carries extra ones, shapes that nir infers wrongly (rectangular kernels). Nothing outside
    the file is read, nothing is executed, and the HDF5 library is not asked (`neurospin.graph.hdf5`).

    Raises:
        MissingFile: no such file.
        GraphError: not a NIR file, damaged, unsafe, or malformed; names node, field and value.
    """
    place = existing(path)
    graph, repairs = of_content(tree(place), str(path))
    if repairs:
        warnings.warn(f"{path}: {'; '.join(repairs)}", GraphWarning, stacklevel=2)
    return graph


def of_content(content: Mapping[str, Any], where: str) -> tuple[nir.NIRGraph, list[str]]:
    """The graph that a file's content describes, and what was repaired in it."""
    repairs: list[str] = []
    version = content.get("version")
    if not (isinstance(version, str) and re.fullmatch(r"[01](\.\w+)*", version)):
        repairs.append(f"{'no version' if version is None else f'version {version!r:.40}'}: read as {nir.version}")
    if not isinstance(content.get("node"), dict):
        raise GraphError(where, "a NIR file, with a group `node`", ", ".join(content)[:80] or "nothing", "export it")
    graph = _graph(content["node"], where, repairs)
    repair(graph, repairs)
    validate(graph)
    for node in graph.nodes.values():
        if isinstance(node, nir.NIRGraph):
            node.__post_init__()
    graph.__post_init__()
    return graph, repairs


def _graph(content: Mapping[str, Any], where: str, repairs: list[str]) -> nir.NIRGraph:
    kind = content.get("type")
    if not isinstance(kind, str) or kind != "NIRGraph":
        raise GraphError(where, "a node of type NIRGraph", repr(kind)[:60], "wrap the node in a graph")
    for field in content:
        if field not in ("type", "nodes", "edges", "metadata", "input_type", "output_type"):
            raise unknown_name(f"{where}: graph", field, ("type", "nodes", "edges", "metadata"), "field")
    nodes = content.get("nodes")
    if not isinstance(nodes, dict) or not nodes:
        raise GraphError(f"{where}: nodes", "at least one node", "none", "export the graph again")
    edges = content.get("edges")
    pairs = [] if edges is None or (isinstance(edges, np.ndarray) and edges.size == 0) else edges
    whole = isinstance(pairs, list) and all(isinstance(e, list) and len(e) == 2 for e in pairs)
    if not whole or not all(isinstance(name, str) for pair in pairs for name in pair):
        raise GraphError(f"{where}: edges", "pairs of node names", "something else", "export the graph again")
    made = {unescaped(name): _node(unescaped(name), node, repairs) for name, node in nodes.items()}
    if len(made) < len(nodes):
        raise GraphError(f"{where}: nodes", "a name for each node", "names that are one when unescaped", "rename them")
    links = [(unescaped(a), unescaped(b)) for a, b in pairs]
    add_ports(made, links, repairs)
    return nir.NIRGraph(made, links, metadata=from_file(content.get("metadata")), type_check=False)


def _node(name: str, content: Any, repairs: list[str]) -> nir.NIRNode:
    if not isinstance(content, dict) or not isinstance(content.get("type"), str):
        raise GraphError(f"node {name}", "a group with a type", "none", "export the graph again")
    kind = content["type"]
    if kind == "NIRGraph":
        return _graph(content, f"node {name}", repairs)
    if kind not in FIELDS:
        raise unknown_name(f"node {name}: type", kind, (*FIELDS, "NIRGraph"), "type")
    required, optional = FIELDS[kind]
    given = {key: value for key, value in content.items() if key not in ("type", "metadata")}
    for field in given:
        if field not in required + optional and field not in ("input_type", "output_type"):
            raise unknown_name(f"{name}.{field}", field, required + optional, "field")
    for field in required:
        if field not in given:
            raise GraphError(f"{name}.{field}", "a value", "none", f"give {kind} its {field}")
    given = {key: _field(f"{name}.{key}", kind, key, value) for key, value in given.items()}
    extra = from_file(content.get("metadata"))
    if kind in ("Input", "Output"):
        shape = np.atleast_1d(np.asarray(given["shape"])).astype(np.int64)
        node = nir.Input({"input": shape}) if kind == "Input" else nir.Output({"output": shape})
    else:
        for key in ("output_type", *(() if kind == "Flatten" else ("input_type",))):
            given.pop(key, None)
        if kind == "Flatten":
            given["input_type"] = {"input": given.get("input_type")}
        node = _make(name, kind, complete(name, kind, given, repairs))
    node.metadata = extra
    return node


def _field(where: str, kind: str, key: str, value: Any) -> Any:
    if key in NUMBERS | TIMES:
        array = np.asarray(value)
        if array.dtype.kind not in "fiu":
            raise GraphError(where, "real numbers", f"dtype {array.dtype}", "convert to float32")
        return array
    if key in ("input_type", "output_type") and isinstance(value, dict):
        return None  # older files store what the nodes around tell
    if key in ("input_shape", "input_type", "output_type") and value is None:
        return None
    if key == "padding" and isinstance(value, str) and kind in ("Conv1d", "Conv2d"):
        return value
    array = np.asarray(value)
    if key == "shape" and array.shape == (0,):
        return array.astype(np.int64)  # a layer of one neuron, without axes
    single = key in ("groups", "start_dim", "end_dim")
    least = {"padding": 0, "start_dim": -32, "end_dim": -32}.get(key, 1)
    if array.dtype.kind not in "iu" or array.ndim > (0 if single else 1) or not 0 < array.size <= 32:
        raise GraphError(where, "a whole number" if single else "whole numbers", repr(value)[:60], "mend the node")
    if array.min() < least or array.max() >= 2**31:
        raise GraphError(where, f"whole numbers from {least} to {2**31 - 1}", repr(value)[:60], "mend the node")
    return array.astype(np.int64)


def _make(name: str, kind: str, given: dict[str, Any]) -> nir.NIRNode:
    try:
        return getattr(nir, kind)(**given)
    except (AssertionError, ArithmeticError, LookupError, ValueError, TypeError, AttributeError) as error:
        text = " ".join(str(error).split()) or "values that do not fit each other"
        raise GraphError(f"node {name}", f"a {kind} that nir accepts", text[:200], "match the shapes") from error


def write(path: str | os.PathLike[str], graph: nir.NIRGraph) -> None:
    """Write a NIR file, whole or not at all; the same graph gives the same bytes. It is repaired as by `read`.

    Raises:
        GraphError: the graph is malformed, or its metadata hold what a file cannot.
        OutputError: the file cannot be written.
    """
    graph = repaired(graph)
    validate(graph)
    plan, found = order(graph), shapes(graph)
    given = {name: found[sources[0]] for name, sources in plan.sources.items() if sources}
    with replacing(path) as temporary, h5py.File(temporary, "w", track_order=False) as file:
        put(file, "version", nir.version)
        _write_node(file.create_group("node"), graph, "", given)


def _write_node(group: h5py.Group, node: nir.NIRNode, name: str, given: Mapping[str, tuple[int, ...]]) -> None:
    kind = type(node).__name__
    put(group, "type", kind)
    if isinstance(node, nir.NIRGraph):
        put(group, "edges", [[escaped(a), escaped(b)] for a, b in node.edges])
        nodes = group.create_group("nodes", track_order=True)
        for key, inner in node.nodes.items():
            _write_node(nodes.create_group(escaped(key)), inner, f"{name}.{key}" if name else key, given)
    elif isinstance(node, nir.Input | nir.Output):
        shape = node.input_type["input"] if isinstance(node, nir.Input) else node.output_type["output"]
        put(group, "shape", np.asarray(shape, np.int64))
    else:
        for field in (*FIELDS[kind][0], *FIELDS[kind][1]):
            value = node.input_type["input"] if field == "input_type" else getattr(node, field, None)
            if value is None and field == "input_type":
                value = given.get(name)
            elif value is None and field == "input_shape" and name in given:  # nir cannot read it without
                value = given[name][1:] if kind == "Conv2d" else given[name][1]
            if value is not None:
                put(group, field, value if isinstance(value, str) else np.asarray(value))
    if node.metadata:
        to_file(group.create_group("metadata"), node.metadata, f"{name}.metadata" if name else "metadata")


__all__ = ["GraphWarning", "read", "write"]
