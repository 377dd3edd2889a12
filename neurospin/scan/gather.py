"""Products with spikes that touch only the synapses of neurons that fired (numba; imported when first used).

Spikes are kept as lists. `Rows` (index, start): the neurons that fired in row r are
`index[start[r] : start[r + 1]]`, ascending; a row is one step of one sample. `columns` turns that into the
rows in which each neuron fired. A product is then a sum of rows of a table, in the order of the list:

    y[r] = b + Σ W[:, j] over the neurons j that fired in row r
    dW[:, j] = Σ g[r] over the rows r in which neuron j fired

The same sums as a matrix product, in ascending order. Tables are copied in blocks of `LANES` columns, so
that a block stays in the cache, and the running sums stay in registers.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from llvmlite import ir
from numba import extending, int32, njit, types

LANES = 64
_TILE = 16
F = np.float32

Rows = tuple[np.ndarray, np.ndarray]
"""Spikes as lists: `(index, start)`, as above."""

intrinsic: Any = extending.intrinsic
kernel: Any = njit(error_model="numpy", nogil=True, cache=True)


def _data(context: Any, builder: Any, kind: Any, array: Any) -> Any:
    return context.make_array(kind)(context, builder, array).data


@intrinsic
def add_rows(typing: Any, table: Any, index: Any, start: Any, stop: Any, begin: Any, total: Any) -> Any:
    """`total = begin + Σ table[index[q]]` for `start ≤ q < stop`; table (n, LANES) and all else float32, contiguous."""
    signature = types.void(table, index, start, stop, begin, total)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        rows, order, given, out = (_data(context, builder, signature.args[i], args[i]) for i in (0, 1, 4, 5))
        word = ir.IntType(64)
        vector = ir.VectorType(ir.FloatType(), _TILE)
        offsets = [ir.Constant(word, n) for n in range(0, LANES, _TILE)]

        def place(base: Any, offset: Any) -> Any:
            return builder.bitcast(builder.gep(base, [offset]), vector.as_pointer())

        def load(pointer: Any) -> Any:
            value = builder.load(pointer)
            value.align = 4
            return value

        before = [load(place(given, offset)) for offset in offsets]
        entry = builder.block
        loop, done = builder.append_basic_block("rows"), builder.append_basic_block("end")
        builder.cbranch(builder.icmp_signed("<", args[2], args[3]), loop, done)
        builder.position_at_end(loop)
        q = builder.phi(word)
        sums = [builder.phi(vector) for _ in offsets]
        row = builder.mul(builder.sext(builder.load(builder.gep(order, [q])), word), ir.Constant(word, LANES))
        after = [
            builder.fadd(total, load(place(rows, builder.add(row, offset))))
            for total, offset in zip(sums, offsets, strict=True)
        ]
        following = builder.add(q, ir.Constant(word, 1))
        q.add_incoming(args[2], entry)
        q.add_incoming(following, loop)
        builder.cbranch(builder.icmp_signed("<", following, args[3]), loop, done)
        builder.position_at_end(done)
        results = []
        for first, total, last, offset in zip(before, sums, after, offsets, strict=True):
            result = builder.phi(vector)
            for phi in (total, result):
                phi.add_incoming(first, entry)
                phi.add_incoming(last, loop)
            results.append((result, offset))
        for result, offset in results:
            builder.store(result, place(out, offset)).align = 4
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def fired(typing: Any, row: Any, first: Any) -> Any:
    """Bit k is set where `row[first + k] ≠ 0`, for 64 neurons; row is contiguous float32."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        vector = ir.VectorType(ir.FloatType(), 64)
        base = _data(context, builder, signature.args[0], args[0])
        value = builder.load(builder.bitcast(builder.gep(base, [args[1]]), vector.as_pointer()))
        value.align = 4
        bits = builder.fcmp_unordered("!=", value, ir.Constant(vector, [0.0] * 64))
        return builder.bitcast(bits, ir.IntType(64))

    return types.int64(row, first), generate


@intrinsic
def lowest(typing: Any, bits: Any) -> Any:
    """Place of the lowest set bit."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.int64), generate


@kernel
def count(x: np.ndarray, most: int) -> int:
    """How many entries of x (rows, n) are 1; −1 if one is neither 0 nor 1, or if more than `most` are."""
    total = 0
    for r in range(x.shape[0]):
        row, some, ones = x[r], int32(0), int32(0)
        for j in range(row.size):
            some += int32(row[j] != F(0))
            ones += int32(row[j] == F(1))
        total += some
        if some != ones or total > most:
            return -1
    return int(total)


@kernel
def rows(x: np.ndarray, index: np.ndarray, start: np.ndarray) -> None:
    """Fill `index` (as many as `count` said) and `start` (rows + 1) from x (rows, n)."""
    n, whole = 0, x.shape[1] - x.shape[1] % 64
    start[0] = 0
    for r in range(x.shape[0]):
        row = x[r]
        for first in range(0, whole, 64):
            bits = fired(row, first)
            while bits:
                index[n] = first + lowest(bits)
                n += 1
                bits &= bits - 1
        for j in range(whole, row.size):
            if row[j] != F(0):
                index[n] = j
                n += 1
        start[r + 1] = n


@kernel
def columns(index: np.ndarray, start: np.ndarray, by: np.ndarray, first: np.ndarray) -> None:
    """The rows `by` (as long as `index`) in which each neuron fired, ascending; neuron j's begin at `first[j]`."""
    first[:] = 0
    for q in range(start[-1]):
        first[index[q] + 1] += 1
    for j in range(first.size - 1):
        first[j + 1] += first[j]
    place = first[:-1].copy()
    for r in range(start.size - 1):
        for q in range(start[r], start[r + 1]):
            by[place[index[q]]] = r
            place[index[q]] += 1


