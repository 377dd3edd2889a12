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


def noise_alone(outwards: np.ndarray, back: np.ndarray) -> np.ndarray:
    """Where steps of random sign leave synapses, if nothing forgets: shares of the levels 0, 1, … on one side of zero.

    By detailed balance `share_{k+1} back_{k+1} = share_k outwards_k`, with the chances of a step away from zero and of one
    back. Shares that grow fast are synapses that noise has consolidated.

    Args:
        outwards, back: of every level, `(levels,)`; the first `back` and the last `outwards` are not used.
    """
    shares = np.concatenate([[1.0], np.cumprod(np.asarray(outwards)[:-1] / np.asarray(back)[1:])])
    return shares / shares.sum()
