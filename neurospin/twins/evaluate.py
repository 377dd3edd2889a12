"""Scores of a fitted twin on the trials that it has not seen."""

from __future__ import annotations

import numpy as np

from neurospin.errors import InputError
from neurospin.twins import scores
from neurospin.twins.data import TwinData
from neurospin.twins.fitted import Fit
from neurospin.twins.responses import Signal
from neurospin.twins.scores import Scores


def tested(data: TwinData) -> TwinData:
    """The test trials; all trials, where there are no tiers."""
    held = data.tier("test") if "tier" in data.trials else data
    if not len(held):
        raise InputError("score.data", "test trials", "none", "split() them off")
    return held


def score(fit: Fit, data: TwinData, *, dt: float | None = None) -> Scores:
    """All scores of a twin on the test trials of a recording, per unit.

    Where the prediction depends on the trial (covariates), scores of averages take its mean over the repeats.

    Args:
        fit: the fitted twin.
        data: with test trials; all trials are scored where there are no tiers.
        dt: bins of the scores in seconds, a multiple of the twin's (default: its own).

    Raises:
        InputError: no test trials, or data that do not fit the twin.
    """
    held = tested(data)
    return score_predictions(held, fit.predict(held), fit.model.dt, fit.twin.window, dt)


def score_predictions(
    held: TwinData, predictions: np.ndarray, own: float, window: tuple[float, float] | None, dt: float | None = None
) -> Scores:
    """Scores of predictions `(trials, bins, units)` in bins of `own` seconds, in bins of `dt`."""
    wide = own if dt is None else dt
    factor = round(wide / own)
    if factor < 1 or abs(factor - wide / own) > 1e-6 or predictions.shape[1] % factor:
        raise InputError("score.dt", f"a multiple of {own:g} s that fills the trial", f"{wide:g} s", "change dt")
    responses, _ = held.repeated(wide, window)
    grouped = predictions.reshape(len(predictions), -1, factor, predictions.shape[2])
    summed = grouped.mean(2) if isinstance(held.responses, Signal) else grouped.sum(2)
    each = held.by_repeat(summed)
    with np.errstate(invalid="ignore"):
        average = np.nansum(each, axis=0) / np.isfinite(each).sum(0)
    return scores.score(responses, np.where(np.isfinite(each), each, average))
