"""An HDF5 file as nested dictionaries, read by plain Python.

A file from a stranger may name other files, point to itself, nest without end, declare arrays of
terabytes, or be damaged in a way that crashes the HDF5 library, and Python with it. So the library is
not asked: the structures that NIR files are made of are followed here byte by byte (HDF5 File Format
Specification 3.0), every address is checked, nothing outside the file is opened, and what a file may
cost is bounded by its size before an array is allocated. Every other feature is refused by name.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from neurospin.errors import GraphError
from neurospin.graph.hdf5_bytes import Bytes, Damaged, Headers, Message
from neurospin.graph.hdf5_values import kind, unpacked

LARGEST = 2 * 1024**3  # bytes that a file, and all its arrays together, may hold
INFLATION = 1100  # bytes declared per byte of file: gzip's own limit is about 1030
OBJECTS = 200_000
DEPTH = 64
NAME_LENGTH = 200
SIGNATURE = b"\x89HDF\r\n\x1a\n"


def tree(path: Path) -> dict[str, Any]:
    """The content of a file: groups as dictionaries, arrays as numpy, texts as `str`, null as `None`.

    A single number comes as a numpy scalar, an array of texts as a list of `str` (nested by axis).

    Raises:
        GraphError: not HDF5, damaged, or with a link, foreign storage, a cycle, an unknown filter, an
            array larger than the file can hold, or content that is neither numbers nor text.
    """
    size = path.stat().st_size
    if size > LARGEST:
        raise GraphError(str(path), f"a file of at most {LARGEST} bytes", f"{size}", "split the graph")
    data = path.read_bytes()
    start = _start(data)
    if start is None:
        got = "a file of another kind" if data else "an empty file"
        raise GraphError(str(path), "a NIR file (HDF5)", got, "check the path")
    try:
        return _Reader(data[start:] if start else data).root()
    except Damaged as error:
        raise GraphError(str(path), "a whole HDF5 file", f"a damaged or cut one ({error})", "copy it again") from error


def _start(data: bytes) -> int | None:
    """Where the HDF5 content starts: a block of the user's own may stand before it."""
    place = 0
    while place < len(data):
        if data[place : place + 8] == SIGNATURE:
            return place
        place = max(512, 2 * place)
    return None


