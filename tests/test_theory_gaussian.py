"""Gaussian synapses: filters against ridge regression, BGD and MESU against the filters."""

import math

import numpy as np
import pytest
import torch

from neurospin.plasticity import BGD, MESU
from neurospin.theory import gaussian, penalties
from neurospin.theory.gaussian import Posterior

NOISE = 0.3


def data(n=400, d=8, seed=0):
    draw = np.random.default_rng(seed)
    x = draw.normal(size=(n, d))
    return x, x @ draw.normal(size=d) + math.sqrt(NOISE) * draw.normal(size=n)


def test_t1_recursive_bayes_in_any_order_is_ridge():
    x, y = data()
    prior = Posterior(np.zeros(8), np.eye(8))
    whole, found = gaussian.ridge(x, y, prior, NOISE), prior
    for i in np.random.default_rng(1).permutation(len(y)):
        found = gaussian.update(found, x[i], float(y[i]), NOISE)
    np.testing.assert_allclose(found.mean, whole.mean, rtol=0, atol=1e-9)
    np.testing.assert_allclose(found.covariance, whole.covariance, rtol=0, atol=1e-9)


def test_t2_t3_t4_what_a_diagonal_filter_keeps():
    """Exact where inputs are one-hot; else precisions are exact, variances too small, and means are off."""
    prior, full = Posterior(np.zeros(8), np.ones(8)), Posterior(np.zeros(8), np.eye(8))
    x, y = np.eye(8)[np.random.default_rng(2).integers(8, size=200)], np.random.default_rng(3).normal(size=200)
    whole, found = gaussian.ridge(x, y, full, NOISE), prior
    for i in range(200):
        found = gaussian.update_diagonal(found, x[i], y[i], NOISE)
    np.testing.assert_allclose(found.mean, whole.mean, rtol=0, atol=1e-9)
    np.testing.assert_allclose(found.covariance, np.diag(whole.covariance), rtol=0, atol=1e-9)

    x, y = data()
    whole, found = gaussian.ridge(x, y, full, NOISE), prior
    for i in range(len(y)):
        found = gaussian.update_diagonal(found, x[i], y[i], NOISE)
    np.testing.assert_allclose(1 / found.covariance, np.diag(np.linalg.inv(whole.covariance)), rtol=1e-9)
    assert bool((found.covariance < np.diag(whole.covariance)).all())
    assert 1e-3 < abs(found.mean - whole.mean).max() < 0.3


def rule_with(kind, sigma, **settings):
    p = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
    return p, kind([p], sigma=sigma, **settings)


def curve(p, rule, curvature):
    """One step whose expected second derivative is `curvature`, without sampling noise."""
    rule.state[p]["gathered"] = rule.state[p]["sigma"] * curvature
    rule.state[p]["drawn"] = 1.0
    p.grad = torch.zeros_like(p)
    rule.step()


@pytest.mark.parametrize("kind", [BGD, MESU])
def test_t5_without_a_window_precision_adds_up(kind):
    p, rule = rule_with(kind, math.sqrt(1.3))
    for _ in range(2000):
        curve(p, rule, 0.7)
    wanted = gaussian.remembered_variance(1.3, 2000, 0.7)
    assert float(rule.state[p]["sigma"]) ** 2 == pytest.approx(wanted, rel=0.01)


def test_t6_bgd_is_a_hyperbolic_sine():
    h = np.linspace(-20, 20, 4001)
    np.testing.assert_allclose(np.sqrt(1 + h**2) - h, np.exp(-np.arcsinh(h)), rtol=0, atol=1e-12)


def test_t7_noise_alone_narrows_mesu_and_not_bgd():
    """E[d log σ] per step is 0 for BGD and −E[h²]/2 for MESU, with h = σ E[g ε]/2 symmetric."""
    steps, q, count = 400, 0.02, 40_000
    drifts = {}
    for kind in (BGD, MESU):
        p = torch.nn.Parameter(torch.zeros(count, dtype=torch.float64))
        rule = kind([p], sigma=0.1)
        g = torch.Generator().manual_seed(0)
        for _ in range(steps):
            h = q * torch.randn(count, generator=g, dtype=torch.float64)
            rule.state[p]["gathered"] = 2 * h / rule.state[p]["sigma"]
            rule.state[p]["drawn"] = 1.0
            p.grad = torch.zeros_like(p)
            rule.step()
        drifts[kind] = float((rule.state[p]["sigma"] / 0.1).log().mean())
    error = 4 * q * math.sqrt(steps / count)
    assert drifts[BGD] == pytest.approx(0, abs=error)
    assert drifts[MESU] == pytest.approx(-steps * q**2 / 2, abs=error)
    assert error < 0.01


