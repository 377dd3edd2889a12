"""From a recording to the tensors that a fit reads."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from neurospin.errors import InputError
from neurospin.twins.data import TwinData
from neurospin.twins.twin import Model, Twin


@dataclass(frozen=True)
class Prepared:
    """What a fit reads of a recording.

    Attributes:
        stimuli: every one that was shown, `(stimuli, …)`.
        shown: row of `stimuli` of every sample, `(samples,)`.
        responses: `(bins, samples, units)`; 0 where not recorded.
        weight: how many responses stand behind each, broadcast against `responses`; `None` where always 1.
        covariates: by name, `(bins, samples, …)`.
    """

    stimuli: Tensor
    shown: Tensor
    responses: Tensor
    weight: Tensor | None
    covariates: dict[str, Tensor]

    @staticmethod
    def of(twin: Twin, data: TwinData, *, grouped: bool, model: Model | None = None) -> Prepared:
        """Tensors of the trials of `data`; `grouped` averages the repeats of a stimulus."""
        counts = data.counts(twin.dt, twin.window)
        bins = counts.shape[1]
        if model is not None and (bins != model.bins or counts.shape[2] != model.readout.units):
            got = f"{bins} bins, {counts.shape[2]} units"
            raise InputError("data", f"{model.bins} bins, {model.readout.units} units, as fitted", got, "match them")
        kinds, which = np.unique(data.trials["stimulus"], return_inverse=True)
        stimuli = torch.as_tensor(np.asarray(data.stimuli)[kinds].astype(np.float32))
        covariates = {name: _in_bins(name, data, bins) for name in twin.covariates}
        held = np.isfinite(counts)
        whole = bool(held.all())
        filled = counts if whole else np.where(held, counts, 0.0)
        if grouped:
            total = np.zeros((len(kinds), *counts.shape[1:]))
            np.add.at(total, which, filled)
            number = np.bincount(which)[:, None, None] * np.ones((1, 1, 1))
            if not whole:
                number = np.zeros(total.shape)
                np.add.at(number, which, held)
            filled, weight = total / np.maximum(number, 1), number
            which = np.arange(len(kinds))
        else:
            weight = None if whole else held.astype(np.float64)
        return Prepared(
            stimuli, torch.as_tensor(which), _time_first(filled), None if weight is None else _time_first(weight),
            covariates,
        )  # fmt: skip

    def batch(self, rows: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None, dict[str, Tensor]]:
        """Stimuli, responses, weights and covariates of some samples; of all for `None`."""
        if rows is None:
            return self.stimuli[self.shown], self.responses, self.weight, self.covariates
        return (
            self.stimuli[self.shown[rows]], self.responses[:, rows],
            None if self.weight is None else self.weight[:, rows], {n: c[:, rows] for n, c in self.covariates.items()},
        )  # fmt: skip


def _time_first(values: np.ndarray) -> Tensor:
    return torch.as_tensor(values, dtype=torch.float32).transpose(0, 1).contiguous()


def _in_bins(name: str, data: TwinData, bins: int) -> Tensor:
    """A covariate averaged in the bins of the responses, `(bins, trials, numbers)`."""
    if name not in data.covariates:
        raise InputError("data.covariates", name, ", ".join(data.covariates) or "none", "record it, or leave it out")
    values = np.asarray(data.covariates[name], np.float32)
    values = values.reshape(*values.shape[:2], -1)
    if values.shape[1] % bins and values.shape[1] != 1:
        raise InputError(
            f"covariates[{name!r}]", f"times a multiple of {bins} bins, or 1", str(values.shape[1]), "bin it"
        )
    if values.shape[1] == 1:
        values = np.repeat(values, bins, axis=1)
    return _time_first(values.reshape(len(values), bins, -1, values.shape[2]).mean(2))


def model_for(twin: Twin, data: TwinData, seed: int) -> Model:
    """The module for the shapes of a recording."""
    counts = data.counts(twin.dt, twin.window)
    assert data.responses is not None
    dt = twin.dt if twin.dt is not None else getattr(data.responses, "dt", None)
    assert dt is not None  # counts() has refused spikes without
    bins, shape, axes = counts.shape[1], np.shape(data.stimuli)[1:], twin.core.axes
    film = len(shape) == axes + 1
    if len(shape) not in (axes, axes + 1) or (film and shape[0] not in (bins, bins * twin.steps)):
        words = "features" if axes == 1 else "(channels, height, width)"
        expected = f"(stimuli, {words}), or films of {bins} bins"
        raise InputError("data.stimuli", expected, str(np.shape(data.stimuli)), "choose the core and bins that fit")
    covariates = {name: _in_bins(name, data, bins).shape[-1] for name in twin.covariates}
    return Model(twin, shape[1:] if film else shape, counts.shape[2], bins, dt, covariates, seed)
