"""Fitting learners: to the choices of each subject, of all together, or to group curves; and comparing them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.stats import qmc

from neurospin.errors import InputError
from neurospin.tasks.categories import Trials
from neurospin.twins.behaviour.learner import Learner, Parameter, correct

Objective = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Fitted:
    """A learner with its fitted parameters.

    Attributes:
        values: by name: one number, or one per subject.
        loss: what was minimised: negative log-likelihood per choice, or the curves' sum of squared errors.
        evaluations: how many sets of parameters were tried.
    """

    values: dict[str, float | np.ndarray]
    loss: float | np.ndarray
    evaluations: int


def choice_nll(
    probabilities: np.ndarray, trials: Trials, *, mask: np.ndarray | None = None, floor: float = 1e-6
) -> np.ndarray:
    """Mean negative log-likelihood per choice of each subject, in nats, `(subjects,)`.

    `−mean log p(choice)` over the trials that took place and were answered; nan for a subject without any. A probability
    that is no number, of a learner whose values overflow, counts as the floor.

    Args:
        probabilities: `(subjects, trials, categories)`.
        trials: with choices.
        mask: trials that count, `(subjects, trials)` (default: all).
        floor: smallest probability (default 1e-6), so that one lapse is not infinitely bad.

    Raises:
        InputError: the trials hold no choices.
    """
    taken, counted = _counted(trials, mask)
    chosen = np.take_along_axis(probabilities, np.where(counted, taken, 0)[..., None], axis=-1)[..., 0]
    total = np.where(counted, -np.log(np.clip(np.nan_to_num(chosen, nan=0.0), floor, 1.0)), 0.0).sum(1)
    number = counted.sum(1)
    return np.where(number > 0, total / np.maximum(number, 1), np.nan)


def _counted(trials: Trials, mask: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    if trials.choices is None:
        raise InputError("trials.choices", "the choices of the subjects", "none", "give choices with the trials")
    assert trials.valid is not None
    counted = trials.valid & (trials.choices >= 0)
    return trials.choices, counted if mask is None else counted & mask


def pooled_nll(probabilities: np.ndarray, trials: Trials, *, mask: np.ndarray | None = None) -> float:
    """Negative log-likelihood per choice over all subjects' choices together, in nats."""
    weight = _counted(trials, mask)[1].sum(1)
    return float(np.nansum(choice_nll(probabilities, trials, mask=mask) * weight) / weight.sum())


def fit_choices(
    learner: Learner,
    trials: Trials,
    *,
    evaluations: int = 150,
    seed: int = 0,
    mask: np.ndarray | None = None,
    start: Mapping[str, float] | None = None,
) -> Fitted:
    """One set of parameters for all subjects, by maximum likelihood of their choices.

    Nelder–Mead on log axes from the learner's defaults (or `start`).

    Args:
        learner: any learner.
        trials: with choices.
        evaluations: how many sets of parameters to try.
        seed: of the learner.
        mask: trials that count, `(subjects, trials)`; the learner sees the others too.
        start: where the search begins.
    """

    def loss(values: dict[str, float]) -> float:
        return pooled_nll(learner.probabilities(trials, values, seed=seed), trials, mask=mask)

    return _nelder_mead(learner.parameters, loss, evaluations, start)


def fit_curves(
    learner: Learner,
    trials: Trials,
    curves: Mapping[str, np.ndarray],
    *,
    evaluations: int = 150,
    seed: int = 0,
    start: Mapping[str, float] | None = None,
) -> Fitted:
    """One set of parameters, by least squares to error curves of groups.

    Args:
        learner: any learner.
        trials: a design with the same conditions as the curves.
        curves: error per block of 16 trials for each condition.
        evaluations: how many sets of parameters to try.
        seed: of the learner.
        start: where the search begins.
    """

    def loss(values: dict[str, float]) -> float:
        return curve_sse(learner.probabilities(trials, values, seed=seed), trials, curves)

    return _nelder_mead(learner.parameters, loss, evaluations, start)


def curve_sse(probabilities: np.ndarray, trials: Trials, curves: Mapping[str, np.ndarray]) -> float:
    """Sum of squared differences between a learner's error curves and given ones, over conditions and blocks."""
    found = trials.error_curves(correct(probabilities, trials))
    if set(found) != set(curves):
        raise InputError("curves", f"the conditions {', '.join(found)}", ", ".join(curves), "match the conditions")
    return float(sum(np.sum((found[c] - np.asarray(curves[c])) ** 2) for c in found))


def _to_unit(parameter: Parameter, value: float) -> float:
    low, high, value = (np.log([parameter.low, parameter.high, value]) if parameter.log else
                        (parameter.low, parameter.high, value))  # fmt: skip
    return float((value - low) / (high - low))


def _from_unit(parameter: Parameter, unit: np.ndarray) -> np.ndarray:
    """Values between `low` and `high`; what lies outside 0 … 1 is reflected, so that a search cannot leave."""
    inside = np.abs((np.asarray(unit) + 1) % 2 - 1)
    if parameter.log:
        return np.exp(np.log(parameter.low) + inside * np.log(parameter.high / parameter.low))
    return parameter.low + inside * (parameter.high - parameter.low)


def _nelder_mead(
    parameters: Mapping[str, Parameter],
    loss: Callable[[dict[str, float]], float],
    evaluations: int,
    start: Mapping[str, float] | None,
) -> Fitted:
    first = {name: p.value for name, p in parameters.items()} | dict(start or {})
    origin = np.array([_to_unit(p, first[name]) for name, p in parameters.items()])

    def values(point: np.ndarray) -> dict[str, float]:
        return {name: float(_from_unit(p, u)) for (name, p), u in zip(parameters.items(), point, strict=True)}

    simplex = np.vstack([origin, origin + 0.08 * np.eye(len(origin))])
    found = minimize(
        lambda point: loss(values(point)), origin, method="Nelder-Mead",
        options={"maxfev": evaluations, "initial_simplex": simplex, "xatol": 1e-4, "fatol": 1e-7},
    )  # fmt: skip
    return Fitted(dict(values(found.x)), float(found.fun), int(found.nfev))


