"""Every rule by its own equation, its degenerate limit bit for bit, and what it declares."""

import copy
import math

import numpy as np
import pytest
import torch

import neurospin as ns
from neurospin.plasticity import (
    BGD,
    MESU,
    RULES,
    BayesBiNN,
    BennaFusi,
    BiMU,
    Evidence,
    Joint,
    LevelLimited,
    Levels,
    Metaplastic,
    ProbabilisticMetaplasticity,
    Replay,
    Reservoir,
    make,
)

SGD = torch.optim.SGD


def descend(make_rule, steps=40, sampled=False, dtype=torch.float32, seed=3):
    """A small net's parameters after some steps of a rule."""
    torch.manual_seed(seed)
    net = torch.nn.Sequential(torch.nn.Linear(7, 9), torch.nn.Tanh(), torch.nn.Linear(9, 2)).to(dtype)
    rule = make_rule(list(net.parameters()))
    for _ in range(steps):
        x = torch.randn(16, 7, dtype=dtype)
        rule.zero_grad()
        for _ in range(rule.samples if sampled else 1):
            with rule.sampling() if sampled else torch.enable_grad():
                (net(x) - x[:, :2].square()).square().mean().backward()
        rule.step()
    return [p.detach().clone() for p in net.parameters()]


def equal(a, b):
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def one(value, grad):
    p = torch.nn.Parameter(torch.tensor(value, dtype=torch.float64))
    p.grad = torch.tensor(grad, dtype=torch.float64)
    return p


LIMITS = {
    "level-limited, any number of levels": (
        lambda p: LevelLimited(torch.optim.Adam(p, 1e-2), Levels()),
        lambda p: torch.optim.Adam(p, 1e-2),
    ),
    "one beaker": (lambda p: BennaFusi(SGD(p, 0.1), beakers=1), lambda p: SGD(p, 0.1)),
    "beakers that do not flow": (
        lambda p: BennaFusi(torch.optim.Adam(p, 1e-2), rate=0.0),
        lambda p: torch.optim.Adam(p, 1e-2),
    ),
    "replay of nothing": (lambda p: Replay(SGD(p, 0.1), capacity=0), lambda p: SGD(p, 0.1)),
    "joint": (lambda p: Joint(SGD(p, 0.1)), lambda p: SGD(p, 0.1)),
    "bgd at the mean": (lambda p: BGD(p, lr=0.4, sigma=0.5), lambda p: SGD(p, 0.1)),
    "mesu at the mean, no window": (lambda p: MESU(p, lr=0.4, sigma=0.5, trust=math.inf), lambda p: SGD(p, 0.1)),
    "metaplastic, symmetric": (lambda p: Metaplastic(p, m=0.0, symmetric=True), lambda p: torch.optim.Adam(p, 5e-3)),
    "metaplastic, windowed": (lambda p: Metaplastic(p, m=0.0, window=9), lambda p: torch.optim.Adam(p, 5e-3)),
    "a window without end": (lambda p: Metaplastic(p, m=3.0, window=math.inf), lambda p: Metaplastic(p, m=3.0)),
}


@pytest.mark.parametrize("limit", LIMITS)
def test_degenerate_limits_are_the_base_bit_for_bit(limit):
    ours, base = LIMITS[limit]
    kept = descend(lambda p: base(p) if isinstance(base(p), ns.plasticity.Rule) else make_plain(base(p)))
    assert equal(descend(ours), kept)
    assert not equal(kept, descend(ours, steps=0))


def make_plain(optimizer):
    return ns.plasticity.Naive(optimizer)


@pytest.mark.parametrize(
    "rule",
    [
        lambda p: LevelLimited(torch.optim.Adam(p, 1e-2), Levels(33, 1.0)),
        lambda p: BennaFusi(SGD(p, 0.1)),
        lambda p: Metaplastic(p, m=3.0, symmetric=True),
        lambda p: Metaplastic(p, m=3.0, window=50),
    ],
)
def test_away_from_the_limit_they_are_not_the_base(rule):
    bases = [
        descend(lambda p: make_plain(SGD(p, 0.1))),
        descend(lambda p: make_plain(torch.optim.Adam(p, 1e-2))),
        descend(lambda p: Metaplastic(p, m=3.0)),
    ]
    assert not any(equal(descend(rule), base) for base in bases)


@pytest.mark.parametrize(
    ("rule", "still"),
    [
        (lambda p: BGD(p, lr=0.0), True),
        (lambda p: MESU(p, lr=0.0), True),
        (lambda p: BayesBiNN(p, lr=0.0), True),
        (lambda p: BiMU(p, lr=0.0, window=math.inf), True),
        (lambda p: BiMU(p, lr=0.0, window=10), False),
    ],
)
def test_nothing_learned_and_nothing_forgotten_leaves_every_bit(rule, still):
    assert equal(descend(rule, 5, sampled=True), descend(rule, 0)) == still


