"""Looking into an HDF5 file before any of its content is read.

A file from a stranger may name other files, point to itself, nest without end, or declare arrays of
terabytes. All of that is found from the file's structure, and refused, before an array is allocated.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import h5py
import numpy as np
from h5py import h5o  # pyright: ignore[reportAttributeAccessIssue]

from neurospin.errors import GraphError

LARGEST = 2 * 1024**3  # bytes that all arrays of a file may declare
INFLATION = 1100  # bytes declared per byte of file: gzip's own limit is about 1030
OBJECTS = 200_000
DEPTH = 64
NAME = re.compile(r"^[^/\x00-\x1f\x7f]{1,200}$")
FILTERS = {"gzip", "lzf", "shuffle", "fletcher32"}
CODES = {1: "gzip", 2: "shuffle", 3: "fletcher32", 4: "szip", 5: "nbit", 6: "scaleoffset", 32000: "lzf"}


@contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """The file, opened for reading only.

    Raises:
        GraphError: not HDF5, cut off, or damaged.
    """
    with path.open("rb") as raw:
        signature = raw.read(8)
    if signature != b"\x89HDF\r\n\x1a\n":
        got = "an empty file" if not signature else "a file of another kind"
        raise GraphError(str(path), "a NIR file (HDF5)", got, "check the path")
    try:
        with h5py.File(path, "r") as file:
            yield file
    except GraphError:
        raise
    except (
        OSError,
        RuntimeError,
        KeyError,
        ValueError,
        TypeError,
        MemoryError,
        OverflowError,
        RecursionError,
    ) as error:
        reason = " ".join(str(error).split())[:200]
        raise GraphError(str(path), "a whole HDF5 file", f"a damaged or cut one ({reason})", "copy it again") from error
    except Exception as error:  # h5py raises whatever libhdf5 calls the fault; to the reader it is damage
        raise GraphError(str(path), "a whole HDF5 file", f"a damaged one ({error})", "copy it again") from error


def tree(file: h5py.File, path: Path) -> dict[str, Any]:
    """The content of a file as nested dictionaries, after its structure is found harmless.

    Args:
        file: opened for reading.
        path: of the file.

    Raises:
        GraphError: a link, foreign storage, a cycle, unknown filters, huge or illegal content.
    """
    with path.open("rb") as raw:
        _scan(file, path.stat().st_size, raw)
    return _read(file)


def _scan(file: h5py.File, size: int, raw: BinaryIO) -> None:
    seen: set[int] = set()
    total = 0
    stack: list[tuple[h5py.Group, str, int]] = [(file, "", 0)]
    seen.add(h5o.get_info(file.id).addr)
    while stack:
        group, path, depth = stack.pop()
        if depth > DEPTH:
            raise GraphError(path, f"at most {DEPTH} nested groups", "more", "flatten the graph")
        for key in map(str, group):
            where = f"{path}/{key}"
            if not NAME.match(key):
                raise GraphError(where[:80], "a printable name of at most 200 characters", repr(key[:40]), "rename it")
            if not isinstance(group.get(key, getlink=True), h5py.HardLink):
                raise GraphError(where, "content of this file", "a link", "copy the content into the file")
            item = group[key]
            address = h5o.get_info(item.id).addr
            if address in seen:
                raise GraphError(where, "every object once", "one that is already in the file", "copy the content")
            seen.add(address)
            if len(seen) > OBJECTS:
                raise GraphError(where, f"at most {OBJECTS} objects", "more", "split the graph")
            if isinstance(item, h5py.Group):
                stack.append((item, where, depth + 1))
            elif isinstance(item, h5py.Dataset):
                total += _dataset(item, where)
                if h5py.check_string_dtype(item.dtype) and item.dtype.kind == "O":
                    total += _texts(item, where, size, raw)
            else:
                raise GraphError(where, "a group or an array", type(item).__name__, "remove it")
            if total > LARGEST or total > INFLATION * max(size, 4096):
                raise GraphError(where, "arrays that fit the file", f"{total} bytes in {size}", "write it anew")


def _dataset(item: h5py.Dataset, where: str) -> int:
    """Bytes that an array declares, after its storage is found to be in this file."""
    plist = item.id.get_create_plist()
    if item.is_virtual or plist.get_external_count():
        raise GraphError(where, "an array in this file", "one in another file", "copy the content into the file")
    for index in range(plist.get_nfilters()):
        code = plist.get_filter(index)[0]
        if CODES.get(code) not in FILTERS:
            raise GraphError(
                where, f"filters {', '.join(sorted(FILTERS))}", CODES.get(code, str(code)), "write it anew"
            )
    kind = item.dtype.kind
    text = h5py.check_string_dtype(item.dtype)
    if kind not in "fiubSc" and text is None:  # complex is read, so that the check can name it
        raise GraphError(where, "numbers or text", f"dtype {item.dtype}", "convert the array")
    if item.shape is None:
        return 0
    count = 1
    for length in item.shape:
        count *= int(length)
    return count * max(1, 16 if text is not None and text.length is None else item.dtype.itemsize)


def _texts(item: h5py.Dataset, where: str, size: int, raw: BinaryIO) -> int:
    """Bytes that texts of any length declare, read from the file itself.

    The HDF5 library allocates the length that a text declares before it looks whether the text is there,
    so that four damaged bytes cost gigabytes.
    """
    stored = item.id.get_storage_size()
    if not stored or not item.size:
        return 0
    offset = item.id.get_offset()
    if offset is None:
        raise GraphError(where, "texts stored in one piece", "texts in chunks", "write it anew")
    raw.seek(offset)
    width = stored // item.size
    content = raw.read(stored)
    lengths = [int.from_bytes(content[n : n + 4], "little") for n in range(0, len(content), width)]
    if sum(lengths) > size:
        raise GraphError(where, f"texts that fit the file ({size} bytes)", f"{sum(lengths)} bytes", "copy it again")
    return sum(lengths)


def _read(group: h5py.Group) -> dict[str, Any]:
    content: dict[str, Any] = {}
    for key, item in group.items():
        content[key] = _read(item) if isinstance(item, h5py.Group) else _plain(item)
    return content


def _plain(item: h5py.Dataset) -> Any:
    """An array as numpy, a text as str, texts as a list of str."""
    value = item[()]
    if isinstance(value, h5py.Empty):
        return None
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    if isinstance(value, np.ndarray) and value.dtype.kind in "OS":
        flat = [v.decode("utf-8", errors="replace") if isinstance(v, bytes) else str(v) for v in value.ravel()]
        return np.array(flat, dtype=object).reshape(value.shape).tolist()
    return value
