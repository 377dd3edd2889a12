"""Groups of devices with levels: values, turns, verified programming, and the rule of Zohora et al. on devices."""

import math

import pytest
import torch

import neurospin as ns
from hardware_targets.crossbar.devices import DomainWallMTJ, HfOxLevels, SkyrmionCounter, TableDevice
from hardware_targets.crossbar.groups import LevelSynapses
from hardware_targets.crossbar.insitu import Sign, Stochastic, Verify, years
from neurospin.plasticity import OnDevice, ProbabilisticMetaplasticity

EXACT = HfOxLevels(sigmas=(0.0,) * 5)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_a_group_takes_turns_and_its_mean_is_the_value():
    synapses = LevelSynapses(EXACT, scheme=Sign(), devices=3)
    assert synapses.step == pytest.approx(2 / 4 / 3)
    memory = synapses.place(torch.tensor([-1.0, 0.0]), seeded())
    levels = []
    for _ in range(4):
        memory = synapses.request(memory, torch.tensor([1.0, 0.0]), seeded())
        levels.append(memory["level"][:, 0].tolist())
    assert levels == [[1, 0, 0], [1, 1, 0], [1, 1, 1], [2, 1, 1]]
    assert synapses.acting(memory).tolist() == pytest.approx([-1 + 4 * 2 / 12, 0.0], abs=1e-6)
    assert memory["cycles"][:, 0].tolist() == [2, 1, 1]


@pytest.mark.parametrize(
    ("device", "volts", "seconds"),
    [
        (HfOxLevels(), 1.2, 1e-6),
        (DomainWallMTJ(g_spread=0.0), 0.5, 10e-9),
        (SkyrmionCounter(g_spread=0.0), 0.5, 1e-6),
        (TableDevice(tuple(1e-5 * k for k in range(1, 8)), tuple(1e-5 * k for k in range(7, 0, -1))), 1.0, 1e-6),
    ],
    ids=lambda d: type(d).__name__,
)
def test_verified_programming_comes_within_half_a_step(device, volts, seconds):
    synapses = LevelSynapses(device, devices=2, volts=volts, seconds=seconds)
    wanted = torch.linspace(-1, 1, 301)
    memory = synapses.place(wanted, seeded())
    rest = (synapses.acting(memory) - wanted).abs()
    assert float((rest > synapses.step / 2 + 1e-6).float().mean()) < 0.02  # redrawn levels may miss
    assert float(rest.max()) < 2 * synapses.step
    again = synapses.request(memory, torch.zeros_like(wanted), seeded(1))
    assert synapses.ledger(again) == synapses.ledger(memory)


def test_the_energy_of_a_group_is_that_of_its_pulses():
    synapses = LevelSynapses(EXACT, scheme=Sign(), devices=2, volts=1.3, seconds=2e-6)
    memory = synapses.place(torch.full((10,), -1.0), seeded())
    assert synapses.ledger(memory).pulses == 0
    for _ in range(4):
        memory = synapses.request(memory, torch.ones(10), seeded())
    # a pulse is told at the conductance that it meets
    wanted = 10 * 2 * 1.3**2 * 2e-6 * (10e-6 + 30e-6)
    assert synapses.ledger(memory).joules == pytest.approx(wanted, rel=1e-5)
    assert synapses.ledger(memory).pulses == 40


def test_stochastic_requests_move_by_the_wanted_mean_and_verify_follows_what_was_wanted():
    n = 20_000
    open_loop = LevelSynapses(EXACT, scheme=Stochastic(), devices=1)
    memory = open_loop.place(torch.zeros(n), seeded())
    memory = open_loop.request(memory, torch.full((n,), 0.2), seeded(1))
    moved = open_loop.acting(memory)
    assert abs(float(moved.mean()) - 0.2) < 4.5 * 0.5 * math.sqrt(0.4 * 0.6 / n)
    closed = LevelSynapses(EXACT, scheme=Verify(), devices=1)
    memory = closed.place(torch.zeros(4), seeded())
    for _ in range(6):
        memory = closed.request(memory, torch.tensor([0.1, 0.05, -0.2, 0.0]), seeded(2))
    assert memory["wanted"].tolist() == pytest.approx([0.6, 0.3, -1.2, 0.0], abs=1e-6)
    assert closed.acting(memory).tolist() == pytest.approx([0.5, 0.5, -1.0, 0.0], abs=1e-6)


