"""The structures inside an HDF5 file: object headers, links, B-trees, heaps. Every address is checked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from neurospin.errors import GraphError

STRUCTURES = 2_000_000  # blocks that may be followed in one file


class Damaged(Exception):
    """Bytes that are no HDF5; `tree` says it to the user."""


@dataclass(frozen=True)
class Message:
    """One message of an object header."""

    data: bytes
    shared: bool


class Bytes:
    """Bytes from which whole numbers are taken, each after a check that it is there.

    Args:
        data: the bytes.
        like: where the widths of addresses and lengths are taken from; default, the file's own head.
    """

    def __init__(self, data: bytes, like: Bytes | None = None) -> None:
        self.data = data
        self.offsets, self.lengths = (8, 8) if like is None else (like.offsets, like.lengths)

    def __len__(self) -> int:
        return len(self.data)

    def take(self, at: int, count: int) -> bytes:
        """`count` bytes from `at`."""
        if at < 0 or count < 0 or at + count > len(self.data):
            raise Damaged(f"bytes {at} to {at + count} of {len(self.data)}")
        return self.data[at : at + count]

    def int(self, at: int, count: int) -> int:
        """A whole number of `count` bytes, lowest first."""
        if at < 0 or at + count > len(self.data):
            raise Damaged(f"bytes {at} to {at + count} of {len(self.data)}")
        return int.from_bytes(self.data[at : at + count], "little")

    def length(self, at: int) -> int:
        """A length."""
        return self.int(at, self.lengths)

    def address(self, at: int) -> int | None:
        """An address, or `None` where nothing is stored."""
        value = self.int(at, self.offsets)
        return None if value == (1 << 8 * self.offsets) - 1 else value

    def place(self, at: int) -> int:
        """An address that must be there."""
        found = self.address(at)
        if found is None:
            raise Damaged("an address that is not set")
        return found

    def sign(self, at: int, text: bytes) -> None:
        """Refuse a block that does not bear its signature."""
        if self.take(at, len(text)) != text:
            raise Damaged(f"no {text.decode()} at byte {at}")

    def root(self) -> int:
        """Address of the root group, from the superblock."""
        version = self.int(8, 1)
        if version not in (0, 1, 2, 3):
            raise Damaged(f"superblock version {version}")
        sizes = 13 if version < 2 else 9
        self.offsets, self.lengths = self.int(sizes, 1), self.int(sizes + 1, 1)
        if self.offsets not in (2, 4, 8) or self.lengths not in (2, 4, 8):
            raise Damaged("addresses of an unknown width")
        first = {0: 24, 1: 28}.get(version, 12)
        end = self.place(first + 2 * self.offsets) - self.place(first)
        if end > len(self.data):
            raise Damaged(f"{len(self.data)} of {end} bytes")
        return self.place(first + (5 if version < 2 else 3) * self.offsets)


class Headers:
    """Follows the structures of one file, none of them twice."""

    def __init__(self, data: Bytes) -> None:
        self.bytes = data
        self.followed = 0

    def _follow(self) -> None:
        self.followed += 1
        if self.followed > STRUCTURES:
            raise Damaged("structures without end")

    def messages(self, address: int) -> dict[int, list[Message]]:
        """The messages of an object, by their code."""
        data = self.bytes
        new = data.take(address, 4) == b"OHDR"
        if new:
            if data.int(address + 4, 1) != 2:
                raise Damaged(f"no object at byte {address}")
            flags = data.int(address + 5, 1)
            first = address + 6 + (16 if flags & 32 else 0) + (4 if flags & 16 else 0)
            width = 1 << (flags & 3)
            blocks = [(first + width, data.int(first, width))]
        else:
            if data.int(address, 2) != 1:
                raise Damaged(f"no object at byte {address}")
            flags, blocks = 0, [(address + 16, data.int(address + 8, 4))]
        found: dict[int, list[Message]] = {}
        head = (6 if flags & 4 else 4) if new else 8
        for place, size in blocks:  # grows while it is walked
            self._follow()
            if len(blocks) > 10_000:
                raise Damaged("an object header without end")
            end = place + size
            data.take(place, size)
            while place + head <= end:
                self._follow()
                code = data.int(place, 1 if new else 2)
                length, marks = data.int(place + (1 if new else 2), 2), data.int(place + (3 if new else 4), 1)
                if place + head + length > end:
                    raise Damaged(f"a message beyond its header at byte {place}")
                content = data.take(place + head, length)
                place += head + length
                if code == 0x10:
                    further = Bytes(content, data)
                    start, count = further.place(0), further.length(data.offsets)
                    if new:
                        data.sign(start, b"OCHK")
                        start, count = start + 4, count - 8
                    blocks.append((start, count))
                elif code:
                    found.setdefault(code, []).append(Message(content, bool(marks & 2)))
        return found

    def links(self, messages: dict[int, list[Message]]) -> Iterator[tuple[bytes, int, str]]:
        """Name, address and kind of what a group holds, in the order in which it was put in, or by name."""
        if 0x11 in messages:
            table = Bytes(messages[0x11][0].data, self.bytes)
            heap = self._local_heap(table.place(self.bytes.offsets))
            yield from self._symbols(table.place(0), heap, 0)
            return
        found = [self._link(message.data) for message in messages.get(0x06, [])]
        info = Bytes(messages[0x02][0].data, self.bytes)
        place = 10 if info.int(1, 1) & 1 else 2
        heap, index = info.address(place), info.address(place + info.offsets)
        if heap is not None and index is not None:
            dense = _FractalHeap(self.bytes, heap)
            found += [self._link(dense.object(record[4:])) for record in self._records(index)]
        for _, name, address, link in sorted(found, key=lambda each: each[:2]):
            yield name, address, link

    def _link(self, message: bytes) -> tuple[int, bytes, int, str]:
        """Order of creation, name, address and kind of a link message."""
        self._follow()
        data = Bytes(message, self.bytes)
        flags, place = data.int(1, 1), 2
        which = data.int(place, 1) if flags & 8 else 0
        place += 1 if flags & 8 else 0
        created = data.int(place, 8) if flags & 4 else 0
        place += (8 if flags & 4 else 0) + (1 if flags & 16 else 0)
        width = 1 << (flags & 3)
        length = data.int(place, width)
        name = data.take(place + width, length)
        if which:
            return created, name, 0, {1: "soft", 64: "external"}.get(which, "of an unknown kind")
        return created, name, data.place(place + width + length), "hard"

    def _local_heap(self, address: int) -> bytes:
        self.bytes.sign(address, b"HEAP")
        size = self.bytes.length(address + 8)
        return self.bytes.take(self.bytes.place(address + 8 + 2 * self.bytes.lengths), size)

    def _symbols(self, address: int, heap: bytes, depth: int) -> Iterator[tuple[bytes, int, str]]:
        data, wide = self.bytes, self.bytes.offsets
        self._follow()
        if depth > 16:
            raise Damaged("an index without end")
        if data.take(address, 4) == b"TREE":
            if data.int(address + 4, 1) != 0:
                raise Damaged(f"no index of names at byte {address}")
            for n in range(data.int(address + 6, 2)):
                child = address + 8 + 2 * wide + data.lengths + n * (data.lengths + wide)
                yield from self._symbols(data.place(child), heap, depth + 1)
            return
        data.sign(address, b"SNOD")
        for n in range(data.int(address + 6, 2)):
            self._follow()
            entry = address + 8 + n * (2 * wide + 24)
            start = data.int(entry, wide)
            end = heap.find(b"\x00", start)
            if start >= len(heap) or end < 0:
                raise Damaged(f"a name outside its heap at byte {entry}")
            soft = data.int(entry + 2 * wide, 4) == 2
            yield heap[start:end], 0 if soft else data.place(entry + wide), "soft" if soft else "hard"

    def _records(self, address: int) -> list[bytes]:
        """The records of a version 2 B-tree."""
        data = self.bytes
        data.sign(address, b"BTHD")
        node, width, depth = data.int(address + 6, 4), data.int(address + 10, 2), data.int(address + 12, 2)
        if not 0 < width <= node or depth > 8:
            raise Damaged("an index of an unknown kind")
        first = address + 16
        root, count = data.address(first), data.int(first + data.offsets, 2)
        most = [(node - 10) // width]
        totals = [most[0]]
        for level in range(1, depth + 1):
            extra = _wide(totals[-1]) if level > 1 else 0
            pointer = data.offsets + _wide(most[0]) + extra
            most.append((node - 10 - pointer) // (width + pointer))
            totals.append(most[-1] + (most[-1] + 1) * totals[-1])
        found: list[bytes] = []

        def walk(place: int, count: int, level: int) -> None:
            self._follow()
            data.sign(place, b"BTIN" if level else b"BTLF")
            records = data.take(place + 6, count * width)
            found.extend(records[n : n + width] for n in range(0, len(records), width))
            if len(found) > STRUCTURES:
                raise Damaged("an index without end")
            at = place + 6 + count * width
            narrow = _wide(most[0]) if level == 1 else _wide(most[level - 1])
            for _ in range(count + 1 if level else 0):
                walk(data.place(at), data.int(at + data.offsets, narrow), level - 1)
                at += data.offsets + narrow + (_wide(totals[level - 1]) if level > 1 else 0)

        if root is not None:
            walk(root, count, depth)
        return found

    def chunks(self, layout: Bytes, version: int, rank: int, where: str) -> tuple[tuple[int, ...], Iterator[Any]]:
        """Shape of a chunk, and offset, address, stored bytes (`None`: unpacked) and skipped filters of each."""
        if version == 3:
            axes = layout.int(2, 1) - 1
            sizes = tuple(layout.int(3 + layout.offsets + 4 * n, 4) for n in range(axes))
            root = layout.address(3)
            if axes != rank:
                raise Damaged(f"{where}: chunks that do not fit the array")
            return sizes, iter(()) if root is None else self._chunk_tree(root, axes, 0)
        flags, axes, wide = layout.int(2, 1), layout.int(3, 1) - 1, layout.int(4, 1)
        sizes = tuple(layout.int(5 + n * wide, wide) for n in range(axes))
        place = 5 + (axes + 1) * wide
        if layout.int(place, 1) != 1:
            raise GraphError(where, "the default storage of h5py", "parts as of libver='latest'", "write it anew")
        packed = bool(flags & 2)
        at = place + 1 + (layout.lengths + 4 if packed else 0)
        stored = layout.length(place + 1) if packed else None
        skipped = layout.int(place + 1 + layout.lengths, 4) if packed else 0
        address = layout.address(at)
        return sizes, iter(() if address is None else [((0,) * axes, address, stored, skipped)])

    def _chunk_tree(self, address: int, axes: int, depth: int) -> Iterator[tuple[tuple[int, ...], int, int, int]]:
        data = self.bytes
        self._follow()
        data.sign(address, b"TREE")
        level = data.int(address + 5, 1)
        if data.int(address + 4, 1) != 1 or depth > 16:
            raise Damaged(f"no index of an array at byte {address}")
        key = 8 + 8 * (axes + 1)
        for n in range(data.int(address + 6, 2)):
            self._follow()
            at = address + 8 + 2 * data.offsets + n * (key + data.offsets)
            child = data.place(at + key)
            if level:
                yield from self._chunk_tree(child, axes, depth + 1)
            else:
                offset = tuple(data.int(at + 8 + 8 * m, 8) for m in range(axes))
                yield offset, child, data.int(at, 4), data.int(at + 4, 4)

    def global_heap(self, address: int) -> dict[int, bytes]:
        """The texts of one collection, by their index."""
        data = self.bytes
        data.sign(address, b"GCOL")
        end = address + data.length(address + 8)
        place, found = address + 8 + data.lengths, {}
        while place + 8 + data.lengths <= end:
            self._follow()
            index, size = data.int(place, 2), data.length(place + 8)
            if index == 0:
                break
            found[index] = data.take(place + 8 + data.lengths, size)
            place += 8 + data.lengths + -(-size // 8) * 8
        return found


class _FractalHeap:
    """Where a group with many links keeps them."""

    def __init__(self, data: Bytes, address: int) -> None:
        self.bytes = data
        data.sign(address, b"FRHP")
        wide, long = data.offsets, data.lengths
        first = address + 14 + 10 * long + 2 * wide  # after the sizes of what it holds
        self.width, self.start = data.int(first, 2), data.length(first + 2)
        self.largest, self.bits = data.length(first + 2 + long), data.int(first + 2 + 2 * long, 2)
        managed = data.int(address + 10, 4)
        self.root, self.rows = data.address(first + 6 + 2 * long), data.int(first + 6 + 2 * long + wide, 2)
        if data.int(address + 7, 2) or not self.start or not self.width or self.bits > 64 or self.rows > 64:
            raise Damaged("a heap of an unknown kind")
        self.offset_bytes = -(-self.bits // 8)
        self.length_bytes = min(_wide(self.largest), _wide(managed))
        self.direct_rows = max(self.largest.bit_length() - self.start.bit_length() + 2, 1)

    def object(self, name: bytes) -> bytes:
        """The bytes that a heap's name stands for."""
        head = Bytes(name, self.bytes)
        if head.int(0, 1) >> 4 or self.root is None:
            raise Damaged("an object outside its heap")
        offset, size = head.int(1, self.offset_bytes), head.int(1 + self.offset_bytes, self.length_bytes)
        block, rows, base = self.root, self.rows, 0
        for _ in range(64):
            if not rows:
                self.bytes.sign(block, b"FHDB")
                return self.bytes.take(block + offset - base, size)
            block, rows, base = self._child(block, rows, base, offset)
        raise Damaged("a heap without end")

    def _child(self, block: int, rows: int, base: int, offset: int) -> tuple[int, int, int]:
        self.bytes.sign(block, b"FHIB")
        place = block + 5 + self.bytes.offsets + self.offset_bytes
        for row in range(rows):
            size = self.start << max(row - 1, 0)
            if offset < base + size * self.width:
                column = (offset - base) // size
                at = place + (row * self.width + column) * self.bytes.offsets
                inner = 0 if row < self.direct_rows else (size // (self.start * self.width)).bit_length()
                return self.bytes.place(at), inner, base + column * size
            base += size * self.width
        raise Damaged("an object outside its heap")


def _wide(value: int) -> int:
    """Bytes that hold a number up to `value`."""
    return -(-max(value.bit_length(), 1) // 8)
