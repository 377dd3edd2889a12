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
from numba import extending, njit, types

LANES = 64
TILE = 16
F = np.float32

Rows = tuple[np.ndarray, np.ndarray]
"""Spikes as lists: `(index, start)`, as above."""

intrinsic: Any = extending.intrinsic
kernel: Any = njit(error_model="numpy", nogil=True, cache=True)


def data(context: Any, builder: Any, kind: Any, array: Any) -> Any:
    """Where an array begins, for code that an intrinsic makes."""
    return context.make_array(kind)(context, builder, array).data


def row_sums(context: Any, builder: Any, signature: Any, args: Any, lanes: int) -> list[Any]:
    """Code of `begin + Σ table[index[q]]` for `start ≤ q < stop`, in registers of 16 columns each.

    The first five arguments of the intrinsic are table, index, start, stop and begin.
    """
    rows, order, given = (data(context, builder, signature.args[i], args[i]) for i in (0, 1, 4))
    word = ir.IntType(64)
    vector = ir.VectorType(ir.FloatType(), TILE)
    offsets = [ir.Constant(word, n) for n in range(0, lanes, TILE)]

    def load(base: Any, offset: Any) -> Any:
        value = builder.load(builder.bitcast(builder.gep(base, [offset]), vector.as_pointer()))
        value.align = 4
        return value

    before = [load(given, offset) for offset in offsets]
    entry = builder.block
    loop, done = builder.append_basic_block("rows"), builder.append_basic_block("end")
    builder.cbranch(builder.icmp_signed("<", args[2], args[3]), loop, done)
    builder.position_at_end(loop)
    q = builder.phi(word)
    sums = [builder.phi(vector) for _ in offsets]
    row = builder.mul(builder.sext(builder.load(builder.gep(order, [q])), word), ir.Constant(word, LANES))
    after = [
        builder.fadd(total, load(rows, builder.add(row, offset))) for total, offset in zip(sums, offsets, strict=True)
    ]
    following = builder.add(q, ir.Constant(word, 1))
    q.add_incoming(args[2], entry)
    q.add_incoming(following, loop)
    builder.cbranch(builder.icmp_signed("<", following, args[3]), loop, done)
    builder.position_at_end(done)
    results = []
    for first, total, last in zip(before, sums, after, strict=True):
        result = builder.phi(vector)
        for phi in (total, result):
            phi.add_incoming(first, entry)
            phi.add_incoming(last, loop)
        results.append(result)
    return results


