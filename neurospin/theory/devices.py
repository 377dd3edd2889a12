"""Devices with K levels as noisy filters of evidence."""

from __future__ import annotations

import numpy as np


def rounding_variance(request: float, spacing: float) -> float:
    """Variance of one request D that is realised as whole levels, without bias: `|D| d (1 − |D|/d)`, `|D| <= d`."""
    return abs(request) * spacing * (1 - abs(request) / spacing)


def random_walk(levels: int) -> np.ndarray:
    """Transition matrix `(levels, levels)` of unbiased single steps that stay put at the bounds."""
    matrix = np.zeros((levels, levels))
    for k in range(levels):
        for other in (max(k - 1, 0), min(k + 1, levels - 1)):
            matrix[other, k] += 0.5
    return matrix


def mixing_time(levels: int) -> float:
    """Events after which hard bounds have forgotten: `−1 / ln cos(π/levels)`, about `2 levels²/π²`."""
    return float(-1 / np.log(np.cos(np.pi / levels)))


def erase_events(level: int, spacing: float, m: float) -> float:
    """Mean opposing events to come from a level to 0 where each moves with `exp(−m |w|)`: `Σ_j exp(m j d)`."""
    return float(np.exp(m * spacing * np.arange(1, level + 1)).sum())
