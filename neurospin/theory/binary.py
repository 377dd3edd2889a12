"""Synapses ±1 with half log-odds λ, and what Laborieux's rule does to them."""

from __future__ import annotations

import numpy as np


def probability(half_log_odds: np.ndarray) -> np.ndarray:
    """Of +1: `1 / (1 + exp(−2 λ))`."""
    return 1 / (1 + np.exp(-2 * np.asarray(half_log_odds)))


def variance(half_log_odds: np.ndarray) -> np.ndarray:
    """`sech² λ`: also the derivative of the mean `tanh λ`, and Laborieux's `f_meta` at `λ = m h`."""
    return 1 / np.cosh(half_log_odds) ** 2


def divergence(half_log_odds: np.ndarray) -> np.ndarray:
    """Kullback-Leibler divergence from even odds, in nats; its derivative is `λ sech² λ`."""
    lam = np.asarray(half_log_odds)
    return lam * np.tanh(lam) - np.log(np.cosh(lam))


def divergence_slope(half_log_odds: np.ndarray) -> np.ndarray:
    """`λ sech² λ`."""
    return np.asarray(half_log_odds) * variance(half_log_odds)


def evidence(x: np.ndarray, y: np.ndarray, noise: float) -> float:
    """What observations `y = w x + noise` of variance `noise` add to λ: `Σ x y / noise`, exactly."""
    return float(np.sum(x * y) / noise)


def erase_length(start: float, m: float) -> float:
    """Summed steps that bring a hidden value from `start` to 0 under Laborieux's rule.

    `W/2 + sinh(2 m W)/(4 m)`; W without metaplasticity.
    """
    return start / 2 + np.sinh(2 * m * start) / (4 * m) if m else start


def protection(start: float, m: float) -> float:
    """How many times longer erasing takes than without metaplasticity: `1/2 + sinh(2 m W)/(4 m W)`."""
    return erase_length(start, m) / start
