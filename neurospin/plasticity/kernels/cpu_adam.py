"""Adam and what a rule does beside it, in one pass over memory, compiled by numba at their first use."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numba
import numpy as np
from torch import Tensor

from neurospin.plasticity.kernels.cpu import F, in_parts

if TYPE_CHECKING:
    from neurospin.plasticity.kernels import Beside, Settings

BLOCK = 512  # synapses whose values stay in the first cache from one loop to the next


@numba.njit(error_model="numpy", fastmath={"contract"})
def _pulled(out, g, importance, w, anchor, strength):
    for i in range(g.size):
        out[i] = g[i] + strength * importance[i] * (w[i] - anchor[i])


@numba.njit(error_model="numpy", fastmath={"contract"})
def _adam(w, g, first, second, keep1, new1, keep2, new2, root, eps, size):
    for i in range(g.size):
        a = keep1 * first[i] + new1 * g[i]
        b = keep2 * second[i] + new2 * g[i] * g[i]
        first[i] = a
        second[i] = b
        w[i] -= size * a / (np.sqrt(b) * root + eps)


@numba.njit(error_model="numpy", fastmath={"contract"})
def _along(path, g, w, before):
    for i in range(g.size):
        path[i] -= g[i] * (w[i] - before[i])


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _exchange(upper, lower, rate):
    for i in range(upper.size):
        flow = rate * (upper[i] - lower[i])
        upper[i] -= flow
        lower[i] += F(0.5) * flow


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _step(
    w, g, first, second, importance, anchor, path, lower, keep1, new1, keep2, new2, root, eps, size, strength, rate
):
    """Arrays that are not there have no entries."""
    pulled, before = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32)
    for low in range(0, w.size, BLOCK):
        high = min(low + BLOCK, w.size)
        values, gradient = w[low:high], g[low:high]
        force = pulled[: high - low]
        if importance.size:
            _pulled(force, gradient, importance[low:high], values, anchor[low:high], strength)
        else:
            force[:] = gradient
        if path.size:
            before[: high - low] = values
        _adam(values, force, first[low:high], second[low:high], keep1, new1, keep2, new2, root, eps, size)
        if path.size:
            _along(path[low:high], gradient, values, before)
        if lower.size:
            _exchange(values, lower[low:high], rate)


def adam(w: Tensor, g: Tensor, first: Tensor, second: Tensor, settings: Settings, beside: Beside) -> None:
    """See `neurospin.plasticity.kernels.adam_with`; float32, contiguous, on the CPU; `m` is not used."""
    beta1, beta2 = settings.betas
    nothing = w.detach().view(-1)[:0]
    extra = [nothing if t is None else t for t in (beside.importance, beside.anchor, beside.path, beside.lower)]
    arrays = [t.detach().view(-1).numpy() for t in (w, g, first, second, *extra)]
    numbers = (
        beta1, 1 - beta1, beta2, 1 - beta2, 1 / settings.root, settings.eps, settings.size, beside.strength, beside.rate,
    )  # fmt: skip
    in_parts(_step, arrays, [F(x) for x in numbers])


def exchange(upper: Tensor, lower: Tensor, rate: float) -> None:
    """See `neurospin.plasticity.kernels.exchange`; float32, contiguous, on the CPU."""
    in_parts(_exchange, [t.detach().view(-1).numpy() for t in (upper, lower)], [F(rate)])
