"""NIR files: read with suspicion, written whole or not at all.

The layout is that of nir 1.0.8, whose reader can read what `write` writes. What crashes nir's own
writer is carried: 0-d parameters are stored as they are, `None` as an empty array, a `/` in a node's
name as `%2F` (and `%` as `%25`), a list of texts as an array of texts.
"""

from __future__ import annotations

import os
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


class GraphWarning(UserWarning):
    """Something harmless in a file that was repaired."""


def read(path: str | os.PathLike[str]) -> nir.NIRGraph:
    """Read a NIR file.

    Harmless quirks of older files are repaired, and a `GraphWarning` says what was repaired: no
    version, no `v_reset` (0 is taken) or `w_in` (1), one number for a whole layer, an Input or Output
    whose shape carries extra ones. Nothing outside the file is read, and nothing is executed.

    Raises:
        MissingFile: no such file.
        GraphError: not a NIR file, damaged, unsafe, or malformed; names node, field and value.
    """
    place = existing(path)
    content = tree(place)
    repairs: list[str] = []
    if "version" not in content:
        repairs.append("no version: read as 1.0")
    if not isinstance(content.get("node"), dict):
        raise GraphError(
            str(path), "a NIR file, with a group `node`", ", ".join(content)[:80] or "nothing", "export it"
        )
    graph = _graph(content["node"], str(path), repairs)
    _repair_ports(graph, repairs)
    validate(graph)
    for node in graph.nodes.values():
        if isinstance(node, nir.NIRGraph):
            node.__post_init__()
    graph.__post_init__()
    if repairs:
        warnings.warn(f"{path}: {'; '.join(repairs)}", GraphWarning, stacklevel=2)
    return graph


def _graph(content: Mapping[str, Any], where: str, repairs: list[str]) -> nir.NIRGraph:
    kind = content.get("type")
    if kind != "NIRGraph":
        raise GraphError(where, "a node of type NIRGraph", repr(kind), "wrap the node in a graph")
    for field in content:
        if field not in ("type", "nodes", "edges", "metadata", "input_type", "output_type"):
            raise unknown_name(f"{where}: graph", field, ("type", "nodes", "edges", "metadata"), "field")
    nodes = content.get("nodes")
    if not isinstance(nodes, dict) or not nodes:
        raise GraphError(f"{where}: nodes", "at least one node", "none", "export the graph again")
    edges = content.get("edges")
    pairs = [] if edges is None or len(edges) == 0 else edges
    if not isinstance(pairs, list) or not all(isinstance(e, list) and len(e) == 2 for e in pairs):
        raise GraphError(f"{where}: edges", "pairs of node names", "something else", "export the graph again")
    made = {_unescaped(name): _node(name, node, repairs) for name, node in nodes.items()}
    links = [(_unescaped(a), _unescaped(b)) for a, b in pairs]
    return nir.NIRGraph(made, links, metadata=_metadata(content.get("metadata")), type_check=False)


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
    given = {key: _field(f"{name}.{key}", key, value) for key, value in given.items()}
    extra = _metadata(content.get("metadata"))
    if kind in ("Input", "Output"):
        shape = np.atleast_1d(np.asarray(given["shape"])).astype(np.int64)
        node = nir.Input({"input": shape}) if kind == "Input" else nir.Output({"output": shape})
    else:
        for key in ("output_type", *(() if kind == "Flatten" else ("input_type",))):
            given.pop(key, None)
        if kind == "Flatten":
            given["input_type"] = {"input": given.get("input_type")}
        node = _make(name, kind, _complete(name, kind, given, repairs))
    node.metadata = extra
    return node


def _field(where: str, key: str, value: Any) -> Any:
    if key in NUMBERS | TIMES:
        array = np.asarray(value)
        if array.dtype.kind not in "fiu":
            raise GraphError(where, "real numbers", f"dtype {array.dtype}", "convert to float32")
        return array
    if isinstance(value, str | dict):
        return value
    if isinstance(value, np.ndarray | np.generic) and np.asarray(value).dtype.kind in "iu":
        return value
    if key in ("input_shape", "input_type") and value is None:
        return None
    raise GraphError(where, "whole numbers", repr(value)[:40], "export the graph again")


def _complete(name: str, kind: str, given: dict[str, Any], repairs: list[str]) -> dict[str, Any]:
    """Fill what older files lack, and spread one number over the layer."""
    sizes = [np.shape(given[f]) for f in given if f in NUMBERS | TIMES and f not in ("weight", "bias")]
    if kind in ("I", "IF", "LI", "LIF", "CubaLI", "CubaLIF") and sizes:
        shape = max(sizes, key=len)
        for field in [f for f in given if f in NUMBERS | TIMES]:
            if np.shape(given[field]) != shape and np.size(given[field]) == 1:
                repairs.append(f"{name}.{field}: one number for {shape}")
                given[field] = np.broadcast_to(np.ravel(given[field])[0], shape).copy()
        like = given["r"]
        if kind in ("IF", "LIF", "CubaLIF") and "v_reset" not in given:
            repairs.append(f"{name}.v_reset: 0 is taken")
            given["v_reset"] = np.zeros_like(given["v_threshold"])
        if kind in ("CubaLI", "CubaLIF") and "w_in" not in given:
            repairs.append(f"{name}.w_in: 1 is taken")
            given["w_in"] = np.ones_like(like)
        _same_shape(name, given, shape)
    for field in ("padding",):
        if isinstance(given.get(field), np.ndarray):
            given[field] = tuple(int(n) for n in given[field])
    return given


