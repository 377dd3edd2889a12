"""How long synapses remember one pattern among many: traces, noise, lifetimes.

`N` synapses; a pattern is kept while its signal exceeds the standard deviation of all later ones.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import brentq, minimize_scalar


def two_state_trace(q: float, age: np.ndarray) -> np.ndarray:
    """Correlation with a pattern seen `age` patterns ago, of 2-state synapses that switch with chance q: `q (1 − q)^age`."""
    return q * (1 - q) ** np.asarray(age, dtype=float)


def two_state_lifetime(synapses: float, q: float) -> float:
    """Patterns until `√N q (1 − q)^t` is 1; at best `√N / e`, where `q = e / √N`."""
    return float(np.log(np.sqrt(synapses) * q) / -np.log1p(-q))


def best_two_state(synapses: float) -> tuple[float, float]:
    """The switching chance with the longest lifetime, and that lifetime, found numerically."""
    bounds = (-0.5 * np.log(synapses), -1e-6)
    found = minimize_scalar(
        lambda log_q: -two_state_lifetime(synapses, float(np.exp(log_q))), bounds=bounds, method="bounded",
        options={"xatol": 1e-10},
    )  # fmt: skip
    q = float(np.exp(found.x))
    return q, two_state_lifetime(synapses, q)


def leaky_lifetime(synapses: float, window: float) -> float:
    """Patterns until a leaky integrator of that window falls to 1: `SNR = √(2N/window) e^(−t/window)`."""
    return float(window / 2 * np.log(2 * synapses / window))


def best_leaky(synapses: float) -> tuple[float, float]:
    """The window with the longest lifetime, and that lifetime, found numerically; in theory `2N/e` and `N/e`."""
    found = minimize_scalar(
        lambda log_w: -leaky_lifetime(synapses, float(np.exp(log_w))), bounds=(0, np.log(2 * synapses)),
        method="bounded", options={"xatol": 1e-10},
    )  # fmt: skip
    window = float(np.exp(found.x))
    return window, leaky_lifetime(synapses, window)


def chain(beakers: int, rate: float = 0.25, *, leaking: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """The modes of a chain of beakers: what is left of each after one step, and its share in the first beaker.

    The flow of `neurospin.plasticity.BennaFusi`, `C_k du_k = g_{k−1} (u_{k−1} − u_k) + g_k (u_{k+1} − u_k)`, in steps of
    1. A drop of 1 in the first beaker leaves `Σ share · left^age` there.

    Args:
        beakers: length of the chain.
        rate: of the first coupling.
        leaking: whether the last beaker drains into nothing, as in Benna & Fusi 2016; the sealed chain of the rule keeps all.
    """
    capacity, g = 2.0 ** np.arange(beakers), rate * 0.5 ** np.arange(beakers)
    flow = np.zeros((beakers, beakers))
    for k in range(beakers - 1):
        flow[[k, k + 1], k] += np.array([-g[k], g[k]]) / capacity[[k, k + 1]]
        flow[[k, k + 1], k + 1] += np.array([g[k], -g[k]]) / capacity[[k, k + 1]]
    if leaking:
        flow[-1, -1] -= g[-1] / capacity[-1]
    scale = np.sqrt(capacity)  # makes the flow symmetric
    values, vectors = np.linalg.eigh(flow * scale[:, None] / scale)
    return 1 + values, vectors[0] ** 2


def chain_trace(beakers: int, ages: np.ndarray, rate: float = 0.25) -> np.ndarray:
    """What is left in the first of a sealed chain of beakers, `ages` steps after a drop of 1 fell into it.

    About `age^(−1/2)` until the last beaker is reached.
    """
    left, share = chain(beakers, rate)
    return (share * left ** np.asarray(ages)[:, None]).sum(1)


def chain_lifetime(synapses: float, beakers: int, rate: float = 0.125) -> tuple[float, float]:
    """Patterns until the signal of a leaking chain falls to the noise of all others, and that noise's variance V.

    The signal to noise is `√(N/V) r(t)` with `V = Σ_t r(t)²`. Where `r ≈ c t^(−1/2)`, the lifetime is `c² N/V`, and
    `c² = 1.8` at the default rate of 1/8.
    """
    left, share = chain(beakers, rate, leaking=True)
    variance = float((share[:, None] * share / (1 - left[:, None] * left)).sum())
    lifetime = brentq(
        lambda t: float(np.sqrt(synapses / variance) * (share * left**t).sum()) - 1, 0, 4.0 ** (beakers + 4)
    )
    return float(lifetime), variance  # type: ignore[arg-type]