@kernel
def pack(weight: np.ndarray, low: int, table: np.ndarray) -> None:
    """`table[j, k] = weight[low + k, j]`; table is (inputs, LANES), zero beyond the last output."""
    for left in range(0, weight.shape[1], _TILE):
        right = min(left + _TILE, weight.shape[1])
        for k in range(min(LANES, weight.shape[0] - low)):
            row = weight[low + k]
            for j in range(left, right):
                table[j, k] = row[j]


@kernel
def forward(
    index: np.ndarray, start: np.ndarray, weight: np.ndarray, bias: np.ndarray, y: np.ndarray, low: int, high: int
) -> None:
    """`y[r] = b + Σ W[:, j]` for outputs low … high − 1 (low a multiple of LANES); weight (outputs, inputs)."""
    table = np.zeros((weight.shape[1], LANES), np.float32)
    offset, total = np.zeros(LANES, np.float32), np.empty(LANES, np.float32)
    for block in range(low, high, LANES):
        width = min(LANES, high - block)
        if width < LANES:
            table[:] = F(0)
        pack(weight, block, table)
        offset[:width] = bias[block : block + width]
        for r in range(start.size - 1):
            out = y[r, block : block + width]
            if width == LANES:
                add_rows(table, index, start[r], start[r + 1], offset, out)
            else:
                add_rows(table, index, start[r], start[r + 1], offset, total)
                for k in range(width):  # a loop, because numba assigns a slice slowly
                    out[k] = total[k]


@kernel
def weight_gradient(
    by: np.ndarray, first: np.ndarray, g: np.ndarray, gradient: np.ndarray, low: int, high: int
) -> None:
    """`dW[:, j] = Σ g[r]` over the rows in which j fired, for outputs low … high − 1; dW (outputs, inputs)."""
    inputs = first.size - 1
    table = np.zeros((g.shape[0], LANES), np.float32)
    zero, sums = np.zeros(LANES, np.float32), np.empty((_TILE, LANES), np.float32)
    for block in range(low, high, LANES):
        width = min(LANES, high - block)
        for r in range(g.shape[0]):
            row, copy = g[r, block : block + width], table[r]
            for k in range(width):
                copy[k] = row[k]
        for left in range(0, inputs, _TILE):
            right = min(left + _TILE, inputs)
            for j in range(left, right):
                add_rows(table, by, first[j], first[j + 1], zero, sums[j - left])
            for k in range(width):
                row = gradient[block + k]
                for j in range(left, right):
                    row[j] = sums[j - left, k]


def find(x: np.ndarray, densest: float) -> Rows | None:
    """The spikes of x (rows, n); `None` if an entry is neither 0 nor 1, or more than a share `densest` is 1."""
    number = count(x, int(densest * x.size))
    if number < 0:
        return None
    index, start = np.empty(number, np.int32), np.empty(len(x) + 1, np.int64)
    rows(x, index, start)
    return index, start


def multiply(spikes: Rows, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """`y[r] = b + Σ W[:, j]` over the neurons j that fired in row r; weight (outputs, inputs)."""
    index, start = spikes
    y = np.empty((len(start) - 1, len(weight)), np.float32)
    _spread(forward, (index, start, weight, bias, y), len(weight), len(index))
    return y


def outer(spikes: Rows, g: np.ndarray, inputs: int) -> np.ndarray:
    """`dW[:, j] = Σ g[r]` over the rows r in which neuron j fired, `(outputs, inputs)`; g (rows, outputs)."""
    index, start = spikes
    by, first = np.empty(len(index), np.int32), np.empty(inputs + 1, np.int64)
    columns(index, start, by, first)
    gradient = np.empty((g.shape[1], inputs), np.float32)
    _spread(weight_gradient, (by, first, g, gradient), g.shape[1], len(index))
    return gradient


def _spread(kernel: Callable[..., None], arguments: tuple[Any, ...], outputs: int, events: int) -> None:
    """Run a kernel over all outputs, in as many threads as torch may use where that is worth their start."""
    blocks = -(-outputs // LANES)
    threads = min(torch.get_num_threads(), blocks) if events * outputs > 2**25 else 1
    if threads == 1:
        kernel(*arguments, 0, outputs)
        return
    edges = [min(outputs, LANES * (blocks * i // threads)) for i in range(threads + 1)]
    with ThreadPoolExecutor(threads) as pool:  # made per call: none is left behind for a fork to inherit
        list(pool.map(lambda low, high: kernel(*arguments, low, high), edges[:-1], edges[1:]))
