"""How well any model could do: signal and noise of repeated responses, per unit.

Responses are `(repeats, samples, units)`, where a sample is a stimulus or a time bin of one, and nan is a repeat that
was not recorded. Every function gives one number per unit, `(units,)`, and nan where it is not defined.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neurospin.errors import InputError


def checked(responses: np.ndarray, where: str = "responses", repeats: int = 1) -> np.ndarray:
    """Responses in float64, after their shape and values are found to be usable.

    Raises:
        InputError: not `(repeats, samples, units)`, too few repeats, infinite, or no sample with a response.
    """
    found = np.asarray(responses, dtype=np.float64)
    if found.ndim != 3 or 0 in found.shape:
        raise InputError(where, "(repeats, samples, units)", str(found.shape), "add an axis for what is missing")
    if len(found) < repeats:
        raise InputError(where, f"at least {repeats} repeats", str(len(found)), "score with a measure without ceiling")
    if np.isinf(found).any():
        raise InputError(where, "finite numbers or nan", "inf", "mark what is missing with nan")
    return found


def correlate(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Pearson correlation along axis 0 over the entries that both hold; nan if one of them is constant."""
    both = np.isfinite(first) & np.isfinite(second)
    number = both.sum(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        a = np.where(both, first - np.where(both, first, 0).sum(0) / number, 0)
        b = np.where(both, second - np.where(both, second, 0).sum(0) / number, 0)
        scale = np.sqrt((a * a).sum(0) * (b * b).sum(0))
        return np.where(scale > 1e-12 * number, (a * b).sum(0) / scale, np.nan)


def average(responses: np.ndarray) -> np.ndarray:
    """Mean over the repeats that exist, `(samples, units)`."""
    number = np.isfinite(responses).sum(0)
    with np.errstate(invalid="ignore"):
        return np.where(number > 0, np.nansum(responses, axis=0) / number, np.nan)


def variance(values: np.ndarray) -> np.ndarray:
    """Unbiased variance along axis 0 over the entries that exist; nan for fewer than two."""
    number = np.isfinite(values).sum(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        deviation = values - np.nansum(values, axis=0) / number
        return np.where(number > 1, np.nansum(deviation**2, axis=0) / (number - 1), np.nan)


def _mean(values: np.ndarray) -> np.ndarray:
    return average(values[:, None])[0] if values.ndim == 1 else average(values)


def noise_variance(responses: np.ndarray) -> np.ndarray:
    """Variance over repeats, averaged over samples: `mean_samples var_repeats(r)`.

    Args:
        responses: `(repeats, samples, units)`, at least 2 repeats.
    """
    return _mean(variance(checked(responses, repeats=2)))


def explainable_variance(responses: np.ndarray) -> np.ndarray:
    """Share of the variance over all trials that is not noise: `(Var_total − σ²_noise) / Var_total`.

    Args:
        responses: `(repeats, samples, units)`, at least 2 repeats.

    Source: Cadena et al., PLoS Computational Biology 15, 2019, doi:10.1371/journal.pcbi.1006897.
    """
    found = checked(responses, repeats=2)
    total = variance(found.reshape(-1, found.shape[2]))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(total > 0, 1 - noise_variance(found) / total, np.nan)


def signal_power(responses: np.ndarray) -> np.ndarray:
    """Variance of the expected response over samples, without bias by noise: the mean covariance of two repeats.

    With all repeats present this is `(Var(Σ_n R_n) − Σ_n Var(R_n)) / (N (N − 1))`; where some are missing, every
    pair of repeats counts by the samples that it shares.

    Args:
        responses: `(repeats, samples, units)`, at least 2 repeats.

    Source: Sahani & Linden, NIPS 15, 2003.
    """
    found = checked(responses, repeats=2)
    repeats = len(found)
    if np.isfinite(found).all():
        return (variance(found.sum(0)) - sum(variance(r) for r in found)) / (repeats * (repeats - 1))
    total, weight = np.zeros(found.shape[2]), np.zeros(found.shape[2])
    for i in range(repeats):
        for j in range(i):
            shared = np.isfinite(found[i]) & np.isfinite(found[j])
            number = np.maximum(shared.sum(0), 1)
            a, b = np.where(shared, found[i], 0), np.where(shared, found[j], 0)
            total += (a * b).sum(0) - a.sum(0) * b.sum(0) / number
            weight += number - 1
    with np.errstate(invalid="ignore"):
        return np.where(weight > 0, total / np.maximum(weight, 1), np.nan)


def cc_max(responses: np.ndarray) -> np.ndarray:
    """Largest correlation that a model can have with the average response: `sqrt(SP / Var(ȳ))`; 0 without signal.

    Args:
        responses: `(repeats, samples, units)`, at least 2 repeats.

    Source: Schoppe et al., Frontiers in Computational Neuroscience 10, 2016, doi:10.3389/fncom.2016.00010.
    """
    found = checked(responses, repeats=2)
    spread = variance(average(found))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(spread > 0, np.sqrt(np.maximum(signal_power(found), 0) / spread), np.nan)


def oracle_correlation(responses: np.ndarray, kind: str = "jackknife") -> np.ndarray:
    """Correlation of single trials with the response that the other trials foretell.

    `"jackknife"` correlates every trial with the mean of the other repeats of its sample: below what the true
    mean would reach. `"conservative"` is `sqrt(Var(ȳ) / (Var(ȳ) + σ²_noise))`: above it. The truth lies between.

    Args:
        responses: `(repeats, samples, units)`, at least 2 repeats.
        kind: `"jackknife"` or `"conservative"`.

    Source: Walker et al., Nature Neuroscience 22, 2019, doi:10.1038/s41593-019-0517-x.
    """
    found = checked(responses, repeats=2)
    if kind == "jackknife":
        number = np.isfinite(found).sum(0)
        others = np.where(number > 1, (np.nansum(found, axis=0) - found) / np.maximum(number - 1, 1), np.nan)
        return correlate(found.reshape(-1, found.shape[2]), others.reshape(-1, found.shape[2]))
    if kind == "conservative":
        spread = variance(average(found))
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.sqrt(spread / (spread + noise_variance(found)))
    raise InputError("oracle_correlation.kind", "'jackknife' or 'conservative'", repr(kind), "choose one of them")


def split_half(responses: np.ndarray, *, splits: int = 20, seed: int = 0) -> np.ndarray:
    """Reliability of the average response: split-half correlation, stepped up by Spearman and Brown, `2r / (1 + r)`.

    Correlations of random halves of the repeats are averaged over the splits first. Its root estimates `cc_max`.

    Args:
        responses: `(repeats, samples, units)`, at least 2 repeats.
        splits: random halvings (default 20).
        seed: of the halvings.
    """
    found = checked(responses, repeats=2)
    draw = np.random.default_rng(seed)
    halves = []
    for _ in range(splits):
        order = draw.permutation(len(found))
        middle = len(found) // 2
        halves.append(correlate(average(found[order[:middle]]), average(found[order[middle : 2 * middle]])))
    r = _mean(np.stack(halves))
    return 2 * r / (1 + r)


@dataclass(frozen=True)
class Ceiling:
    """What the responses allow a model to reach, per unit, `(units,)` each."""

    signal_power: np.ndarray
    cc_max: np.ndarray
    explainable_variance: np.ndarray
    oracle: np.ndarray
    split_half: np.ndarray

    def reliable(self, cut: float = 0.3) -> np.ndarray:
        """Units whose `cc_max²` is above the cut (default 0.3): scores over a ceiling mean little for the others."""
        return np.nan_to_num(self.cc_max, nan=0.0) ** 2 > cut


def ceiling(responses: np.ndarray, *, seed: int = 0) -> Ceiling:
    """All ceilings of responses `(repeats, samples, units)`; `seed` is that of the split halves."""
    return Ceiling(
        signal_power(responses), cc_max(responses), explainable_variance(responses), oracle_correlation(responses),
        split_half(responses, seed=seed),
    )  # fmt: skip
