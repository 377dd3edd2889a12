"""Metrics by hand and against other implementations: scikit-learn, scipy."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import entropy, ttest_1samp, ttest_rel
from sklearn.metrics import log_loss, roc_auc_score

import neurospin as ns
from neurospin.continual import metrics, paired, uncertainty
from neurospin.continual.calibration import (
    brier_score,
    detection_auc,
    expected_calibration_error,
    negative_log_likelihood,
)
from neurospin.continual.comparison import half_interval

MATRIX = np.array([[0.9, 0.1, 0.2], [0.7, 0.8, 0.1], [0.6, 0.9, 0.7]])


def probabilities(seed=0, shape=(300, 4)):
    draw = np.random.default_rng(seed)
    return draw.dirichlet(np.ones(shape[-1]), shape[:-1]), draw.integers(0, shape[-1], shape[-2])


def test_t29_metrics_of_a_matrix_worked_out_by_hand():
    assert metrics.forward_transfer(MATRIX, np.array([0.5, 0.2, 0.3])) == pytest.approx(((0.1 - 0.2) + (0.1 - 0.3)) / 2)
    assert metrics.intransigence(MATRIX, np.array([0.9, 0.9, 0.9])) == pytest.approx((0.0 + 0.1 + 0.2) / 3)
    assert metrics.anytime_accuracy(MATRIX) == pytest.approx((0.9 + (0.7 + 0.8) / 2 + (0.6 + 0.9 + 0.7) / 3) / 3)
    assert metrics.window_accuracy(MATRIX, 2) == pytest.approx((0.9 + 0.7) / 2)
    assert metrics.plasticity_loss(MATRIX) == pytest.approx(0.9 - 0.7)
    assert metrics.plasticity_loss(MATRIX, 2) == pytest.approx((0.9 + 0.8) / 2 - (0.8 + 0.7) / 2)
    assert metrics.stability_gap(0.9, np.array([0.85, 0.4, 0.8])) == pytest.approx(0.5)
    assert metrics.stability_gap(0.2, np.array([0.3])) == 0
    assert metrics.flips(np.array([1.0, -1, 0, 2]), np.array([-1.0, -2, 1, 0])) == 0.25
    with pytest.raises(ns.InputError, match="one number per task"):
        metrics.intransigence(MATRIX, np.array([0.9]))
    with pytest.raises(ns.InputError, match="1 to 3"):
        metrics.window_accuracy(MATRIX)


def test_likelihood_brier_and_calibration():
    p, y = probabilities()
    assert negative_log_likelihood(p, y) == pytest.approx(log_loss(y, p, labels=range(4)), rel=1e-12)
    # 0.9 twice (one right), 0.6 once (right): bins of width 0.1 → |0.5 − 0.9| · 2/3 + |1 − 0.6| · 1/3
    few = np.array([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6]])
    assert expected_calibration_error(few, np.array([0, 1, 1]), 10) == pytest.approx((0.4 * 2 + 0.4) / 3)
    assert brier_score(few, np.array([0, 1, 1])) == pytest.approx((2 * 0.01 + 2 * 0.81 + 2 * 0.16) / 3)
    bins = np.linspace(0, 1, 16)
    total = 0.0
    for low, high in pairwise(bins):
        inside = (p.max(1) > low) & (p.max(1) <= high)
        if inside.any():
            total += inside.mean() * abs((p.argmax(1) == y)[inside].mean() - p.max(1)[inside].mean())
    assert expected_calibration_error(p, y) == pytest.approx(total, rel=1e-12)
    with pytest.raises(ns.InputError, match="rows that add up to 1"):
        brier_score(p * 2, y)


def test_uncertainty_splits_into_two_and_tells_unknown_inputs():
    p, _ = probabilities(shape=(7, 50, 4))
    found = uncertainty(p)
    np.testing.assert_allclose(found.total, entropy(p.mean(0), axis=-1), rtol=1e-12)
    np.testing.assert_allclose(found.aleatoric, entropy(p, axis=-1).mean(0), rtol=1e-12)
    np.testing.assert_allclose(found.total, found.aleatoric + found.epistemic, rtol=1e-12)
    assert bool((found.epistemic > 0).all())
    agreeing = uncertainty(np.array([[[0.5, 0.5], [1.0, 0.0]]] * 3))
    np.testing.assert_allclose(agreeing.epistemic, 0, atol=1e-15)
    np.testing.assert_allclose(agreeing.total, [np.log(2), 0], atol=1e-15)
    disagreeing = uncertainty(np.array([[[1.0, 0.0]], [[0.0, 1.0]]]))
    np.testing.assert_allclose([disagreeing.epistemic, disagreeing.aleatoric], [[np.log(2)], [0]], atol=1e-15)


def test_detection_is_that_of_scikit_learn():
    draw = np.random.default_rng(0)
    known, unknown = draw.integers(0, 20, 200) / 20, draw.integers(5, 25, 150) / 20  # with ties
    wanted = roc_auc_score(np.r_[np.zeros(200), np.ones(150)], np.r_[known, unknown])
    assert detection_auc(known, unknown) == pytest.approx(wanted, rel=1e-12)
    assert detection_auc(np.zeros(3), np.ones(3)) == 1


def test_pairs_are_those_of_scipy():
    draw = np.random.default_rng(0)
    a = draw.normal(0.8, 0.05, 6)
    b = a - 0.02 + draw.normal(0, 0.01, 6)
    found, wanted = paired(a.tolist(), b.tolist()), ttest_rel(a, b)
    interval = wanted.confidence_interval(0.95)
    np.testing.assert_allclose([found.p_value, found.low, found.high], [wanted.pvalue, interval.low, interval.high])
    assert found.difference == pytest.approx(float((a - b).mean())) and found.seeds == 6
    one = ttest_1samp(a, 0.0).confidence_interval(0.9)
    assert half_interval(a, 0.9) == pytest.approx((one.high - one.low) / 2) and np.isnan(half_interval([1.0]))
    assert paired([1.0, 1.0], [0.5, 0.5]).p_value == 0
    assert paired([1.0, 1.0], [1.0, 1.0]).p_value == 1
    with pytest.raises(ns.InputError, match="pair the seeds"):
        paired([1.0], [1.0])
