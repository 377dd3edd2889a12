"""What a linear reader can make of a representation: class manifolds, capacity, shattering, generalisation."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
from scipy.optimize import linprog

from neurospin.errors import InputError
from neurospin.twins.geometry.checks import patterns
from neurospin.twins.geometry.dimension import participation_ratio


def class_dimension(values: np.ndarray) -> np.ndarray:
    """Participation ratio of every class's cloud, corrected for its number of trials, `(classes,)`.

    Args:
        values: `(classes, trials, units)`.

    Source: Sorscher, Ganguli & Sompolinsky, PNAS 119, 2022, doi:10.1073/pnas.2200800119.
    """
    return np.array([participation_ratio(cloud) for cloud in patterns(values, "class_dimension", 3, least=1)])


def class_radius(values: np.ndarray) -> np.ndarray:
    """Size of every class's cloud beside its distance to the others, `sqrt(tr Σ_c / mean ‖c − other‖²)`, `(classes,)`.

    Distances of centres are freed of what the trials' scatter adds to them.

    Args:
        values: `(classes, trials, units)`, at least 2 classes and 2 trials.

    Source: Sorscher, Ganguli & Sompolinsky, PNAS 119, 2022, doi:10.1073/pnas.2200800119.
    """
    found = patterns(values, "class_radius", 3)
    trials = found.shape[1]
    if trials < 2:
        raise InputError("class_radius", "at least 2 trials per class", str(trials), "give single trials")
    centre = found.mean(1)
    size = np.square(found - centre[:, None]).sum((1, 2)) / (trials - 1)
    distance = np.square(centre[:, None] - centre).sum(-1) - (size[:, None] + size) / trials
    np.fill_diagonal(distance, 0.0)
    mean = distance.sum(1) / (len(found) - 1)
    with np.errstate(divide="ignore"):
        return np.where(mean > 0, np.sqrt(size / np.maximum(mean, 0)), np.inf)


def separable(points: np.ndarray, labels: np.ndarray) -> bool:
    """Whether a plane through the origin parts the points as labelled; by linear programming.

    Args:
        points: `(points, units)`.
        labels: −1 or 1, `(points,)`.
    """
    signed = patterns(points, "separable", least=1) * np.asarray(labels)[:, None]
    signed = signed / np.maximum(np.linalg.norm(signed, axis=1, keepdims=True), 1e-300)
    answer = linprog(
        np.zeros(signed.shape[1]), A_ub=-signed, b_ub=-np.ones(len(signed)), bounds=(None, None), method="highs"
    )
    if answer.status not in (0, 2):
        raise InputError("separable", "a linear programme that is solved", answer.message, "scale the points")
    return answer.status == 0


def _fraction(clouds: np.ndarray, dichotomies: int, draw: np.random.Generator, units: int) -> float:
    """Share of random dichotomies of classes that a plane realises after random projections to `units` dimensions."""
    classes, trials, wide = clouds.shape
    found = 0
    for _ in range(dichotomies):
        mixed = clouds if units == wide else clouds @ draw.standard_normal((wide, units))
        labels = np.repeat(draw.choice([-1, 1], classes), trials)
        found += separable(mixed.reshape(-1, units), labels)
    return found / dichotomies


def separable_fraction(points: np.ndarray, *, dichotomies: int = 100, seed: int = 0) -> float:
    """Share of random dichotomies of points that a plane through the origin realises.

    For points in general position this is `2^(1 − P) Σ_{k < N} C(P − 1, k)`.

    Args:
        points: `(points, units)`.
        dichotomies: how many are tried.
        seed: of the labels.

    Source: Cover, IEEE Transactions on Electronic Computers 14, 1965, doi:10.1109/PGEC.1965.264137.
    """
    found = patterns(points, "separable_fraction")
    return _fraction(found[:, None], dichotomies, np.random.default_rng(seed), found.shape[1])


def capacity(values: np.ndarray, *, dichotomies: int = 50, seed: int = 0) -> float:
    """Classes per dimension at which half of all dichotomies of classes are separable; 2 for single random points.

    The representation is projected at random to fewer dimensions, by bisection, until half is lost; between the two
    whole numbers around one half it is interpolated.

    Args:
        values: `(classes, trials, units)`; all trials of a class carry its label.
        dichotomies: tried at each number of dimensions.
        seed: of labels and projections.

    Returns:
        The capacity; nan where not even all units suffice, so that it is below `classes / units`.

    Source: Chung, Lee & Sompolinsky, Physical Review X 8, 2018, doi:10.1103/PhysRevX.8.031003.
    """
    found = patterns(values, "capacity", 3)
    classes, _, units = found.shape
    draw = np.random.default_rng(seed)
    low, high = 0, units
    share = {0: 0.0, units: _fraction(found, dichotomies, draw, units)}
    if share[units] < 0.5:
        return float("nan")
    while high - low > 1:
        middle = (low + high) // 2
        share[middle] = _fraction(found, dichotomies, draw, middle)
        low, high = (middle, high) if share[middle] < 0.5 else (low, middle)
    rise = share[high] - share[low]
    return float(classes / (low + (0.5 - share[low]) / rise if rise > 0 else high))


def _reads(train: np.ndarray, labels: np.ndarray, test: np.ndarray, wanted: np.ndarray) -> float:
    """Accuracy of a least-squares linear reader (with a ridge of a thousandth of the mean variance)."""
    mean = train.mean(0)
    x = train - mean
    offset = labels.mean()
    gram = x @ x.T if len(x) < x.shape[1] else x.T @ x
    ridge = 1e-3 * np.trace(gram) / len(gram) + 1e-12
    inverse = np.linalg.solve(gram + ridge * np.eye(len(gram)), labels - offset if len(x) < x.shape[1] else
                              x.T @ (labels - offset))  # fmt: skip
    weights = x.T @ inverse if len(x) < x.shape[1] else inverse
    told = (test - mean) @ weights + offset
    return float(np.mean(np.where(told == 0, 0.5, np.sign(told) == wanted)))


def dichotomies(conditions: int) -> list[np.ndarray]:
    """Every balanced dichotomy of an even number of conditions, each −1 or 1 `(conditions,)`; 35 for 8."""
    if conditions < 2 or conditions % 2:
        raise InputError("dichotomies", "an even number of conditions", str(conditions), "leave one out")
    found = []
    for others in combinations(range(1, conditions), conditions // 2 - 1):
        labels = -np.ones(conditions)
        labels[[0, *others]] = 1
        found.append(labels)
    return found


def shattering_dimension(values: np.ndarray, *, seed: int = 0) -> float:
    """Mean accuracy of a linear reader over all balanced dichotomies of the conditions, two-fold over trials.

    The reader is least squares with a small ridge. 1 where every dichotomy can be read, 0.5 where none can.

    Args:
        values: `(conditions, trials, units)`, an even number of conditions (at most 12) and at least 2 trials.
        seed: of the halves.

    Source: Bernardi et al., Cell 183, 2020, doi:10.1016/j.cell.2020.09.031.
    """
    found = patterns(values, "shattering_dimension", 3)
    conditions, trials, units = found.shape
    if conditions > 12 or trials < 2:
        raise InputError("shattering_dimension", "≤ 12 conditions, ≥ 2 trials", str(found.shape), "choose conditions")
    order = np.random.default_rng(seed).permutation(trials)
    halves = [found[:, order[: trials // 2]], found[:, order[trials // 2 :]]]
    accuracy = []
    for labels in dichotomies(conditions):
        for train, test in (halves, halves[::-1]):
            wanted = [np.repeat(labels, h.shape[1]) for h in (train, test)]
            accuracy.append(_reads(train.reshape(-1, units), wanted[0], test.reshape(-1, units), wanted[1]))
    return float(np.mean(accuracy))


def ccgp(values: np.ndarray, labels: np.ndarray) -> float:
    """Cross-condition generalisation: accuracy of a linear reader of a dichotomy on conditions that it never saw.

    One condition of each side is held out, in every combination.

    Args:
        values: `(conditions, trials, units)`.
        labels: side of each condition, −1 or 1, `(conditions,)`, at least two conditions on each.

    Source: Bernardi et al., Cell 183, 2020, doi:10.1016/j.cell.2020.09.031.
    """
    found, sides = patterns(values, "ccgp", 3), np.asarray(labels, np.float64)
    conditions, trials, units = found.shape
    if sides.shape != (conditions,) or min((sides == 1).sum(), (sides == -1).sum()) < 2 or (abs(sides) != 1).any():
        raise InputError(
            "ccgp.labels", f"−1 or 1 for {conditions} conditions, two or more each", str(labels), "mend it"
        )
    accuracy = []
    for held in product(np.flatnonzero(sides == 1), np.flatnonzero(sides == -1)):
        train = np.setdiff1d(np.arange(conditions), held)
        told = [found[list(part)].reshape(-1, units) for part in (train, held)]
        wanted = [np.repeat(sides[list(part)], trials) for part in (train, held)]
        accuracy.append(_reads(told[0], wanted[0], told[1], wanted[1]))
    return float(np.mean(accuracy))
