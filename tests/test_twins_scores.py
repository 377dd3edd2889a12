"""Scores and ceilings against scikit-learn, scipy, plain loops and planted truths."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import d2_tweedie_score, mean_poisson_deviance

from neurospin.errors import InputError
from neurospin.twins import ceilings, scores, variability


def planted(units=40, samples=400, repeats=10, share=0.8, seed=1):
    """Poisson counts of known rates, and predictions that correlate with the rates by a known number."""
    draw = np.random.default_rng(seed)
    signal, other = draw.standard_normal((2, samples, units))
    rates = np.exp(0.5 * signal + 1.0)
    predictions = np.exp(0.5 * (share * signal + np.sqrt(1 - share**2) * other) + 1.0)
    return draw.poisson(rates, (repeats, samples, units)).astype(float), rates, predictions


def holes(responses, share=0.1, seed=2):
    return np.where(np.random.default_rng(seed).random(responses.shape) < share, np.nan, responses)


def test_deviance_and_d_squared_are_those_of_scikit_learn_and_bits_those_of_scipy():
    counts, _, predictions = planted(units=3, samples=50, repeats=4)
    flat, told = counts.reshape(-1, 3), np.tile(predictions, (4, 1))
    for i in range(3):
        y, r = flat[:, i], told[:, i]
        assert scores.poisson_deviance(counts, predictions)[i] == pytest.approx(mean_poisson_deviance(y, r), rel=1e-12)
        assert scores.d_squared(counts, predictions)[i] == pytest.approx(d2_tweedie_score(y, r, power=1), rel=1e-10)
        gain = stats.poisson.logpmf(y, r).sum() - stats.poisson.logpmf(y, y.mean()).sum()
        assert scores.bits_per_spike(counts, predictions)[i] == pytest.approx(gain / y.sum() / np.log(2), rel=1e-10)


def test_log_likelihoods_are_those_of_scipy():
    draw = np.random.default_rng(0)
    y, p = draw.gamma(2.0, 1.0, (3, 20, 2)), draw.gamma(3.0, 1.0, (20, 2))
    unit = (slice(None), slice(None), 1)
    cases = [
        (np.round(y), "poisson", None, stats.poisson.logpmf(np.round(y)[unit], p[:, 1])),
        (np.round(y) % 2, "bernoulli", None, stats.bernoulli.logpmf(np.round(y)[unit] % 2, (p / (1 + p))[:, 1])),
        (y, "gaussian", 0.7, stats.norm.logpdf(y[unit], p[:, 1], np.sqrt(0.7))),
        (y, "gaussian", None, stats.norm.logpdf(y[unit], p[:, 1], np.sqrt(((y - p)[unit] ** 2).mean()))),
        (y, "gamma", 2.5, stats.gamma.logpdf(y[unit], 2.5, scale=p[:, 1] / 2.5)),
    ]
    for responses, kind, dispersion, expected in cases:
        told = p / (1 + p) if kind == "bernoulli" else p
        assert scores.log_likelihood(responses, told, kind, dispersion)[1] == pytest.approx(expected.mean(), rel=1e-10)


@pytest.mark.parametrize("missing", [False, True], ids=["all repeats", "some missing"])
def test_scores_over_a_ceiling_meet_the_planted_truth(missing):
    counts, rates, predictions = planted()
    counts = holes(counts) if missing else counts
    truth = np.array([np.corrcoef(rates[:, i], predictions[:, i])[0, 1] for i in range(40)])
    assert scores.cc_norm(counts, predictions).mean() == pytest.approx(truth.mean(), abs=0.01)
    assert scores.cc_norm(counts, rates).mean() == pytest.approx(1.0, abs=0.01)
    explained = 1 - ((rates - predictions) ** 2).mean(0) / rates.var(0)
    assert scores.feve(counts, predictions).mean() == pytest.approx(explained.mean(), abs=0.01)
    power = rates.var(0)
    assert (ceilings.signal_power(counts) / power).mean() == pytest.approx(1.0, abs=0.02)
    assert ceilings.noise_variance(counts).mean() == pytest.approx(rates.mean(), rel=0.01)
    total = power + rates.mean(0)
    assert ceilings.explainable_variance(counts).mean() == pytest.approx((power / total).mean(), abs=0.01)
    repeats = 9.0 if missing else 10.0
    best = np.sqrt(power / (power + rates.mean(0) / repeats))
    assert ceilings.cc_max(counts).mean() == pytest.approx(best.mean(), abs=0.01)
    single = np.sqrt(power / total).mean()
    low, high = (ceilings.oracle_correlation(counts, kind).mean() for kind in ("jackknife", "conservative"))
    assert low < single < high and high - low < 0.07
    assert np.sqrt(ceilings.split_half(counts)).mean() == pytest.approx(ceilings.cc_max(counts).mean(), abs=0.01)


def test_the_formulas_of_the_papers_written_as_loops():
    counts, _, predictions = planted(units=2, samples=30, repeats=4)
    y, p = counts[..., 1], predictions[:, 1]
    power = (np.var(y.sum(0), ddof=1) - sum(np.var(r, ddof=1) for r in y)) / 12
    assert ceilings.signal_power(counts)[1] == pytest.approx(power, rel=1e-12)
    expected = np.cov(y.mean(0), p)[0, 1] / np.sqrt(np.var(p, ddof=1) * power)
    assert scores.cc_norm(counts, predictions)[1] == pytest.approx(expected, rel=1e-12)
    noise = np.mean([np.var(y[:, s], ddof=1) for s in range(30)])
    feve = 1 - (((y - p) ** 2).mean() - noise) / (np.var(y, ddof=1) - noise)
    assert scores.feve(counts, predictions)[1] == pytest.approx(feve, rel=1e-12)
    pairs = [(y[i, s], np.delete(y[:, s], i).mean()) for i in range(4) for s in range(30)]
    jackknife = np.corrcoef(np.transpose(pairs))[0, 1]
    assert ceilings.oracle_correlation(counts)[1] == pytest.approx(jackknife, rel=1e-12)
    single = np.corrcoef(y.ravel(), np.tile(p, 4))[0, 1]
    assert scores.single_trial_correlation(counts, predictions)[1] == pytest.approx(single, rel=1e-12)
    mean = np.corrcoef(y.mean(0), p)[0, 1]
    assert scores.average_correlation(counts, predictions)[1] == pytest.approx(mean, rel=1e-12)


def test_signal_power_with_missing_repeats_is_the_closed_form_where_none_is_missing():
    counts = planted(units=3, samples=30, repeats=4)[0]
    wider = np.concatenate([counts, np.full((1, 30, 3), np.nan)])
    np.testing.assert_allclose(ceilings.signal_power(wider), ceilings.signal_power(counts), rtol=1e-12)


def test_noise_alone_has_no_ceiling_and_is_not_reliable():
    noise = np.random.default_rng(3).poisson(3.0, (6, 300, 50)).astype(float)
    assert abs(ceilings.signal_power(noise).mean()) < 0.02
    told = ceilings.ceiling(noise)
    assert not told.reliable().any() and not np.isnan(told.cc_max).any()
    assert ceilings.ceiling(planted()[0]).reliable().all()
    assert np.isnan(scores.cc_norm(noise, np.ones((300, 50)))).all()


def test_a_silent_unit_is_nan_and_never_counts():
    counts, rates, predictions = planted(units=3)
    counts[..., 0] = 0
    told = scores.score(counts, predictions)
    for name in ("cc_norm", "feve", "single_trial", "average", "bits_per_spike", "d_squared", "cc_max"):
        assert np.isnan(getattr(told, name)[0]) and np.isfinite(getattr(told, name)[1:]).all(), name
    assert list(told.reliable()) == [False, True, True]
    assert told.means()["cc_norm"] == pytest.approx(told.cc_norm[1:].mean())
    assert np.isnan(scores.score(counts + 0.5, rates).bits_per_spike).all()


def test_fano_factors_of_poisson_and_negative_binomial_counts():
    draw = np.random.default_rng(4)
    mean = draw.uniform(0.2, 5.0, (60, 30))
    assert variability.fano_factor(draw.poisson(mean, (40, 60, 30))).mean() == pytest.approx(1.0, abs=0.01)
    overdispersed = draw.negative_binomial(mean / 1.5, 1 / 2.5, (40, 60, 30))  # variance 2.5 times the mean
    assert variability.fano_factor(overdispersed).mean() == pytest.approx(2.5, rel=0.02)


def test_interval_variation_of_gamma_trains_and_of_a_clock():
    draw = np.random.default_rng(5)
    trains = [np.cumsum(draw.gamma(k, 1 / k, 20_000)) for k in (1.0, 4.0)] + [np.arange(100.0), np.array([1.0, 2.0])]
    times = np.concatenate([*trains, *trains])
    lengths = [len(t) for t in trains]
    unit = np.tile(np.repeat(np.arange(4), lengths), 2)
    trial = np.repeat([0, 1], sum(lengths))
    shuffled = draw.permutation(len(times))
    found = variability.isi_cv(times[shuffled], unit[shuffled], trial[shuffled], units=5)
    np.testing.assert_allclose(found[:3], [1.0, 0.5, 0.0], atol=0.015)
    assert found[3] == 0.0 and np.isnan(found[4])  # two equal intervals; none


def test_noise_correlations_of_a_shared_source():
    draw = np.random.default_rng(6)
    common, own = draw.standard_normal((20, 300, 1)), draw.standard_normal((20, 300, 4))
    loads = np.array([0.8, 0.6, 0.0, -0.5])
    responses = 3 * draw.standard_normal((300, 4)) + (loads * common + np.sqrt(1 - loads**2) * own)
    expected = np.outer(loads, loads) + np.diag(1 - loads**2)
    np.testing.assert_allclose(variability.noise_correlations(responses), expected, atol=0.03)
    np.testing.assert_allclose(variability.noise_correlations(holes(responses)), expected, atol=0.03)


@pytest.mark.parametrize(
    "call",
    [
        lambda y, p: scores.cc_norm(y[0], p),
        lambda y, p: scores.cc_norm(y[:1], p),
        lambda y, p: scores.cc_norm(y, p[:-1]),
        lambda y, p: scores.feve(y, np.where(p > 2, np.nan, p)),
        lambda y, p: scores.bits_per_spike(y, -p),
        lambda y, p: scores.log_likelihood(y, p, "student"),
        lambda y, p: scores.log_likelihood(y, p, "gamma"),
        lambda y, p: scores.log_likelihood(y, p + 1, "bernoulli"),
        lambda y, p: ceilings.oracle_correlation(y, "other"),
        lambda y, p: ceilings.cc_max(y / 0),
        lambda y, p: variability.isi_cv(np.zeros(3), np.zeros(2), np.zeros(3), units=1),
        lambda y, p: variability.isi_cv(np.zeros(3), np.full(3, 2), np.zeros(3), units=1),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero|invalid value")
def test_what_cannot_be_scored_is_refused(call):
    counts, _, predictions = planted(units=2, samples=10, repeats=3)
    with pytest.raises(InputError, match="expected"):
        call(counts, predictions)
