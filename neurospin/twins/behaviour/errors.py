"""Which errors are made: confusion, behaviour image by image (I1, I2 and their normalised forms), error consistency."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtri

from neurospin.errors import InputError

LARGEST = 5.0
"""Largest |d′|: a proportion of 0 or 1 would give infinity."""


def confusion(categories: np.ndarray, choices: np.ndarray, classes: int | None = None) -> np.ndarray:
    """How often each category was called which, `(classes, classes)`: a row for each category.

    Args:
        categories: the right ones, whole numbers from 0, any shape.
        choices: same shape; trials with a negative choice were not answered and do not count.
        classes: how many (default: as many as occur).
    """
    true, told = np.asarray(categories).ravel(), np.asarray(choices).ravel()
    if true.shape != told.shape or true.size == 0 or true.dtype.kind not in "iu" or told.dtype.kind not in "iu":
        raise InputError("confusion", "whole numbers of one shape", f"{true.shape} and {told.shape}", "match them")
    number = 1 + max(int(true.max()), int(told.max())) if classes is None else classes
    if true.min() < 0 or max(int(true.max()), int(told.max())) >= number:
        raise InputError(
            "confusion", f"categories from 0 below {number}", f"{true.min()} to {true.max()}", "check them"
        )
    answered = told >= 0
    return np.bincount(true[answered] * number + told[answered], minlength=number**2).reshape(number, number)


def pairwise(probabilities: np.ndarray, objects: np.ndarray) -> np.ndarray:
    """From a choice among all objects to a choice between two: `p_object / (p_object + p_other)`.

    Args:
        probabilities: of every object for every image, `(images, objects)`.
        objects: the right one of each image, `(images,)`.

    Returns:
        Proportion right against every other object, `(images, objects)`; nan at the right one; 0.5 where both are 0.
    """
    found, right = _images(probabilities, objects, "pairwise")
    own = found[np.arange(len(found)), right][:, None]
    total = own + found
    share = np.where(total > 0, own / np.where(total > 0, total, 1), 0.5)
    share[np.arange(len(found)), right] = np.nan
    return share


def i1(accuracy: np.ndarray, objects: np.ndarray, *, normalised: bool = False) -> np.ndarray:
    """Image-level behaviour, one object against all: d′ of every image, `(images,)`.

    `d′ = Φ⁻¹(hits) − Φ⁻¹(false alarms)`, held within ±5: hits, how often the image was called what it shows; false
    alarms, how often images of other objects were called so.

    Args:
        accuracy: proportion right of every image against every other object, `(images, objects)`; nan at its own object
            and where there was no trial.
        objects: of each image, `(images,)`.
        normalised: whether the mean over images of the same object is taken off (I1n).

    Source: Rajalingham et al., Journal of Neuroscience 38, 2018, doi:10.1523/JNEUROSCI.0388-18.2018.
    """
    found, right = _images(accuracy, objects, "i1")
    hits = _mean(found, 1)
    alarms = np.array([_mean(1 - found[right != k, k]) for k in range(found.shape[1])])
    told = _dprime(hits, alarms[right])
    return _without_means(told[:, None], right)[:, 0] if normalised else told


def i2(accuracy: np.ndarray, objects: np.ndarray, *, normalised: bool = False) -> np.ndarray:
    """Image-level behaviour against each other object: d′, `(images, objects)`, nan at the image's own object.

    As `i1`, with the hits of the image against one other object, and as false alarms how often images of that other
    object were called by this one's name.

    Args:
        accuracy: as for `i1`.
        objects: of each image, `(images,)`.
        normalised: whether the mean over images of the same object is taken off, for each other object (I2n).

    Source: Rajalingham et al., Journal of Neuroscience 38, 2018, doi:10.1523/JNEUROSCI.0388-18.2018.
    """
    found, right = _images(accuracy, objects, "i2")
    kinds = found.shape[1]
    alarms = np.full((kinds, kinds), np.nan)  # [shown, called]
    for shown in range(kinds):
        for called in range(kinds):
            if shown != called and (right == shown).any():
                alarms[shown, called] = _mean(1 - found[right == shown, called])
    told = _dprime(found, alarms[:, right].T)
    return _without_means(told, right) if normalised else told


def error_consistency(first: np.ndarray, second: np.ndarray) -> float:
    """Whether two observers err on the same trials more than their accuracies explain, Cohen's κ.

    `κ = (c − e) / (1 − e)` with `c` the share of trials on which both are right or both wrong, and
    `e = p q + (1 − p)(1 − q)` what independent observers of accuracies p and q would reach.

    Args:
        first: whether one observer was right, `(trials,)` of bool.
        second: the other, on the same trials.

    Returns:
        κ: 1 for the same errors, 0 for independent ones; nan where `e = 1`.

    Source: Geirhos, Meding & Wichmann, NeurIPS 2020, arXiv:2006.16736.
    """
    a, b = np.asarray(first), np.asarray(second)
    if a.shape != b.shape or a.ndim != 1 or a.size == 0 or not (np.isin(a, (0, 1)).all() and np.isin(b, (0, 1)).all()):
        raise InputError("error_consistency", "0 or 1 for the same trials", f"{a.shape} and {b.shape}", "match them")
    p, q = a.mean(), b.mean()
    expected = p * q + (1 - p) * (1 - q)
    return float(((a == b).mean() - expected) / (1 - expected)) if expected < 1 else float("nan")


def _images(values: np.ndarray, objects: np.ndarray, where: str) -> tuple[np.ndarray, np.ndarray]:
    found, right = np.asarray(values, np.float64), np.asarray(objects)
    if found.ndim != 2 or right.shape != (len(found),) or right.dtype.kind not in "iu" or found.shape[1] < 2:
        got = f"{found.shape} and {right.shape}"
        raise InputError(where, "(images, objects), and one object per image", got, "match them")
    if right.min() < 0 or right.max() >= found.shape[1] or (found < 0).any() or (found > 1).any():
        raise InputError(where, "objects that have a column, proportions in [0, 1]", "others", "check both")
    return found, right


def _mean(values: np.ndarray, axis: int | None = None) -> np.ndarray:
    """Mean of what is not nan; nan of nothing."""
    counted = np.isfinite(values).sum(axis)
    return np.where(counted > 0, np.nansum(values, axis) / np.maximum(counted, 1), np.nan)


def _dprime(hits: np.ndarray, alarms: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        return np.clip(ndtri(hits) - ndtri(alarms), -LARGEST, LARGEST)


def _without_means(told: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Values `(images, …)` less their mean over the images of each object."""
    found = told.copy()
    for kind in np.unique(right):
        found[right == kind] -= _mean(told[right == kind], 0)
    return found
