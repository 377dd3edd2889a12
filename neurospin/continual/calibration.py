"""What a learner believes: likelihood, calibration, and uncertainty that tells unknown inputs.

Class probabilities are `(samples, classes)`, or `(draws, samples, classes)` for several draws of the weights.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neurospin.errors import InputError


def negative_log_likelihood(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """`mean −log p(label)`, in nats."""
    p = _checked(probabilities, labels)
    return float(-np.log(np.maximum(p[np.arange(len(p)), labels], np.finfo(np.float64).tiny)).mean())


def brier_score(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """`mean Σ_c (p_c − 1[c = label])²`, between 0 and 2."""
    p = _checked(probabilities, labels)
    return float(((p - np.eye(p.shape[1])[labels]) ** 2).sum(1).mean())


def expected_calibration_error(probabilities: np.ndarray, labels: np.ndarray, bins: int = 15) -> float:
    """Mean over samples of `|accuracy − confidence|` of their bin, bins of equal width `(a, b]` in confidence.

    Source: Guo, Pleiss, Sun & Weinberger, ICML 2017, arXiv:1706.04599.
    """
    p = _checked(probabilities, labels)
    confidence, right = p.max(1), p.argmax(1) == labels
    place = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    gaps = np.bincount(place, right - confidence, bins)
    return float(np.abs(gaps).sum() / len(p))


@dataclass(frozen=True)
class Uncertainty:
    """Of every sample `(samples,)`, in nats: `total = aleatoric + epistemic`.

    Attributes:
        total: entropy of the mean prediction.
        aleatoric: mean entropy of the predictions.
        epistemic: mutual information of label and weights; 0 for a single draw.
    """

    total: np.ndarray
    aleatoric: np.ndarray
    epistemic: np.ndarray


def uncertainty(draws: np.ndarray) -> Uncertainty:
    """Uncertainty of predictions `(draws, samples, classes)`.

    Source: Depeweg et al., ICML 2018, arXiv:1710.07283.
    """
    p = np.asarray(draws, dtype=np.float64)
    if p.ndim != 3 or not p.size:
        raise InputError("draws", "shape (draws, samples, classes)", str(p.shape), "stack the draws")
    total, aleatoric = _entropy(p.mean(0)), _entropy(p).mean(0)
    return Uncertainty(total, aleatoric, total - aleatoric)


def detection_auc(known: np.ndarray, unknown: np.ndarray) -> float:
    """Area under the ROC curve of telling unknown from known inputs by a score that is larger for unknown ones.

    The chance that an unknown input scores higher than a known one, ties counting one half.
    """
    inside, outside = np.sort(np.asarray(known, dtype=np.float64)), np.asarray(unknown, dtype=np.float64)
    if not len(inside) or not len(outside):
        raise InputError("scores", "at least one known and one unknown", "none", "give both")
    below = np.searchsorted(inside, outside, "left") + np.searchsorted(inside, outside, "right")
    return float(below.mean() / (2 * len(inside)))


def _entropy(p: np.ndarray) -> np.ndarray:
    return -(p * np.log(np.where(p > 0, p, 1))).sum(-1)


def _checked(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    p = np.asarray(probabilities, dtype=np.float64)
    if p.ndim != 2 or p.shape[0] != len(labels) or not p.size:
        raise InputError("probabilities", f"shape ({len(labels)}, classes)", str(p.shape), "one row per label")
    if not np.allclose(p.sum(1), 1, atol=1e-4):
        raise InputError("probabilities", "rows that add up to 1", f"{p.sum(1).max():g}", "apply softmax")
    return p
