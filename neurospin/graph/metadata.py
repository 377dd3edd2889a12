"""Names and metadata in a file: what HDF5 cannot hold is written so that it comes back as it was.

A `/` in a name is written as `%2F` (`%` as `%25`, a lone `.` as `%2E`). A list or tuple becomes a
group that says so: the member `%list` or `%tuple` holds the numbers or texts if they are all of one
kind, else it is empty and the members `0`, `1`, … hold one element each. `None` is an empty array. Any
other tool sees groups, arrays and texts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import h5py
import numpy as np

from neurospin.errors import GraphError

_SEQUENCES = {"%list": list, "%tuple": tuple, "%texts": np.array}
_DEPTH = 32


def escaped(name: str) -> str:
    """A name as HDF5 can hold it."""
    return "%2E" if name == "." else name.replace("%", "%25").replace("/", "%2F")


def unescaped(name: str) -> str:
    """The name that `escaped` was given."""
    return re.sub("%2F|%2E|%25", lambda found: {"%2F": "/", "%2E": ".", "%25": "%"}[found[0]], name)


def from_file(content: Any) -> dict[str, Any]:
    """Metadata as they were: numbers of Python, lists and tuples, texts as `str`; arrays stay arrays."""
    if not isinstance(content, dict):
        return {}
    return {unescaped(key): _back(value) for key, value in content.items()}


def _back(value: Any) -> Any:
    if isinstance(value, dict):
        kind = next(iter(_SEQUENCES.keys() & value.keys()), None)
        if kind is None:
            return from_file(value)
        whole = value[kind]
        if isinstance(whole, np.ndarray):
            whole = whole.tolist()
        if whole is None:
            items = [value[key] for key in sorted((k for k in value if k.isdecimal()), key=int)]
            whole = [_back(item) for item in items]
        return _SEQUENCES[kind](whole if isinstance(whole, list) else [whole])
    if isinstance(value, np.generic) and value.dtype in (np.float64, np.int64, np.bool_):
        return value.item()
    return value


def to_file(group: h5py.Group, content: Mapping[str, Any], where: str) -> None:
    """Write metadata into a group.

    Raises:
        GraphError: a key that is no name, or a value that is neither number, text, array, list nor mapping.
    """
    if where.count(".") > _DEPTH:
        raise GraphError(where[:80], f"metadata of at most {_DEPTH} levels", "more", "flatten them")
    for key, value in content.items():
        check_name(key, where)
        _write(group, escaped(key), value, f"{where}.{key}")


def check_name(name: Any, where: str) -> None:
    """Refuse a name that `read` would refuse."""
    if not isinstance(name, str) or not name.isprintable() or not 0 < len(escaped(name)) <= 200:
        raise GraphError(where, "a printable name of at most 200 characters", ascii(name)[:60], "rename it")


def _write(group: h5py.Group, key: str, value: Any, where: str) -> None:
    if isinstance(value, Mapping):
        to_file(group.create_group(key), value, where)
    elif isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        put(group, key, value)
    elif isinstance(value, list | tuple):
        inner = group.create_group(key, track_order=True)
        mark = "%list" if isinstance(value, list) else "%tuple"
        for kind in (str, bool, int, float):
            if value and all(type(item) is kind for item in value):
                _write_plain(inner, mark, list(value) if kind is str else np.array(value), where)
                return
        put(inner, mark, None)
        for number, item in enumerate(value):
            _write(inner, str(number), item, f"{where}.{number}")
    elif isinstance(value, np.ndarray) and value.dtype.kind in "UOT":
        _write_plain(group.create_group(key), "%texts", value.tolist(), where)
    else:
        _write_plain(group, key, value, where)


def _write_plain(group: h5py.Group, key: str, value: Any, where: str) -> None:
    """One array, number or text."""
    try:
        array = np.asarray(value)
        known = array.dtype.kind in "biu" or array.dtype in (
            np.float16,
            np.float32,
            np.float64,
            np.complex64,
            np.complex128,
        )
        if not (value is None or isinstance(value, str | list) or known):
            raise TypeError
        put(group, key, value)
    except (TypeError, ValueError, OverflowError) as error:
        raise GraphError(where, "numbers, texts, arrays, or lists of them", repr(value)[:60], "drop it") from error


def put(group: h5py.Group, key: str, value: Any) -> None:
    """Write one array, number, text, list of texts, or `None`; the same value gives the same bytes."""
    if value is None:
        group.create_dataset(key, data=h5py.Empty("f4"), track_times=False)
    elif isinstance(value, str):
        group.create_dataset(key, data=value, dtype=h5py.string_dtype(), track_times=False)
    elif isinstance(value, list):
        texts = np.array(value, dtype=object)
        if not all(isinstance(text, str) for text in texts.ravel()):
            raise TypeError
        group.create_dataset(key, data=texts, dtype=h5py.string_dtype(), track_times=False)
    else:
        array = np.asarray(value)
        packed = {"compression": "gzip", "shuffle": True, "compression_opts": 4} if array.size > 64 else {}
        group.create_dataset(key, data=array, track_times=False, **packed)
