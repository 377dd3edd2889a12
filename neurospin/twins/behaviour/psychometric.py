"""Psychometric functions: how often a choice is right, or falls on one side, as the stimulus grows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, ndtr, xlogy

from neurospin.errors import InputError, unknown_name

Shape = Callable[[np.ndarray, float, float], np.ndarray]
SHAPES: Mapping[str, Shape] = {
    "weibull": lambda x, threshold, slope: -np.expm1(-((np.maximum(x, 0) / threshold) ** slope)),
    "logistic": lambda x, threshold, slope: expit(slope * (x - threshold)),
    "normal": lambda x, threshold, slope: ndtr(slope * (x - threshold)),
}
LAPSE = 0.1


@dataclass(frozen=True)
class Psychometric:
    """A psychometric function, `ψ(x) = γ + (1 − γ − λ) F(x)`.

    Attributes:
        shape: of F: `"weibull"`, `1 − exp(−(x / α)^β)`; `"logistic"`, `1 / (1 + exp(−β (x − α)))`; `"normal"`,
            `Φ(β (x − α))`.
        threshold: α.
        slope: β.
        guess: γ, what is right without any stimulus.
        lapse: λ, what is wrong with any.
        nll: negative log-likelihood per trial of what it was fitted to, in nats.
    """

    shape: str
    threshold: float
    slope: float
    guess: float = 0.0
    lapse: float = 0.0
    nll: float = float("nan")

    def __call__(self, x: np.ndarray | float) -> np.ndarray:
        """Probability at every x."""
        rise = SHAPES[self.shape](np.asarray(x, np.float64), self.threshold, self.slope)
        return self.guess + (1 - self.guess - self.lapse) * rise

    def at(self, probability: float) -> float:
        """The x at which a probability is reached.

        Raises:
            InputError: it never is.
        """
        share = (probability - self.guess) / (1 - self.guess - self.lapse)
        if not 0 < share < 1:
            expected = f"between {self.guess:g} and {1 - self.lapse:g}"
            raise InputError("Psychometric.at", expected, f"{probability:g}", "ask for another probability")
        if self.shape == "weibull":
            return float(self.threshold * (-np.log1p(-share)) ** (1 / self.slope))
        from scipy.stats import logistic, norm

        return self.threshold + float((logistic if self.shape == "logistic" else norm).ppf(share)) / self.slope


def fit_psychometric(
    x: np.ndarray, hits: np.ndarray, trials: np.ndarray | None = None, *, shape: str = "weibull", guess: float = 0.5,
    lapse: float | None = 0.0,
) -> Psychometric:  # fmt: skip
    """Fit a psychometric function by maximum likelihood of the binomial counts.

    Nelder–Mead from every one of nine starts; the best end counts.

    Args:
        x: stimulus of each trial or level, `(n,)`; not negative for `"weibull"`.
        hits: 0 or 1 for each trial, or how many of `trials` at each level, `(n,)`.
        trials: at each level (default: one).
        shape: `"weibull"` (default), `"logistic"` or `"normal"`.
        guess: γ, fixed: 0.5 (default) with two alternatives of which one is right, 0 where a side is chosen.
        lapse: λ, fixed (default 0); None fits it between 0 and 0.1.

    Raises:
        UnknownName: another shape.
        InputError: arrays that do not fit, or hits that are no share of the trials.

    Source: Wichmann & Hill, Perception & Psychophysics 63, 2001, doi:10.3758/BF03194544.
    """
    if shape not in SHAPES:
        raise unknown_name("fit_psychometric.shape", shape, SHAPES, "shape")
    level, right = np.asarray(x, np.float64), np.asarray(hits, np.float64)
    number = np.ones_like(right) if trials is None else np.asarray(trials, np.float64)
    if level.ndim != 1 or not level.shape == right.shape == number.shape or len(np.unique(level)) < 2:
        got = f"{level.shape}, {right.shape}, {number.shape}"
        raise InputError("fit_psychometric", "x, hits and trials (n,), two or more levels", got, "match them")
    if not (np.isfinite(level).all() and (right >= 0).all() and (right <= number).all() and number.sum() > 0):
        raise InputError("fit_psychometric.hits", "0 ≤ hits ≤ trials", "others, or nan", "check the counts")
    if shape == "weibull" and level.min() < 0:
        raise InputError("fit_psychometric.x", "no negative stimuli", f"{level.min():g}", "use 'logistic' or 'normal'")
    free = lapse is None
    level, back = np.unique(level, return_inverse=True)
    right, number = np.bincount(back, right), np.bincount(back, number)

    def made(point: np.ndarray) -> Psychometric:
        threshold = float(np.exp(point[0])) if shape == "weibull" else float(point[0])
        lapsed = LAPSE * float(expit(point[2])) if free else float(lapse or 0.0)
        return Psychometric(shape, threshold, float(np.exp(point[1])), guess, lapsed)

    def loss(point: np.ndarray) -> float:
        told = np.clip(made(point)(level), 1e-12, 1 - 1e-12)
        return -float((xlogy(right, told) + xlogy(number - right, 1 - told)).sum() / number.sum())

    low, high = level[level > 0].min() if shape == "weibull" else level.min(), level.max()
    ends = []
    for share in (0.2, 0.5, 0.8):
        for steep in (0.3, 1.0, 3.0):
            place = low + share * (high - low)
            first = [np.log(place), np.log(steep)] if shape == "weibull" else [place, np.log(4 * steep / (high - low))]
            start = np.array([*first, *([0.0] if free else [])])
            ends.append(
                minimize(loss, start, method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-12, "maxfev": 4000})
            )
    best = min(ends, key=lambda end: end.fun)
    found = made(best.x)
    return Psychometric(shape, found.threshold, found.slope, guess, found.lapse, float(best.fun))
