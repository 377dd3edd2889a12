"""The Kalman filter per synapse: its closed forms, its limits, and what it does to old synapses."""

import math

import numpy as np
import pytest
import torch

import neurospin as ns
from neurospin.plasticity import BGD, Kalman
from neurospin.plasticity.kernels import Filter, cpu, reference


def parameter(values):
    return torch.nn.Parameter(torch.tensor(values, dtype=torch.float64))


def feed(rule, p, gradients):
    for gradient in gradients:
        p.grad = torch.as_tensor(gradient, dtype=p.dtype).expand_as(p).clone()
        rule.step()


def test_without_evidence_and_forgetting_it_is_gradient_descent_bit_for_bit():
    torch.manual_seed(0)
    ours, plain = (torch.nn.Parameter(torch.tensor([0.5, -0.5, 0.5, -0.5])) for _ in range(2))
    rule = Kalman([ours], sigma=1.0, evidence=0.0, trust=math.inf, batch_size=8)  # the root mean square is 1/2
    descent = torch.optim.SGD([plain], 8 * 0.25)
    for _ in range(50):
        ours.grad = torch.randn(4)
        plain.grad = ours.grad.clone()
        rule.step()
        descent.step()
    assert torch.equal(ours, plain)
    before = ours.detach().clone()
    frozen = Kalman([ours], lr=0.0, window=10)
    feed(frozen, ours, [1.0])
    assert torch.equal(ours, before)


def test_a_constant_push_brings_the_precision_where_the_window_says():
    """`1/σ² = 1/σ_0² + window · G²`, the fixed point of the filter (E2 of the theory), from any number of steps on."""
    p = parameter([2.0, -2.0])
    rule = Kalman([p], sigma=0.5, window=20, trust=0.0, batch_size=3)
    feed(rule, p, [0.7] * 1000)
    assert (1 / rule.sigma(p) ** 2).tolist() == pytest.approx([1 / 1.0 + 20 * (3 * 0.7) ** 2] * 2, rel=1e-12)
    feed(rule, p, [0.0] * 7)  # silence: back to the prior as (1 − 1/window)^t
    assert (1 / rule.sigma(p) ** 2 - 1).tolist() == pytest.approx([20 * 2.1**2 * 0.95**7] * 2, rel=1e-12)


def test_of_a_gaussian_stream_it_finds_the_exact_posterior():
    """Scalars seen through unit noise: the posterior of n observations has precision 1/σ_0² + n and a known mean.

    The squared gradient's mean is the curvature 1; the sum of n of them is off by √(2n), four of which are allowed.
    """
    n, draw = 4000, np.random.default_rng(0)
    truth = np.array([0.3, -0.2, 0.1, 0.0])
    seen = truth + draw.normal(size=(n, 4))
    p = parameter([1.0, -1.0, 1.0, -1.0])
    p.data *= 0.1
    rule = Kalman([p], sigma=10.0, trust=math.inf)  # σ_0 = 1
    for y in seen:
        feed(rule, p, [p.detach() - torch.tensor(y)])
    precision = (1 / rule.sigma(p) ** 2).numpy()
    assert np.abs(precision - (1 + n)).max() < 4 * math.sqrt(2 * n)
    exact = seen.sum(0) / (1 + n)
    assert np.abs(p.detach().numpy() - exact).max() < 0.25 / math.sqrt(n)  # a quarter of the posterior's width


def test_what_mattered_is_stiff_and_trust_bounds_the_step():
    p = parameter([1.0, 1.0])
    rule = Kalman([p], trust=0.5)
    feed(rule, p, [[3.0, 0.0]] * 20)
    stiff, free = rule.sigma(p).tolist()
    assert stiff == pytest.approx(1 / math.sqrt(1 + 180)) and free == 1.0
    before = p.detach().clone()
    feed(rule, p, [100.0])
    moved = (before - p.detach()).numpy()
    np.testing.assert_allclose(moved, 0.5 * rule.sigma(p).numpy(), rtol=1e-12)


def test_noise_has_a_fisher_information_too():
    """Gradients of mean 0 count as much as their squares: σ falls as the root of their sum, and does not freeze at once."""
    p = parameter(np.ones(500))
    rule = Kalman([p], sigma=1.0)
    generator = torch.Generator().manual_seed(0)
    for _ in range(300):
        feed(rule, p, [0.1 * torch.randn(500, generator=generator, dtype=torch.float64)])
    assert float(rule.sigma(p).mean()) == pytest.approx(1 / math.sqrt(1 + 300 * 0.01), rel=0.01)


def test_what_it_refuses_and_keeps():
    p = parameter([1.0])
    with pytest.raises(ns.InputError, match=r"Kalman\.window"):
        Kalman([p], window=0.5)
    with pytest.raises(ns.InputError, match=r"Kalman\.evidence"):
        Kalman([p], evidence=-1)
    zeros = torch.nn.Parameter(torch.zeros(3))
    assert Kalman([zeros], sigma=0.3).sigma(zeros).tolist() == pytest.approx([0.3] * 3)
    rule, again = Kalman([p], window=5), Kalman([parameter([1.0])], window=5)
    feed(rule, p, [0.4, -0.2])
    again.load_state_dict(rule.state_dict())
    q = next(iter(again.parameters()))
    assert torch.equal(rule.sigma(p), again.sigma(q))
    assert rule.state_bits_per_synapse == BGD([p]).state_bits_per_synapse == 64


@pytest.mark.parametrize(
    "changes",
    [{}, {"window": math.inf}, {"trust": math.inf}, {"evidence": 0.1, "lr": 0.3}, {"lr": 0.0}, {"batch_size": 1}],
)
@pytest.mark.parametrize("size", [1, 7, 64, 1023])
def test_one_pass_differs_from_float64_by_rounding(size, changes):
    """Of the step, by 1e-6 of it at most; of the precision, by 5e-7 of it."""
    numbers = Filter(
        **{"lr": 1.0, "prior": 0.04, "window": 50.0, "evidence": 1.0, "trust": 0.5, "batch_size": 100, **changes}
    )
    random = torch.Generator().manual_seed(size)
    value = torch.randn(size, generator=random)
    gradient = torch.randn(size, generator=random) * 10 ** (torch.rand(size, generator=random) * 6 - 5)
    precision = 1 + 10 ** (torch.rand(size, generator=random) * 4 - 2)
    exact = [t.double() for t in (value, gradient, precision)]
    ours = [t.clone() for t in (value, gradient, precision)]
    cpu.kalman(*ours, numbers)
    reference.kalman(*exact, numbers)
    step = (exact[0] - value.double()).abs()
    assert bool(((ours[0] - exact[0]).abs() <= 1e-6 * step + 1.2e-7 * exact[0].abs()).all())
    assert bool(((ours[2] - exact[2]).abs() <= 5e-7 * exact[2]).all())


def test_large_values_are_shared_out_over_threads():
    whole, parts = ([torch.randn(2 * cpu.CHUNK + 3, generator=torch.Generator().manual_seed(n)).abs_() for n in range(3)]
                    for _ in range(2))  # fmt: skip
    numbers = Filter(1.0, 0.04, 50.0, 1.0, 0.5, 100)
    cpu.kalman(*whole, numbers)
    torch.set_num_threads(2)
    try:
        cpu.kalman(*parts, numbers)
    finally:
        torch.set_num_threads(1)
    assert all(torch.equal(a, b) for a, b in zip(whole, parts, strict=True))
