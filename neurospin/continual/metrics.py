"""What a learner kept and what it could still learn, from its accuracy matrix.

`R[i, j]` is the accuracy on task j after task i was learned. Source: Lopez-Paz & Ranzato, NeurIPS 2017,
arXiv:1706.08840; forgetting: Chaudhry et al., ECCV 2018, doi:10.1007/978-3-030-01252-6_33.
"""

from __future__ import annotations

import numpy as np

from neurospin.errors import InputError


def _square(matrix: np.ndarray) -> np.ndarray:
    r = np.asarray(matrix, dtype=np.float64)
    if r.ndim != 2 or r.shape[0] != r.shape[1] or r.size == 0:
        raise InputError("accuracy matrix", "shape (tasks, tasks)", str(r.shape), "give one row and column per task")
    return r


def average_accuracy(matrix: np.ndarray) -> float:
    """Mean over tasks after the last one: `mean_j R[T, j]`."""
    return float(_square(matrix)[-1].mean())


def backward_transfer(matrix: np.ndarray) -> float:
    """What later tasks did to earlier ones: `mean_{j<T} (R[T, j] − R[j, j])`; 0 for a single task."""
    r = _square(matrix)
    return float((r[-1] - np.diag(r))[:-1].mean()) if len(r) > 1 else 0.0


def forgetting(matrix: np.ndarray) -> float:
    """`mean_{j<T} (max_{j<=i<T} R[i, j] − R[T, j])`; 0 for a single task."""
    r = _square(matrix)
    lost = [r[j:-1, j].max() - r[-1, j] for j in range(len(r) - 1)]
    return float(np.mean(lost)) if lost else 0.0


def learning_accuracy(matrix: np.ndarray) -> float:
    """Accuracy on each task right after it was learned: `mean_j R[j, j]`."""
    return float(np.diag(_square(matrix)).mean())
