"""How well predictions meet responses, per unit.

Responses are `(repeats, samples, units)`, where a sample is a stimulus or a time bin of one, and nan is a repeat that
was not recorded. Predictions are `(samples, units)`; likelihoods and single-trial scores also take one prediction per
repeat. Every function gives one number per unit, `(units,)`, and nan where it is not defined.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln, xlogy

from neurospin.errors import InputError
from neurospin.twins.ceilings import average, cc_max, checked, correlate, noise_variance, signal_power, variance


def _paired(
    responses: np.ndarray, predictions: np.ndarray, *, per_repeat: bool = True, repeats: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    found = checked(responses, repeats=repeats)
    told = np.asarray(predictions, dtype=np.float64)
    allowed = [found.shape[1:], found.shape] if per_repeat else [found.shape[1:]]
    if told.shape not in allowed:
        raise InputError(
            "predictions", " or ".join(map(str, allowed)), str(told.shape), "predict every sample of every unit"
        )
    if not np.isfinite(told).all():
        raise InputError("predictions", "finite numbers", "nan or inf", "check the model")
    return found, told


def _counts(responses: np.ndarray, rates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    found, told = _paired(responses, rates)
    if (told < 0).any() or (np.nan_to_num(found) < 0).any():
        raise InputError("rates and counts", "no negative number", "a negative one", "pass counts and expected counts")
    return found, told


def log_likelihood(
    responses: np.ndarray,
    predictions: np.ndarray,
    observation: str = "poisson",
    dispersion: np.ndarray | float | None = None,
) -> np.ndarray:
    """Mean log-likelihood of a response, in nats.

    Args:
        responses: `(repeats, samples, units)`.
        predictions: expected responses.
        observation: `"poisson"`, `"bernoulli"`, `"gaussian"` or `"gamma"`.
        dispersion: variance of a Gaussian (default: the mean squared error, its maximum-likelihood value) or shape
            of a gamma (needed); one number or one per unit.

    Raises:
        InputError: an unknown observation, a prediction that it does not allow, or no shape for a gamma.
    """
    found, told = _paired(responses, predictions)
    if observation == "poisson":
        _counts(found, told)
        each = xlogy(found, told) - told - gammaln(found + 1)
    elif observation == "bernoulli":
        if (told < 0).any() or (told > 1).any():
            raise InputError("predictions", "probabilities between 0 and 1", "others", "pass probabilities")
        each = xlogy(found, told) + xlogy(1 - found, 1 - told)
    elif observation == "gaussian":
        spread = _over(np.square(found - told)) if dispersion is None else np.asarray(dispersion)
        each = -0.5 * (np.square(found - told) / spread + np.log(2 * np.pi * spread))
    elif observation == "gamma":
        if dispersion is None or (told <= 0).any() or (found <= 0).any():
            raise InputError(
                "log_likelihood", "a shape, and positive responses and predictions", "none, or others", "give them"
            )
        shape = np.asarray(dispersion)
        each = xlogy(shape, shape / told) - gammaln(shape) + xlogy(shape - 1, found) - shape * found / told
    else:
        raise InputError("observation", "poisson, bernoulli, gaussian or gamma", repr(observation), "choose one")
    return _over(each)


def _over(values: np.ndarray) -> np.ndarray:
    """Mean over all repeats and samples that exist."""
    return average(values.reshape(-1, 1, values.shape[-1]))[0]


def _mean_rate(found: np.ndarray) -> np.ndarray:
    return np.broadcast_to(np.nan_to_num(_over(found)), found.shape[1:])


def poisson_deviance(responses: np.ndarray, rates: np.ndarray) -> np.ndarray:
    """Mean Poisson deviance, `2 mean(y log(y / r) − (y − r))`.

    Args:
        responses: counts, `(repeats, samples, units)`.
        rates: expected counts per sample.

    Source: McCullagh & Nelder, Generalized Linear Models, 1989.
    """
    found, told = _counts(responses, rates)
    return _over(2 * (xlogy(found, found) - xlogy(found, told) - (found - told)))


def d_squared(responses: np.ndarray, rates: np.ndarray) -> np.ndarray:
    """Share of the deviance that is explained, `D² = 1 − D(rates) / D(mean)`; 1 is perfect, 0 as good as the mean.

    Args:
        responses: counts, `(repeats, samples, units)`.
        rates: expected counts per sample.
    """
    found, told = _counts(responses, rates)
    with np.errstate(invalid="ignore", divide="ignore"):
        base = poisson_deviance(found, _mean_rate(found))
        return np.where(base > 0, 1 - poisson_deviance(found, told) / base, np.nan)


def bits_per_spike(responses: np.ndarray, rates: np.ndarray) -> np.ndarray:
    """Information gain over the unit's mean rate, `(log L(rates) − log L(mean)) / (spikes ln 2)`.

    Args:
        responses: counts, `(repeats, samples, units)`.
        rates: expected counts per sample (Poisson).

    Source: Pei et al., NeurIPS Datasets and Benchmarks, 2021, arXiv:2109.04463.
    """
    found, told = _counts(responses, rates)
    mean = _over(found)
    gain = log_likelihood(found, told) - log_likelihood(found, _mean_rate(found))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(mean > 0, gain / (mean * np.log(2)), np.nan)


def single_trial_correlation(responses: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """Pearson correlation of predictions and responses over all trials.

    Source: Willeke et al., arXiv:2206.08666, 2022.
    """
    found, told = _paired(responses, predictions)
    return correlate(found.reshape(-1, found.shape[2]), np.broadcast_to(told, found.shape).reshape(-1, found.shape[2]))


def average_correlation(responses: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """Pearson correlation of predictions `(samples, units)` and responses averaged over repeats."""
    found, told = _paired(responses, predictions, per_repeat=False)
    return correlate(average(found), told)


def cc_norm(responses: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """Correlation with the expected response, noise taken out: `Cov(ȳ, p) / sqrt(Var(p) SP)`.

    Unbiased, and so above 1 now and then where little is known; nan where the signal power is not positive.

    Args:
        responses: `(repeats, samples, units)`, at least 2 repeats.
        predictions: `(samples, units)`.

    Source: Schoppe et al., Frontiers in Computational Neuroscience 10, 2016, doi:10.3389/fncom.2016.00010.
    """
    found, told = _paired(responses, predictions, per_repeat=False, repeats=2)
    power = signal_power(found)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.sqrt(variance(average(found)) / np.where(power > 0, power, np.nan))
    return correlate(average(found), told) * ratio


def feve(responses: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """Fraction of the explainable variance explained, `1 − (MSE − σ²_noise) / (Var_total − σ²_noise)`.

    Args:
        responses: `(repeats, samples, units)`, at least 2 repeats.
        predictions: `(samples, units)`.

    Source: Cadena et al., PLoS Computational Biology 15, 2019, doi:10.1371/journal.pcbi.1006897.
    """
    found, told = _paired(responses, predictions, per_repeat=False, repeats=2)
    noise = noise_variance(found)
    explainable = variance(found.reshape(-1, found.shape[2])) - noise
    with np.errstate(invalid="ignore", divide="ignore"):
        error = _over(np.square(found - told))
        return np.where(explainable > 0, 1 - (error - noise) / explainable, np.nan)


@dataclass(frozen=True)
class Scores:
    """Every score of every unit, `(units,)` each, with the units' reliability.

    Attributes:
        cc_norm: correlation over its ceiling.
        feve: fraction of explainable variance explained.
        single_trial: correlation with single trials.
        average: correlation with the average response.
        bits_per_spike: over the mean rate; nan for responses that are no counts.
        d_squared: deviance explained; nan for responses that are no counts.
        cc_max: the ceiling of `average`.
        spikes: how many spikes the unit fired in all trials; nan for responses that are no counts.
    """

    cc_norm: np.ndarray
    feve: np.ndarray
    single_trial: np.ndarray
    average: np.ndarray
    bits_per_spike: np.ndarray
    d_squared: np.ndarray
    cc_max: np.ndarray
    spikes: np.ndarray

    def reliable(self, cut: float = 0.3) -> np.ndarray:
        """Units whose `cc_max²` is above the cut (default 0.3), `(units,)`."""
        return np.nan_to_num(self.cc_max, nan=0.0) ** 2 > cut

    def means(self, cut: float = 0.3) -> dict[str, float]:
        """Mean of every score: of `cc_norm` and `feve` over the reliable units, of the others over all.

        `bits_per_spike` is that of all units together, which weighs a unit by its spikes (Pei et al. 2021).
        """
        told = {}
        for name, values in vars(self).items():
            taken = np.isfinite(values) & (self.reliable(cut) if name in ("cc_norm", "feve") else True)
            weight = self.spikes[taken] if name == "bits_per_spike" else np.ones(taken.sum())
            told[name] = float(np.average(values[taken], weights=weight)) if weight.sum() > 0 else float("nan")
        return told


def score(responses: np.ndarray, predictions: np.ndarray) -> Scores:
    """All scores of predictions for responses `(repeats, samples, units)`.

    Args:
        responses: one repeat gives no `cc_norm`, `feve` and `cc_max`.
        predictions: `(samples, units)`, or one for every repeat, `(repeats, samples, units)`: then the scores of
            average responses take their mean.
    """
    found, told = _paired(responses, predictions)
    held = found[np.isfinite(found)]
    counts = (told >= 0).all() and (held >= 0).all() and (held == np.round(held)).all()
    unknown = np.full(found.shape[2], np.nan)
    mean = told if told.ndim == 2 else told.mean(0)
    several = len(found) > 1
    return Scores(
        cc_norm=cc_norm(found, mean) if several else unknown,
        feve=feve(found, mean) if several else unknown,
        single_trial=single_trial_correlation(found, told),
        average=average_correlation(found, mean),
        bits_per_spike=bits_per_spike(found, told) if counts else unknown,
        d_squared=d_squared(found, told) if counts else unknown,
        cc_max=cc_max(found) if several else unknown,
        spikes=np.nansum(found, axis=(0, 1)) if counts else unknown,
    )
