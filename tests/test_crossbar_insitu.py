"""Learning on junctions: closed forms of flips, steps and energy, the software rule as a limit, books, seeds, resumption."""

import math

import pytest
import torch

import neurospin as ns
from hardware_targets.crossbar.devices import BinaryMTJ, LogCosh, MagnetoIonicMTJ
from hardware_targets.crossbar.insitu import BinarySynapses, Sign, Stochastic, Verify
from neurospin.plasticity import Metaplastic, OnDevice, registry
from neurospin.weights import Binary, Scaled

ALIKE = {"r_spread": 0.0, "tmr_spread": 0.0, "v_spread": 0.0}
QUIET = {**ALIKE, "hidden_spread": 0.0, "hidden_noise": 0.0}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def close(count, chance, n):
    assert abs(count / n - chance) < 4.5 * math.sqrt(chance * (1 - chance) / n) + 1e-9, (count / n, chance)


@pytest.mark.parametrize("way", [-1.0, 1.0])
def test_a_pulse_flips_with_the_closed_form_and_resets_what_flipped(way):
    n, m, quantum = 80_000, 20.0, 0.02
    synapses = BinarySynapses(MagnetoIonicMTJ(**QUIET, barrier=LogCosh(5.0)), m=m, quantum=quantum, scheme=Sign())
    memory = synapses.place(torch.full((4, n // 4), -way), seeded())
    memory["h"] = torch.tensor([0.0, 0.1, 0.2, 0.4])[:, None].expand(4, n // 4).contiguous()
    after = synapses.request(memory, torch.full((4, n // 4), way * 1e-3), seeded(1))
    for row, h in enumerate((0.0, 0.1, 0.2, 0.4)):
        flips = float(((after["parallel"][row] > 0.5) == (way > 0)).sum())
        close(flips, 1 - (1 - m * quantum) ** (1 - math.tanh(5 * h) ** 2), n // 4)
        flipped = after["parallel"][row] != memory["parallel"][row]
        assert float(after["h"][row][flipped].max()) <= h * math.exp(-5) * (1 + 1e-5)
        assert torch.equal(after["h"][row][~flipped], memory["h"][row][~flipped])


def test_gate_pulses_along_the_state_close_in_on_one():
    synapses = BinarySynapses(MagnetoIonicMTJ(**QUIET), m=25.0, quantum=0.01, gain=1.5, scheme=Sign())
    memory = synapses.place(torch.tensor([1.0, -1.0, 1.0]), seeded())
    for _ in range(30):
        memory = synapses.request(memory, torch.tensor([1e-3, -1e-3, 0.0]), seeded())
    step = 1.5 * 25 * 0.01 / 5
    assert memory["h"].tolist() == pytest.approx([1 - (1 - step) ** 30] * 2 + [0], rel=1e-5)
    assert memory["parallel"].tolist() == [1, 0, 1]
    ledger, before = synapses.ledger(memory), synapses.ledger(synapses.place(torch.tensor([1.0, -1, 1]), seeded()))
    up, _ = synapses.gate_volts
    assert ledger.gate_pulses == 60 and ledger.gate_joules == pytest.approx(60 * 1e-15 * up**2, rel=1e-6)
    assert ledger.gate_seconds == pytest.approx(30e-3) and ledger.pulses == before.pulses == 2  # only `place`
    assert ledger.worn == 30 / 2000


def test_energy_is_pulses_times_the_energy_of_one():
    n = 1000
    synapses = BinarySynapses(MagnetoIonicMTJ(**QUIET), scheme=Sign())
    memory = synapses.place(torch.ones(n), seeded())
    start = synapses.ledger(memory)
    memory = synapses.request(memory, -torch.ones(n), seeded(1))
    after = synapses.ledger(memory)
    flipped = int((memory["parallel"] < 0.5).sum())
    to_p, to_ap = synapses.volts
    x0 = 10 * math.exp(-40 * (1 - to_ap / (-0.299 / (1 - math.log(10 / math.log(2)) / 40))))
    assert -math.expm1(-x0) == pytest.approx(0.5)  # m · quantum
    assert to_p / to_ap == pytest.approx(0.461 / -0.299)
    assert after.joules - start.joules == pytest.approx(n * to_ap**2 * 10e-9 / 3363.7, rel=1e-6)
    assert after.gate_pulses == flipped  # each a reset
    assert after.gate_joules == pytest.approx(flipped * 1e-15 * synapses.gate_volts[1] ** 2, rel=1e-6)


def test_stochastic_pulses_stand_for_the_wanted_change_in_the_mean():
    n = 200_000
    count = Stochastic().pulses(torch.full((n,), 0.3), seeded())
    close(float(count.sum()), 0.3, n)
    more = Stochastic(most=3).pulses(torch.full((n,), 1.7), seeded(1))
    close(float((more - 1).sum()), 0.7, n)
    assert float(Stochastic(most=3).pulses(torch.full((n,), 9.0), seeded()).max()) == 3
    assert Sign(0.5).pulses(torch.tensor([0.4, 0.6]), seeded()).tolist() == [0, 1]


def test_trimming_finds_the_voltage_of_every_junction_with_pulses():
    synapses = BinarySynapses(MagnetoIonicMTJ(), trim_bits=4, scheme=Sign())
    memory = synapses.place(torch.ones(4000), seeded())
    left = (memory["v_scale"] / memory["trim"]).double()
    width = 5 * 0.065 / 16
    assert len(memory["trim"].unique()) == 16 and abs(float(left.mean()) - 1) < 2e-3
    assert width / 12**0.5 < float(left.std()) < 1.1e-2  # rounding alone, and with the counting of flips
    assert 16 * 8 < float(memory["cycles"].max()) <= 2 * 16 * 8 + 32 and float(memory["h"].max()) == 0
    assert synapses.bits == 5
    after = synapses.request(memory, -torch.ones(4000), seeded(1))  # and pulses are scaled by what was found
    share = 1 + math.log(-math.log(0.5) / 10) / 40
    rate = torch.exp(-(40 * (1 - share / left)).clamp(min=0))
    chance = -torch.expm1(-10 * rate)
    flipped = float((after["parallel"] < 0.5).sum())
    assert abs(flipped - float(chance.sum())) < 4.5 * float((chance * (1 - chance)).sum()) ** 0.5
    assert 0.1 < float(chance.std()) < 0.16  # without a trim they go from 0 to 1
    with pytest.raises(ns.InputError, match="trim_bits: expected 0 to 8"):
        BinarySynapses(trim_bits=9)


def test_waiting_is_the_relaxation_of_the_devices():
    _, network = networks()
    device = MagnetoIonicMTJ(**QUIET, hidden_retention=1000.0, delta=20.0)
    rule = OnDevice(torch.optim.Adam(network.parameters()), BinarySynapses(device, scheme=Sign()), seed=1)
    steps(network, rule, 10)
    before = [{name: value.clone() for name, value in memory.items()} for memory in rule.memories]
    rule.wait(500.0)  # far beyond the retention of junctions with h = 0, 0.5 s
    for old, new, p in zip(before, rule.memories, rule.parameters(), strict=True):
        torch.testing.assert_close(new["h"], old["h"] * math.exp(-0.5))
        assert torch.equal(p.detach(), rule.storage.acting(new)) and torch.equal(old["cycles"], new["cycles"])
    free = torch.cat(
        [m["parallel"].view(-1)[old["h"].view(-1) == 0] for m, old in zip(rule.memories, before, strict=True)]
    )
    close(float(free.sum()), 0.5, len(free))


def networks(gain=4.0):
    made = []
    for weight in (Binary(gain), Scaled(gain)):
        generator = seeded(3)
        made.append(
            ns.Network([ns.Dense(20, 16, weight=weight, generator=generator), ns.LIF(16), ns.Dense(16, 3, weight=weight, generator=generator), ns.LI(3)], 1e-3)
        )  # fmt: skip
    return made


def steps(network, rule, count, first=0):
    for number in range(first, first + count):
        generator = seeded(100 + number)
        x = (torch.rand((10, 8, 20), generator=generator) < 0.4).float()
        y = torch.randint(3, (8,), generator=generator)
        rule.zero_grad()
        with rule.sampling():
            torch.nn.functional.cross_entropy(network(x).output.mean(0), y).backward()
        rule.step()


def test_the_limit_of_ideal_verified_junctions_is_the_software_rule_bit_for_bit():
    software, hardware = networks()
    for p, q in zip(software.parameters(), hardware.parameters(), strict=True):
        q.data.copy_(p.data)
    exact = BinaryMTJ(r_p=1024.0, tmr=1.0, **ALIKE)  # conductances without rounding
    rule = Metaplastic(software.parameters(), lr=1e-2, m=10.0)
    ruled = OnDevice(Metaplastic(hardware.parameters(), lr=1e-2, m=10.0), BinarySynapses(exact, scheme=Verify()))
    before = [p.detach().clone() for p in software.parameters()]
    steps(software, rule, 40)
    steps(hardware, ruled, 40)
    for p, q, memory, start in zip(software.parameters(), hardware.parameters(), ruled.memories, before, strict=True):
        assert torch.equal(memory["wanted"], p.detach())
        assert torch.equal(q.detach(), torch.where(p.detach() >= 0, 1.0, -1.0))
        assert not torch.equal(p.detach() >= 0, start >= 0)  # and signs did change
    assert ruled.state_bits_per_synapse == 96 + 1


def test_what_a_network_computes_with_are_conductances():
    device = MagnetoIonicMTJ()
    synapses = BinarySynapses(device)
    memory = synapses.place(torch.tensor([[1.0, -1.0]]).expand(5000, 2), seeded())
    g = device.conductance(memory).double()
    high, low = 1 / 3363.7, 1 / (3363.7 * 2.735)
    assert torch.allclose(synapses.acting(memory).double(), (2 * g - high - low) / (high - low), atol=1e-5)
    spread = synapses.acting(memory).std(0)
    assert spread.tolist() == pytest.approx(
        [0.051 * high / (high - low) * 2, 0.0535 * low / (high - low) * 2], rel=0.05
    )


def test_read_noise_is_in_the_reads_and_only_there():
    _, network = networks()
    rule = OnDevice(
        torch.optim.Adam(network.parameters()), BinarySynapses(MagnetoIonicMTJ(read_noise=0.1, **QUIET)), seed=1
    )
    p = next(network.parameters())
    shown = p.detach().clone()
    reads = []
    for _ in range(400):
        with rule.sampling():
            reads.append(p.detach().clone())
    assert torch.equal(p.detach(), shown)
    noise = (torch.stack(reads) - shown)[:, shown > 0]
    high, low = 1 / 3363.7, 1 / (3363.7 * 2.735)
    assert float(noise.std()) == pytest.approx(0.1 * high / ((high - low) / 2), rel=0.02)


def test_the_same_seed_gives_the_same_run_and_a_resumed_run_is_one_that_never_stopped(tmp_path):
    made = []
    for seed in (0, 0, 1):
        _, network = networks()
        rule = OnDevice(Metaplastic(network.parameters(), lr=1e-2, m=0.0), BinarySynapses(), seed=seed)
        steps(network, rule, 12)
        made.append(rule)
    ledgers = [made[0].storage.ledger(rule.memories[0]) for rule in made]
    assert ledgers[0] == ledgers[1] != ledgers[2]
    _, network = networks()
    stopped = OnDevice(Metaplastic(network.parameters(), lr=1e-2, m=0.0), BinarySynapses(), seed=0)
    steps(network, stopped, 5)
    torch.save({"rule": stopped.state_dict(), "network": network.state_dict()}, tmp_path / "half.pt")
    _, again = networks()
    resumed = OnDevice(Metaplastic(again.parameters(), lr=1e-2, m=0.0), BinarySynapses(), seed=9)
    half = torch.load(tmp_path / "half.pt", weights_only=True)
    again.load_state_dict(half["network"])
    resumed.load_state_dict(half["rule"])
    steps(again, resumed, 7, first=5)
    for one, other in zip(made[0].memories, resumed.memories, strict=True):
        assert one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def test_junctions_that_hide_a_value_keep_an_old_task_that_plain_ones_lose():
    kept = {}
    for name, device in (("magneto-ionic", MagnetoIonicMTJ()), ("plain", BinaryMTJ())):
        generator = seeded(5)
        network = ns.Network(
            [ns.Dense(64, 100, weight=Scaled(8.0), generator=generator), ns.Rate(100), ns.Dense(100, 10, weight=Scaled(10.0), generator=generator), ns.LI(10)],
            1e-3,
        )  # fmt: skip
        stream = ns.continual.permuted("digits", tasks=2, seed=0)
        rule = OnDevice(Metaplastic(network.parameters(), lr=1e-2, m=0.0, eps=1e-3), BinarySynapses(device))
        result = ns.continual.learn(network, stream, rule, encode=ns.encode.Rate(4, 1.0), epochs=6, batch_size=100)
        kept[name] = result.accuracy_matrix
    assert kept["magneto-ionic"].diagonal().min() > 0.6 and kept["plain"].diagonal().min() > 0.6
    assert kept["magneto-ionic"][1].mean() > kept["plain"][1].mean() + 0.15


OWN_STORAGE = {"bayesbinn", "bimu"}
AROUND_ADAM = {"metaplastic", "naive", "joint", "replay", "ewc", "si", "mas"}


@pytest.mark.parametrize("name", registry.RULES)
def test_every_rule_learns_on_junctions_or_says_why_not(name):
    p = torch.nn.Parameter(torch.ones(6, 50))
    rule = registry.make(name, [p], {"m": 0.0} if name == "metaplastic" else None)
    try:
        stored = OnDevice(rule, BinarySynapses(MagnetoIonicMTJ(), scheme=Sign()), seed=1)
    except ns.InputError as refused:
        assert "a rule that stores the parameter" in str(refused) and name in OWN_STORAGE
        return
    assert name not in OWN_STORAGE
    for _ in range(3):
        p.grad = torch.ones_like(p)  # a push down, against the state
        stored.step()
    (memory,) = stored.memories
    assert torch.equal(p.detach(), stored.storage.acting(memory))
    if name in AROUND_ADAM:  # three pulses, each flips half of the junctions that are left
        assert 200 < float((memory["parallel"] < 0.5).sum()) < 290 and stored.storage.ledger(memory).pulses > 750


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: BinarySynapses(m=50.0, quantum=0.02), "m · quantum < 1"),
        (lambda: BinarySynapses(m=45.0, quantum=0.02, gain=6.0), "leaves h < 1"),
        (lambda: BinarySynapses(seconds=0.0), "seconds: expected a number > 0"),
        (lambda: OnDevice(ns.plasticity.BayesBiNN([torch.zeros(2)]), BinarySynapses()), "stores the parameter"),
    ],
)
def test_impossible_settings_are_refused(make, words):
    with pytest.raises(ns.InputError, match=words) as told:
        make()
    assert "\n" not in str(told.value)
