"""Likeness of two representations of the same conditions, whatever their number of units."""

from __future__ import annotations

import numpy as np

from neurospin.errors import InputError
from neurospin.twins.geometry.checks import patterns


def _centred(first: np.ndarray, second: np.ndarray, where: str) -> tuple[np.ndarray, np.ndarray]:
    a, b = patterns(first, where), patterns(second, where)
    if len(a) != len(b):
        raise InputError(where, "the same conditions twice", f"{len(a)} and {len(b)}", "match the conditions")
    a, b = a - a.mean(0), b - b.mean(0)
    if not (a.any() and b.any()):
        raise InputError(where, "patterns that differ over conditions", "all the same", "check the responses")
    return a, b


def linear_cka(first: np.ndarray, second: np.ndarray) -> float:
    """Linear centred kernel alignment, `‖XᵀY‖² / (‖XᵀX‖ ‖YᵀY‖)`; 1 for a rotation with one scale.

    The cosine of the two centred Gram matrices. With few conditions and many units it is large for noise, too.

    Args:
        first: `(conditions, units)`.
        second: `(conditions, other units)`.

    Source: Kornblith et al., ICML 2019, arXiv:1905.00414.
    """
    a, b = _centred(first, second, "linear_cka")
    gram, other = a @ a.T, b @ b.T
    return float(np.vdot(gram, other) / (np.linalg.norm(gram) * np.linalg.norm(other)))


def _nuclear(first: np.ndarray, second: np.ndarray, where: str) -> float:
    a, b = _centred(first, second, where)
    product = np.linalg.svd(a.T @ b, compute_uv=False).sum() / (np.linalg.norm(a) * np.linalg.norm(b))
    return float(min(product, 1.0))


def procrustes(first: np.ndarray, second: np.ndarray) -> float:
    """Squared distance after the best rotation and scale of one to the other, `1 − ‖XᵀY‖_*²`, both of unit norm.

    Args:
        first: `(conditions, units)`.
        second: `(conditions, other units)`.

    Source: Schönemann, Psychometrika 31, 1966, doi:10.1007/BF02289451.
    """
    return 1 - _nuclear(first, second, "procrustes") ** 2


def angular_distance(first: np.ndarray, second: np.ndarray) -> float:
    """Angle after the best rotation, `arccos ‖XᵀY‖_*`, both of unit norm, in radians: a metric.

    Args:
        first: `(conditions, units)`.
        second: `(conditions, other units)`.

    Source: Williams et al., NeurIPS 2021, arXiv:2110.14739.
    """
    return float(np.arccos(_nuclear(first, second, "angular_distance")))
