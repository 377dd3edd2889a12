"""How spike trains vary: Fano factor, regularity of intervals, noise correlations; of recordings and of twins alike."""

from __future__ import annotations

import numpy as np

from neurospin.errors import InputError
from neurospin.twins.ceilings import average, checked, variance


def fano_factor(counts: np.ndarray) -> np.ndarray:
    """Variance over repeats divided by the mean, both averaged over samples first, `(units,)`; 1 for Poisson.

    Args:
        counts: `(repeats, samples, units)`, at least 2 repeats; nan is a repeat that was not recorded.
    """
    found = checked(counts, "counts", repeats=2)
    spread, mean = variance(found), average(found)
    mean = np.where(np.isfinite(spread), mean, np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.nansum(spread, axis=0) / np.nansum(mean, axis=0)
    return np.where(np.isfinite(ratio), ratio, np.nan)


def isi_cv(times: np.ndarray, unit: np.ndarray, trial: np.ndarray, *, units: int) -> np.ndarray:
    """Coefficient of variation of the intervals between spikes, `(units,)`; 1 for Poisson, 0 for a clock.

    Intervals lie within a trial; nan for a unit with fewer than two of them.

    Args:
        times: of the spikes, in any unit, `(spikes,)`.
        unit: of each spike, `(spikes,)`, from 0.
        trial: of each spike, `(spikes,)`.
        units: how many units there are.

    Raises:
        InputError: the three do not match, or a unit is not among them.
    """
    times, unit, trial = np.asarray(times, np.float64), np.asarray(unit), np.asarray(trial)
    if not times.shape == unit.shape == trial.shape or times.ndim != 1:
        raise InputError(
            "isi_cv", "three arrays (spikes,)", f"{times.shape}, {unit.shape}, {trial.shape}", "match them"
        )
    if len(unit) and not 0 <= unit.min() <= unit.max() < units:
        raise InputError("isi_cv.unit", f"numbers below {units}", f"{unit.min()} … {unit.max()}", "check the units")
    order = np.lexsort((times, trial, unit))
    interval = np.diff(times[order])
    same = (np.diff(unit[order]) == 0) & (np.diff(trial[order]) == 0)
    owner, interval = unit[order][1:][same], interval[same]
    number = np.bincount(owner, minlength=units)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.bincount(owner, interval, units) / number
        square = np.bincount(owner, (interval - mean[owner]) ** 2, units) / (number - 1)
        return np.where(number > 1, np.sqrt(square) / mean, np.nan)


def noise_correlations(responses: np.ndarray) -> np.ndarray:
    """Correlation of two units' deviations from their average responses, over all trials, `(units, units)`.

    A deviation is `(r − mean over repeats) / standard deviation over repeats`, sample by sample.

    Args:
        responses: `(repeats, samples, units)`, at least 2 repeats; nan is a repeat that was not recorded.
    """
    found = checked(responses, repeats=2)
    with np.errstate(invalid="ignore", divide="ignore"):
        z = (found - average(found)) / np.sqrt(variance(found))
    z = z.reshape(-1, found.shape[2])
    held = np.isfinite(z)
    filled = np.where(held, z, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        shared = (filled**2).T @ held.astype(float)
        matrix = filled.T @ filled / np.sqrt(shared * shared.T)
    return np.where(np.isfinite(matrix), matrix, np.nan)
