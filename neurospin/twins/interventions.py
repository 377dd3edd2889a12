"""Experiments in a twin: responses to any stimulus, tuning curves, lesions, stimulation."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from neurospin.errors import InputError, unknown_name
from neurospin.twins.fitted import Fit, in_parts


def respond(fit: Fit, stimuli: np.ndarray | Tensor) -> np.ndarray:
    """Expected responses to any stimuli, `(stimuli, bins, units)`; for a twin without covariates.

    Args:
        fit: the fitted twin.
        stimuli: `(stimuli, *size)`, or films `(stimuli, bins, *size)`.

    Raises:
        InputError: stimuli of another shape, or a twin that needs covariates.
    """
    if fit.twin.covariates:
        raise InputError("respond", "a twin without covariates", ", ".join(fit.twin.covariates), "use fit.predict")
    fit.model.eval()
    with torch.no_grad():
        return in_parts(fit.model, torch.as_tensor(stimuli, dtype=torch.float32)).transpose(0, 1).double().numpy()


def tuning(
    fit: Fit, stimuli: np.ndarray | Tensor, values: Sequence[float] | np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Tuning curves: mean response over the bins to stimuli of every value of a feature.

    Args:
        fit: the fitted twin.
        stimuli: `(stimuli, …)`.
        values: of the feature, one per stimulus; equal values are averaged.

    Returns:
        The values in order, `(n,)`, and the curves, `(n, units)`.

    Raises:
        InputError: not one value per stimulus.
    """
    given = np.asarray(values)
    if given.shape != (len(stimuli),):
        raise InputError("tuning.values", f"one per stimulus, ({len(stimuli)},)", str(given.shape), "match them")
    told = respond(fit, stimuli).mean(1)
    kinds, which = np.unique(given, return_inverse=True)
    return kinds, np.stack([told[which == k].mean(0) for k in range(len(kinds))])


def lesioned(fit: Fit, neurons: Sequence[int] | np.ndarray, *, block: str | None = None) -> Fit:
    """A copy of a twin some of whose neurons never fire.

    Args:
        fit: the fitted twin; it stays as it is.
        neurons: their numbers, counted over the block as it lies in memory.
        block: name of the block of neurons (default: the last one).

    Raises:
        InputError: no such block or neuron.
    """
    return stimulated(fit, neurons, -1e6, block=block)


def stimulated(fit: Fit, neurons: Sequence[int] | np.ndarray, current: float, *, block: str | None = None) -> Fit:
    """A copy of a twin some of whose neurons get a steady current besides their synapses, as an electrode gives it.

    The current is added to the leak, `τ dv/dt = (v_leak + r I − v) + r i`, so that the copy exports as the twin does.

    Args:
        fit: the fitted twin; it stays as it is.
        neurons: their numbers, counted over the block as it lies in memory.
        current: I; at `r = 1`, one above the threshold makes a silent spiking neuron fire.
        block: name of the block of neurons (default: the last one).

    Raises:
        InputError: no such block or neuron.
    """
    known = fit.model.core.neurons()
    name = next(reversed(known)) if block is None else block
    if name not in known:
        raise unknown_name("stimulated.block", name, known, "block of neurons")
    size = int(np.prod(known[name].size))
    rows = np.asarray(neurons)
    if rows.dtype.kind not in "iu" or rows.ndim != 1 or (len(rows) and not 0 <= rows.min() <= rows.max() < size):
        raise InputError("stimulated.neurons", f"whole numbers from 0 below {size}", str(rows.tolist()), "check them")
    model = copy.deepcopy(fit.model)
    changed = model.core.neurons()[name]
    leak = changed.constant("v_leak").detach().expand(changed.size).clone()
    leak.view(-1)[rows] += current * changed.constant("r").detach().expand(changed.size).reshape(-1)[rows]
    changed.v_leak = leak
    return replace(fit, model=model)