def _same_shape(name: str, given: dict[str, Any], shape: tuple[int, ...]) -> None:
    for field, value in given.items():
        if field in NUMBERS | TIMES and np.shape(value) != shape:
            raise GraphError(f"{name}.{field}", f"shape {shape}", f"shape {np.shape(value)}", "match the shapes")


def _make(name: str, kind: str, given: dict[str, Any]) -> nir.NIRNode:
    try:
        return getattr(nir, kind)(**given)
    except (AssertionError, ValueError, TypeError, IndexError, AttributeError, ZeroDivisionError, KeyError) as error:
        text = " ".join(str(error).split()) or "values that do not fit each other"
        raise GraphError(f"node {name}", f"a {kind} that nir accepts", text[:200], "match the shapes") from error


def _repair_ports(graph: nir.NIRGraph, repairs: list[str]) -> None:
    """Give an Input or Output the shape of its neighbour where they differ only by ones."""
    for name, node in graph.nodes.items():
        if not isinstance(node, nir.Output):
            continue
        try:
            trial = nir.NIRGraph(
                {n: (nir.Output({"output": None}) if n == name else m) for n, m in graph.nodes.items()},  # type: ignore[dict-item]
                graph.edges,
                type_check=False,
            )
            found = shapes(trial)[name]
        except (GraphError, TypeError):
            continue
        told = tuple(int(n) for n in np.atleast_1d(node.output_type["output"]))
        if told != found and [n for n in told if n != 1] == [n for n in found if n != 1]:
            repairs.append(f"{name}: shape {told} read as {found}")
            graph.nodes[name] = nir.Output({"output": np.array(found)})


def _metadata(content: Any) -> dict[str, Any]:
    """Metadata with numbers as Python numbers and texts as str; arrays stay arrays."""
    if not isinstance(content, dict):
        return {}
    plain: dict[str, Any] = {}
    for key, value in content.items():
        if isinstance(value, dict):
            plain[_unescaped(key)] = _metadata(value)
        elif isinstance(value, np.generic):
            plain[_unescaped(key)] = value.item()
        else:
            plain[_unescaped(key)] = value
    return plain


def write(path: str | os.PathLike[str], graph: nir.NIRGraph) -> None:
    """Write a NIR file, whole or not at all; the same graph gives the same bytes.

    Raises:
        GraphError: the graph is malformed, or its metadata hold what a file cannot.
        OutputError: the file cannot be written.
    """
    validate(graph)
    with replacing(path) as temporary, h5py.File(temporary, "w", track_order=False) as file:
        _put(file, "version", nir.version)
        _write_node(file.create_group("node"), graph)


def _write_node(group: h5py.Group, node: nir.NIRNode) -> None:
    kind = type(node).__name__
    _put(group, "type", kind)
    if isinstance(node, nir.NIRGraph):
        _put(group, "edges", [[_escaped(a), _escaped(b)] for a, b in node.edges])
        nodes = group.create_group("nodes", track_order=True)
        for name, inner in node.nodes.items():
            _write_node(nodes.create_group(_escaped(name)), inner)
    elif isinstance(node, nir.Input | nir.Output):
        shape = node.input_type["input"] if isinstance(node, nir.Input) else node.output_type["output"]
        _put(group, "shape", np.asarray(shape))
    else:
        required, optional = FIELDS[kind]
        for field in (*required, *optional):
            value = node.input_type["input"] if field == "input_type" else getattr(node, field, None)
            if value is not None:
                _put(group, field, value if isinstance(value, str) else np.asarray(value))
    if node.metadata:
        _write_metadata(group.create_group("metadata"), node.metadata, "metadata")


def _write_metadata(group: h5py.Group, content: Mapping[str, Any], where: str) -> None:
    for key, value in content.items():
        if not isinstance(key, str) or not key:
            raise GraphError(where, "names as keys", repr(key), "rename the key")
        if isinstance(value, Mapping):
            _write_metadata(group.create_group(_escaped(key)), value, f"{where}.{key}")
        else:
            try:
                _put(group, _escaped(key), value)
            except (TypeError, ValueError) as error:
                raise GraphError(f"{where}.{key}", "numbers, texts or arrays", repr(value)[:60], "drop it") from error


def _put(group: h5py.Group, key: str, value: Any) -> None:
    if value is None:
        group.create_dataset(key, data=h5py.Empty("f4"))
    elif isinstance(value, str):
        group.create_dataset(key, data=value, dtype=h5py.string_dtype())
    elif isinstance(value, list | tuple) and any(isinstance(v, str) for v in np.ravel(np.array(value, dtype=object))):
        group.create_dataset(key, data=np.array(value, dtype=object), dtype=h5py.string_dtype(), track_times=False)
    else:
        array = np.asarray(value)
        packed = {"compression": "gzip", "shuffle": True, "compression_opts": 4} if array.size > 64 else {}
        group.create_dataset(key, data=array, track_times=False, **packed)


def _escaped(name: str) -> str:
    return name.replace("%", "%25").replace("/", "%2F")


def _unescaped(name: str) -> str:
    return name.replace("%2F", "/").replace("%25", "%")


__all__ = ["GraphWarning", "read", "write"]
