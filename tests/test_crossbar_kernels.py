"""Fast kernels of the crossbar against the laws they shorten: pulse trains, integer products, write events."""

import math

import pytest
import torch

import neurospin as ns
from hardware_targets.crossbar import codes
from hardware_targets.crossbar.array import Array
from hardware_targets.crossbar.devices import BinaryMTJ, BoundedLinear, Ideal, LogCosh, MagnetoIonicMTJ, Pulse
from hardware_targets.crossbar.updates import SLOTS, pulsed_update


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("soft", [True, False])
@pytest.mark.parametrize("inputs", [400, 4000])  # dense, and listed
def test_pulsed_updates_have_the_moments_of_their_trains(soft, inputs):
    lr, step, noise, w_max, repeats = 0.01, 0.004, 0.3, 0.6, 150
    start = torch.linspace(-0.5, 0.5, 7)[:, None].repeat(1, inputs).contiguous()
    x, d, draws = torch.zeros(1, inputs), torch.full((1, 7), -0.5), seeded()
    x[0, :400] = 0.8
    moved = []
    for _ in range(repeats):
        w = start.clone()
        pulsed_update(w, x, d, draws, lr=lr, step=step, noise=noise, w_max=w_max, soft=soft)
        assert torch.equal(w[:, 400:], start[:, 400:])
        moved.append((w - start)[:, :400])
    moved = torch.stack(moved).double()
    a = math.sqrt(lr / (step * SLOTS))
    p_x, p_d = a * 0.8, a * 0.5
    p, scale = p_x * p_d, (1 - start[:, 0].double() / w_max) if soft else torch.ones(7, dtype=torch.float64)
    mean = SLOTS * p - (step / w_max / 2 * SLOTS * (SLOTS - 1) * p * p if soft else 0)
    assert SLOTS * p * step == pytest.approx(lr * 0.8 * 0.5)
    # devices of a row share its train: Var over repeats of a row's mean is that of SLOTS · p_x · Binomial(SLOTS, p_d) / SLOTS
    error = step * p_x * math.sqrt(SLOTS * p_d * (1 - p_d) / repeats)
    assert ((moved.mean((0, 2)) / scale - mean * step).abs() < 4.5 * error).all()
    variance = step**2 * (SLOTS * p * (1 - p) + noise**2 * SLOTS * p)
    got = moved.var((0,)).mean(1) / scale.square()
    assert ((got / variance - 1).abs() < 0.12).all()


def test_many_steps_follow_soft_bounds_to_their_end_and_constant_steps_stop():
    w = torch.zeros(3, 50)
    ones = torch.ones(1, 50)
    for _ in range(40):  # every slot of every train: 31 steps each
        pulsed_update(w, ones, torch.tensor([[-1.0, 1.0, 0.0]]), seeded(), lr=1.0, step=0.004, noise=0.0)
    wanted = 0.6 * (1 - (1 - 0.004 / 0.6) ** (40 * SLOTS))
    torch.testing.assert_close(w[0], torch.full((50,), wanted), rtol=2e-3, atol=0)
    torch.testing.assert_close(w[1], -w[0])
    assert not w[2].any()
    pulsed_update(w, ones, torch.tensor([[-1.0, 1.0, 0.0]]), seeded(), lr=1.0, step=0.1, noise=0.0, soft=False)
    torch.testing.assert_close(w[:2], torch.tensor([[0.6], [-0.6]]).expand(2, 50))


@pytest.mark.parametrize(
    "change",
    [{"lr": -1.0}, {"step": 0.7}, {"slots": 32}, {"noise": float("nan")}, {"x": torch.ones(2, 4)}, {"d": torch.full((1, 3), math.inf)}],
)  # fmt: skip
def test_impossible_updates_leave_the_weights(change):
    w, given = torch.zeros(3, 4), {"x": torch.ones(1, 4), "d": torch.ones(1, 3), "lr": 0.01, **change}
    x, d = given.pop("x"), given.pop("d")
    with pytest.raises(ns.InputError):
        pulsed_update(w, x, d, seeded(), **given)
    assert not w.any()


