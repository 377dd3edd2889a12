"""EWC, SI and MAS: importances against closed forms and loops, limits bit for bit, on plain models and ours."""

import copy

import pytest
import torch
from torch.nn.functional import cross_entropy, mse_loss

import neurospin as ns
from neurospin.plasticity import EWC, MAS, SI, Evidence, Naive

RULES = {"ewc": EWC, "si": SI, "mas": MAS}


def small(seed=3):
    torch.manual_seed(seed)
    return torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.Tanh(), torch.nn.Linear(7, 3))


def samples(seed=0, count=40):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(count, 5, generator=g), torch.randint(0, 3, (count,), generator=g)


def two_tasks(wrap, base=torch.optim.SGD, steps=25, **options):
    """The parameters after two tasks, with a rule or a bare optimizer."""
    net = small()
    rule = wrap(base(net.parameters(), **{"lr": 0.1, **options}))
    for task in range(2):
        x, y = samples(task)
        for _ in range(steps):
            rule.zero_grad()
            cross_entropy(net(x), y).backward()
            rule.step()
        if isinstance(rule, ns.plasticity.Rule):
            rule.end_task(Evidence(net, x, y))
    return [p.detach().clone() for p in net.parameters()]


def equal(a, b):
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("rule", [*RULES.values(), None], ids=[*RULES, "naive"])
@pytest.mark.parametrize(
    ("base", "options"),
    [(torch.optim.SGD, {}), (torch.optim.SGD, {"momentum": 0.9}), (torch.optim.Adam, {"lr": 1e-2, "amsgrad": True})],
)
def test_without_strength_it_is_the_base_bit_for_bit(rule, base, options):
    wrap = Naive if rule is None else lambda b: rule(b, strength=0.0)
    assert equal(two_tasks(wrap, base, **options), two_tasks(lambda b: b, base, **options))


@pytest.mark.parametrize("rule", RULES.values(), ids=list(RULES))
def test_strength_holds_the_first_task_and_differs_from_naive(rule):
    """Avalanche 0.6's SI is naive bit for bit at any strength on a CPU; here strength holds the parameters."""
    first = two_tasks(Naive, steps=25, lr=0.02)  # two tasks, to see how far naive moves

    def after(strength):
        net = small()
        method = rule(torch.optim.SGD(net.parameters(), lr=0.02), strength=strength)
        moved = []
        for task in range(2):
            x, y = samples(task)
            before = [p.detach().clone() for p in net.parameters()]
            for _ in range(25):
                method.zero_grad()
                cross_entropy(net(x), y).backward()
                method.step()
            method.end_task(Evidence(net, x, y))
            moved.append(
                sum(float((p.detach() - b).square().sum()) for p, b in zip(net.parameters(), before, strict=True))
            )
        return [p.detach().clone() for p in net.parameters()], moved[1]

    (naive, free), (_, held) = after(0.0), after({EWC: 100.0, SI: 200.0, MAS: 10.0}[rule])
    assert equal(naive, first)
    assert held < 0.5 * free


def test_si_with_a_huge_strength_is_not_naive():
    assert not equal(two_tasks(lambda b: SI(b, strength=1e6), lr=1e-3), two_tasks(Naive, lr=1e-3))


def test_exact_fisher_of_a_softmax_layer_is_its_closed_form():
    """T26: for logits W x + b, F(W_ci) = E[p_c (1 − p_c) x_i²] and F(b_c) = E[p_c (1 − p_c)]."""
    layer = torch.nn.Linear(5, 3).double()
    x, y = samples(1)
    found = Evidence(layer, x.double(), y).fisher("exact")
    p = layer(x.double()).softmax(-1).detach()
    variance = p * (1 - p)
    wanted = (variance[:, :, None] * x.double()[:, None, :].square()).mean(0)
    torch.testing.assert_close(found[layer.weight], wanted, rtol=0, atol=1e-15)
    torch.testing.assert_close(found[layer.bias], variance.mean(0), rtol=0, atol=1e-15)


def test_empirical_fisher_and_sensitivity_are_those_of_a_loop_over_samples():
    net = small().double()
    x, y = samples(2, 37)  # not a multiple of the chunk
    evidence = Evidence(net, x.double(), y, chunk=8)
    fisher, sensitivity = evidence.fisher("empirical"), evidence.sensitivity()
    for p in net.parameters():
        squares, sizes = torch.zeros_like(p), torch.zeros_like(p)
        for one, label in zip(x.double(), y, strict=True):
            squares += torch.autograd.grad(cross_entropy(net(one[None]), label[None]), p)[0].square()
            sizes += torch.autograd.grad(net(one[None]).square().sum(), p)[0].abs()
        torch.testing.assert_close(fisher[p], squares / 37, rtol=1e-12, atol=1e-15)
        torch.testing.assert_close(sensitivity[p], sizes / 37, rtol=1e-12, atol=1e-15)


def test_sampled_fisher_agrees_with_the_exact_one_within_its_error():
    layer = torch.nn.Linear(2, 3).double()
    x = torch.tensor([[1.0, -2.0]], dtype=torch.float64).expand(4000, 2)
    y = torch.zeros(4000, dtype=torch.long)
    exact = Evidence(layer, x[:1], y[:1]).fisher("exact")[layer.bias]
    sampled = Evidence(layer, x, y, chunk=1000).fisher("sampled")[layer.bias]
    p = layer(x[:1]).softmax(-1)[0].detach()
    error = ((p * (1 - p) ** 4 + (1 - p) * p**4 - exact**2) / 4000).sqrt()  # of a mean of (1[y = c] − p)²
    assert bool(((sampled - exact).abs() < 4 * error).all())
    assert not torch.equal(sampled, exact)


