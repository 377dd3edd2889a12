"""Representational dissimilarity: matrices, their comparison, and how well any model could do.

A matrix of `n` conditions is a vector of its `n (n − 1) / 2` pairs, in the order of `scipy.spatial.distance.pdist`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.distance import pdist, squareform
from scipy.stats import kendalltau, rankdata

from neurospin.errors import InputError
from neurospin.twins.geometry.checks import patterns

METHODS = ("pearson", "spearman", "tau-a", "rho-a", "cosine")


def rdm(values: np.ndarray, metric: str = "correlation") -> np.ndarray:
    """Dissimilarity of every pair of conditions, `(pairs,)`.

    `"correlation"` is `1 − r`; `"euclidean"` is the squared distance divided by the number of units.

    Args:
        values: patterns `(conditions, units)`.
        metric: `"correlation"` (default) or `"euclidean"`.

    Raises:
        InputError: an unknown metric, or a pattern without variance under `"correlation"`.

    Source: Kriegeskorte, Mur & Bandettini, Frontiers in Systems Neuroscience 2, 2008, doi:10.3389/neuro.06.004.2008.
    """
    found = patterns(values, "rdm")
    if metric == "euclidean":
        return pdist(found, "sqeuclidean") / found.shape[1]
    if metric != "correlation":
        raise InputError("rdm.metric", "'correlation' or 'euclidean'", repr(metric), "choose one of them")
    flat = np.flatnonzero(np.ptp(found, axis=1) == 0)
    if len(flat):
        raise InputError("rdm", "patterns that vary over units", f"condition {flat[0]} is constant", "leave it out")
    return pdist(found, "correlation")


def crossnobis(values: np.ndarray, precision: np.ndarray | None = None) -> np.ndarray:
    """Cross-validated squared Mahalanobis distance of every pair of conditions, `(pairs,)`; 0 on average for equal ones.

    `mean over m ≠ n of (x_i^m − x_j^m)ᵀ P (x_i^n − x_j^n) / units`, where `m` and `n` are repeats.

    Args:
        values: `(repeats, conditions, units)`, at least 2 repeats.
        precision: `P`, inverse noise covariance, `(units, units)` (default: identity).

    Source: Walther et al., NeuroImage 137, 2016, doi:10.1016/j.neuroimage.2015.12.012.
    """
    found = np.asarray(values, np.float64)
    if found.ndim != 3 or len(found) < 2 or found.shape[1] < 2 or not np.isfinite(found).all():
        raise InputError("crossnobis", "finite (repeats, conditions, units), ≥ 2 repeats", str(found.shape), "check it")
    repeats, conditions, units = found.shape
    weighted = found if precision is None else found @ np.asarray(precision, np.float64)
    total, every = weighted.sum(0) @ found.sum(0).T, np.einsum("rcu,rdu->cd", weighted, found)
    gram = (total - every) / (repeats * (repeats - 1) * units)
    gram = (gram + gram.T) / 2
    distance = gram.diagonal()[:, None] + gram.diagonal() - 2 * gram
    return distance[np.triu_indices(conditions, 1)]


def compare_rdms(first: np.ndarray, second: np.ndarray, method: str = "spearman") -> float:
    """How alike two dissimilarity vectors are; 1 is the most.

    `"tau-a"` counts concordant minus discordant pairs over all pairs; `"rho-a"` is the Spearman correlation expected
    when ties are broken at random. Both do not favour models that predict ties.

    Args:
        first: `(pairs,)`.
        second: `(pairs,)`.
        method: `"pearson"`, `"spearman"` (default), `"tau-a"`, `"rho-a"` or `"cosine"`.

    Source: Schütt et al., eLife 12, 2023, doi:10.7554/eLife.82566.
    """
    a, b = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if a.shape != b.shape or a.ndim != 1 or len(a) < 2:
        raise InputError("compare_rdms", "two vectors of the same pairs", f"{a.shape} and {b.shape}", "match them")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise InputError("compare_rdms", "finite dissimilarities", "nan or inf", "leave out the condition")
    if method == "cosine":
        return float(a @ b / np.sqrt((a @ a) * (b @ b)))
    if method == "pearson":
        return float(np.corrcoef(a, b)[0, 1])
    if method == "spearman":
        return float(np.corrcoef(rankdata(a), rankdata(b))[0, 1])
    if method == "rho-a":
        n = len(a)
        return float(12 * ((rankdata(a) - (n + 1) / 2) @ (rankdata(b) - (n + 1) / 2)) / (n**3 - n))
    if method == "tau-a":
        pairs = len(a) * (len(a) - 1) / 2
        untied = [pairs - sum(k * (k - 1) / 2 for k in np.unique(x, return_counts=True)[1]) for x in (a, b)]
        return float(kendalltau(a, b)[0] * np.sqrt(untied[0] * untied[1]) / pairs)
    raise InputError("compare_rdms.method", ", ".join(METHODS), repr(method), "choose one of them")


def _pooled(rdms: np.ndarray, method: str) -> np.ndarray:
    """The mean matrix that comes nearest to all under a method."""
    if method == "cosine":
        return (rdms / np.linalg.norm(rdms, axis=1, keepdims=True)).mean(0)
    if method == "pearson":
        return ((rdms - rdms.mean(1, keepdims=True)) / rdms.std(1, keepdims=True)).mean(0)
    return rankdata(rdms, axis=1).mean(0)


def _subjects(rdms: np.ndarray, least: int) -> np.ndarray:
    found = np.asarray(rdms, np.float64)
    if found.ndim != 2 or len(found) < least or found.shape[1] < 2 or not np.isfinite(found).all():
        raise InputError(
            "rdms", f"finite (subjects, pairs), ≥ {least} subjects", str(found.shape), "stack the subjects"
        )
    return found


def noise_ceiling(rdms: np.ndarray, method: str = "spearman") -> tuple[float, float]:
    """Between which numbers the best model of these subjects lies.

    Lower: each subject against the mean of the others; upper: against the mean of all.

    Args:
        rdms: `(subjects, pairs)`, at least 2 subjects.
        method: of `compare_rdms`.

    Source: Nili et al., PLoS Computational Biology 10, 2014, doi:10.1371/journal.pcbi.1003553.
    """
    found = _subjects(rdms, 2)
    every = _pooled(found, method)
    low = [compare_rdms(_pooled(np.delete(found, i, 0), method), r, method) for i, r in enumerate(found)]
    high = [compare_rdms(every, r, method) for r in found]
    return float(np.mean(low)), float(np.mean(high))


@dataclass(frozen=True)
class RSA:
    """A model's likeness to the subjects.

    Attributes:
        mean: over subjects.
        low: of the bootstrap's 95 % interval.
        high: of the bootstrap's 95 % interval.
        ceiling: `noise_ceiling`, or None for one subject.
    """

    mean: float
    low: float
    high: float
    ceiling: tuple[float, float] | None


def rsa(
    model: np.ndarray,
    rdms: np.ndarray,
    method: str = "spearman",
    *,
    over: str = "conditions",
    resamples: int = 200,
    seed: int = 0,
) -> RSA:
    """Compare a model's matrix with those of subjects: mean, bootstrap interval and noise ceiling.

    Pairs of a condition with its own copy are left out of a resample.

    Args:
        model: `(pairs,)`.
        rdms: of the subjects, `(subjects, pairs)`.
        method: of `compare_rdms`.
        over: what is resampled, `"conditions"` (default) or `"subjects"`.
        resamples: bootstrap samples (default 200).
        seed: of the bootstrap.

    Source: Schütt et al., eLife 12, 2023, doi:10.7554/eLife.82566.
    """
    found, told = _subjects(rdms, 1), np.asarray(model, np.float64)
    each = np.array([compare_rdms(told, r, method) for r in found])
    draw = np.random.default_rng(seed)
    means = np.empty(resamples)
    if over == "subjects":
        means[:] = each[draw.integers(0, len(each), (resamples, len(each)))].mean(1)
    elif over == "conditions":
        squares = squareform(told), [squareform(r) for r in found]
        conditions = len(squares[0])
        upper = np.triu_indices(conditions, 1)
        for k in range(resamples):
            order = draw.integers(0, conditions, conditions)
            i, j = order[upper[0]], order[upper[1]]
            i, j = i[i != j], j[i != j]
            means[k] = np.mean([compare_rdms(squares[0][i, j], r[i, j], method) for r in squares[1]])
    else:
        raise InputError("rsa.over", "'conditions' or 'subjects'", repr(over), "choose one of them")
    low, high = np.quantile(means, [0.025, 0.975])
    return RSA(float(each.mean()), float(low), float(high), noise_ceiling(found, method) if len(found) > 1 else None)
