"""Rules in one pass over memory: against the same rules in float64, which take plain torch."""

import math

import numba
import numpy as np
import pytest
import torch
from scipy import stats

from neurospin.plasticity import (
    BGD,
    EWC,
    MAS,
    MESU,
    SI,
    BayesBiNN,
    BennaFusi,
    BiMU,
    Evidence,
    ProbabilisticMetaplasticity,
)
from neurospin.plasticity import kernels as step
from neurospin.plasticity.kernels import cpu_random as random

COUNT = 1500  # not a multiple of a block


@numba.njit
def numbers(out, low, high):
    for i in range(out.shape[1]):
        out[0, i], out[1, i] = random.uniform(i, low, high), random.normal(i, low, high)


@numba.njit
def functions(x, out):
    for i in range(x.size):
        out[0, i], out[1, i] = random.exp_minus(x[i]), random.log(x[i])


def test_exponential_and_logarithm_are_those_of_numpy():
    x = np.concatenate([np.geomspace(1e-30, 80, 20_001), np.linspace(0.5, 2, 2001)]).astype(np.float32)
    out = np.empty((2, x.size), np.float32)
    functions(x, out)
    exact = x.astype(np.float64)
    np.testing.assert_allclose(out[0], np.exp(-exact), rtol=3e-7)
    assert float((abs(out[1] - np.log(exact)) / np.maximum(1, abs(np.log(exact)))).max()) < 3e-7


def test_random_numbers_have_their_distribution_and_no_memory():
    count = 200_000
    out, other = (np.empty((2, count), np.float32) for _ in range(2))
    numbers(out, np.uint32(7), np.uint32(1))
    numbers(other, np.uint32(8), np.uint32(1))
    assert out[0].min() > 0 and out[0].max() < 1 and np.isfinite(out[1]).all()
    assert stats.kstest(out[0], "uniform").pvalue > 1e-3
    assert stats.kstest(out[1], "norm").pvalue > 1e-3
    tail = float((abs(out[1]) > 3).mean())
    assert tail == pytest.approx(2 * stats.norm.sf(3), abs=4 * math.sqrt(0.0027 / count))
    for kind in (0, 1):
        for a, b in ((out[kind][1:], out[kind][:-1]), (out[kind][64:], out[kind][:-64]), (out[kind], other[kind])):
            assert abs(np.corrcoef(a, b)[0, 1]) < 4.5 / math.sqrt(count)
    assert abs(np.corrcoef(out[0], out[1])[0, 1]) > 0  # of one word: a rule takes one of the two, never both


def test_keys_come_from_torch_and_are_repeated_by_its_seed():
    first, again = (torch.Generator().manual_seed(4) for _ in range(2))
    assert step.draw_key(first) == step.draw_key(again) != step.draw_key(first)


def updated(make, dtype, seed=0):
    """A rule's state after one step on what was gathered, from the same numbers in any dtype."""
    g = torch.Generator().manual_seed(seed)
    p = torch.nn.Parameter((0.6 * torch.randn(COUNT, generator=g)).to(dtype))
    rule = make([p])
    state = rule.state[p]
    if "lambda" in state:
        state["lambda"].copy_((4 * torch.randn(COUNT, generator=g)).to(dtype))  # also where tanh is 1 in float32
        with torch.no_grad():
            rule.show(p)
        state["prior"] = torch.randn(COUNT, generator=g).to(dtype)
    else:
        state["sigma"].mul_((torch.rand(COUNT, generator=g) * 4).to(dtype))
    p.grad = (torch.randn(COUNT, generator=g) * 10 ** (torch.rand(COUNT, generator=g) * 4 - 2)).to(dtype)
    state["gathered"].copy_(
        (torch.randn(COUNT, generator=g) * 10 ** (torch.rand(COUNT, generator=g) * 6 - 3)).to(dtype)
    )
    state["drawn"] = 2.0
    before = {"p": p.detach().clone(), **{n: state[n].clone() for n in ("lambda", "sigma") if n in state}}
    rule.step()
    assert not bool(state["gathered"].any())
    return before, {"p": p.detach().clone(), **{n: state[n].clone() for n in before if n != "p"}}


