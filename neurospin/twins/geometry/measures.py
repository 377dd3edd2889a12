"""All single numbers of a geometry by name, as functions of patterns with trials: what is tracked over learning."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from neurospin.errors import InputError, unknown_name
from neurospin.twins.geometry.codes import (
    capacity,
    ccgp,
    class_dimension,
    class_radius,
    separable_fraction,
    shattering_dimension,
)  # fmt: skip
from neurospin.twins.geometry.dimension import cvpca, participation_ratio, signal_dimension, two_nn
from neurospin.twins.geometry.rdm import compare_rdms, crossnobis, rdm
from neurospin.twins.geometry.similarity import angular_distance, linear_cka, procrustes

Measure = Callable[[np.ndarray], float]


def _means(function: Callable[[np.ndarray], float]) -> Measure:
    return lambda values: function(values.mean(1))


def _trials(function: Callable[[np.ndarray], float]) -> Measure:
    return lambda values: function(values.reshape(-1, values.shape[-1]))


def _halves(values: np.ndarray) -> np.ndarray:
    return np.stack([values[:, start::2].mean(1) for start in (0, 1)])


PLAIN: Mapping[str, Measure] = {
    "participation_ratio": _trials(participation_ratio),
    "signal_dimension": signal_dimension,
    "two_nn": _trials(two_nn),
    "cvpca": lambda values: float(cvpca(_halves(values)).sum()),
    "class_dimension": lambda values: float(class_dimension(values).mean()),
    "class_radius": lambda values: float(class_radius(values).mean()),
    "capacity": capacity,
    "separable_fraction": _means(separable_fraction),
    "shattering_dimension": shattering_dimension,
    "rdm": lambda values: float(rdm(values.mean(1), "euclidean").mean()),
    "crossnobis": lambda values: float(crossnobis(values.swapaxes(0, 1)).mean()),
}
"""Measures that need nothing but the patterns: those of the same name, with the mean over classes, pairs of conditions or
components where they have several; `cvpca` is the sum of its spectrum, the variance of the signal."""
AGAINST: Mapping[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "linear_cka": linear_cka,
    "procrustes": procrustes,
    "angular_distance": angular_distance,
    "rsa": lambda a, b: compare_rdms(rdm(a, "euclidean"), rdm(b, "euclidean")),
}
"""Measures of likeness to other patterns of the same conditions."""
MEASURES = (*PLAIN, "ccgp", *AGAINST)
"""Names of all measures."""


def measures(
    names: str | tuple[str, ...] = MEASURES, *, labels: np.ndarray | None = None, reference: np.ndarray | None = None
) -> dict[str, Measure]:
    """Measures by name, each a function of patterns `(conditions, trials, units)`; for `Track`.

    Args:
        names: one or several of `MEASURES`; default all.
        labels: −1 or 1 for each condition; what `ccgp` reads.
        reference: patterns `(conditions, units)` of the same conditions, with which `linear_cka`, `procrustes`,
            `angular_distance` and `rsa` compare the conditions' means.

    Raises:
        UnknownName: no measure of that name.
        InputError: no labels for `ccgp`, or no reference for one that compares.
    """
    found: dict[str, Measure] = {}
    for name in (names,) if isinstance(names, str) else names:
        if name in PLAIN:
            found[name] = PLAIN[name]
        elif name == "ccgp":
            found[name] = _reading(labels)
        elif name in AGAINST:
            found[name] = _comparing(AGAINST[name], name, reference)
        else:
            raise unknown_name("measures.names", name, MEASURES, "measure")
    return found


def _reading(labels: np.ndarray | None) -> Measure:
    if labels is None:
        raise InputError("measures.labels", "−1 or 1 for each condition", "none", "give labels, or leave out ccgp")
    return lambda values: ccgp(values, labels)


def _comparing(function: Callable[[np.ndarray, np.ndarray], float], name: str, reference: np.ndarray | None) -> Measure:
    if reference is None:
        raise InputError(
            "measures.reference", "patterns (conditions, units)", "none", f"give them, or leave out {name}"
        )
    return _means(lambda means: function(means, reference))
