"""The one check of an array of patterns."""

from __future__ import annotations

import numpy as np

from neurospin.errors import InputError

AXES = {2: "(conditions, units)", 3: "(conditions, trials, units)"}


def patterns(values: np.ndarray, where: str, axes: int = 2, least: int = 2) -> np.ndarray:
    """Patterns in float64.

    Raises:
        InputError: another number of axes, fewer than `least` conditions, nothing in it, or nan or inf.
    """
    found = np.asarray(values, dtype=np.float64)
    if found.ndim != axes or len(found) < least or found.size == 0:
        raise InputError(where, f"{AXES[axes]} with at least {least} conditions", str(found.shape), "check the axes")
    if not np.isfinite(found).all():
        raise InputError(where, "finite numbers", "nan or inf", "leave out what is missing")
    return found
