"""Learners over seeds: how sure a mean is, and what one gains over another on the same seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from neurospin.errors import InputError


@dataclass(frozen=True)
class Paired:
    """Mean difference of two learners over seeds, its confidence interval, and the two-sided p-value of 0."""

    difference: float
    low: float
    high: float
    p_value: float
    seeds: int


def half_interval(values: Sequence[float] | np.ndarray, confidence: float = 0.95) -> float:
    """Half the confidence interval of the mean of `values (seeds,)` by Student's t; NaN for fewer than two."""
    from scipy.stats import t as student  # a second of importing, which no run needs

    x = np.asarray(values, dtype=np.float64)
    if len(x) < 2:
        return float("nan")
    return float(student.ppf(0.5 + confidence / 2, len(x) - 1) * x.std(ddof=1) / np.sqrt(len(x)))


def paired(first: Sequence[float], second: Sequence[float], confidence: float = 0.95) -> Paired:
    """`first − second`, seed by seed, by Student's t over the differences.

    Args:
        first, second: one number per seed, the same seeds in the same order; at least two.
        confidence: of the interval, default 0.95.
    """
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if a.shape != b.shape or a.ndim != 1 or len(a) < 2:
        raise InputError("paired", "as many numbers in both, at least 2", f"{a.shape} and {b.shape}", "pair the seeds")
    if not 0 < confidence < 1:
        raise InputError("paired.confidence", "a number between 0 and 1", str(confidence), "for example 0.95")
    differences = a - b
    mean, error = float(differences.mean()), float(differences.std(ddof=1) / np.sqrt(len(a)))
    half = half_interval(differences, confidence)
    from scipy.stats import t as student

    p = float(2 * student.sf(abs(mean) / error, len(a) - 1)) if error else float(mean == 0)
    return Paired(mean, mean - half, mean + half, p, len(a))
