"""Moves of device levels by chance, in one pass over memory, compiled by numba at their first use."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numba
import numpy as np
from torch import Tensor

from neurospin.plasticity.kernels.cpu import F
from neurospin.plasticity.kernels.cpu_random import Key, bits, exp_minus, log, uniform

BLOCK = 512


@numba.njit(error_model="numpy", fastmath={"contract"})
def _asked(by, w, g, gathered, m, first, threshold, low, high):
    """What moves: −1, 0 or 1 levels for every synapse."""
    zero, one = F(0), F(1)
    for i in range(w.size):
        a = gathered[i] + g[i]
        let = uniform(first + i, low, high) < exp_minus(m[i] * abs(w[i]))
        by[i] = (-one if a > zero else one) if (abs(a) > threshold) & let else zero


@numba.njit(error_model="numpy", fastmath={"contract"})
def _gathered(gathered, m, g, threshold, growth, cap, activity):
    zero = F(0)
    for i in range(g.size):
        a = gathered[i] + g[i]
        gathered[i] = zero if abs(a) > threshold else a
        m[i] = min(m[i] + (growth if abs(g[i]) > activity else zero), cap)


@numba.njit(error_model="numpy")
def _written(by, w, writes, device, turn, first, bound, spacing, top, noise, low, high):
    """One level up or down of the device whose turn it is; the weight is the mean of all."""
    devices = device.shape[0]
    for i in range(w.size):
        if by[i] == F(0):
            continue
        d = np.int64(turn[i])
        at = (device[d, i] + bound) / spacing + by[i]
        if noise > F(0):
            u = uniform(first + i, high, low)
            angle = F(2 * math.pi / 2.0**32) * F(bits(first + i, low ^ np.uint32(0x9E3779B9), high))
            at += noise * math.sqrt(F(-2) * math.log(u)) * math.cos(angle)
        else:
            at = np.rint(at)
        device[d, i] = min(max(at, F(0)), top) * spacing - bound
        turn[i] = (d + 1) % devices
        writes[i] += F(1)
        total = F(0)
        for k in range(devices):
            total += device[k, i]
        w[i] = total / devices


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _moves(by, w, g, gathered, m, threshold, growth, cap, activity, low, high):
    for a in range(0, w.size, BLOCK):
        b = min(a + BLOCK, w.size)
        _asked(by[a:b], w[a:b], g[a:b], gathered[a:b], m[a:b], a, threshold, low, high)
        _gathered(gathered[a:b], m[a:b], g[a:b], threshold, growth, cap, activity)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _step(
    w, g, gathered, m, writes, device, turn, threshold, growth, cap, activity, bound, spacing, top, noise, low, high
):
    by = np.empty(BLOCK, np.float32)
    for a in range(0, w.size, BLOCK):
        b = min(a + BLOCK, w.size)
        part = by[: b - a]
        _asked(part, w[a:b], g[a:b], gathered[a:b], m[a:b], a, threshold, low, high)
        _gathered(gathered[a:b], m[a:b], g[a:b], threshold, growth, cap, activity)
        _written(part, w[a:b], writes[a:b], device[:, a:b], turn[a:b], a, bound, spacing, top, noise, low, high)


def probabilistic(tensors: Sequence[Tensor], numbers: Sequence[float], key: Key) -> None:
    """See `neurospin.plasticity.kernels.probabilistic`; float32, contiguous, on the CPU."""
    w, g, gathered, m, writes, device, turn = (t.detach().numpy().reshape(-1) for t in tensors)
    arrays = [w, g, gathered, m, writes, device.reshape(-1, w.size), turn]
    _step(*[*arrays, *(F(min(x, 3e38)) for x in numbers), *key])


def moves(tensors: Sequence[Tensor], numbers: Sequence[float], key: Key) -> None:
    """What `probabilistic` would move, into the first tensor, with the same draws; `gathered` and m are brought up to date."""
    arrays = [t.detach().numpy().reshape(-1) for t in tensors]
    _moves(*[*arrays, *(F(min(x, 3e38)) for x in numbers), *key])


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _aware(w, writes, g, lr, forget, count, low, high):
    half = F(0.5) * count
    for i in range(w.size):
        mean = w[i]
        lam = F(0.5) * log((F(1) + mean) / (F(1) - mean))
        by = -half * (F(1) - mean * mean) * (lr * g[i] + forget * lam)
        by = np.floor(by + uniform(i, low, high))
        level = np.rint(half * (mean + F(1)) - F(0.5))
        new = min(max(level + by, F(0)), count - F(1))
        writes[i] += F(1) if new != level else F(0)
        w[i] = (F(2) * new + F(1)) / count - F(1)


def device_aware(tensors: Sequence[Tensor], numbers: Sequence[float], key: Key) -> None:
    """See `neurospin.plasticity.kernels.device_aware`; float32, contiguous, on the CPU."""
    _aware(*[*(t.detach().numpy().reshape(-1) for t in tensors), *(F(x) for x in numbers), *key])
