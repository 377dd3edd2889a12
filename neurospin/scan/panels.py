"""Products of a few rows with one fixed matrix, for time loops inside a kernel (numba; imported when first used).

The matrix is copied once into panels of 16 columns; a product then reads every panel once, front to back, and
keeps the running sums of 16 rows (4 without AVX-512, and for what is left) in registers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba import types
from numba.core import cgutils

from neurospin.scan.gather import data, intrinsic, kernel

COLUMNS = 16
MANY = 16 if binding.get_host_cpu_features().get("avx512f", False) else 4
FEW = 4


def _accumulator(rows: int) -> Any:
    """Make the inner loop for so many rows."""

    @intrinsic
    def accumulate(typing: Any, left: Any, panel: Any, length: Any, sums: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            g, w, out = (data(context, builder, signature.args[i], args[i]) for i in (0, 1, 3))
            word, single = ir.IntType(64), ir.FloatType()
            vector = ir.VectorType(single, COLUMNS)
            kind = ir.FunctionType(vector, [vector] * 3)
            fma = cgutils.get_or_insert_function(builder.module, kind, f"llvm.fma.v{COLUMNS}f32")
            lanes = ir.Constant(ir.VectorType(ir.IntType(32), COLUMNS), [0] * COLUMNS)
            nothing = ir.Constant(vector, ir.Undefined)

            def at(base: Any, offset: Any) -> Any:
                return builder.bitcast(builder.gep(base, [offset]), vector.as_pointer())

            entry, start = builder.block, ir.Constant(word, 0)
            loop, done = builder.append_basic_block("inner"), builder.append_basic_block("end")
            builder.cbranch(builder.icmp_signed("<", start, args[2]), loop, done)
            builder.position_at_end(loop)
            k = builder.phi(word)
            running = [builder.phi(vector) for _ in range(rows)]
            line = builder.load(at(w, builder.mul(k, ir.Constant(word, COLUMNS))))
            line.align = 4
            place = builder.mul(k, ir.Constant(word, rows))
            after = []
            for r, total in enumerate(running):
                value = builder.load(builder.gep(g, [builder.add(place, ir.Constant(word, r))]))
                everywhere = builder.shuffle_vector(
                    builder.insert_element(nothing, value, ir.Constant(ir.IntType(32), 0)), nothing, lanes
                )
                after.append(builder.call(fma, [everywhere, line, total]))
            following = builder.add(k, ir.Constant(word, 1))
            k.add_incoming(start, entry)
            k.add_incoming(following, loop)
            zero = ir.Constant(vector, [0.0] * COLUMNS)
            for total, last in zip(running, after, strict=True):
                total.add_incoming(zero, entry)
                total.add_incoming(last, loop)
            builder.cbranch(builder.icmp_signed("<", following, args[2]), loop, done)
            builder.position_at_end(done)
            results = []
            for last in after:
                result = builder.phi(vector)
                result.add_incoming(zero, entry)
                result.add_incoming(last, loop)
                results.append(result)
            for r, result in enumerate(results):
                builder.store(result, at(out, ir.Constant(word, r * COLUMNS))).align = 4
            return context.get_dummy_value()

        return types.void(left, panel, length, sums), generate

    return accumulate


_many = _accumulator(MANY)
_few = _accumulator(FEW)


@kernel
def panels(matrix: np.ndarray) -> np.ndarray:
    """A matrix `(inner, columns)` as `(columns / 16, inner, 16)`, zero beyond the last column."""
    inner, columns = matrix.shape
    blocks = (columns + COLUMNS - 1) // COLUMNS
    space = np.zeros(blocks * inner * COLUMNS + COLUMNS, np.float32)
    first = (-(space.ctypes.data // 4)) % COLUMNS  # on a line of the cache
    packed = space[first : first + blocks * inner * COLUMNS].reshape((blocks, inner, COLUMNS))
    for k in range(inner):
        row = matrix[k]
        for c in range(blocks):
            line = packed[c, k]
            for n in range(min(COLUMNS, columns - c * COLUMNS)):
                line[n] = row[c * COLUMNS + n]
    return packed


@kernel
def times(g: np.ndarray, packed: np.ndarray, y: np.ndarray) -> None:
    """`y = g M` for rows g `(rows, inner)` and M as `panels` gives it; all contiguous float32."""
    rows, inner = g.shape
    many, few = np.empty((inner, MANY), np.float32), np.zeros((inner, FEW), np.float32)
    sums = np.empty((MANY, COLUMNS), np.float32)
    low = 0
    while low < rows:
        size = MANY if rows - low >= MANY else FEW
        left = many if size == MANY else few
        height = min(size, rows - low)
        for r in range(height):
            row = g[low + r]
            for k in range(inner):
                left[k, r] = row[k]
        for c in range(packed.shape[0]):
            if size == MANY:
                _many(left, packed[c], inner, sums)
            else:
                _few(left, packed[c], inner, sums)
            first = c * COLUMNS
            for r in range(height):
                out, line = y[low + r], sums[r]
                for n in range(min(COLUMNS, y.shape[1] - first)):
                    out[first + n] = line[n]
        low += height