def test_metaplastic_variants_follow_their_equations():
    f = 1 - math.tanh(4 * 0.3) ** 2
    p = one([0.3, -0.3, 0.3], [2.0, -2.0, -2.0])
    Metaplastic([p], lr=0.01, m=4.0, eps=0.0, symmetric=True).step()
    np.testing.assert_allclose(p.detach(), [0.3 - 0.01 * f, -0.3 + 0.01 * f, 0.3 + 0.01 * f], atol=1e-12)
    p = one([0.3], [0.0])
    Metaplastic([p], lr=0.01, m=4.0, window=20).step()
    np.testing.assert_allclose(p.detach(), [0.3 - 0.3 / 20], atol=1e-12)


def test_a_chain_is_the_flow_between_its_beakers():
    """Against the matrices of its exchanges; and without steps the sealed chain keeps its content."""
    p = one([1.0], [0.0])
    rule = BennaFusi(SGD([p], 0.1), beakers=5, rate=0.2)
    for k in range(2, 6):
        rule.state[p][f"u{k}"].zero_()
    wanted = np.eye(5)[0]
    for number in range(1, 301):
        rule.step()
        whole = np.eye(5)  # of pairs in order, each in its turn
        for k in range(4):
            if number % 4**k == 0:
                pair = np.eye(5)
                pair[k, [k, k + 1]] += [-0.2, 0.2]
                pair[k + 1, [k, k + 1]] += [0.1, -0.1]
                whole = pair @ whole
        wanted = whole @ wanted
    u = np.array([float(v.detach()) for v in rule.stored(p)])
    np.testing.assert_allclose(u, wanted, rtol=1e-10)
    np.testing.assert_allclose(2.0 ** np.arange(5) @ u, 1.0, rtol=1e-12)


def test_bgd_and_mesu_follow_their_equations():
    """With loss w²·c/2 the gradient at a draw is c w: both steps by hand, from the same draws."""
    for rule, wanted in [
        (
            lambda p: BGD(p, lr=1.0, sigma=0.2, samples=3, batch_size=5, seed=1),
            lambda mu, s, g, e: (mu - s * s * g, s * math.sqrt(1 + (s * e / 2) ** 2) - s * s * e / 2),
        ),
        (
            lambda p: MESU(p, lr=0.5, sigma=0.2, window=7, prior_sigma=0.9, trust=math.inf, samples=3, batch_size=5, seed=1),
            lambda mu, s, g, e: (
                mu + 0.5 * (-s * s * g + s * s * (0 - mu) / (7 * 0.81)),
                s + 0.25 * (-s * s * e + s * (0.81 - s * s) / (7 * 0.81)),
            ),
        ),
    ]:  # fmt: skip
        p = torch.nn.Parameter(torch.tensor([0.4], dtype=torch.float64))
        method = rule([p])
        draws = []
        for _ in range(3):
            with method.sampling():
                draws.append(float(p.detach()))
                (p.square() * 1.5).sum().backward()
        assert float(p.detach()) == 0.4 and len(set(draws)) == 3
        method.step()
        g = 5 * np.mean([3 * w for w in draws])
        e = 5 * np.mean([3 * w * (w - 0.4) / 0.2 for w in draws])
        mu, sigma = wanted(0.4, 0.2, g, e)
        np.testing.assert_allclose([float(p.detach()), float(method.state[p]["sigma"])], [mu, sigma], rtol=1e-12)


@pytest.mark.parametrize("rule", [BGD, MESU])
def test_trust_bounds_every_step(rule):
    p = torch.nn.Parameter(torch.zeros(1))
    method = rule([p], lr=2.0, sigma=0.1, trust=0.5)
    p.grad = torch.tensor([1e9])
    method.step()
    assert float(p.detach()) == pytest.approx(-0.05, rel=1e-6)


def test_bayesbinn_and_bimu_follow_their_equations():
    for name in ("bayesbinn", "bimu"):
        p = torch.nn.Parameter(torch.tensor([0.3, -0.6], dtype=torch.float64))
        lam = np.arctanh([0.3, -0.6])
        rule = (
            BayesBiNN([p], lr=0.1, temperature=0.8, batch_size=5, seed=2)
            if name == "bayesbinn"
            else BiMU([p], lr=2.0, window=30, likelihood=1.5, divergence=0.7, max_rate=0.2, temperature=0.8, batch_size=5, seed=2)
        )  # fmt: skip
        rule.begin_task(-1)
        with rule.sampling():
            w = p.detach().numpy().copy()
            (p * torch.tensor([1.0, -2.0])).sum().backward()
        rule.step()
        g = 5 * np.array([1.0, -2.0])
        if name == "bayesbinn":
            s = (1 - w**2) / (0.8 * (1 - np.tanh(lam) ** 2))
            wanted = 0.9 * lam - 0.1 * (s * g - 0)
        else:
            ag, v = 1.5 * g * (1 - w**2) / 0.8, 1 / np.cosh(lam) ** 2
            wanted = lam - (2 * ag + 0.7 * lam * v / 30) / (0.7 * v + 2 * ag * np.tanh(lam) + 2 * abs(ag) + 5)
        np.testing.assert_allclose(rule.state[p]["lambda"], wanted, rtol=1e-9)
        np.testing.assert_allclose(p.detach(), np.tanh(wanted), rtol=1e-9)


