"""What the numba kernels need and numba lacks: bits of numbers, and an exponential that vectorises."""

# pyright: reportCallIssue=false
from __future__ import annotations

from typing import Any

import llvmlite.binding
import numba
import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

# the vectoriser gives up when more than 8 pairs of arrays might overlap; these loops have more
for _option in ("runtime-memory-check-threshold", "vectorize-memory-check-threshold"):
    llvmlite.binding.set_option("neurospin", f"-{_option}=4096")

F = np.float32
OPTIONS: dict[str, Any] = {"cache": True, "error_model": "numpy", "fastmath": False, "nogil": True}


@intrinsic
def bits_as_float(context: Any, bits: Any) -> Any:
    """The float32 with these 32 bits."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.FloatType())

    return types.float32(types.int32), codegen


@intrinsic
def float_as_bits(context: Any, number: Any) -> Any:
    """The 32 bits of a float32."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.IntType(32))

    return types.uint32(types.float32), codegen


@numba.njit(**OPTIONS)
def exp(x: Any) -> Any:
    """`exp(x)` for x ≤ 0 to 2e-7 relative, without a call that would stop vectorisation (Cephes' polynomial)."""
    x = max(x, F(-87))
    n = np.int32(x * F(1.44269504) - F(0.5))
    f = x - F(n) * F(0.693359375) - F(n) * F(-2.12194440e-4)
    y = ((((F(1.9875691500e-4) * f + F(1.3981999507e-3)) * f + F(8.3334519073e-3)) * f + F(4.1665795894e-2)) * f
         + F(1.6666665459e-1)) * f + F(5.0000001201e-1)  # fmt: skip
    return (y * f * f + f + F(1)) * bits_as_float((n + np.int32(127)) << np.int32(23))


@numba.njit(**OPTIONS)
def widen(half: Any, full: Any) -> None:
    """The float32 numbers with these upper halves."""
    for j in range(half.size):
        full[j] = bits_as_float(np.int32(half[j]) << np.int32(16))