@pytest.mark.parametrize(
    "make",
    [
        lambda p: BGD(p, lr=0.7, sigma=0.3, batch_size=5),
        lambda p: BGD(p, lr=0.7, sigma=0.3, trust=0.2),
        lambda p: MESU(p, lr=0.7, sigma=0.3, window=30, prior_sigma=0.9, prior_mean=0.1, batch_size=5),
        lambda p: MESU(p, lr=0.7, sigma=0.1, trust=math.inf),
        lambda p: BiMU(p, lr=2.0, window=30, batch_size=5),
        lambda p: BiMU(p, lr=2.0, window=math.inf),
        lambda p: BayesBiNN(p, lr=0.1, batch_size=5),
    ],
)
def test_a_step_on_what_was_drawn_differs_from_float64_by_rounding(make):
    before, ours = updated(make, torch.float32)
    start, exact = updated(make, torch.float64)
    for name, value in ours.items():
        moved = (exact[name] - start[name]).abs()
        allowed = 2e-6 * moved + 3e-7 * exact[name].abs() + 2e-7 * start[name].abs() + 1e-7
        if name == "p" and "lambda" in ours:
            torch.testing.assert_close(value.double(), ours["lambda"].double().tanh(), rtol=3e-7, atol=2e-7)
        else:
            assert bool(((value - exact[name]).abs() <= allowed).all()), name
        assert not torch.equal(value, before[name])


@pytest.mark.parametrize(
    "make", [lambda p: MESU(p, sigma=0.3), lambda p: BiMU(p, temperature=0.8), lambda p: BayesBiNN(p)]
)
def test_a_draw_is_made_again_where_its_gradient_is_gathered(make):
    p = torch.nn.Parameter(torch.linspace(-0.95, 0.95, COUNT))
    rule = make([p])
    mean, state = p.detach().clone(), rule.state[p]
    with rule.sampling():
        sample = p.detach().clone()
        p.grad = torch.linspace(-2, 3, COUNT)
    assert torch.equal(p.detach(), mean) and state["drawn"] == 1
    if isinstance(rule, MESU):
        wanted = p.grad.double() * (sample.double() - mean.double()) / 0.3
    else:
        before, lam = sample.double().atanh(), state["lambda"].double()
        inside = sample.abs() < 0.9999  # atanh of what is left in float32 tells nothing beyond
        wanted = rule.weighted(p.grad.double(), lam, before, rule.param_groups[0]["temperature"])[inside]
        assert int(inside.sum()) > 0.9 * COUNT
        torch.testing.assert_close(state["gathered"].double()[inside], wanted, rtol=3e-3, atol=1e-5)
        return
    torch.testing.assert_close(state["gathered"].double(), wanted, rtol=1e-4, atol=1e-5)


def trained(make, dtype, steps=60):
    """Two tasks of a small net with a rule around Adam."""
    torch.manual_seed(3)
    net = torch.nn.Sequential(torch.nn.Linear(30, 40), torch.nn.Tanh(), torch.nn.Linear(40, 3)).to(dtype)
    rule = make(torch.optim.Adam(net.parameters(), 1e-2, eps=1e-3))
    for task in range(2):
        x = torch.randn(32, 30, generator=torch.Generator().manual_seed(task)).to(dtype)
        y = torch.arange(32) % 3
        for _ in range(steps):
            rule.zero_grad()
            torch.nn.functional.cross_entropy(net(x), y).backward()
            rule.step()
        rule.end_task(Evidence(net, x, y))
    kept = [v.double() for p in rule.parameters() for v in rule.state[p].values() if torch.is_tensor(v)]
    return torch.cat([p.detach().double().flatten() for p in net.parameters()]), kept


ANCHORED = {
    "ewc": lambda base: EWC(base, 30.0),
    "mas": lambda base: MAS(base, 0.1),
    "si": lambda base: SI(base, 0.5),
    "benna_fusi": lambda base: BennaFusi(base, 5, 0.05),
}


