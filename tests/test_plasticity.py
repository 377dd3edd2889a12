"""The metaplastic rule against torch's Adam, its own equation, and the protection factor of theory."""

import math

import pytest
import torch

import neurospin as ns
from neurospin.plasticity import Metaplastic


def descend(make, steps=60):
    torch.manual_seed(3)
    net = torch.nn.Sequential(torch.nn.Linear(7, 9), torch.nn.Tanh(), torch.nn.Linear(9, 2))
    optimizer = make(net.parameters())
    for _ in range(steps):
        x = torch.randn(16, 7)
        optimizer.zero_grad()
        (net(x) - x[:, :2].square()).square().mean().backward()
        optimizer.step()
    return [p.detach().clone() for p in net.parameters()]


@pytest.mark.parametrize("settings", [{}, {"eps": 1e-3}, {"weight_decay": 1e-2}, {"betas": (0.5, 0.9), "lr": 0.1}])
def test_without_metaplasticity_it_is_adam_bit_for_bit(settings):
    options = {"lr": 5e-3, **settings}
    ours = descend(lambda p: Metaplastic(p, m=0.0, **options))
    adam = descend(lambda p: torch.optim.Adam(p, **options))
    assert all(torch.equal(a, b) for a, b in zip(ours, adam, strict=True))
    assert not all(
        torch.equal(a, b) for a, b in zip(ours, descend(lambda p: Metaplastic(p, m=1.0, **options)), strict=True)
    )


def test_one_step_follows_the_equation():
    """Adam's first direction is g/|g|; a step towards zero is damped by 1 − tanh²(m h), others are not."""
    h = torch.nn.Parameter(torch.tensor([0.3, -0.3, 0.3, -0.3, 0.0], dtype=torch.float64))
    h.grad = torch.tensor([2.0, -2.0, -2.0, 2.0, 2.0], dtype=torch.float64)
    Metaplastic([h], lr=0.01, m=4.0, eps=0.0).step()
    f = 1 - math.tanh(4 * 0.3) ** 2
    wanted = [0.3 - 0.01 * f, -0.3 + 0.01 * f, 0.31, -0.31, -0.01]
    torch.testing.assert_close(h.detach(), torch.tensor(wanted, dtype=torch.float64), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("m", "start"), [(1.35, 2.0), (4.0, 0.5), (10.0, 0.25)])
def test_erasing_takes_as_long_as_theory_says(m, start):
    """T14: steps of size lr against h from W to 0: W/2 + sinh(2mW)/(4m), in units of lr."""
    wanted = start / 2 + math.sinh(2 * m * start) / (4 * m)
    lr = wanted / 4000
    h = torch.nn.Parameter(torch.tensor([start], dtype=torch.float64))
    rule = Metaplastic([h], lr=lr, m=m, betas=(0.0, 0.0), eps=0.0)
    h.grad = torch.ones_like(h)
    steps = 0
    while float(h.detach()) > 0:
        rule.step()
        steps += 1
    assert steps * lr == pytest.approx(wanted, rel=1e-3)


def test_groups_have_their_own_m_and_a_task_starts_moments_afresh():
    a, b = (torch.nn.Parameter(torch.full((3,), 0.5)) for _ in range(2))
    rule = Metaplastic([{"params": [a]}, {"params": [b], "m": 0.0}], m=8.0, lr=0.01)
    for p in (a, b):
        p.grad = torch.ones(3)
    rule.step()
    assert float((0.5 - a.detach()).max()) < 0.001 < float((0.5 - b.detach()).min())
    assert rule.state
    rule.begin_task(-1)
    assert not rule.state


def test_it_declares_what_it_needs():
    assert (Metaplastic.needs_task_boundaries, Metaplastic.needs_task_id) == (True, False)
    assert "10.1038/s41467-021-22768-y" in Metaplastic.citation
    with pytest.raises(ns.InputError, match=r"Metaplastic.lr"):
        Metaplastic([torch.nn.Parameter(torch.ones(1))], lr=float("nan"))
