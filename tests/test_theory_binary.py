"""Binary synapses and devices: exact posteriors, protection, noise that freezes, levels that forget."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from neurospin.plasticity import BiMU, Levels, Metaplastic, ProbabilisticMetaplasticity
from neurospin.plasticity.kernels import cpu_drawn
from neurospin.theory import binary, devices


def test_t12_half_log_odds_are_the_exact_posterior():
    draw = np.random.default_rng(0)
    for _ in range(20):
        x, noise = draw.normal(size=15), draw.uniform(0.2, 4)
        y = x + math.sqrt(noise) * draw.normal(size=15)
        likelihood = [np.exp(-((y - w * x) ** 2).sum() / (2 * noise)) for w in (-1, 1)]
        found = binary.probability(np.array(binary.evidence(x, y, noise)))
        assert float(found) == pytest.approx(likelihood[1] / sum(likelihood), rel=1e-9, abs=1e-12)


def test_t13_variance_and_divergence_are_derivatives():
    lam, step = np.linspace(-4, 4, 81), 1e-5
    slope = (np.tanh(lam + step) - np.tanh(lam - step)) / (2 * step)
    np.testing.assert_allclose(slope, binary.variance(lam), rtol=0, atol=1e-6)
    slope = (binary.divergence(lam + step) - binary.divergence(lam - step)) / (2 * step)
    np.testing.assert_allclose(slope, binary.divergence_slope(lam), rtol=0, atol=1e-6)
    p = binary.probability(lam)
    direct = p * np.log(2 * p) + (1 - p) * np.log(2 * (1 - p))
    np.testing.assert_allclose(direct, binary.divergence(lam), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("m", "start"), [(1.35, 1.0), (4.0, 0.5), (10.0, 0.25)])
def test_t14_protection_is_what_the_rule_needs_to_flip(m, start):
    """`tests/test_plasticity.py` measures the flips themselves; here the closed form is the integral of 1/f."""
    h = np.linspace(0, start, 200_001)
    damping = 1 / binary.variance(m * h)
    integral = float(((damping[1:] + damping[:-1]) / 2 * np.diff(h)).sum())
    assert binary.erase_length(start, m) == pytest.approx(integral, rel=1e-3)
    assert binary.protection(start, m) == pytest.approx(0.5 + math.sinh(2 * m * start) / (4 * m * start), rel=1e-12)
    assert binary.protection(1.0, 1.35) == pytest.approx(1.87, abs=0.005)  # the sheet's number


def test_t15_noise_makes_laborieux_rule_grow_and_the_cures_do_not():
    """Random signs: |h| grows as lr √T without m, ballistically towards lr T/2 with it."""
    lr, steps, count = 5e-3, 4000, 300
    rms = {}
    for name, settings in {
        "plain": {"m": 0.0}, "1.35": {"m": 1.35}, "8": {"m": 8.0},
        "symmetric": {"m": 8.0, "symmetric": True}, "window": {"m": 8.0, "window": 100},
    }.items():  # fmt: skip
        p = torch.nn.Parameter(torch.full((count,), 1e-4))
        rule = Metaplastic([p], lr=lr, betas=(0.0, 0.0), eps=0.0, **settings)
        g = torch.Generator().manual_seed(0)
        for _ in range(steps):
            p.grad = torch.randint(0, 2, (count,), generator=g).float() * 2 - 1
            rule.step()
        rms[name] = float(p.detach().square().mean().sqrt())
    assert rms["plain"] == pytest.approx(lr * math.sqrt(steps), rel=4 / math.sqrt(2 * count))
    limit = lr * 100 / 2
    assert rms["plain"] < rms["1.35"] < rms["8"] < lr * steps / 2
    assert rms["1.35"] == pytest.approx(5.28, rel=0.05)  # of another implementation
    assert rms["8"] == pytest.approx(9.57, rel=0.05)
    assert rms["symmetric"] < 1.5 * rms["plain"] and 0.5 * limit < rms["window"] < 1.1 * limit


def test_t16_a_stored_sum_is_unbiased_and_as_noisy_as_theory_says():
    levels, count, steps, request = Levels(2001, 10.0), 40_000, 20, 0.003
    value, g = torch.zeros(count, dtype=torch.float64), torch.Generator().manual_seed(0)
    for _ in range(steps):
        value = levels.request(value, value + request, g)
    variance = steps * devices.rounding_variance(request, levels.spacing)
    assert float(value.mean()) == pytest.approx(steps * request, abs=4 * math.sqrt(variance / count))
    assert float(value.var()) == pytest.approx(variance, abs=4 * variance * math.sqrt(2.2 / count))


@pytest.mark.parametrize("count", [4, 8, 16])
def test_t17_bounds_forget_at_the_rate_of_their_number(count):
    values = np.sort(np.linalg.eigvalsh(devices.random_walk(count)))
    assert values[-2] == pytest.approx(math.cos(math.pi / count), abs=1e-9)
    assert devices.mixing_time(count) == pytest.approx(-1 / math.log(values[-2]), rel=1e-9)
    levels, g = Levels(count, 1.0), torch.Generator().manual_seed(0)
    value = torch.full((20_000,), 1.0, dtype=torch.float64)
    for _ in range(5):  # the device itself walks as the matrix does
        step = torch.randint(0, 2, value.shape, generator=g) * 2 - 1
        value = levels.move(value, step, g)
    at = ((value + 1) / levels.spacing).round().long().bincount(minlength=count).numpy() / 20_000
    wanted = np.linalg.matrix_power(devices.random_walk(count), 5)[:, -1]
    assert bool((abs(at - wanted) < 4.5 * np.sqrt(wanted * (1 - wanted) / 20_000) + 1e-12).all())


def test_t18_erasing_a_level_takes_as_many_events_as_theory_says():
    count, m, level = 3000, 2.0, 4
    p = torch.nn.Parameter(torch.full((count,), 0.5 * level))
    rule = ProbabilisticMetaplasticity([p], threshold=0.0, growth=0.0, levels=17, bound=4.0)
    rule.state[p]["m"].fill_(m)
    events = torch.zeros(count)
    for _ in range(700):
        events += p.detach() > 0
        p.grad = (p.detach() > 0).float()
        rule.step()
    rates = np.exp(-m * 0.5 * np.arange(1, level + 1))
    error = math.sqrt(float(((1 - rates) / rates**2).sum()) / count)
    assert float(p.detach().max()) == 0
    assert float(events.mean()) == pytest.approx(devices.erase_events(level, 0.5, m), abs=4 * error)


def test_t30_bimu_forgets_monotonically_and_stays_finite():
    p = torch.nn.Parameter(torch.linspace(-0.99, 0.99, 50, dtype=torch.float64))
    rule = BiMU([p], window=20, max_rate=0.5)
    sizes = []
    for _ in range(300):
        sizes.append(rule.state[p]["lambda"].abs().clone())
        p.grad = torch.zeros_like(p)
        rule.step()
    assert all(bool((after <= before).all()) for before, after in pairwise(sizes))
    assert bool((sizes[-1] < 0.5 * sizes[0]).all())
    g = torch.Generator().manual_seed(0)
    for _ in range(2000):
        before = rule.state[p]["lambda"].clone()
        p.grad = 100 * torch.randn(50, generator=g, dtype=torch.float64)
        # with g as dL/dλ the denominator is at least 1/max_rate
        pull = 161.3 * p.grad * (1 - before.tanh().square())
        bound = 0.5 * (4.9 * pull.abs() + 3.76 * before.abs() * torch.as_tensor(binary.variance(before.numpy())) / 20)
        rule.step()
        assert bool(((rule.state[p]["lambda"] - before).abs() <= bound + 1e-9).all())


def test_t30_bimu_stays_finite_for_a_hundred_thousand_noisy_steps():
    """By the kernel that the rule takes, whose arithmetic is float32."""
    draw = np.random.default_rng(0)
    lam, p = draw.normal(size=50).astype(np.float32), np.zeros(50, np.float32)
    numbers = [np.float32(x) for x in (161.3, 4.9, 3.76, 3.76 / 20, 1 / 0.5)]
    noise, largest = (100 * draw.normal(size=(1000, 50))).astype(np.float32), 0.0
    for number in range(100_000):
        cpu_drawn.bimu(0, p, lam, noise[(number * 617) % 1000] * (1 - p * p), *numbers)
        largest = max(largest, float(abs(lam).max()))
    assert math.isfinite(largest) and bool((abs(p) <= 1).all())
    np.testing.assert_allclose(p, np.tanh(lam.astype(float)), rtol=0, atol=1e-6)
    assert 1 < largest < 1e6