def test_exact_devices_repeat_the_rule_on_levels_bit_for_bit():
    """HfOx without spread against the rule's own levels: the same seed, the same draws, the same path."""
    start = torch.linspace(-1, 1, 5)[torch.randint(5, (30, 20), generator=seeded(4))]
    settings = {"threshold": 0.05, "growth": 0.05, "levels": 5, "seed": 3}
    own, held = start.clone().requires_grad_(), start.clone().requires_grad_()
    exact = HfOxLevels(means=(0.25, 0.5, 0.75, 1.0, 1.25), sigmas=(0.0,) * 5)  # no rounding
    on_levels = ProbabilisticMetaplasticity([own], **settings)
    on_device = ProbabilisticMetaplasticity([held], **settings, storage=LevelSynapses(exact, scheme=Sign()))
    assert torch.equal(own.detach(), held.detach()) and torch.equal(own.detach(), start)
    on_device.generator.manual_seed(7)
    for number in range(40):
        gradient = torch.randn(start.shape, generator=seeded(50 + number)) * 0.1
        on_levels.generator.set_state(on_device.generator.get_state())  # devices draw more than the levels do
        own.grad, held.grad = gradient, gradient.clone()
        on_levels.step()
        on_device.step()
        assert torch.equal(own.detach(), held.detach())
    assert not torch.equal(held.detach(), start)
    assert on_device.state_bits_per_synapse == 3 + 64


def test_the_rule_on_devices_goes_on_where_it_stopped():
    def made(seed):
        p = torch.zeros(6, 5, requires_grad=True)
        return p, ProbabilisticMetaplasticity([p], threshold=0.05, seed=seed, storage=LevelSynapses(devices=2))

    def go(p, rule, numbers):
        for number in numbers:
            p.grad = torch.randn(p.shape, generator=seeded(number))
            rule.step()

    p, whole = made(0)
    go(p, whole, range(10))
    q, half = made(0)
    go(q, half, range(4))
    kept = half.state_dict()
    go(q, half, range(20, 25))  # what was kept does not move with it
    r, resumed = made(5)
    resumed.load_state_dict(kept)
    with torch.no_grad():
        r.copy_(resumed.storage.acting(resumed.memories[0]))
    go(r, resumed, range(4, 10))
    assert torch.equal(p.detach(), r.detach())
    assert all(torch.equal(whole.memories[0][k], resumed.memories[0][k]) for k in whole.memories[0])


def test_adam_on_a_group_learns():
    p = torch.zeros(4, 50, requires_grad=True)
    rule = OnDevice(
        torch.optim.Adam([p], lr=0.05), LevelSynapses(DomainWallMTJ(levels=11), devices=2, volts=0.5, seconds=1e-8)
    )
    target = torch.linspace(-0.8, 0.8, 50).expand(4, 50)
    for _ in range(150):
        rule.zero_grad()
        (p - target).square().sum().backward()
        rule.step()
    assert float((p.detach() - target).square().mean().sqrt()) < rule.storage.step
    assert rule.state_bits_per_synapse == 32 * 3 - 32 + 9


def test_years_of_endurance():
    # 2000 cycles, 20 used in 1000 updates: 100 times as many updates, at 10 a second
    assert years(20, 2000, 1000, per_second=10) == pytest.approx(100 * 1000 / 10 / (365.25 * 86400))
    assert years(0, 2000, 1000) == math.inf


def test_impossible_groups_are_refused():
    with pytest.raises(ns.InputError, match=r"LevelSynapses\.devices: expected a number > 0"):
        LevelSynapses(devices=0)
