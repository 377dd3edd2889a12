"""Devices against the closed forms of their physics, written out here, and against binomial bounds."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

import neurospin as ns
from hardware_targets.crossbar.devices import (
    BinaryMTJ,
    DomainWallMTJ,
    Dome,
    Exact,
    HfOxLevels,
    Linear,
    LogCosh,
    MagnetoIonicMTJ,
    PhaseChange,
    Pulse,
    SkyrmionCounter,
    TableDevice,
)

SAME = {"r_spread": 0.0, "tmr_spread": 0.0, "v_spread": 0.0}
FAMILIES = [
    BinaryMTJ(), BinaryMTJ.sot_80nm(gate=True), MagnetoIonicMTJ(), DomainWallMTJ(), SkyrmionCounter(), HfOxLevels(),
    PhaseChange(), TableDevice(),
]  # fmt: skip


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def close(count, chance, n):
    assert abs(count / n - chance) < 4.5 * math.sqrt(chance * (1 - chance) / n) + 1e-9, (count / n, chance)


@pytest.mark.parametrize("volts", [0.30, 0.40, 0.461, 0.48])
@pytest.mark.parametrize("kelvin", [300.0, 350.0])
def test_switching_is_neel_brown(volts, kelvin):
    device, n = BinaryMTJ(**SAME), 200_000
    state = device.initial((n,), seeded())
    critical = 0.461 / (1 - math.log(10e-9 / (1e-9 * math.log(2))) / 40)
    wanted = 1 - math.exp(-10 * math.exp(-40 * (1 - volts / critical) * 300 / kelvin))
    chance = device.switching_probability(state, Pulse(volts, 10e-9), kelvin)
    assert float(chance[0]) == pytest.approx(wanted, rel=2e-4)
    if (volts, kelvin) == (0.461, 300.0):
        assert wanted == pytest.approx(0.5)  # the median that was measured
    after, ledger = device.write(state, Pulse(volts, 10e-9), seeded(1), kelvin)
    close(float(after["parallel"].sum()), wanted, n)
    tmr = 1.735  # energy is told at the resistance of 0 V
    assert ledger.joules / n == pytest.approx(volts**2 * 10e-9 / (3363.7 * (1 + tmr)), rel=1e-4)
    holds = {**after, "parallel": torch.ones(n)}  # the voltage that writes P holds it
    assert float(device.switching_probability(holds, Pulse(volts, 10e-9)).max()) < 1e-13
    above = device.switching_probability(state, Pulse(0.6, 10e-9), kelvin)
    assert float(above[0]) == pytest.approx(1 - math.exp(-10), rel=1e-6)  # at most one attempt per tau0


def test_polarity_tmr_and_spread():
    device = BinaryMTJ()
    state = device.initial((100_000,), seeded())
    written, _ = device.write(state, Pulse(2.0, 1e-6), seeded(1))
    assert bool((written["parallel"] == 1).all())
    resistance = 1 / device.conductance(written).double()
    assert float(resistance.mean()) == pytest.approx(3363.7, rel=2e-3)
    assert float(resistance.std() / resistance.mean()) == pytest.approx(0.051, rel=0.02)
    erased, _ = device.write(written, Pulse(-2.0, 1e-6), seeded(2))
    assert bool((erased["parallel"] == 0).all())
    flat = BinaryMTJ(**SAME)
    ap = flat.initial((1,), seeded())
    for volts, tmr in ((0.0, 1.735), (0.5, 0.8675), (0.1, 1.735 / 1.04)):
        assert float(1 / flat.conductance(ap, volts)) == pytest.approx(3363.7 * (1 + tmr), rel=1e-5)


def test_the_gate_of_a_vgsot_junction_lowers_its_barrier():
    device = BinaryMTJ.sot_80nm(gate=True)
    state = device.initial((1,), seeded())
    state["v_scale"][:] = 1
    without, with_gate = (float(device._rate(state, 0.0, g, 300.0)) for g in (0.0, 0.5))
    assert with_gate / without == pytest.approx(math.exp(34.3 * 0.5), rel=1e-3)
    assert without == pytest.approx(1e9 * math.exp(-40.1), rel=1e-3)


@pytest.mark.parametrize("kelvin", [300.0, 400.0])
def test_retention_is_arrhenius(kelvin):
    device, n = BinaryMTJ(delta=20.0, **SAME), 100_000
    tau = 1e-9 * math.exp(20 * 300 / kelvin)
    state = device.initial((n,), seeded())
    later = device.relax(state, 0.7 * tau, seeded(1), kelvin)
    close(float(later["parallel"].sum()), (1 - math.exp(-1.4)) / 2, n)


@pytest.mark.parametrize("volts", [-0.9, -0.3, 0.3, 0.9])
def test_the_hidden_value_follows_its_differential_equation(volts):
    device = MagnetoIonicMTJ(hidden_spread=0.0, tau_down=120.0)
    state = device.initial((1,), seeded())
    state["h"][:] = 0.3
    v0 = 4 / 11.5

    def slope(_, h):
        k = 2 * math.sinh(abs(volts) / v0)
        return k / 200 * (1 - h) if volts > 0 else -k / 120 * h

    wanted = solve_ivp(slope, (0, 20), [0.3], rtol=1e-10, atol=1e-12).y[0, -1]
    assert float(device.hidden_after(state, volts, 20.0)) == pytest.approx(wanted, rel=2e-6)
    decades = math.log10(math.sinh(4.3 * 1.0 / v0) / math.sinh(0.3 / v0))
    assert decades > 4.9  # minutes to milliseconds over the span of 4 V


@pytest.mark.parametrize(
    ("barrier", "rule"),
    [(LogCosh(1.35), lambda h: 1 - np.tanh(1.35 * h) ** 2), (Linear(1.35), lambda h: np.exp(-1.35 * np.abs(h)))],
)
@pytest.mark.parametrize(("p0", "bound"), [(1e-3, 5.1e-4), (1e-2, 5.1e-3), (0.1, 0.054), (0.5, 0.387)])
def test_a_barrier_is_a_rule_up_to_the_stated_factor(barrier, rule, p0, bound):
    h = torch.linspace(-3, 3, 301, dtype=torch.float64)
    x0 = -math.log1p(-p0)
    ratio = (1 - np.exp(-x0 * np.exp(-barrier(h).numpy()))) / p0
    excess = ratio / rule(h.numpy()) - 1
    assert excess.min() > -1e-12 and excess.max() <= -math.log1p(-p0) / p0 - 1 + 1e-12
    assert 0.85 * bound < excess.max() <= bound


def test_the_exact_barrier_is_the_rule_at_any_probability():
    h = torch.linspace(0, 3, 50, dtype=torch.float64)
    got = 1 - np.exp(math.log1p(-0.4) * np.exp(-Exact(1.35, 0.4)(h).numpy()))
    np.testing.assert_allclose(got / 0.4, 1 - np.tanh(1.35 * h.numpy()) ** 2, rtol=1e-10)
    dome = Dome(10.0, 0.6)
    assert float(dome(torch.tensor(0.6))) == 10 and float(dome(torch.tensor(0.0))) == pytest.approx(0, abs=1e-6)


def test_a_protected_junction_flips_as_seldom_as_the_rule_says():
    device, n = MagnetoIonicMTJ(**SAME, barrier=LogCosh(2.0)), 400_000
    state = device.initial((n,), seeded())
    state["h"] = torch.linspace(0, 1, 4).repeat(n // 4)
    pulse = Pulse(0.43, 10e-9)
    p0 = float(device.switching_probability(state, pulse)[0])
    assert 0.02 < p0 < 0.3
    after, _ = device.write(state, pulse, seeded(3))
    for h in (0.0, 1 / 3, 2 / 3, 1.0):
        here = (state["h"] - h).abs() < 1e-6
        flipped = float(after["parallel"][here].mean())
        wanted = 1 - (1 - p0) ** (1 - math.tanh(2 * h) ** 2)
        close(flipped * n / 4, wanted, n // 4)


@pytest.mark.parametrize(("share", "undone"), [(0.02, 0.3), (0.035, 1.0), (0.055, 2.7), (0.065, 3.7)])
def test_spread_voltages_undo_a_part_of_every_barrier(share, undone):
    n, top = 400_000, 2 * math.log(math.cosh(5.0))
    share_of_critical = 1 + math.log(math.log(2) / 10) / 40  # switches half of the fresh junctions in 10 ns
    x, weight = np.polynomial.hermite_e.hermegauss(200)
    height = 40 * (1 - share_of_critical / np.clip(1 + share * x, 0.05, None)) + top
    wanted = (weight * -np.expm1(-10 * np.exp(-np.maximum(height, 0)))).sum() / weight.sum()
    alike = -math.expm1(-math.log(2) * math.exp(-top))
    assert round(math.log(wanted / alike), 1) == undone
    if share < 0.03:
        assert math.log(wanted / alike) == pytest.approx((share * 40 * share_of_critical) ** 2 / 2, rel=0.1)
    device = MagnetoIonicMTJ(v_spread=share)
    state = device.initial((n,), seeded())
    state["h"][:] = 1
    chance = device.switching_probability(state, Pulse(device.volts(0.5, 10e-9)[0], 10e-9)).double()
    assert abs(float(chance.mean()) - wanted) < 4.5 * float(chance.std()) / n**0.5 + 1e-6 * wanted


def test_a_voltage_above_the_critical_one_takes_from_the_protection_what_it_exceeds():
    device = MagnetoIonicMTJ(**SAME, barrier=LogCosh(5.0))
    state = device.initial((1,), seeded())
    state["h"][:] = 1.0
    critical = 0.461 / (1 - math.log(10 / math.log(2)) / 40)
    rise = 2 * math.log(math.cosh(5.0))
    for excess in (0.1, 0.5):  # Δ (1 + κ) (1 − V / (V_c (1 + κ))) = Δ (1 − V / V_c) + ΔE, whatever its sign
        wanted = -math.expm1(-1e-3 * math.exp(-max(0.0, rise - 40 * excess)))
        assert float(device.switching_probability(state, Pulse(critical * (1 + excess), 1e-12))) == pytest.approx(
            wanted, rel=1e-4
        )
    to_p, to_ap = device.volts(0.3, 50e-9)
    state["h"][:] = 0.0
    assert float(device.switching_probability(state, Pulse(to_p, 50e-9))) == pytest.approx(0.3, rel=1e-4)
    state["parallel"][:] = 1.0
    assert float(device.switching_probability(state, Pulse(to_ap, 50e-9))) == pytest.approx(0.3, rel=1e-4)


def test_domain_walls_and_skyrmions_move_one_level_with_their_probability():
    n = 200_000
    wall = DomainWallMTJ(rise=0.2, g_spread=0.0)
    state = wall.initial((n,), seeded())
    state["level"][:] = 5
    wanted = 1 - math.exp(-10 * math.exp(-40 * (1 - 0.5 / (0.5 * 1.1))))
    up, _ = wall.write(state, Pulse(0.5, 10e-9), seeded(1))
    close(float((up["level"] == 6).sum()), wanted, n)
    counter = SkyrmionCounter(g_spread=0.0)
    state = counter.initial((n,), seeded())
    wanted = 1 - math.exp(-1e-6 * 1e4 * math.exp(4))
    up, _ = counter.write(state, Pulse(0.4, 1e-6), seeded(1))
    close(float(up["level"].sum()), wanted, n)
    down, _ = counter.write(state, Pulse(-5.0, 1.0), seeded(1))
    assert bool((down["level"] == 0).all())
    full = {**state, "level": torch.full((n,), 10.0)}
    assert float(counter.write(full, Pulse(5.0, 1.0), seeded())[0]["level"].max()) == 10


def test_levels_are_redrawn_and_phase_change_drifts():
    levels = HfOxLevels()
    state, n = levels.initial((100_000,), seeded()), 100_000
    for _ in range(2):
        state, _ = levels.write(state, Pulse(1.5, 1e-6), seeded(5))
    assert float(state["g"].double().mean()) == pytest.approx(50e-6, abs=4 * 2e-6 / n**0.5)
    assert float(state["g"].double().std()) == pytest.approx(2e-6, rel=0.02)
    pcm = PhaseChange(drift_spread=0.0, step_noise=0.0)
    state = pcm.initial((1,), seeded())
    wanted = 0.1e-6
    for _ in range(5):
        state, _ = pcm.write(state, Pulse(1.0, 1e-7), seeded())
        wanted += 2.5e-6 * (1 - wanted / 25e-6)
    assert float(pcm.conductance(state)) == pytest.approx(wanted, rel=1e-5)
    later = pcm.relax(state, 999.0, seeded())
    assert float(pcm.conductance(later)) == pytest.approx(wanted * 1000**-0.031, rel=1e-5)


@pytest.mark.parametrize("device", FAMILIES, ids=lambda d: type(d).__name__)
def test_every_family_samples_what_it_expects_and_keeps_its_books(device):
    n = 40_000
    state = device.initial((n,), seeded())
    pulse = Pulse(0.4 if not isinstance(device, HfOxLevels) else 1.2, 10e-9)
    before = {k: v.clone() for k, v in state.items()}
    after, ledger = device.write(state, pulse, seeded(1))
    assert all(torch.equal(state[k], before[k]) for k in before)
    g = device.conductance(after).double()
    expected = device.expected(state, pulse).double()
    error = 4.5 * float((g - expected).std()) / n**0.5 + 1e-12
    assert abs(float((g - expected).mean())) < error
    assert ledger.pulses == n and ledger.seconds == 10e-9 and ledger.joules > 0 and ledger.gate_pulses == 0
    total = ledger + device.write(after, pulse, seeded(2))[1]
    assert total.pulses == 2 * n and total.seconds == pytest.approx(20e-9)
    again, _ = device.write(state, pulse, seeded(1))
    assert all(torch.equal(after[k], again[k]) for k in after)
    assert device.describe()["device"] == type(device).__name__


def test_stuck_and_worn_devices_keep_their_state_and_wear_is_told():
    device = MagnetoIonicMTJ(stuck=0.2, endurance=3.0, gate_endurance=4.0)
    state, n = device.initial((50_000,), seeded()), 50_000
    close(float(state["stuck"].sum()), 0.2, n)
    for k in range(5):
        pulse = Pulse(3.0 if k % 2 == 0 else -3.0, 1e-6, 2.0, 0.1)
        state, ledger = device.write(state, pulse, seeded(k))
    assert bool((state["parallel"][state["stuck"]] == 0).all())
    assert bool((state["parallel"][~state["stuck"]] == 1).all())  # the third pulse wrote P, the fourth did nothing
    assert (
        ledger.worn == pytest.approx(5 / 3)
        and ledger.gate_pulses == n
        and ledger.gate_joules == pytest.approx(4e-15 * n)
    )


def test_a_measured_table_is_fitted_and_followed(tmp_path):
    k = np.arange(33)
    rng = np.random.default_rng(0)
    up = 1e-5 + 9e-5 * np.expm1(-k / 12) / math.expm1(-32 / 12)
    down = 1e-4 - 9e-5 * np.expm1(-k / 7) / math.expm1(-32 / 7)
    noisy = [c + 5e-7 * rng.standard_normal(33) for c in (up, down)]
    path = tmp_path / "lab.csv"
    path.write_text("pulse,g_up,g_down\n" + "\n".join(f"{a},{b},{c}" for a, b, c in zip(k, *noisy, strict=True)))
    device = TableDevice.from_csv(path)
    assert device.nonlinearity == pytest.approx((12, 7), rel=0.06)
    assert device.residual == pytest.approx(5e-7, rel=0.25)
    assert np.abs(np.array(device.up) - up).max() < 5e-7
    exact = TableDevice(device.up, device.down)
    state = exact.initial((1,), seeded())
    for _ in range(10):
        state, _ = exact.write(state, Pulse(1.0, 1e-6), seeded())
    assert float(state["g"]) == pytest.approx(device.up[10], rel=1e-5)
    points = TableDevice.from_csv(path, fit="points")
    assert np.abs(np.array(points.up) - np.maximum.accumulate(noisy[0])).max() < 1e-8


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "an empty file"),
        ("a,b,c\n0,1,2", "pulse,g_up,g_down"),
        ("pulse,g_up,g_down\n0,1e-5,1e-4\n1,,9e-5", r":3: expected three finite numbers"),
        ("pulse,g_up,g_down\n0,1e-5,1e-4\n2,2e-5,9e-5", r":3: expected pulse 1"),
        ("pulse,g_up,g_down\n0,nan,1e-4", r":2: expected three"),
        ("pulse,g_up,g_down\n0,-1e-5,1e-4", r":2: expected three"),
        ("pulse,g_up,g_down\n0,1e-5,1e-4", "at least 4 pulses"),
        ("pulse,g_up,g_down\n0,4,1\n1,3,2\n2,2,3\n3,1,4", "a curve that rises"),
    ],
)
def test_tables_with_holes_are_refused_with_their_line(text, words, tmp_path):
    path = tmp_path / "lab.csv"
    path.write_text(text)
    with pytest.raises(ns.InputError, match=words) as told:
        TableDevice.from_csv(path)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: DomainWallMTJ(g_min=2.0, g_max=1.0), "0 <= g_min < g_max"),
        (lambda: PhaseChange(g_min=2.0, g_max=1.0), "0 <= g_min < g_max"),
        (lambda: HfOxLevels(means=(2e-6, 1e-6), sigmas=(0.0, 0.0)), "rising means"),
        (lambda: BinaryMTJ(r_p=-1.0), "r_p: expected a number > 0"),
        (lambda: BinaryMTJ(v_to_ap=0.3), "v_to_ap < 0"),
        (lambda: BinaryMTJ(stuck=1.5), "a share from 0 to 1"),
        (lambda: Exact(1.0, 1.0), "a probability"),
        (lambda: TableDevice((2.0, 1.0), (1.0, 2.0)), "a rising and a falling curve"),
        (lambda: TableDevice.from_csv("/nowhere.csv"), "nothing there"),
    ],
)
def test_impossible_devices_are_refused(make, words):
    with pytest.raises(ns.NeurospinError, match=words):
        make()


def test_impossible_pulses_are_refused():
    device = BinaryMTJ()
    state = device.initial((2,), seeded())
    for pulse in (Pulse(float("nan"), 1e-9), Pulse(0.1, -1.0)):
        with pytest.raises(ns.InputError, match="Pulse: expected finite volts"):
            device.write(state, pulse, seeded())
