"""What the bytes of an HDF5 array mean: its type, and the filters that packed it."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from neurospin.errors import GraphError
from neurospin.graph.hdf5_bytes import Bytes, Damaged

_CLASSES = {2: "a time", 4: "a bit field", 5: "opaque", 7: "a reference", 9: "a list", 10: "an array"}


@dataclass(frozen=True)
class Kind:
    """The type of an array's values.

    Attributes:
        size: bytes of one value.
        dtype: of the numbers; `None` for text.
        text: `""` for numbers, `"fixed"` for texts in place, `"heap"` for texts elsewhere in the file.
    """

    size: int
    dtype: np.dtype | None
    text: str = ""

    def array(self, raw: np.ndarray, shape: tuple[int, ...]) -> Any:
        """The values in `raw` (bytes, flat), in the machine's own byte order."""
        if self.dtype is None:
            return self.texts([value.rstrip(b"\x00 ").split(b"\x00")[0] for value in self.parts(raw)], shape)
        array = raw != 0 if self.dtype == np.bool_ else raw.view(self.dtype)
        array = array.astype(self.dtype.newbyteorder("="), copy=False).reshape(shape)
        return array[()] if shape == () else array

    def parts(self, raw: np.ndarray) -> list[bytes]:
        """The bytes of each value."""
        whole = raw.tobytes()
        return [whole[n : n + self.size] for n in range(0, len(whole), self.size)]

    def texts(self, values: list[bytes], shape: tuple[int, ...]) -> Any:
        """Texts as one `str` or as lists nested by axis."""
        flat = [value.decode("utf-8", errors="replace") for value in values]
        if shape == ():
            return flat[0]
        whole = np.empty(len(flat), object)
        whole[:] = flat
        return whole.reshape(shape).tolist()


def kind(message: bytes, where: str) -> Kind:
    """The type that a datatype message tells.

    Raises:
        GraphError: neither numbers nor text.
    """
    head = Bytes(message)
    form, bits, size = head.int(0, 1) & 15, head.int(1, 3), head.int(4, 4)
    order = ">" if bits & 1 else "<"
    if not size:
        raise Damaged(f"{where}: values of no bytes")
    if form == 0 and size in (1, 2, 4, 8) and (head.int(8, 2), head.int(10, 2)) == (0, 8 * size):
        return Kind(size, np.dtype(f"{order}{'i' if bits & 8 else 'u'}{size}"))
    if form == 1 and not bits & 64:
        layout = {2: (0, 16, 10, 5, 0, 10, 15), 4: (0, 32, 23, 8, 0, 23, 127), 8: (0, 64, 52, 11, 0, 52, 1023)}
        told = (head.int(8, 2), head.int(10, 2), *(head.int(n, 1) for n in range(12, 16)), head.int(16, 4))
        if layout.get(size) == told:
            return Kind(size, np.dtype(f"{order}f{size}"))
    if form == 3:
        return Kind(size, None, "fixed")
    if form == 9 and bits & 15 == 1:
        return Kind(size, None, "heap")
    if form == 8 and size == 1 and bits & 0xFFFF == 2 and message[20:].startswith(b"FALSE\x00"):
        return Kind(1, np.dtype(bool))
    if (
        form == 6 and size in (8, 16) and message[8:9] == b"r" and message.count(b"\x11\x20") == 2
    ):  # read, so that a check can name it
        return Kind(size, np.dtype(f"<c{size}"))
    got = _CLASSES.get(form, {0: "integers", 1: "floats", 6: "a record", 8: "an enumeration"}.get(form, "unknown"))
    raise GraphError(where, "numbers or text", f"dtype {got} of {size} bytes", "convert the array")


def unpacked(packed: bytes, filters: list[int], size: int, width: int, where: str) -> bytes:
    """A chunk of `size` bytes after its filters are undone, last first; never more than `size` are made."""
    for code in reversed(filters):
        if code == 1:
            try:
                stream = zlib.decompressobj()
                packed = stream.decompress(packed, size)
            except zlib.error as error:
                raise Damaged(f"{where}: {error}") from error
        elif code == 32000:
            packed = _lzf(packed, size, where)
        else:
            count = len(packed) // width
            body = np.frombuffer(packed, np.uint8, count * width).reshape(width, count).T.tobytes()
            packed = body + packed[count * width :]
    if len(packed) != size:
        raise Damaged(f"{where}: {len(packed)} of {size} bytes")
    return packed


def _lzf(packed: bytes, size: int, where: str) -> bytes:
    """LibLZF: a byte below 32 announces a literal run, any other a copy of what was written before."""
    out, place = bytearray(), 0
    try:
        while place < len(packed) and len(out) <= size:
            control, place = packed[place], place + 1
            if control < 32:
                out += packed[place : place + control + 1]
                place += control + 1
                continue
            length = control >> 5
            if length == 7:
                length, place = length + packed[place], place + 1
            start, place = len(out) - ((control & 31) << 8) - packed[place] - 1, place + 1
            if start < 0:
                raise Damaged(f"{where}: packed bytes that point before their start")
            for n in range(start, start + length + 2):
                out.append(out[n])
    except IndexError as error:
        raise Damaged(f"{where}: packed bytes that end too early") from error
    return bytes(out)