class _Reader:
    """One pass over a file; counts objects and bytes as it goes."""

    def __init__(self, data: bytes) -> None:
        self.bytes = Bytes(data)
        self.headers = Headers(self.bytes)
        self.seen: set[int] = set()
        self.declared = 0
        self.heaps: dict[int, dict[int, bytes]] = {}

    def root(self) -> dict[str, Any]:
        found = self._object(self.bytes.root(), "", 0)
        if not isinstance(found, dict):
            raise Damaged("the root is not a group")
        return found

    def _object(self, address: int, where: str, depth: int) -> Any:
        if address in self.seen:
            raise GraphError(where or "/", "every object once", "one that is in the file twice", "copy the content")
        self.seen.add(address)
        if len(self.seen) > OBJECTS:
            raise GraphError(where, f"at most {OBJECTS} objects", "more", "split the graph")
        if depth > DEPTH:
            raise GraphError(where[:80], f"at most {DEPTH} nested groups", "more", "flatten the graph")
        messages = self.headers.messages(address)
        if 0x11 in messages or 0x02 in messages:
            content: dict[str, Any] = {}
            for name, place in self._children(messages, where):
                if name in content:
                    raise Damaged(f"{where}/{name} twice")
                content[name] = self._object(place, f"{where}/{name}", depth + 1)
            return content
        if 0x08 in messages:
            return self._array(messages, where)
        if 0x03 in messages and 0x01 not in messages:
            raise GraphError(where, "a group or an array", "a datatype", "remove it")
        raise Damaged(f"{where or '/'} is neither a group nor an array")

    def _children(self, messages: dict[int, list[Message]], where: str) -> list[tuple[str, int]]:
        links = list(self.headers.links(messages))
        if len(links) > OBJECTS:
            raise GraphError(where, f"at most {OBJECTS} objects", f"{len(links)}", "split the graph")
        found = []
        for raw, address, link in links:
            try:
                name = raw.decode("utf-8")
            except UnicodeDecodeError:
                name = ""
            if not name.isprintable() or not 0 < len(name) <= NAME_LENGTH or "/" in name:
                place = f"{where}/{raw[:40].decode('utf-8', 'replace')}"
                text = f"a printable name of at most {NAME_LENGTH} characters"
                raise GraphError(ascii(place)[1:-1], text, f"{ascii(raw[:40])[2:-1]} ({len(raw)} bytes)", "rename it")
            if link != "hard":
                raise GraphError(f"{where}/{name}", "content of this file", f"a link ({link})", "copy it into the file")
            found.append((name, address))
        return found

    def _array(self, messages: dict[int, list[Message]], where: str) -> Any:
        if 0x07 in messages:
            raise GraphError(where, "an array in this file", "one in another file", "copy the content into the file")
        for code in (0x01, 0x03):
            if code not in messages:
                raise Damaged(f"{where} has no shape or no type")
            if messages[code][0].shared:
                raise GraphError(where, "an array with its own type", "a committed datatype", "write it anew")
        shape = self._shape(messages[0x01][0].data)
        which = kind(messages[0x03][0].data, where)
        if shape is None:
            return None
        count = math.prod(shape)
        self._declare(math.prod(n for n in shape if n) * which.size, where)
        raw = self._raw(messages, shape, which.size, where) if count else np.empty(0, np.uint8)
        if which.text == "heap":
            return which.texts([self._heap_text(pointer, where) for pointer in which.parts(raw)], shape)
        return which.array(raw, shape)

    def _declare(self, count: int, where: str) -> None:
        """Refuse what a file of this size cannot hold, before it is allocated."""
        self.declared += count
        if self.declared > LARGEST or self.declared > INFLATION * max(len(self.bytes), 4096):
            got = f"{self.declared} bytes in {len(self.bytes)}"
            raise GraphError(where, "arrays that fit the file", got, "write it anew")

    def _shape(self, message: bytes) -> tuple[int, ...] | None:
        head = Bytes(message, self.bytes)
        version, rank = head.int(0, 1), head.int(1, 1)
        if version not in (1, 2) or rank > 32:
            raise Damaged("a shape of an unknown kind")
        if version == 2 and head.int(3, 1) == 2:
            return None
        first = 8 if version == 1 else 4
        return tuple(head.length(first + n * head.lengths) for n in range(rank))

    def _raw(self, messages: dict[int, list[Message]], shape: tuple[int, ...], width: int, where: str) -> np.ndarray:
        """The bytes of an array, row by row."""
        layout = Bytes(messages[0x08][0].data, self.bytes)
        version, form = layout.int(0, 1), layout.int(1, 1)
        if version not in (3, 4):
            raise GraphError(where, "storage of HDF5 1.6.3 to 1.14", f"version {version}", "write it anew")
        size = math.prod(shape) * width
        filters = self._filters(messages, where)
        if form == 3:
            raise GraphError(where, "an array in this file", "one in another file", "copy the content into the file")
        if form in (0, 1):
            address = 4 if form == 0 else layout.address(2)
            length = layout.int(2, 2) if form == 0 else layout.length(2 + layout.offsets)
            if address is None or length != size or filters:
                raise Damaged(f"{where}: {size} bytes expected, {'none' if address is None else length} stored")
            return np.frombuffer((layout if form == 0 else self.bytes).take(address, size), np.uint8).copy()
        if form != 2:
            raise Damaged(f"{where}: storage of an unknown kind")
        chunk, chunks = self.headers.chunks(layout, version, len(shape), where)
        if len(chunk) != len(shape) or min(chunk, default=0) < 1:
            raise Damaged(f"{where}: chunks that do not fit the array")
        return self._assembled(shape, chunk, width, filters, chunks, where)

    def _assembled(
        self,
        shape: tuple[int, ...],
        chunk: tuple[int, ...],
        width: int,
        filters: list[int],
        chunks: Iterator[tuple[tuple[int, ...], int, int | None, int]],
        where: str,
    ) -> np.ndarray:
        size = math.prod(chunk) * width
        wanted = math.prod(-(-n // c) for n, c in zip(shape, chunk, strict=True))
        self._declare(wanted * size - math.prod(shape) * width if wanted > 1 else size, where)
        whole = np.empty((*shape, width), np.uint8)
        found: set[tuple[int, ...]] = set()
        for offset, address, stored, skipped in chunks:
            if offset in found or any(o % c or o >= n for o, c, n in zip(offset, chunk, shape, strict=True)):
                raise Damaged(f"{where}: a part of the array out of place")
            found.add(offset)
            packed = self.bytes.take(address, size if stored is None else stored)
            used = [f for n, f in enumerate(filters) if not skipped >> n & 1]
            part = np.frombuffer(unpacked(packed, used, size, width, where), np.uint8).reshape(*chunk, width)
            place = tuple(slice(o, min(o + c, n)) for o, c, n in zip(offset, chunk, shape, strict=True))
            whole[place] = part[tuple(slice(0, p.stop - p.start) for p in place)]
        if len(found) != wanted:
            raise Damaged(f"{where}: {len(found)} of {wanted} parts of the array are stored")
        return whole.ravel()

    def _filters(self, messages: dict[int, list[Message]], where: str) -> list[int]:
        if 0x0B not in messages:
            return []
        head = Bytes(messages[0x0B][0].data, self.bytes)
        version, count = head.int(0, 1), head.int(1, 1)
        place, codes = (8 if version == 1 else 2), []
        for _ in range(count):
            code = head.int(place, 2)
            codes.append(code)
            named = version == 1 or code >= 256
            length = head.int(place + 2, 2) if named else 0
            values = head.int(place + (6 if named else 4), 2)
            if version == 1:
                place += 8 + -(-length // 8) * 8 + 4 * (values + values % 2)
            else:
                place += (8 if named else 6) + length + 4 * values
        known = {1: "gzip", 2: "shuffle", 32000: "lzf"}
        for code in codes:
            if code not in known:
                raise GraphError(where, f"filters {', '.join(known.values())}", f"filter {code}", "write it anew")
        return codes

    def _heap_text(self, pointer: bytes, where: str) -> bytes:
        head = Bytes(pointer, self.bytes)
        length, address, index = head.int(0, 4), head.address(4), head.int(4 + head.offsets, 4)
        if not length:
            return b""
        if address is None:
            raise Damaged(f"{where}: a text without a place")
        if address not in self.heaps:
            self.heaps[address] = self.headers.global_heap(address)
        text = self.heaps[address].get(index)
        if text is None or len(text) < length:
            raise Damaged(f"{where}: a text of {length} bytes that is not in the file")
        self._declare(length, where)
        return text[:length]


__all__ = ["tree"]