def test_the_prior_of_the_next_task_is_what_was_known():
    p = torch.nn.Parameter(torch.tensor([0.5]))
    rule = BayesBiNN([p], lr=0.5)
    rule.begin_task(-1)
    p.grad = torch.zeros(1)
    rule.step()
    half = float(rule.state[p]["lambda"])
    assert half == pytest.approx(math.atanh(0.5) / 2, rel=1e-6)  # towards the even prior
    rule.begin_task(-1)
    rule.step()
    assert float(rule.state[p]["lambda"]) == half  # nothing new was said


@pytest.mark.parametrize("rule", [BayesBiNN, BiMU])
def test_certain_synapses_stay_finite(rule):
    """T30: λ stays finite through many noisy steps, also where tanh λ is 1 in float32."""
    p = torch.nn.Parameter(torch.full((200,), 0.99))
    method = rule([p], window=math.inf) if rule is BiMU else rule([p])
    method.state[p]["lambda"] += 40 * (torch.arange(200) % 2)
    g = torch.Generator().manual_seed(0)
    for _ in range(500):
        method.zero_grad()
        with method.sampling():
            (p * torch.randn(200, generator=g)).sum().backward()
        method.step()
    assert bool(torch.isfinite(method.state[p]["lambda"]).all())


def test_a_draw_of_bernoulli_has_the_probability_of_its_log_odds():
    p = torch.nn.Parameter(torch.full((20_000,), 0.4))
    with BiMU([p], seed=0).sampling():
        ups = float((p.detach() > 0).double().mean())
    assert abs(ups - 0.7) < 4 * math.sqrt(0.21 / 20_000)


def test_levels_are_unbiased_bounded_and_on_the_grid():
    """T16: the mean of a rounded request is the request, its variance |D| d (1 − |D|/d)."""
    levels, g = Levels(9, 1.0), torch.Generator().manual_seed(0)
    before, wanted = torch.zeros(40_000, dtype=torch.float64), torch.full((40_000,), 0.06, dtype=torch.float64)
    got = levels.request(before, wanted, g)
    share = 0.06 / 0.25
    assert set(got.unique().tolist()) == {0.0, 0.25}
    assert abs(float(got.mean()) - 0.06) < 4 * 0.25 * math.sqrt(share * (1 - share) / 40_000)
    assert float(got.var()) == pytest.approx(0.06 * 0.25 * (1 - share), rel=0.03)
    assert float(levels.request(before, wanted * 1e6, g).max()) == 1.0
    noisy = Levels(9, 1.0, write_noise=0.3).request(before, wanted * 0 + 0.25, g)
    assert float(noisy.std()) == pytest.approx(0.3 * 0.25, rel=0.03)
    assert torch.equal(Levels(9, 1.0, write_noise=0.3).request(before, before, g), before)  # not written, no noise
    with pytest.raises(ns.InputError, match=r"Levels\.count"):
        Levels(4.5)


@pytest.mark.parametrize("name", RULES)
def test_every_rule_can_have_levels(name):
    torch.manual_seed(0)
    net = torch.nn.Linear(6, 4)
    rule = LevelLimited(make(name, net.parameters()), Levels(5, 0.5))
    bits = rule.state_bits_per_synapse
    for _ in range(3):
        rule.zero_grad()
        with rule.sampling():
            net(torch.ones(2, 6)).square().sum().backward()
        rule.step()
    for p in net.parameters():
        for value in map(torch.Tensor.detach, rule.stored(p)):
            assert torch.equal((value * 4).round(), value * 4) and float(value.abs().max()) <= 0.5
        assert float(rule.state[p]["writes"].max()) <= 3 * len(rule.stored(p))
    assert bits < make(name, net.parameters()).state_bits_per_synapse + 1