@pytest.mark.parametrize("weight", [ns.Float(8.0), ns.Binary(6.0)])
def test_our_spiking_networks_have_per_sample_gradients(weight):
    g = torch.Generator().manual_seed(0)
    net = ns.Network(
        [ns.Dense(6, 8, weight=weight, generator=g), ns.LIF(8, 8e-3), ns.Dense(8, 3, weight=weight, generator=g), ns.LI(3, 8e-3)],
        dt=1e-3,
    )  # fmt: skip
    x = (torch.rand(12, 5, 6, generator=g) < 0.6).float()
    y = torch.tensor([0, 1, 2, 0, 1])
    found = Evidence(net, x, y, lambda run: run.output.mean(0), batch_dim=1).fisher("empirical")
    for p in net.parameters():
        wanted = torch.zeros_like(p)
        for i in range(5):
            loss = cross_entropy(net(x[:, i : i + 1]).output.mean(0), y[i : i + 1])
            wanted += torch.autograd.grad(loss, p)[0].square() / 5
        torch.testing.assert_close(found[p], wanted, rtol=1e-4, atol=1e-9)
        assert float(wanted.sum()) > 0


def test_the_penalty_is_the_energy_of_the_force():
    net = small().double()
    x, y = samples()
    for rule in (EWC(torch.optim.SGD(net.parameters(), 0.1), 7.0), MAS(torch.optim.SGD(net.parameters(), 0.1), 7.0)):
        rule.end_task(Evidence(net, x.double(), y))
        with torch.no_grad():
            for p in net.parameters():
                p.add_(torch.randn_like(p) * 0.1)
        wanted = torch.autograd.grad(rule.penalty(), list(net.parameters()))
        for p in net.parameters():
            p.grad = torch.zeros_like(p)
        rule.pull()
        for p, force in zip(net.parameters(), wanted, strict=True):
            torch.testing.assert_close(p.grad, force, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("lr", [0.5, 0.05, 0.005])
def test_the_paths_of_si_add_up_to_the_loss_that_was_lost(lr):
    """T25: Σ ω / (L(0) − L(T)) → 1 as O(lr). For gradient descent along modes of curvature h it is known exactly.

    A mode at distance d from its optimum loses `h d² (1 − (1 − lr h)^2T) / 2`; its path gathers that over `1 − lr h / 2`.
    """
    torch.manual_seed(0)
    layer = torch.nn.Linear(4, 1, bias=False).double()
    x = torch.randn(64, 4, dtype=torch.float64)
    target = torch.tensor([[1.0], [-1.0], [0.5], [0.0]], dtype=torch.float64)
    y, steps = x @ target, round(3 / lr)
    rule = SI(torch.optim.SGD(layer.parameters(), lr=lr / 2))
    h, modes = torch.linalg.eigh(2 * x.T @ x / 64)
    lost = h * (modes.T @ (layer.weight.detach().T - target))[:, 0] ** 2 * (1 - (1 - lr / 2 * h) ** (2 * steps)) / 2
    start = float(mse_loss(layer(x), y).detach())
    for _ in range(steps):
        rule.zero_grad()
        mse_loss(layer(x), y).backward()
        rule.step()
    fallen = start - float(mse_loss(layer(x), y).detach())
    ratio = float(rule.state[layer.weight]["path"].sum()) / fallen
    assert fallen == pytest.approx(float(lost.sum()), rel=1e-9)
    assert ratio == pytest.approx(float((lost / (1 - lr / 2 * h / 2)).sum() / lost.sum()), rel=1e-9)
    assert 0 < ratio - 1 < 0.7 * lr


@pytest.mark.parametrize("rule", RULES.values(), ids=list(RULES))
def test_a_stopped_rule_goes_on_bit_for_bit(rule):
    def steps(net, method, task, count=6):
        x, y = samples(task)
        for _ in range(count):
            method.zero_grad()
            cross_entropy(net(x), y).backward()
            method.step()
        method.end_task(Evidence(net, x, y))

    whole = small()
    method = rule(torch.optim.Adam(whole.parameters(), lr=1e-2))
    steps(whole, method, 0)
    kept, weights = copy.deepcopy((method.state_dict(), whole.state_dict()))
    steps(whole, method, 1)
    fresh = small(seed=9)
    fresh.load_state_dict(weights)
    again = rule(torch.optim.Adam(fresh.parameters(), lr=1e-2))
    again.load_state_dict(kept)
    steps(fresh, again, 1)
    assert equal(whole.parameters(), fresh.parameters())


def test_rules_declare_what_they_need_and_keep():
    net = small()
    assert EWC(torch.optim.SGD(net.parameters(), 0.1)).state_bits_per_synapse == 96
    adam = torch.optim.Adam(net.parameters(), 0.1)
    cross_entropy(net(samples()[0]), samples()[1]).backward()
    adam.step()
    assert SI(adam).state_bits_per_synapse == 32 + 64 + 96
    assert (EWC.needs_task_boundaries, EWC.needs_task_id, Naive.needs_task_boundaries) == (True, False, False)
    with pytest.raises(ns.InputError, match=r"EWC.strength: expected a number >= 0"):
        EWC(adam, strength=-1)
    with pytest.raises(ns.InputError, match="one label per sample"):
        Evidence(net, samples()[0], samples()[1][:3])
