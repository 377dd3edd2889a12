"""Constant tables and state of a C program: the smallest types that hold them, and how many bytes they take."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hardware_targets.loihi.program import Projection
from neurospin.errors import TargetError

TYPES = {
    "uint8_t": (0, 2**8 - 1, 1),
    "int8_t": (-(2**7), 2**7 - 1, 1),
    "uint16_t": (0, 2**16 - 1, 2),
    "int16_t": (-(2**15), 2**15 - 1, 2),
    "int32_t": (-(2**31), 2**31 - 1, 4),
    "int64_t": (-(2**63), 2**63 - 1, 8),
}
"""Smallest value, largest value and bytes, the smallest type first; no `uint32_t`, which would make sums unsigned."""


@dataclass(frozen=True)
class Array:
    """One static array of the program.

    Attributes:
        name: its identifier.
        kind: its C type.
        shape: its dimensions.
        values: what a constant holds, in flash; `None` for state, in RAM.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    values: np.ndarray | None = None

    @property
    def bytes(self) -> int:
        """Size in memory."""
        return TYPES[self.kind][2] * int(np.prod(self.shape))

    def text(self) -> str:
        """The definition in C."""
        size = "".join(f"[{n}]" for n in self.shape)
        if self.values is None:
            return f"static {self.kind} {self.name}{size};"
        rows = self.values.reshape(-1, self.shape[-1])
        lines = ["    " + ("{%s}" if len(self.shape) > 1 else "%s") % ", ".join(map(str, row.tolist())) for row in rows]
        return f"static const {self.kind} {self.name}{size} = {{\n" + ",\n".join(lines) + "\n};"


def smallest(values: np.ndarray) -> str:
    """The smallest type that holds every value."""
    low, high = int(values.min(initial=0)), int(values.max(initial=0))
    return next(kind for kind, (least, most, _) in TYPES.items() if least <= low and high <= most)


def constant(name: str, values: np.ndarray) -> Array:
    """A table in flash."""
    return Array(name, smallest(values), values.shape, values)


def per_neuron(name: str, values: np.ndarray) -> tuple[str, list[Array]]:
    """The expression for neuron `i`, and the table behind it where neurons differ."""
    if values.size and (values == values.flat[0]).all():
        value = int(values.flat[0])
        return (f"({value})" if value < 0 else str(value)), []
    return f"{name}[i]", [constant(name, values)]


@dataclass(frozen=True)
class Synapses:
    """The weights of one projection as C.

    Attributes:
        style: `dense`, `sparse` (the weights of a source with their targets) or `two-valued` (one bit each).
        arrays: the tables.
        gather: C statements that add to `sum[]` for the sources in `spikes[]`.
        shift: the sum is multiplied by this power of two; where negative, shifted down towards minus infinity.
        sign: 1 or -1, by which the sum is multiplied before the shift.
    """

    style: str
    arrays: list[Array]
    gather: str
    shift: int
    sign: int


def synapses(number: int, projection: Projection) -> Synapses:
    """The smallest of the three ways to store a projection."""
    weights = projection.weights.toarray()
    if weights.dtype.kind not in "iu":
        raise TargetError("c", "whole weights", str(weights.dtype), "compile with every cause")
    sign = -1 if weights.max(initial=0) <= 0 and weights.min(initial=0) < 0 else 1
    values = sign * weights.T.astype(np.int64)  # (source, target)
    together = int(np.bitwise_or.reduce(np.abs(values), axis=None))
    zeros = (together & -together).bit_length() - 1 if together else 0
    values >>= zeros
    name = f"p{number}"
    ways = [_dense(name, values), _sparse(name, values)]
    if all(len(np.unique(column)) <= 2 for column in values.T):
        ways.append(_two_valued(name, values))
    style, arrays, gather = min(ways, key=lambda way: sum(array.bytes for array in way[1]))
    return Synapses(style, arrays, gather, projection.exponent + zeros, sign)


Way = tuple[str, list[Array], str]


def _dense(name: str, values: np.ndarray) -> Way:
    sources, targets = values.shape
    return "dense", [constant(f"{name}_weights", values)], f"""\
    for (uint32_t j = 0; j < {sources}; j++) {{
        if (SPIKED(spikes, j)) {{
            for (uint32_t i = 0; i < {targets}; i++) {{
                sum[i] += {name}_weights[j][i];
            }}
        }}
    }}"""  # fmt: skip


def _sparse(name: str, values: np.ndarray) -> Way:
    sources = len(values)
    j, i = np.nonzero(values)
    first = np.concatenate([[0], np.cumsum(np.bincount(j, minlength=sources))])
    longest = int(np.diff(first).max(initial=0))
    held, indices = (values[j, i], i) if len(j) else (np.zeros(1, np.int64), np.zeros(1, np.int64))
    arrays = [
        constant(f"{name}_first", first),
        constant(f"{name}_target", indices),
        constant(f"{name}_weights", held),
    ]
    return "sparse", arrays, f"""\
    for (uint32_t j = 0; j < {sources}; j++) {{
        if (SPIKED(spikes, j)) {{
            const uint32_t end = (uint32_t){name}_first[j + 1];
            uint32_t k = (uint32_t){name}_first[j];
            for (uint32_t i = 0; i < {longest} && k < end; i++, k++) {{
                sum[{name}_target[k]] += {name}_weights[k];
            }}
        }}
    }}"""  # fmt: skip


def _two_valued(name: str, values: np.ndarray) -> Way:
    sources, targets = values.shape
    low, high = values.min(axis=0), values.max(axis=0)
    bits = np.packbits(values == high, axis=1, bitorder="little")
    start, tables = per_neuron(f"{name}_low", low)
    step, more = per_neuron(f"{name}_step", high - low)
    return "two-valued", [constant(f"{name}_bits", bits), *tables, *more], f"""\
    int32_t active = 0;
    for (uint32_t j = 0; j < {sources}; j++) {{
        if (SPIKED(spikes, j)) {{
            active++;
            for (uint32_t i = 0; i < {targets}; i++) {{
                sum[i] += SPIKED({name}_bits[j], i);
            }}
        }}
    }}
    for (uint32_t i = 0; i < {targets}; i++) {{
        sum[i] = active * {start} + sum[i] * {step};
    }}"""  # fmt: skip