@pytest.mark.parametrize("curvature", [0.01, 0.1, 1.0])
def test_t8_mesu_settles_at_the_variance_of_its_window(curvature):
    p, rule = rule_with(MESU, 0.8, window=50, prior_sigma=0.9)
    for _ in range(4000):
        curve(p, rule, curvature)
    wanted = gaussian.steady_variance(0.81, 50, curvature)
    assert float(rule.state[p]["sigma"]) ** 2 == pytest.approx(wanted, rel=1e-6)


def test_t9_what_is_not_heard_again_fades_in_natural_parameters():
    window, steps = 300, 400
    p, rule = rule_with(MESU, 0.9, window=window, prior_sigma=1.0, prior_mean=0.0)
    with torch.no_grad():
        p.fill_(0.5)
    for _ in range(steps):
        p.grad = torch.zeros_like(p)
        rule.step()
    kept = (1 - 1 / window) ** steps
    precision = kept / 0.81 + (1 - kept)
    assert float(rule.state[p]["sigma"]) ** 2 == pytest.approx(1 / precision, rel=1e-2)
    assert float(p.detach()) == pytest.approx(kept * 0.5 / 0.81 / precision, rel=1e-2)


def test_t10_mesu_follows_a_drifting_target_as_the_exact_filter_does():
    draw, window = np.random.default_rng(0), 300
    p, rule = rule_with(MESU, 1.0, window=window, prior_sigma=1.0)
    prior = exact = Posterior(np.zeros(1), np.eye(1))
    target, means, variances = 0.0, [], []
    for _ in range(1500):
        target += 0.02 * draw.normal()
        x = draw.choice([-1.0, 1.0])
        y = target * x + math.sqrt(20) * draw.normal()
        exact = gaussian.update_windowed(exact, prior, np.array([x]), y, 20.0, window)
        mean = float(p.detach())
        rule.state[p]["gathered"] = rule.state[p]["sigma"] * x * x / 20
        rule.state[p]["drawn"] = 1.0
        p.grad = torch.full_like(p, (mean * x - y) * x / 20)
        rule.step()
        means.append((float(p.detach()), float(exact.mean[0])))
        variances.append((float(rule.state[p]["sigma"]) ** 2, float(exact.covariance[0, 0])))
    ours, wanted = np.array(means)[500:].T
    assert abs(ours - wanted).max() < 1e-2 and wanted.std() > 0.1
    np.testing.assert_allclose(*np.array(variances)[500:].T, rtol=1e-2)


def test_t11_the_power_prior_filter_is_weighted_ridge():
    x, y = data(60, 4)
    window, n = 20.0, 60
    prior = found = Posterior(np.full(4, 0.2), np.eye(4) * 0.7)
    for i in range(n):
        found = gaussian.update_windowed(found, prior, x[i], y[i], NOISE, window)
    weights = (1 - 1 / window) ** np.arange(n - 1, -1, -1)
    whole = gaussian.ridge(x, y, prior, NOISE, weights)
    np.testing.assert_allclose(found.mean, whole.mean, rtol=0, atol=1e-9)
    np.testing.assert_allclose(found.covariance, whole.covariance, rtol=0, atol=1e-9)


def test_t24_one_penalty_is_bayes_and_one_per_task_is_not():
    draw = np.random.default_rng(0)
    tasks = []
    for _ in range(4):
        x = draw.normal(size=(20, 5)) * draw.uniform(0.3, 2.0, 5)
        tasks.append((x.T @ x + 0.1 * np.eye(5), draw.normal(size=5)))
    whole = penalties.joint(tasks)
    np.testing.assert_allclose(penalties.recursion(tasks), whole, rtol=0, atol=1e-9)
    np.testing.assert_allclose(penalties.many_penalties(tasks[:2]), penalties.joint(tasks[:2]), rtol=0, atol=1e-9)
    assert abs(penalties.many_penalties(tasks) - whole).max() > 1e-3
    assert abs(penalties.recursion(tasks, diagonal=True) - whole).max() > 1e-3
    aligned = [(np.diag(np.diag(h)), c) for h, c in tasks]
    np.testing.assert_allclose(penalties.recursion(aligned, diagonal=True), penalties.joint(aligned), rtol=0, atol=1e-9)


def test_t27_credible_intervals_cover_as_often_as_they_say():
    draw, inside = np.random.default_rng(0), 0
    for _ in range(1500):
        w = draw.normal(size=3)
        x = draw.normal(size=(12, 3))
        y = x @ w + math.sqrt(NOISE) * draw.normal(size=12)
        found = gaussian.ridge(x, y, Posterior(np.zeros(3), np.eye(3)), NOISE)
        inside += abs(w[0] - found.mean[0]) < 1.6448536 * math.sqrt(found.covariance[0, 0])
    assert inside / 1500 == pytest.approx(0.9, abs=0.02)
