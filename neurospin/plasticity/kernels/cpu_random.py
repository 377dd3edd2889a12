"""Random numbers that any step can make again: a hash of the synapse's number and the step's key.

`uniform` and `normal` are numba functions for kernels; they vectorise. A key is two whole numbers below 2³².
"""

from __future__ import annotations

import numba
import numpy as np
import torch

F, U = np.float32, np.uint32
Key = tuple[np.uint32, np.uint32]


def draw_key(generator: torch.Generator) -> Key:
    """A fresh key, drawn from torch's generator."""
    low, high = torch.randint(1 << 32, (2,), generator=generator, device=generator.device).tolist()
    return U(low), U(high)


@numba.njit(inline="always")
def bits(i, low, high):
    """32 random bits of the i-th synapse: two rounds of a hash with full avalanche (C. Wellons' lowbias32), a key each."""
    x = U(U(i) ^ low)
    x = U(x ^ U(x >> U(16)))
    x = U(x * U(0x7FEB352D))
    x = U(x ^ U(x >> U(15)))
    x = U(x * U(0x846CA68B))
    x = U(U(x ^ U(x >> U(16))) + high)
    x = U(x ^ U(x >> U(16)))
    x = U(x * U(0x7FEB352D))
    x = U(x ^ U(x >> U(15)))
    x = U(x * U(0x846CA68B))
    return U(x ^ U(x >> U(16)))


@numba.njit(inline="always")
def uniform(i, low, high):
    """In (0, 1), on the middles of 2²³ equal parts: exact in float32, and never 0 or 1."""
    return (F(np.int32(bits(i, low, high) >> U(9))) + F(0.5)) * F(2.0**-23)


@numba.njit(inline="always")
def exp_minus(x):
    """`exp(−x)` for x >= 0, within 2e-7 of its value down to 1e-37, and that beyond."""
    x = min(x, F(86))
    k = np.int32(x * F(1.44269504) + F(0.5))
    r = F(k) * F(0.693359375) - x + F(k) * F(-2.12194440e-4)
    p = F(1 / 720) + r * F(1 / 5040)
    p = F(1 / 120) + r * p
    p = F(1 / 24) + r * p
    p = F(1 / 6) + r * p
    p = F(1) + r * (F(1) + r * (F(1 / 2) + r * p))
    return p * np.int32((np.int32(127) - k) << np.int32(23)).view(np.float32)


@numba.njit(inline="always")
def log(x):
    """`log x` of normal numbers, within 2e-7 of the larger of 1 and its value."""
    word = F(x).view(np.int32) - np.int32(0x3F3504F3)  # the mantissa from √½ to √2
    k = word >> np.int32(23)
    m = np.int32((word & np.int32(0x7FFFFF)) + np.int32(0x3F3504F3)).view(np.float32)
    s = (m - F(1)) / (m + F(1))
    q = s * s
    return F(k) * F(0.69314718) + F(2) * s * (F(1) + q * (F(1 / 3) + q * (F(1 / 5) + q * (F(1 / 7) + q * F(1 / 9)))))


@numba.njit(inline="always")
def normal(i, low, high):
    """A standard normal number, by Box and Muller (1958, doi:10.1214/aoms/1177706645) from 23 and 24 bits."""
    word = bits(i, low, high)
    radius = np.sqrt(F(-2) * log((F(np.int32(word >> U(9))) + F(0.5)) * F(2.0**-23)))
    word = U(U(word + U(0x9E3779B9)) * U(0x7FEB352D))
    word = U(U(word ^ U(word >> U(15))) * U(0x846CA68B))
    turn = (F(np.int32(U(word ^ U(word >> U(16))) >> U(8))) - F(2.0**23)) * F(np.pi * 2.0**-24)  # from −π/2 to π/2
    q = turn * turn
    sine = F(-1 / 39916800) * q + F(1 / 362880)
    sine = sine * q - F(1 / 5040)
    sine = sine * q + F(1 / 120)
    sine = turn + turn * q * (sine * q - F(1 / 6))
    return radius * (F(1) - F(2) * sine * sine)  # the cosine of twice the angle
