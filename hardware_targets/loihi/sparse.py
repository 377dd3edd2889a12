"""Sparse matrices in rows (scipy's `csr_array`), entry by entry."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.sparse import csr_array

Matrix = Any
"""A `csr_array`, whose own types say that its shape may be missing."""


def row_of(matrix: Matrix) -> np.ndarray:
    """The row of every entry, in their order."""
    return np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))


def row_sums(matrix: Matrix, values: np.ndarray) -> np.ndarray:
    """Sum of `values`, one for each entry of the matrix, over each row."""
    return np.bincount(row_of(matrix), values, matrix.shape[0])


def row_largest(matrix: Matrix) -> np.ndarray:
    """Largest magnitude of each row."""
    return np.asarray(abs(matrix).max(axis=1).todense(), np.float64).reshape(-1)


def with_values(matrix: Matrix, values: np.ndarray) -> Matrix:
    """Entries at the same places with other values; those of 0 are left out."""
    found: Matrix = csr_array((values, matrix.indices, matrix.indptr), matrix.shape, copy=True)
    found.eliminate_zeros()
    return found
