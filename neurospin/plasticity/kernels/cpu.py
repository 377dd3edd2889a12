"""The steps in one pass over memory, compiled by numba at their first use and kept on disk."""

# pyright: reportCallIssue=false
from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numba
import numpy as np
import torch
from torch import Tensor

from neurospin.scan.cpu_math import float_as_bits

if TYPE_CHECKING:
    from neurospin.plasticity.kernels import Filter, Settings

F = np.float32
CHUNK = 1 << 20  # synapses for which another thread is worth starting


@numba.njit(inline="always")
def _twice_cosh(y):
    """2 cosh √y, its square within 4e-5 up to √y = 10, and its value at 16 beyond: from q = 2 cosh(√y/8) − 2 by q ← q (q + 4).

    Every term is positive, so that no digit cancels, as it does in 1 − tanh² x.
    """
    y = min(y, F(256))
    q = y * (F(1 / 64) + F(2 / 64**2 / 24) * y + (y * y) * (F(2 / 64**3 / 720) + F(2 / 64**4 / 40320) * y))
    for _ in range(3):
        q = q * (q + F(4))
    return q + F(2)


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _step(h, g, first, second, m, keep1, new1, keep2, new2, root, eps, size, decay):
    steepness, fourfold = m * m, F(4) * size
    for i in range(h.size):
        value = h[i]
        gradient = g[i] + decay * value
        a = keep1 * first[i] + new1 * gradient
        b = keep2 * second[i] + new2 * gradient * gradient
        first[i] = a
        second[i] = b
        towards_zero = np.int32(float_as_bits(value) ^ float_as_bits(a)) >= np.int32(0)
        slow = _twice_cosh(steepness * value * value) if towards_zero else F(2)
        h[i] = value - fourfold * a / ((np.sqrt(b) * root + eps) * (slow * slow))


def metaplastic_adam(hidden: Tensor, gradient: Tensor, first: Tensor, second: Tensor, settings: Settings) -> None:
    """See `neurospin.plasticity.kernels.metaplastic_adam`; float32, contiguous, on the CPU."""
    h, g, a, b = (t.detach().numpy().reshape(-1) for t in (hidden, gradient, first, second))
    beta1, beta2 = settings.betas
    numbers = [
        F(x)
        for x in (
            settings.m, beta1, 1 - beta1, beta2, 1 - beta2, 1 / settings.root, settings.eps, settings.size,
            settings.weight_decay,
        )
    ]  # fmt: skip
    in_parts(_step, [h, g, a, b], numbers)


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _kalman(w, g, precision, size, keep, new, evidence, pull, prior, limit, lr):
    for i in range(w.size):
        summed = size * g[i]
        p = keep * precision[i] + new + evidence * summed * summed
        precision[i] = p
        width = F(1) / np.sqrt(p)
        step = (summed + pull * w[i]) * prior * width * width
        most = limit * width
        w[i] -= lr * min(max(step, -most), most)


def kalman(value: Tensor, gradient: Tensor, precision: Tensor, numbers: Filter) -> None:
    """See `neurospin.plasticity.kernels.kalman`; float32, contiguous, on the CPU."""
    forget = 1 / numbers.window
    settings = [
        F(x)
        for x in (
            numbers.batch_size, 1 - forget, forget, numbers.evidence * numbers.prior, forget / numbers.prior,
            numbers.prior, min(numbers.limit, 3e38), numbers.lr,
        )
    ]  # fmt: skip
    in_parts(_kalman, [t.detach().view(-1).numpy() for t in (value, gradient, precision)], settings)


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _pull(g, importance, w, anchor, strength):
    for i in range(g.size):
        g[i] += strength * importance[i] * (w[i] - anchor[i])


def pull(gradient: Tensor, importance: Tensor, value: Tensor, anchor: Tensor, strength: float) -> None:
    """See `neurospin.plasticity.kernels.pull`; float32, contiguous, on the CPU."""
    arrays = [t.detach().view(-1).numpy() for t in (gradient, importance, value, anchor)]
    in_parts(_pull, arrays, [F(strength)])


def in_parts(
    step: Callable[..., None], arrays: list[np.ndarray], numbers: Sequence[np.generic], *, numbered: bool = False
) -> None:
    """One step on all synapses, shared out over as many threads as pay; a `numbered` one is told its first synapse."""
    size = arrays[0].size
    parts = max(1, min(torch.get_num_threads(), size // CHUNK))
    cuts = [size * part // parts for part in range(parts + 1)]

    def run(low: int, high: int) -> None:
        step(*((low,) if numbered else ()), *(a[low:high] for a in arrays), *numbers)

    if parts == 1:
        run(0, size)
        return
    with ThreadPoolExecutor(parts) as pool:
        list(pool.map(run, cuts[:-1], cuts[1:]))
