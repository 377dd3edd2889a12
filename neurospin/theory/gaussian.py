"""Bayesian filters of linear-Gaussian evidence: full, diagonal, and with a memory of finite length.

Evidence comes as `y = x·w + noise` of variance `noise`; the prior is `N(mean, covariance)`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Posterior:
    """Mean `(d,)` and covariance `(d, d)`, or variances `(d,)` where the filter is diagonal."""

    mean: np.ndarray
    covariance: np.ndarray


def update(prior: Posterior, x: np.ndarray, y: float, noise: float) -> Posterior:
    """The exact posterior after one observation (Kalman's update without dynamics)."""
    gain = prior.covariance @ x / (noise + x @ prior.covariance @ x)
    return Posterior(prior.mean + gain * (y - x @ prior.mean), prior.covariance - np.outer(gain, x @ prior.covariance))


def update_diagonal(prior: Posterior, x: np.ndarray, y: float, noise: float) -> Posterior:
    """The mean-field posterior after one observation: precisions add, `1/s ← 1/s + x²/noise`.

    The factors' mean is the exact minimum of the divergence, found from `(diag(1/s) + x xᵀ/noise) m = …`.
    """
    precision = 1 / prior.covariance
    evidence = np.outer(x, x) / noise
    mean = np.linalg.solve(np.diag(precision) + evidence, precision * prior.mean + x * y / noise)
    return Posterior(mean, 1 / (precision + np.diag(evidence)))


def ridge(x: np.ndarray, y: np.ndarray, prior: Posterior, noise: float, weights: np.ndarray | None = None) -> Posterior:
    """The posterior of all observations `(n, d)`, `(n,)` at once, each counted `weights` times."""
    counted = np.ones(len(y)) if weights is None else weights
    precision = np.linalg.inv(prior.covariance)
    covariance = np.linalg.inv(precision + (x.T * counted) @ x / noise)
    return Posterior(covariance @ (precision @ prior.mean + (x.T * counted) @ y / noise), covariance)


def update_windowed(
    posterior: Posterior, prior: Posterior, x: np.ndarray, y: float, noise: float, window: float
) -> Posterior:
    """The power-prior filter: natural parameters relax to the prior's, then take the evidence.

    `λ ← (1 − 1/window) λ + λ_0/window + evidence`: the evidence of k steps ago counts `(1 − 1/window)^k`.
    """
    kept = 1 - 1 / window
    old, first = np.linalg.inv(posterior.covariance), np.linalg.inv(prior.covariance)
    precision = kept * old + first / window + np.outer(x, x) / noise
    natural = kept * (old @ posterior.mean) + first @ prior.mean / window + x * y / noise
    covariance = np.linalg.inv(precision)
    return Posterior(covariance @ natural, covariance)


def steady_variance(prior_variance: float, window: float, curvature: float) -> float:
    """Where a windowed filter settles under a curvature H per step: `1 / (1/σ_p² + window · H)`."""
    return 1 / (1 / prior_variance + window * curvature)


def remembered_variance(variance: float, steps: int, curvature: float) -> float:
    """Variance after so many steps of curvature H that nothing forgets: `1 / (1/σ² + steps · H)`."""
    return 1 / (1 / variance + steps * curvature)
