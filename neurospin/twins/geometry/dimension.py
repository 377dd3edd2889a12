"""How many dimensions responses fill."""

from __future__ import annotations

import numpy as np
from scipy.spatial import KDTree

from neurospin.errors import InputError
from neurospin.twins.geometry.checks import patterns


def participation_ratio(values: np.ndarray, *, corrected: bool = True) -> float:
    """Number of dimensions that share the variance, `(tr Σ)² / tr Σ²`.

    Few samples make the plain ratio too small: `n` isotropic samples in `d` dimensions give about `d / (1 + d / n)`.
    The corrected one puts unbiased estimates of `(tr Σ)²` and `tr Σ²` under Gaussian sampling in their place,
    `((n + 1) a − 2 b) / (n b − a)` with `a = (tr S)²`, `b = tr S²` and `n` degrees of freedom; what bias the division
    leaves is taken out by the jackknife.

    Args:
        values: `(samples, units)`, at least 4 samples.
        corrected: for the number of samples (default True).

    Returns:
        The ratio; inf where the spectrum is as flat as that of noise can be with so few samples.

    Source: Gao & Ganguli, bioRxiv 214262, 2017; Gupta & Nagar, Matrix Variate Distributions, 2000 (the moments);
    Quenouille, Biometrika 43, 1956, doi:10.1093/biomet/43.3-4.353 (the jackknife).
    """
    found = patterns(values, "participation_ratio", least=4)
    centred = found - found.mean(0)
    samples, own = len(found), np.square(centred).sum(1)
    if len(found) <= found.shape[1]:
        gram = centred @ centred.T
        along = np.square(gram).sum(1)  # xᵀ S x of every sample
    else:
        gram = centred.T @ centred
        along = np.einsum("su,uv,sv->s", centred, gram, centred, optimize=True)
    trace, power = float(np.trace(gram)), float(np.vdot(gram, gram))
    if power == 0:
        raise InputError("participation_ratio", "samples that differ", "all the same", "check the responses")
    if not corrected:
        return trace**2 / power
    every = _ratio(np.array([trace]), np.array([power]), samples - 1)[0]
    weight = samples / (samples - 1)  # removing a sample takes this times its square from the scatter
    fewer = _ratio(trace - weight * own, power - 2 * weight * along + (weight * own) ** 2, samples - 2)
    told = samples * every - (samples - 1) * fewer.mean()
    return float(told if np.isfinite(told) and told > 0 else every)


def _ratio(trace: np.ndarray, power: np.ndarray, freedom: int) -> np.ndarray:
    rest = freedom * power - trace**2
    with np.errstate(divide="ignore"):
        return np.where(rest > 0, ((freedom + 1) * trace**2 - 2 * power) / np.maximum(rest, 0), np.inf)


def signal_dimension(values: np.ndarray) -> float:
    """Participation ratio of the conditions' means, freed of what the trials' noise adds to it; 1 to conditions − 1.

    With the centred means of odd and of even trials, `A` and `B (conditions, units)`, whose noise is independent, and
    `G = A Bᵀ`, it is `(tr G)² / tr G G`.

    Args:
        values: `(conditions, trials, units)`, at least 2 conditions and 2 trials.

    Returns:
        The ratio; nan where noise leaves no signal, `tr G ≤ 0` or `tr G G ≤ 0`.

    Source: the ratio: Gao & Ganguli, bioRxiv 214262, 2017; independent halves as in Stringer et al., Nature 571, 2019,
    doi:10.1038/s41586-019-1346-5.
    """
    found = patterns(values, "signal_dimension", 3)
    if found.shape[1] < 2:
        raise InputError("signal_dimension", "at least 2 trials per condition", str(found.shape), "give single trials")
    halves = [found[:, start::2].mean(1) for start in (0, 1)]
    first, second = (half - half.mean(0) for half in halves)
    gram = first @ second.T
    trace, power = float(np.trace(gram)), float((gram * gram.T).sum())
    return trace**2 / power if trace > 0 and power > 0 else float("nan")


def two_nn(values: np.ndarray) -> float:
    """Intrinsic dimension from the distances to the two nearest neighbours, `(N − 1) / Σ log(r2 / r1)`.

    Args:
        values: `(samples, units)`, samples that differ from each other.

    Raises:
        InputError: two samples are equal.

    Source: Facco et al., Scientific Reports 7, 2017, doi:10.1038/s41598-017-11873-y.
    """
    found = patterns(values, "two_nn", least=3)
    distance, _ = KDTree(found).query(found, k=3)
    if (distance[:, 1] == 0).any():
        raise InputError("two_nn", "samples that differ from each other", "equal ones", "keep one of each")
    return float((len(found) - 1) / np.log(distance[:, 2] / distance[:, 1]).sum())


def cvpca(responses: np.ndarray) -> np.ndarray:
    """Variance of the signal along each principal component, without bias by noise, `(components,)`.

    The components come from one repeat, `λ_k = Σ_s (x¹_s · u_k)(x²_s · u_k) / (samples − 1)`, and the two repeats
    change places.

    Args:
        responses: two repeats of the same stimuli, `(2, stimuli, units)`.

    Source: Stringer et al., Nature 571, 2019, doi:10.1038/s41586-019-1346-5.
    """
    found = np.asarray(responses, np.float64)
    if found.ndim != 3 or len(found) != 2 or found.shape[1] < 2 or not np.isfinite(found).all():
        raise InputError("cvpca", "finite (2, stimuli, units)", str(found.shape), "give two repeats")
    found = found - found.mean(1, keepdims=True)
    spectra = []
    for first, second in (found, found[::-1]):
        axes = np.linalg.svd(first, full_matrices=False)[2]
        spectra.append(((first @ axes.T) * (second @ axes.T)).sum(0) / (found.shape[1] - 1))
    return np.mean(spectra, axis=0)