@pytest.mark.skipif(not codes.available(), reason="no 8-bit dot products here")
def test_integer_products_are_the_products_and_their_noise_has_the_law():
    g = seeded()
    w, x = torch.randn(256, 300, generator=g), torch.rand(128, 300, generator=g)
    quiet = Array(w, Ideal(), g, rows=128, dac_bits=8, adc_bits=8)
    quiet.calibrate(x)
    held = (x * 127).round() / 127
    steps = (quiet.full_scale / 127).tolist()
    parts = [held[:, a:b] @ w[:, a:b].mT for a, b in ((0, 44), (44, 172), (172, 300))]  # 84 rows of padding come first
    wanted = sum((part / step).round().clamp(-127, 127) * step for part, step in zip(parts, steps, strict=True))
    got = quiet(x)
    assert float(((got - wanted).abs() > max(steps) / 2).float().mean()) < 0.01  # codes next to a tie
    noisy = Array(
        w, BoundedLinear(programming_noise=0, read_noise=0.03), g, rows=300, columns=256, dac_bits=8, adc_bits=10
    )
    noisy.calibrate(x)
    reads = torch.stack([noisy(x) for _ in range(300)]).double()
    plus, minus = noisy.state[0]
    variance = held.double().square() @ ((0.03 * plus) ** 2 + (0.03 * minus) ** 2) * (noisy.largest / 90e-6) ** 2
    variance += float(noisy.full_scale / 511) ** 2 / 12
    inside = reads.mean(0).abs() < 0.8 * float(noisy.full_scale)
    ratio = (reads.var(0) / variance)[inside]
    assert float(ratio.mean()) == pytest.approx(1, abs=0.01) and float(ratio.std()) < 1.3 * math.sqrt(2 / 300)


def test_the_fused_write_event_has_the_law_of_the_device():
    count = 40_000
    device = MagnetoIonicMTJ(barrier=LogCosh(3.0), stuck=0.1, v_spread=0.0, hidden_spread=0.0)
    state = device.initial((count,), seeded())
    state["h"] = torch.full((count,), 0.3)
    state["parallel"] = (torch.arange(count) % 2).float()
    volts = torch.where(state["parallel"] < 0.5, 0.47, -0.30)
    volts[count // 2 :] = 0
    gate = torch.where(torch.arange(count) < count // 2, 0.0, torch.where(torch.arange(count) % 2 > 0, 3.0, -2.8))
    pulse = Pulse(volts, 10e-9, gate, 5e-2)
    new, ledger = device.write(state, pulse, seeded(1))
    chance = device.switching_probability(state, pulse) * ~state["stuck"]
    flips = (new["parallel"] != state["parallel"]).float()
    for part in (slice(0, count // 2, 2), slice(1, count // 2, 2)):
        p = float(chance[part].mean())
        assert 0.02 < p < 0.8
        assert abs(float(flips[part].mean()) - p) < 4.5 * math.sqrt(p * (1 - p) / (count / 4))
    assert not flips[count // 2 :].any()
    after = device.hidden_after(state, gate, 5e-2) - 0.3
    free = ~state["stuck"][count // 2 :]
    step = ((new["h"] - state["h"])[count // 2 :] / after[count // 2 :])[free]
    assert float(step.mean()) == pytest.approx(1, abs=4.5 * 0.05 / math.sqrt(count / 2))
    assert float(step.std()) == pytest.approx(0.05, rel=0.03)
    assert torch.equal(new["h"][state["stuck"]], state["h"][state["stuck"]])
    on = volts != 0
    joules = (volts.square() * device.conductance(state)).double().sum() * 10e-9
    assert ledger.pulses == int(on.sum()) and ledger.joules == pytest.approx(float(joules), rel=1e-5)
    assert ledger.gate_pulses == count // 2
    assert ledger.gate_joules == pytest.approx(1e-15 * float(gate.double().square().sum()), rel=1e-5)
    assert torch.equal(new["cycles"], on.float()) and torch.equal(new["gate_cycles"], (gate != 0).float())
    assert ledger.worn == pytest.approx(1 / 2000)


def test_worn_junctions_keep_their_state_and_rare_flips_are_counted():
    device = BinaryMTJ(endurance=2.0, v_spread=0.0)
    state = device.initial((200_000,), seeded())
    for _ in range(3):
        before = state["parallel"]
        state, ledger = device.write(state, Pulse(torch.where(before < 0.5, 1.0, -1.0), 1e-7), seeded(2))
    assert torch.equal(before, state["parallel"]) and ledger.worn == 1.5 and ledger.pulses == 200_000
    weak = Pulse(0.30, 10e-9)
    fresh = device.initial((200_000,), seeded())
    p = float(device.switching_probability(fresh, weak)[0])
    flips = float(device.write(fresh, weak, seeded(3))[0]["parallel"].sum())
    assert 1e-6 < p < 1e-3 and abs(flips - 200_000 * p) < 4.5 * math.sqrt(200_000 * p) + 1
