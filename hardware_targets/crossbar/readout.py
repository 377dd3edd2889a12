"""Read noise and ADC in one pass over the currents, with exact normal deviates drawn on the way.

Deviates come from the ziggurat of Marsaglia and Tsang (J. Stat. Softw. 2000, doi:10.18637/jss.v005.i08) in 256 layers,
on the bits of SplitMix64; one seed fixes them.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

_R, _V = 3.6541528853610088, 4.92867323399e-3  # where the tail begins, and the area of a layer


def _layers() -> np.ndarray:
    x = [_V * math.exp(_R * _R / 2), _R]
    while len(x) < 256:
        x.append(math.sqrt(-2 * math.log(_V / x[-1] + math.exp(-x[-1] * x[-1] / 2))))
    return np.array([*x, 0.0])


_X = _layers()
_WIDTH, _RATIO = _X.astype(np.float32), (_X[1:] / _X[:-1]).astype(np.float32)


@njit(inline="always")
def bits(state: Any) -> Any:
    """SplitMix64: 64 bits of a state, which goes on by `STEP`."""
    z = state
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


STEP = np.uint64(0x9E3779B97F4A7C15)


@njit
def _rare(u: Any, layer: Any, state: Any) -> Any:
    """Outside the core of a layer: the wedge or the tail; also whether it is accepted, and the state."""
    state += STEP
    v = np.float64(bits(state) >> np.uint64(11)) * 2.0**-53 + 2.0**-54
    if layer == 0:
        while True:
            state += STEP
            w = np.float64(bits(state) >> np.uint64(11)) * 2.0**-53 + 2.0**-54
            x = -np.log(v) / _R
            if -2 * np.log(w) >= x * x:
                return (_R + x if u > 0 else -_R - x), True, state
            state += STEP
            v = np.float64(bits(state) >> np.uint64(11)) * 2.0**-53 + 2.0**-54
    x = u * _X[layer]
    low, high = np.exp((x * x - _X[layer] ** 2) / 2), np.exp((x * x - _X[layer + np.uint64(1)] ** 2) / 2)
    return x, high + v * (low - high) < 1.0, state


@njit(cache=True)
def normal(out: Any, seed: Any) -> None:
    """Fill a one-dimensional array with standard normal deviates."""
    fill(out, np.uint64(seed))


@njit(inline="always")
def _part(word: Any) -> Any:
    """Layer from 8 of 32 bits, place in it from the other 24."""
    return (np.float32(np.int32(word) >> 8) + np.float32(0.5)) * np.float32(2.0**-23), word & np.uint64(255)


@njit
def _other(u: Any, layer: Any, state: Any) -> Any:
    """The deviate of a draw that the core of its layer does not settle, and the state."""
    while True:
        x, accepted, state = _rare(u, layer, state)
        if accepted:
            return x, state
        state += STEP
        u, layer = _part(bits(state) & np.uint64(0xFFFFFFFF))
        if abs(u) < _RATIO[layer]:
            return u * _X[layer], state


@njit
def fill(out: Any, state: Any) -> Any:
    """Two deviates from each 64 bits."""
    for j in range(0, len(out), 2):
        state += STEP
        word = bits(state)
        u, layer = _part(word & np.uint64(0xFFFFFFFF))
        out[j] = u * _WIDTH[layer]
        if abs(u) >= _RATIO[layer]:
            out[j], state = _other(u, layer, state)
        if j + 1 < len(out):
            u, layer = _part(word >> np.uint64(32))
            out[j + 1] = u * _WIDTH[layer]
            if abs(u) >= _RATIO[layer]:
                out[j + 1], state = _other(u, layer, state)
    return state


@njit(cache=True, fastmath={"contract"})
def read(current: Any, length: Any, width: Any, step: Any, q: int, noisy: bool, seed: int) -> int:
    """In place: add `length · width · ξ`, then round to steps and clip to ±q of them.

    Args:
        current: `(tiles, samples, out)`.
        length: `(tiles, samples)`.
        width: `(tiles, out)`.
        step: `(tiles,)`.
        q: largest code.
        noisy: whether to draw.
        seed: of the deviates.

    Returns:
        How many codes were clipped.
    """
    clipped, state = 0, np.uint64(seed)
    top, noise = current.dtype.type(q), np.zeros(current.shape[2], current.dtype)
    for k in range(current.shape[0]):
        inverse = current.dtype.type(1) / step[k]
        for s in range(current.shape[1]):
            row, spread = current[k, s], length[k, s]
            if noisy:
                state = fill(noise, state)
                for j in range(len(row)):
                    row[j] += spread * width[k, j] * noise[j]
            worst = current.dtype.type(0)
            for j in range(len(row)):
                row[j] = np.rint(row[j] * inverse)
                worst = max(worst, abs(row[j]))
            if worst > top:
                for j in range(len(row)):
                    clipped += abs(row[j]) > top
                    row[j] = min(max(row[j], -top), top)
            for j in range(len(row)):
                row[j] *= step[k]
    return clipped
