"""Steps of rules that draw their weights, in one pass over memory, compiled by numba at their first use.

Arrays come first, numbers after them; `first` is the number of the first synapse, for kernels that draw.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numba
import numpy as np
from torch import Tensor

from neurospin.plasticity.kernels.cpu import F, in_parts
from neurospin.plasticity.kernels.cpu_random import exp_minus, log, normal, uniform


@numba.njit(inline="always")
def _tanh(x):
    e = exp_minus(F(2) * abs(x))
    size = (F(1) - e) / (F(1) + e) if abs(x) > F(0.04) else abs(x) * (F(1) - x * x * (F(1 / 3) - x * x * F(2 / 15)))
    return size if x > 0 else -size


@numba.njit(inline="always")
def _variance(x):
    """sech² x; no digit cancels."""
    e = exp_minus(F(2) * abs(x))
    return F(4) * e / ((F(1) + e) * (F(1) + e))


@numba.njit(inline="always")
def _relaxed(lam, i, temperature, low, high):
    u = uniform(i, low, high)
    return (lam + F(0.5) * log(u / (F(1) - u))) / temperature


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def gaussian_draw(first, p, sigma, mean, low, high):
    """`p ← p + σ ε`; the mean is kept."""
    for i in range(p.size):
        mean[i] = p[i]
        p[i] += sigma[i] * normal(first + i, low, high)


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def gaussian_gather(first, p, gathered, mean, g, low, high):
    """`p ← mean`, `gathered ← gathered + g ε`, with the ε of the draw."""
    for i in range(p.size):
        p[i] = mean[i]
        gathered[i] += g[i] * normal(first + i, low, high)


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def mesu(first, p, sigma, gathered, g, scale, lr, rate, prior, center, trust):
    """See `neurospin.plasticity.MESU`."""
    for i in range(p.size):
        s = sigma[i]
        variance = s * s
        step = variance * (scale * g[i] + rate * (p[i] - center))
        widen = rate * s * (prior - variance) - variance * scale * gathered[i]
        limit = s * trust
        p[i] -= lr * min(max(step, -limit), limit)
        limit = F(2) * limit
        sigma[i] = max(s + F(0.5) * lr * min(max(widen, -limit), limit), F(1e-9))
        gathered[i] = F(0)


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def bgd(first, p, sigma, gathered, g, scale, lr, trust):
    """See `neurospin.plasticity.BGD`."""
    for i in range(p.size):
        s = sigma[i]
        limit = s * trust
        p[i] -= lr * min(max(s * s * scale * g[i], -limit), limit)
        h = min(abs(F(0.5) * s * scale * gathered[i]), F(1e18))
        grown = np.sqrt(F(1) + h * h) + h  # exp(asinh |h|)
        sigma[i] = s / grown if gathered[i] > 0 else s * grown
        gathered[i] = F(0)


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def bernoulli_draw(first, p, lam, mean, temperature, low, high):
    """`p ← tanh((λ + logit(u)/2) / temperature)`; the mean is kept."""
    for i in range(p.size):
        mean[i] = p[i]
        p[i] = _tanh(_relaxed(lam[i], first + i, temperature, low, high))


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def bimu_gather(first, p, gathered, lam, mean, g, temperature, low, high):
    """`p ← mean`, and what `BiMU.weighted` says, with the u of the draw."""
    for i in range(p.size):
        p[i] = mean[i]
        gathered[i] += g[i] * _variance(_relaxed(lam[i], first + i, temperature, low, high)) / temperature


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def bayesbinn_gather(first, p, gathered, lam, mean, g, temperature, low, high):
    """`p ← mean`, and what `BayesBiNN.weighted` says, with the u of the draw."""
    for i in range(p.size):
        p[i] = mean[i]
        far, near = abs(_relaxed(lam[i], first + i, temperature, low, high)), abs(lam[i])
        e = exp_minus(F(2) * abs(far - near))  # cosh² near / cosh² far, whose squares overflow
        ratio = (F(1) + exp_minus(F(2) * near)) / (F(1) + exp_minus(F(2) * far))
        gathered[i] += g[i] * ratio * ratio * (e if far > near else F(1) / e) / temperature


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def bimu(first, p, lam, gathered, scale, lr, divergence, forget, floor):
    """See `neurospin.plasticity.BiMU`."""
    for i in range(p.size):
        x = lam[i]
        e = exp_minus(F(2) * abs(x))
        variance, pull = F(4) * e / ((F(1) + e) * (F(1) + e)), scale * gathered[i]
        rise = lr * pull + forget * x * variance
        other = (e if pull * x < 0 else F(1)) / (F(1) + e)  # (1 + sign(pull) tanh x) / 2, of which no digit cancels
        new = x - rise / (divergence * variance + F(4) * abs(pull) * other + floor)
        lam[i] = new
        p[i] = p[i] if new == x else _tanh(new)
        gathered[i] = F(0)


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def bayesbinn(first, p, lam, gathered, prior, scale, lr):
    """See `neurospin.plasticity.BayesBiNN`."""
    for i in range(p.size):
        x = lam[i]
        new = x - lr * (scale * gathered[i] + x - prior[i])
        lam[i] = new
        p[i] = p[i] if new == x else _tanh(new)
        gathered[i] = F(0)


KERNELS = {
    f.__name__: f
    for f in (
        gaussian_draw, gaussian_gather, mesu, bgd, bernoulli_draw, bimu_gather, bayesbinn_gather, bimu, bayesbinn
    )
}  # fmt: skip


def take(name: str, tensors: Sequence[Tensor], numbers: Sequence[float], key: Sequence[Any]) -> None:
    """See `neurospin.plasticity.kernels.drawn`; float32, contiguous, on the CPU."""
    arrays = [t.detach().view(-1).numpy() for t in tensors]
    in_parts(KERNELS[name], arrays, [*(F(min(x, 3e38)) for x in numbers), *key], numbered=True)