def _adder(lanes: int) -> Any:
    """Make the inner loop for the first `lanes` columns of a table, a multiple of 16."""

    @intrinsic
    def add(typing: Any, table: Any, index: Any, start: Any, stop: Any, begin: Any, total: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            sums = row_sums(context, builder, signature, args, lanes)
            out = data(context, builder, signature.args[5], args[5])
            vector = ir.VectorType(ir.FloatType(), TILE)
            for block, result in enumerate(sums):
                place = builder.gep(out, [ir.Constant(ir.IntType(64), block * TILE)])
                builder.store(result, builder.bitcast(place, vector.as_pointer())).align = 4
            return context.get_dummy_value()

        return types.void(table, index, start, stop, begin, total), generate

    return add


@intrinsic
def turn(typing: Any, source: Any, first: Any, step: Any, target: Any, place: Any, stride: Any) -> Any:
    """`target[place + j · stride + k] = source[first + k · step + j]` for j, k < 16, on the entries of two arrays."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        given, taken = (data(context, builder, signature.args[i], args[i]) for i in (0, 3))
        word, vector = ir.IntType(64), ir.VectorType(ir.FloatType(), TILE)

        def row(base: Any, start: Any, step: Any, number: int) -> Any:
            at = builder.add(start, builder.mul(step, ir.Constant(word, number)))
            return builder.bitcast(builder.gep(base, [at]), vector.as_pointer())

        lines = []
        for k in range(TILE):
            line = builder.load(row(given, args[1], args[2], k))
            line.align = 4
            lines.append(line)
        for half in (8, 4, 2, 1):  # exchanges the off-diagonal quarters of ever smaller squares
            low = [n if not n & half else TILE + n - half for n in range(TILE)]
            high = [n + half if not n & half else TILE + n for n in range(TILE)]
            masks = [ir.Constant(ir.VectorType(ir.IntType(32), TILE), numbers) for numbers in (low, high)]
            for k in range(TILE):
                if not k & half:
                    pair = lines[k], lines[k + half]
                    lines[k], lines[k + half] = (builder.shuffle_vector(*pair, mask) for mask in masks)
        for j in range(TILE):
            builder.store(lines[j], row(taken, args[4], args[5], j)).align = 4
        return context.get_dummy_value()

    return types.void(source, first, step, target, place, stride), generate


add_rows = _adder(LANES)
"""`total = begin + Σ table[index[q]]` for `start ≤ q < stop`; table (n, LANES) and all else float32, contiguous."""

add_first = _adder(TILE)
"""The same for the first 16 columns of the table only."""


@kernel
def table(rows: int) -> np.ndarray:
    """Zeros `(rows, LANES)` that begin with a line of the cache, so that no vector lies across two."""
    space = np.zeros(rows * LANES + TILE, np.float32)
    first = (-(space.ctypes.data // 4)) % TILE
    return space[first : first + rows * LANES].reshape((rows, LANES))


def _mask(comparison: str, number: float) -> Any:
    """Make a function of a contiguous float32 row and a first neuron: bit k compares `row[first + k]`."""

    @intrinsic
    def mask(typing: Any, row: Any, first: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            vector = ir.VectorType(ir.FloatType(), 64)
            base = data(context, builder, signature.args[0], args[0])
            value = builder.load(builder.bitcast(builder.gep(base, [args[1]]), vector.as_pointer()))
            value.align = 4
            compare = builder.fcmp_unordered if comparison == "!=" else builder.fcmp_ordered  # NaN ≠ 0 and NaN ≠ 1
            bits = compare(comparison, value, ir.Constant(vector, [number] * 64))
            return builder.bitcast(bits, ir.IntType(64))

        return types.int64(row, first), generate

    return mask


fired = _mask("!=", 0.0)
"""Bit k is set where `row[first + k] ≠ 0`, for 64 neurons."""

ones = _mask("==", 1.0)
"""Bit k is set where `row[first + k] = 1`, for 64 neurons."""


@intrinsic
def lowest(typing: Any, bits: Any) -> Any:
    """Place of the lowest set bit."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.int64), generate


@kernel
def rows(x: np.ndarray, index: np.ndarray, start: np.ndarray) -> int:
    """Fill `index` and `start` (rows + 1) from x (rows, n) in one pass; how many entries of x are 1.

    `index` has a row's room more than may be filled. −1: an entry is neither 0 nor 1, or there is no more room.
    """
    n, whole, most = 0, x.shape[1] - x.shape[1] % 64, index.size - x.shape[1]
    start[0] = 0
    for r in range(x.shape[0]):
        row = x[r]
        for first in range(0, whole, 64):
            bits = fired(row, first)
            if bits != ones(row, first):
                return -1
            while bits:
                index[n] = first + lowest(bits)
                n += 1
                bits &= bits - 1
        for j in range(whole, row.size):
            if row[j] != F(0):
                if row[j] != F(1):
                    return -1
                index[n] = j
                n += 1
        if n > most:
            return -1
        start[r + 1] = n
    return n


@kernel
def columns(index: np.ndarray, start: np.ndarray, by: np.ndarray, first: np.ndarray) -> None:
    """The rows `by` (as long as `index`) in which each neuron fired, ascending; neuron j's begin at `first[j]`."""
    neurons = index.view(np.uint32)  # unsigned, because numba tests signed places for < 0
    first[:] = 0
    for q in range(start[-1]):
        first[neurons[q] + 1] += 1
    for j in range(first.size - 1):
        first[j + 1] += first[j]
    place = first[:-1].copy()
    for r in range(start.size - 1):
        for q in range(start[r], start[r + 1]):
            j = neurons[q]
            by[place[j]] = r
            place[j] += 1


@kernel
def pack(weight: np.ndarray, low: int, table: np.ndarray) -> None:
    """`table[j, k] = weight[low + k, j]`; table is (inputs, LANES), zero beyond the last output."""
    inputs, width = weight.shape[1], min(LANES, weight.shape[0] - low)
    wide, whole = width - width % TILE, inputs - inputs % TILE
    for left in range(0, whole, TILE):
        for k in range(0, wide, TILE):
            turn(weight, (low + k) * inputs + left, inputs, table, left * LANES + k, LANES)
    for k in range(width):
        row = weight[low + k]
        for j in range(whole if k < wide else 0, inputs):
            table[j, k] = row[j]


@kernel
def forward(
    index: np.ndarray, start: np.ndarray, weight: np.ndarray, bias: np.ndarray, y: np.ndarray, low: int, high: int
) -> None:
    """`y[r] = b + Σ W[:, j]` for outputs low … high − 1 (low a multiple of LANES); weight (outputs, inputs)."""
    copy = table(weight.shape[1])
    offset, total = np.zeros(LANES, np.float32), np.empty(LANES, np.float32)
    for block in range(low, high, LANES):
        width = min(LANES, high - block)
        if width < LANES:
            copy[:] = F(0)
        pack(weight, block, copy)
        offset[:width] = bias[block : block + width]
        for r in range(start.size - 1):
            out = y[r, block : block + width]
            if width == LANES:
                add_rows(copy, index, start[r], start[r + 1], offset, out)
            else:
                if width <= TILE:
                    add_first(copy, index, start[r], start[r + 1], offset, total)
                else:
                    add_rows(copy, index, start[r], start[r + 1], offset, total)
                for k in range(width):  # a loop, because numba assigns a slice slowly
                    out[k] = total[k]


@kernel
def weight_gradient(
    by: np.ndarray, first: np.ndarray, g: np.ndarray, gradient: np.ndarray, low: int, high: int
) -> None:
    """`dW[:, j] = Σ g[r]` over the rows in which j fired, for outputs low … high − 1; dW (outputs, inputs)."""
    inputs = first.size - 1
    copy = table(g.shape[0])
    zero, sums = np.zeros(LANES, np.float32), np.empty((TILE, LANES), np.float32)
    for block in range(low, high, LANES):
        width = min(LANES, high - block)
        for r in range(g.shape[0]):
            row, line = g[r, block : block + width], copy[r]
            for k in range(width):
                line[k] = row[k]
        for left in range(0, inputs, TILE):
            right = min(left + TILE, inputs)
            for j in range(left, right):
                if width <= TILE:
                    add_first(copy, by, first[j], first[j + 1], zero, sums[j - left])
                else:
                    add_rows(copy, by, first[j], first[j + 1], zero, sums[j - left])
            wide = width - width % TILE if right - left == TILE else 0
            for k in range(0, wide, TILE):
                turn(sums, k, LANES, gradient, (block + k) * inputs + left, inputs)
            for k in range(wide, width):
                row = gradient[block + k]
                for j in range(left, right):
                    row[j] = sums[j - left, k]


def find(x: np.ndarray, densest: float) -> Rows | None:
    """The spikes of x (rows, n); `None` if an entry is neither 0 nor 1, or more than a share `densest` is 1."""
    index, start = np.empty(int(densest * x.size) + x.shape[1], np.int32), np.empty(len(x) + 1, np.int64)
    number = rows(x, index, start)
    return None if number < 0 else (index[:number], start)


def multiply(spikes: Rows, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """`y[r] = b + Σ W[:, j]` over the neurons j that fired in row r; weight (outputs, inputs)."""
    index, start = spikes
    y = np.empty((len(start) - 1, len(weight)), np.float32)
    spread(forward, (index, start, weight, bias, y), len(weight), len(index))
    return y


def outer(spikes: Rows, g: np.ndarray, inputs: int) -> np.ndarray:
    """`dW[:, j] = Σ g[r]` over the rows r in which neuron j fired, `(outputs, inputs)`; g (rows, outputs)."""
    index, start = spikes
    by, first = np.empty(len(index), np.int32), np.empty(inputs + 1, np.int64)
    columns(index, start, by, first)
    gradient = np.empty((g.shape[1], inputs), np.float32)
    spread(weight_gradient, (by, first, g, gradient), g.shape[1], len(index))
    return gradient


def spread(kernel: Callable[..., None], arguments: tuple[Any, ...], outputs: int, events: int) -> None:
    """Run a kernel over all outputs, in as many threads as torch may use where that is worth their start."""
    blocks = -(-outputs // LANES)
    threads = min(torch.get_num_threads(), blocks) if events * outputs > 2**25 else 1
    if threads == 1:
        kernel(*arguments, 0, outputs)
        return
    edges = [min(outputs, LANES * (blocks * i // threads)) for i in range(threads + 1)]
    with ThreadPoolExecutor(threads) as pool:  # made per call: none is left behind for a fork to inherit
        list(pool.map(lambda low, high: kernel(*arguments, low, high), edges[:-1], edges[1:]))