@pytest.mark.parametrize("name", ANCHORED)
def test_around_adam_in_one_pass_is_around_adam(name, monkeypatch):
    taken = []
    whole = step.adam_with
    for module in ("around", "si", "bennafusi"):
        monkeypatch.setattr(f"neurospin.plasticity.{module}.adam_with", lambda *a: taken.append(whole(*a)) or taken[-1])
    ours, kept = trained(ANCHORED[name], torch.float32)
    assert sum(taken) >= 59
    taken.clear()
    exact, wanted = trained(ANCHORED[name], torch.float64)
    assert not any(taken)
    torch.testing.assert_close(ours, exact, rtol=0, atol=2e-5)
    for a, b in zip(kept, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=2e-3, atol=2e-5)


def test_other_optimizers_and_options_take_their_own_step():
    for base in (
        lambda p: torch.optim.SGD(p, 0.1, momentum=0.9),
        lambda p: torch.optim.Adam(p, 0.01, weight_decay=0.1),
        lambda p: torch.optim.AdamW(p, 0.01),
    ):
        p = torch.nn.Parameter(torch.ones(4))
        rule = BennaFusi(base([p]), 3, 0.1)
        for _ in range(3):
            p.grad = torch.ones(4)
            assert not step.adam_with(rule.base, lambda p: step.Beside())
            rule.step()
        assert bool((p.detach() < 1).all())


def test_levels_move_as_in_plain_torch_where_nothing_is_left_to_chance():
    """Without growth every move is made: float32 by the kernel and float64 by torch then agree, to the level."""
    ends = {}
    for dtype in (torch.float32, torch.float64):
        g = torch.Generator().manual_seed(0)
        p = torch.nn.Parameter((torch.randint(0, 9, (COUNT,), generator=g) / 4 - 1).to(dtype))
        rule = ProbabilisticMetaplasticity([p], threshold=0.75, growth=0.0, levels=9, devices=3)
        rule.state[p]["device"].copy_(p.detach().expand(3, -1))
        for _ in range(12):
            p.grad = (torch.randint(-4, 5, (COUNT,), generator=g) / 8).to(dtype)
            rule.step()
        ends[dtype] = {n: v.double() for n, v in rule.state[p].items()}
    for name, value in ends[torch.float64].items():
        torch.testing.assert_close(ends[torch.float32][name], value, rtol=0, atol=1e-6)
    assert float(ends[torch.float64]["writes"].sum()) > COUNT


def test_writes_of_the_kernel_are_as_noisy_as_asked():
    p = torch.nn.Parameter(torch.zeros(40_000))
    rule = ProbabilisticMetaplasticity([p], threshold=0.0, growth=0.0, levels=201, write_noise=0.5)
    rule.state[p]["device"].zero_()
    p.grad = torch.ones(40_000)
    rule.step()
    moved = p.detach().double() / rule.levels.spacing
    assert float(moved.mean()) == pytest.approx(-1, abs=4 * 0.5 / 200)
    assert float(moved.std()) == pytest.approx(0.5, rel=0.02)
    assert stats.kstest((moved.numpy() + 1) / 0.5, "norm").pvalue > 1e-3


def test_growth_stops_at_its_cap():
    p = torch.nn.Parameter(torch.zeros(600))
    rule = ProbabilisticMetaplasticity([p], threshold=1e9, growth=0.4, cap=1.0, activity=0.5)
    p.grad = torch.linspace(-1, 1, 600)
    for _ in range(4):
        rule.step()
    wanted = (torch.linspace(-1, 1, 600).abs() > 0.5).float()
    assert torch.equal(rule.state[p]["m"], wanted)
    torch.testing.assert_close(rule.state[p]["gathered"], 4 * torch.linspace(-1, 1, 600))


@pytest.mark.parametrize("kind", [BiMU, BayesBiNN])
def test_a_rule_made_of_one_that_draws_draws_as_it_does(kind):
    class Mine(kind):
        pass

    found = []
    for made in (kind, Mine):
        p = torch.nn.Parameter(torch.linspace(-0.5, 0.5, 64))
        rule = made([p], seed=1)
        for _ in range(3):
            rule.zero_grad()
            with rule.sampling():
                (p * torch.arange(64.0)).sum().backward()
            rule.step()
        found.append(p.detach().clone())
    assert torch.equal(*found) and not torch.equal(found[0], torch.linspace(-0.5, 0.5, 64))
