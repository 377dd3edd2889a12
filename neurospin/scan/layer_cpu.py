"""Sparse spikes through synapses and into LIF neurons in one loop (numba; imported when first used).

The current of 64 neurons at one step is a sum of rows of W that stays in registers, where the neurons' own step
follows at once: the current is never written to memory. The operations and their order are those of
`neurospin.scan.gather` followed by `neurospin.scan.cpu`, so that every spike and voltage is the same, bit for bit.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types

from neurospin.scan.gather import LANES, TILE, F, data, intrinsic, kernel, pack, row_sums, table
from neurospin.scan.spec import DECAY, GAIN, LEAK, RESET, THRESHOLD

USED = (DECAY, GAIN, LEAK, THRESHOLD, RESET)


def _stepper(lanes: int, value: bool) -> Any:
    """Make one step of the first `lanes` neurons of a block, with reset to a value or by subtraction."""

    @intrinsic
    def step(
        typing: Any, table: Any, index: Any, start: Any, stop: Any, bias: Any, constants: Any, v: Any, at: Any,
        s: Any, s_at: Any, u: Any, u_at: Any,
    ) -> Any:  # fmt: skip
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            sums = row_sums(context, builder, signature, args, lanes)
            pointer = {n: data(context, builder, signature.args[n], args[n]) for n in (5, 6, 8, 10)}
            word = ir.IntType(64)
            vector = ir.VectorType(ir.FloatType(), TILE)

            def place(base: Any, offset: Any) -> Any:
                return builder.bitcast(builder.gep(base, [offset]), vector.as_pointer())

            def load(base: Any, offset: Any) -> Any:
                found = builder.load(place(base, offset))
                found.align = 4
                return found

            def store(number: Any, base: Any, offset: Any) -> None:
                builder.store(number, place(base, offset)).align = 4

            one, zero = (ir.Constant(vector, [x] * TILE) for x in (1.0, 0.0))
            for block, total in enumerate(sums):
                here = ir.Constant(word, block * TILE)
                decay, gain, leak, threshold, reset = (
                    load(pointer[5], ir.Constant(word, row * LANES + block * TILE)) for row in range(len(USED))
                )
                before = builder.add(args[7], here)
                drive = builder.fadd(builder.fmul(gain, total), leak)
                number = builder.fadd(builder.fmul(decay, load(pointer[6], before)), drive)
                fired = builder.fcmp_ordered(">", number, threshold)
                spike = builder.select(fired, one, zero)
                after = builder.select(fired, reset, number) if value else (
                    builder.fsub(number, builder.fmul(threshold, spike))
                )  # fmt: skip
                store(after, pointer[6], before)
                store(spike, pointer[8], builder.add(args[9], here))
                store(number, pointer[10], builder.add(args[11], here))
            return context.get_dummy_value()

        return types.void(table, index, start, stop, bias, constants, v, at, s, s_at, u, u_at), generate

    return step


@cache
def forward_kernel(value: bool) -> Any:
    """The loop for neurons that reset to a value, or by subtraction."""
    step, first = _stepper(LANES, value), _stepper(TILE, value)

    @kernel
    def forward(
        index: np.ndarray, start: np.ndarray, weight: np.ndarray, bias: np.ndarray, p: np.ndarray, v: np.ndarray,
        s: np.ndarray, u: np.ndarray, low: int, high: int,
    ) -> None:  # fmt: skip
        """Fill spikes s and, where it has as many entries, voltages before the reset u, both `(rows · outputs,)`.

        For outputs low … high − 1 (low a multiple of LANES). `v` (batch, outputs) is overwritten by the last voltages;
        p as in `neurospin.scan.spec`, (ROWS, 1) or (ROWS, outputs); weight (outputs, inputs).
        """
        batch, outputs = v.shape
        copy, save = table(weight.shape[1]), u.size == s.size
        offset, constants = np.zeros(LANES, np.float32), np.zeros((5, LANES), np.float32)
        state = np.zeros(batch * LANES, np.float32)
        spikes, volts = np.zeros(LANES, np.float32), np.zeros(LANES, np.float32)
        for block in range(low, high, LANES):
            width = min(LANES, high - block)
            if width < LANES:
                copy[:] = F(0)
            pack(weight, block, copy)
            for k in range(width):
                column = block + k if p.shape[1] > 1 else 0
                offset[k] = bias[block + k]
                constants[0, k], constants[1, k], constants[2, k] = p[DECAY, column], p[GAIN, column], p[LEAK, column]
                constants[3, k], constants[4, k] = p[THRESHOLD, column], p[RESET, column]
            for b in range(batch):
                for k in range(width):
                    state[b * LANES + k] = v[b, block + k]
            b = 0
            for r in range(start.size - 1):
                at, place = b * LANES, r * outputs + block
                if width == LANES and save:
                    step(copy, index, start[r], start[r + 1], offset, constants, state, at, s, place, u, place)
                elif width == LANES:
                    step(copy, index, start[r], start[r + 1], offset, constants, state, at, s, place, volts, 0)
                else:
                    if width <= TILE:
                        first(copy, index, start[r], start[r + 1], offset, constants, state, at, spikes, 0, volts, 0)
                    else:
                        step(copy, index, start[r], start[r + 1], offset, constants, state, at, spikes, 0, volts, 0)
                    for k in range(width):
                        s[place + k] = spikes[k]
                    if save:
                        for k in range(width):
                            u[place + k] = volts[k]
                b = b + 1 if b + 1 < batch else 0
            for b in range(batch):
                for k in range(width):
                    v[b, block + k] = state[b * LANES + k]

    return forward