def test_probabilistic_metaplasticity_moves_with_its_probability():
    """T18: moves are made with probability exp(−m |w|), one level against the gathered gradient."""
    n = 40_000
    p = torch.nn.Parameter(torch.full((n,), 0.5))
    rule = ProbabilisticMetaplasticity([p], threshold=0.0, growth=0.0, levels=9)
    rule.state[p]["m"].fill_(2.4)
    p.grad = torch.ones(n)
    rule.step()
    rate = math.exp(-1.2)
    assert set(p.detach().unique().tolist()) == {0.25, 0.5}
    assert abs(float((p.detach() == 0.25).double().mean()) - rate) < 4 * math.sqrt(rate * (1 - rate) / n)


def test_without_metaplasticity_it_is_one_level_down_the_sign_bit_for_bit():
    p = torch.nn.Parameter(torch.tensor([0.5, -0.25, 0.0, 1.0]))
    rule = ProbabilisticMetaplasticity([p], threshold=0.25, growth=0.0, levels=9)
    for gradient in ([0.2, 0.3, 0.0, -1.0], [0.2, -0.1, 0.0, -1.0]):
        p.grad = torch.tensor(gradient)
        rule.step()
    assert p.detach().tolist() == [0.25, -0.5, 0.0, 1.0]  # the first gathered 0.4; the last is at its bound


def test_devices_in_parallel_are_written_in_turn():
    p = torch.nn.Parameter(torch.zeros(1))
    rule = ProbabilisticMetaplasticity([p], threshold=0.0, growth=0.0, levels=9, devices=4)
    seen = []
    for _ in range(8):
        p.grad = torch.ones(1)
        rule.step()
        seen.append(float(p.detach()))
    assert seen == [-0.0625 * k for k in range(1, 9)]
    assert rule.state_bits_per_synapse == 4 * 4 + 64


def test_a_reservoir_keeps_every_sample_with_the_same_chance():
    kept = np.zeros(50)
    memory = Reservoir(10)
    for seed in range(400):
        memory = Reservoir(10, seed)
        memory.offer(torch.arange(50.0)[:, None], torch.arange(50))
        assert len(memory) == 10
        kept[memory.y.numpy()] += 1
    assert abs(kept - 80).max() < 4.5 * math.sqrt(400 * 0.2 * 0.8)
    old_x, old_y = memory.draw(4)
    assert torch.equal(old_x[:, 0].long(), old_y) and len(set(old_y.tolist())) == 4


def test_replay_joins_old_samples_and_joint_all():
    rule = Replay(SGD([torch.nn.Parameter(torch.ones(1))], 0.1), capacity=6)
    x, y = torch.arange(4.0)[:, None], torch.arange(4)
    assert len(rule.rehearse(x, y)[1]) == 4
    assert sorted(rule.rehearse(x + 4, y + 4)[1].tolist()) == list(range(8))
    assert rule.state_bits_per_synapse == 32 + 6 * (32 + 64)
    joint = Joint(SGD([torch.nn.Parameter(torch.ones(1))], 0.1))
    assert len(joint.train_on(x, y)[1]) == 4
    assert joint.train_on(x + 4, y + 4)[1].tolist() == list(range(8))


@pytest.mark.parametrize("name", [n for n in RULES if n not in ("ewc", "si", "mas")])
def test_a_stopped_rule_goes_on_bit_for_bit(name):
    def steps(net, rule, count):
        for _ in range(count):
            rule.zero_grad()
            with rule.sampling():
                net(torch.ones(2, 6)).square().sum().backward()
            rule.step()
        rule.end_task(Evidence(net, torch.ones(2, 6), torch.tensor([0, 1])))

    torch.manual_seed(0)
    whole = torch.nn.Linear(6, 4)
    rule = make(name, whole.parameters())
    steps(whole, rule, 3)
    kept, weights = copy.deepcopy((rule.state_dict(), whole.state_dict()))
    steps(whole, rule, 3)
    fresh = torch.nn.Linear(6, 4)
    again = make(name, fresh.parameters())
    fresh.load_state_dict(weights)
    again.load_state_dict(kept)
    steps(fresh, again, 3)
    assert equal(whole.parameters(), fresh.parameters())


def test_names_are_known_and_declared():
    p = [torch.nn.Parameter(torch.zeros(2))]
    for name, kind in RULES.items():
        assert kind.citation and isinstance(kind.needs_task_boundaries, bool) and kind.needs_task_id is False, name
        bits = make(name, p).state_bits_per_synapse
        assert bits == 4 if name == "device_aware" else bits >= 32, name  # one of 16 levels, or a real number at least
    with pytest.raises(ns.UnknownName, match="did you mean 'mesu'"):
        make("messu", p)
    with pytest.raises(ns.UnknownName, match="did you mean 'window'"):
        make("mesu", p, {"windows": 3})
    with pytest.raises(ns.InputError, match=r"Replay.capacity: expected a whole number"):
        make("replay", p, {"capacity": 2.5})
    with pytest.raises(ns.InputError, match=r"MESU.window: expected a number >= 1"):
        make("mesu", p, {"window": 0})
