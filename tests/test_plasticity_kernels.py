"""The kernels of the metaplastic step against the reference in float64, and what torch sees of them."""

import importlib.util
import math
import os
import subprocess
import sys

import pytest
import torch

from neurospin.plasticity import Metaplastic
from neurospin.plasticity.kernels import Settings, _kernel, cpu, metaplastic_adam, pull, reference

SIZES = [1, 2, 7, 8, 63, 64, 65, 1023, 5000]


def problem(size, seed=0, dtype=torch.float32):
    """Hidden values of both signs (and zero), gradients of all magnitudes, moments of earlier steps."""
    random = torch.Generator().manual_seed(seed)
    hidden = torch.randn(size, generator=random) * 0.3
    hidden[:: max(1, size // 3)] = 0.0
    gradient = torch.randn(size, generator=random) * 10 ** (torch.rand(size, generator=random) * 8 - 6)
    first = torch.randn(size, generator=random) * 0.1
    second = torch.rand(size, generator=random) * 0.1
    return [t.to(dtype) for t in (hidden, gradient, first, second)]


def settings(**changes):
    return Settings(
        **{"lr": 5e-3, "m": 8.0, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0, "step": 3, **changes}
    )


CASES = [{}, {"m": 0.5}, {"m": 80.0}, {"eps": 1e-3}, {"weight_decay": 0.1}, {"betas": (0.0, 0.0)}, {"step": 1}]


@pytest.mark.parametrize("changes", CASES)
@pytest.mark.parametrize("size", SIZES)
def test_one_step_differs_from_float64_by_rounding(size, changes):
    """Of a step, by less than 2e-6 of the undamped one; of the moments, by less than 2e-7 of their terms."""
    numbers = settings(**changes)
    ours, exact = problem(size), problem(size, dtype=torch.float64)
    undamped = problem(size, dtype=torch.float64)
    cpu.metaplastic_adam(*ours, numbers)
    reference.metaplastic_adam(*exact, numbers)
    reference.metaplastic_adam(*undamped, settings(**{**changes, "m": 0.0}))
    before = problem(size, dtype=torch.float64)
    step = (undamped[0] - before[0]).abs()
    assert bool(((ours[0] - exact[0]).abs() <= 2e-6 * step + 1.2e-7 * exact[0].abs() + 1e-12).all())
    gradient = before[1] + numbers.weight_decay * before[0]
    assert bool(((ours[2] - exact[2]).abs() <= 2e-7 * (before[2].abs() + gradient.abs()) + 1e-12).all())
    assert bool(((ours[3] - exact[3]).abs() <= 4e-7 * exact[3]).all())


def test_damping_keeps_its_digits_where_float32_tanh_has_none_left():
    """1 − tanh² from 0 to 10, read off the step that it leaves; tanh(10) is 1 in float32.

    The hidden values are tiny and `m` makes up for it, so that h − (h − step) keeps the step's digits.
    """
    x = torch.linspace(0.0, 10.0, 4001)[1:]
    tiny = x / 8 * 2.0**-60
    moved = tiny.clone()
    numbers = settings(betas=(0.0, 0.0), eps=0.0, lr=2.0**-20, m=8.0 * 2.0**60, step=1)
    cpu.metaplastic_adam(moved, torch.ones_like(x), torch.zeros_like(x), torch.zeros_like(x), numbers)
    left = 1 / torch.cosh(x.double()) ** 2
    told = (tiny - moved).double() * 2.0**20
    assert float((told / left - 1).abs().max()) < 4e-5
    assert float((told - left).abs().max()) < 3e-7
    assert float(1 - torch.tanh(x[-1]) ** 2) == 0.0


def test_sixty_steps_end_where_float64_ends():
    """Training with the kernel, and with the reference in float64 from the same numbers."""
    ends = {}
    for dtype in (torch.float32, torch.float64):
        torch.manual_seed(3)
        net = torch.nn.Sequential(torch.nn.Linear(7, 9), torch.nn.Tanh(), torch.nn.Linear(9, 2)).to(dtype)
        rule = Metaplastic(net.parameters(), m=8.0)
        for _ in range(60):
            x = torch.randn(16, 7).to(dtype)
            rule.zero_grad()
            (net(x) - x[:, :2].square()).square().mean().backward()
            rule.step()
        ends[dtype] = torch.cat([p.detach().flatten() for p in net.parameters()]).double()
    assert _kernel("cpu") is cpu
    moved = (ends[torch.float32] - ends[torch.float64]).abs().max()
    assert 0 < float(moved) < 1e-5


def test_threads_change_no_bit(monkeypatch):
    one, many = problem(10_007), problem(10_007)
    cpu.metaplastic_adam(*one, settings())
    monkeypatch.setattr(cpu, "CHUNK", 1000)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    cpu.metaplastic_adam(*many, settings())
    assert all(torch.equal(a, b) for a, b in zip(one, many, strict=True))


def test_values_that_are_not_contiguous_or_not_float32_take_the_reference():
    for hidden in (torch.randn(6, 4).t(), torch.randn(4, 6, dtype=torch.float64)):
        gradient = torch.randn_like(hidden)
        results = []
        for step in (metaplastic_adam, reference.metaplastic_adam):
            tensors = [hidden.clone(), gradient, torch.zeros_like(hidden), torch.zeros_like(hidden)]
            step(*tensors, settings())
            results.append(tensors[0])
        assert torch.equal(*results)
        assert not torch.equal(results[0], hidden)


def test_a_gradient_in_another_order_is_the_same_gradient():
    ours = [t.reshape(50, 100) for t in problem(5000)]
    other = [t.clone() for t in ours]
    other[1] = other[1].t().contiguous().t()
    metaplastic_adam(*ours, settings())
    metaplastic_adam(*other, settings())
    assert torch.equal(ours[0], other[0])


def test_autograd_sees_that_the_values_changed():
    """A graph built before a step cannot be used after it: torch says so, as with its own optimizers."""
    p = torch.nn.Parameter(torch.ones(3))
    loss = (p * p).sum()
    loss.backward(retain_graph=True)
    Metaplastic([p], m=2.0).step()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_importance_zero_and_nothing_to_do():
    """A gradient of exactly zero moves nothing; no synapses are no fault."""
    hidden = torch.tensor([0.5, -0.5])
    metaplastic_adam(hidden, torch.zeros(2), torch.zeros(2), torch.zeros(2), settings())
    assert hidden.tolist() == [0.5, -0.5]
    metaplastic_adam(*(torch.zeros(0) for _ in range(4)), settings())
    far = torch.tensor([1e30, 5.0])
    metaplastic_adam(far, torch.ones(2), torch.zeros(2), torch.zeros(2), settings(m=1e5))
    assert far.tolist() == [pytest.approx(1e30), 5.0]
    bad = torch.tensor([0.1, 0.1])
    metaplastic_adam(bad, torch.tensor([math.nan, 1.0]), torch.zeros(2), torch.zeros(2), settings())
    assert math.isnan(bad[0]) and math.isfinite(bad[1])


TRITON = """
import torch, sys
sys.path.insert(0, {root!r})
from tests.test_plasticity_kernels import CASES, problem, settings
from neurospin.plasticity.kernels import cpu, cuda
for changes in CASES:
    for size in (1, 1023, 1024, 1025):
        ours, theirs = problem(size), problem(size)
        cuda.metaplastic_adam(*ours, settings(**changes)); cpu.metaplastic_adam(*theirs, settings(**changes))
        for a, b in zip(ours, theirs):
            torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-8)
        assert not torch.equal(ours[0], problem(size)[0]) or size == 1
print("equal")
"""


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed; CUDA torch brings it")
def test_triton_equals_numba_under_its_interpreter(request):
    run = subprocess.run(
        [sys.executable, "-c", TRITON.format(root=str(request.config.rootpath))],
        env={**os.environ, "TRITON_INTERPRET": "1"}, capture_output=True, text=True,
    )  # fmt: skip
    assert run.stdout.strip() == "equal", run.stderr


@pytest.mark.parametrize("size", SIZES)
def test_the_pull_of_a_spring_differs_from_float64_by_rounding(size):
    """By a few roundings of its two terms."""
    tensors = problem(size)
    gradient, importance, value, anchor = (t.clone() for t in tensors)
    exact = tensors[0].double() + 300.0 * tensors[1].double() * (tensors[2].double() - tensors[3].double())
    pull(gradient, importance, value, anchor, 300.0)
    terms = tensors[0].double().abs() + (exact - tensors[0].double()).abs()
    assert bool(((gradient - exact).abs() <= 3e-7 * terms).all())
    doubled = [t.double() for t in tensors]
    pull(*doubled, 300.0)
    torch.testing.assert_close(doubled[0], exact, rtol=1e-14, atol=1e-14)