def fit_subjects(
    learner: Learner,
    trials: Trials,
    *,
    candidates: int = 12,
    generations: int = 30,
    seed: int = 0,
    mask: np.ndarray | None = None,
    start: Mapping[str, float] | None = None,
) -> Fitted:
    """Parameters for every subject, by maximum likelihood of its own choices.

    Differential evolution (rand-to-best/1/bin), each subject with a population of its own, all subjects and
    candidates in one vectorised pass per generation.

    Args:
        learner: any learner.
        trials: with choices.
        candidates: size of each subject's population.
        generations: how often it is renewed.
        seed: of the search and of the learner.
        mask: trials that count, `(subjects, trials)`; the learner sees the others too.
        start: one member of the first population (default: the learner's own values).

    Source: Storn & Price, J. Global Optimization 11, 1997, doi:10.1023/A:1008202821328.
    """
    if candidates < 4:
        raise InputError("fit_subjects.candidates", "at least 4", str(candidates), "give a larger population")
    draw = np.random.default_rng(seed)
    names, subjects = list(learner.parameters), len(trials)
    rows = np.tile(np.arange(subjects), candidates)
    many = trials.subjects(rows)
    wide = None if mask is None else mask[rows]

    def losses(points: np.ndarray) -> np.ndarray:
        flat = points.transpose(2, 0, 1).reshape(len(names), -1)
        values = {n: _from_unit(learner.parameters[n], u) for n, u in zip(names, flat, strict=True)}
        found = choice_nll(learner.probabilities(many, values, seed=seed), many, mask=wide)
        return np.nan_to_num(found, nan=0.0).reshape(candidates, subjects)

    first = {name: p.value for name, p in learner.parameters.items()} | dict(start or {})
    spread = qmc.LatinHypercube(len(names), rng=draw).random(candidates)
    points = np.tile(spread[:, None], (1, subjects, 1))
    points[0] = [_to_unit(learner.parameters[n], first[n]) for n in names]
    best = losses(points)
    every = np.arange(subjects)
    for _ in range(generations):
        picks = draw.permuted(np.tile(np.arange(candidates)[:, None], (1, subjects)), axis=0)
        top = points[best.argmin(0), every]
        trial = points + 0.6 * (top - points) + 0.6 * (points[picks, every] - points[np.roll(picks, 1, 0), every])
        crossed = draw.random(points.shape) < 0.9
        crossed[..., draw.integers(0, len(names))] = True
        trial = np.where(crossed, trial, points)
        found = losses(trial)
        better = found < best
        points[better], best = trial[better], np.where(better, found, best)
    chosen = points[best.argmin(0), every]
    values = {n: _from_unit(learner.parameters[n], chosen[:, i]) for i, n in enumerate(names)}
    return Fitted(dict(values), best.min(0), candidates * (generations + 1))


def cross_validated_nll(
    learner: Learner,
    trials: Trials,
    *,
    folds: int = 2,
    block: int = 8,
    candidates: int = 12,
    generations: int = 30,
    seed: int = 0,
) -> np.ndarray:
    """Held-out negative log-likelihood per choice of every subject, `(subjects,)`, in nats.

    Blocks of trials are dealt to the folds in turn. The learner always meets every trial and its feedback, as
    the subject did; only the choices of the other folds are fitted, and those of the fold are scored.

    Args:
        learner: any learner.
        trials: with choices.
        folds: how many (default 2).
        block: trials in a block (default 8).
        candidates: of `fit_subjects`.
        generations: of `fit_subjects`.
        seed: of `fit_subjects`.
    """
    number = np.arange(trials.stimuli.shape[1]) // block % folds
    total, count = np.zeros(len(trials)), np.zeros(len(trials))
    for fold in range(folds):
        held = np.tile(number == fold, (len(trials), 1))
        fitted = fit_subjects(learner, trials, candidates=candidates, generations=generations, seed=seed, mask=~held)
        answers = learner.probabilities(trials, fitted.values, seed=seed)
        scored = choice_nll(answers, trials, mask=held)
        weight = _counted(trials, held)[1].sum(1)
        total += np.where(weight > 0, scored * weight, 0.0)
        count += weight
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


@dataclass(frozen=True)
class Comparison:
    """Paired difference of two learners over subjects: mean, and the bootstrap's 95 % interval."""

    difference: float
    low: float
    high: float


def compare(first: np.ndarray, second: np.ndarray, *, resamples: int = 10_000, seed: int = 0) -> Comparison:
    """Mean of `first − second` over subjects with its 95 % percentile-bootstrap interval.

    Args:
        first: score of every subject, `(subjects,)`.
        second: same, of the other learner.
        resamples: bootstrap samples (default 10 000).
        seed: of the bootstrap.

    Source: Efron & Tibshirani, An Introduction to the Bootstrap, 1993.
    """
    if np.shape(first) != np.shape(second) or np.ndim(first) != 1:
        raise InputError(
            "compare", "two scores per subject", f"{np.shape(first)} and {np.shape(second)}", "match the subjects"
        )
    paired = np.asarray(first) - np.asarray(second)
    paired = paired[np.isfinite(paired)]
    draw = np.random.default_rng(seed)
    means = paired[draw.integers(0, len(paired), (resamples, len(paired)))].mean(1)
    low, high = np.quantile(means, [0.025, 0.975])
    return Comparison(float(paired.mean()), float(low), float(high))
