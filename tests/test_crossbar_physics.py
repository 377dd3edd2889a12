"""Curved devices, heat, half-selected writing, hidden values and verifying reads, in arrays and through `deploy`."""

import math

import numpy as np
import pytest
import torch

import neurospin as ns
from hardware_targets.crossbar.array import Array, Wiring
from hardware_targets.crossbar.devices import BinaryMTJ, HfOxLevels, LogCosh, MagnetoIonicMTJ, PhaseChange, Written
from hardware_targets.crossbar.devices.written import _others
from hardware_targets.crossbar.insitu import BinarySynapses, Sign, Verify
from hardware_targets.crossbar.target import Crossbar
from tests.crossbar_oracle import nodal

ALIKE = {"r_spread": 0.0, "tmr_spread": 0.0, "v_spread": 0.0}
QUIET = {**ALIKE, "hidden_spread": 0.0, "hidden_noise": 0.0}
V_C = 0.461 / (1 - math.log(10 / math.log(2)) / 40)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def made():
    torch.manual_seed(0)
    net = ns.Network([ns.Dense(12, 16, weight=ns.Binary(gain=8)), ns.LIF(16, 8e-3), ns.Dense(16, 4, weight=ns.Binary()), ns.LI(4)], 1e-3)  # fmt: skip
    spikes = (np.random.default_rng(0).random((6, 4, 12)) < 0.3).astype(np.float32)
    return ns.to_graph(net), spikes, ns.simulate(ns.to_graph(net), spikes, record=["lif1"])


def law(state, v):
    """Amperes over volts of a junction, written out."""
    r_p, tmr, parallel = (state[name].double().numpy() for name in ("r_p", "tmr", "parallel"))
    return np.where(parallel > 0.5, 1 / r_p, 1 / (r_p * (1 + tmr / (1 + (v / 0.5) ** 2))))


@pytest.mark.parametrize("coding", ["pair", "reference"])
def test_curved_devices_behind_wires_satisfy_kirchhoff_and_their_law(coding):
    weight = torch.randn(7, 9, generator=seeded()).sign()
    device = Written(BinaryMTJ(), read_volts=0.4)
    wires = Wiring(6.0, 4.0, 3.0, 2.0)
    array = Array(weight, device, seeded(), rows=5, columns=4, wiring=wires, adc_bits=None, coding=coding, curved=True)
    x = torch.rand(3, 9, generator=seeded(1)) * 2 - 1
    x[2] = x[0]
    x[1, 4:] = 0
    wanted = np.zeros((3, 7))
    span = device.g_max - device.g_min
    for rows in (slice(0, 4), slice(4, 9)):  # the first tile holds what is left of nine rows
        for sign, state in zip((1, -1), array.state[0], strict=True):
            columns = state["cycles"].shape[1]
            for start in range(0, columns, 4):
                here = {k: s[rows, start : start + 4] for k, s in state.items() if k != "written"}
                for sample, volts in enumerate(0.4 * x[:, rows].double().numpy()):
                    cell = np.repeat(volts[:, None], here["cycles"].shape[1], 1)
                    for _ in range(60):
                        out, nodes = nodal(law(here, cell), 6.0, 4.0, 3.0, 2.0, drives=volts[None])
                        cell = nodes[0, 0] - nodes[0, 1]
                    scale = sign * array.digit(0) / span / 0.4
                    wanted[sample, start : start + 4 if columns > 1 else None] += scale * out[0]
    np.testing.assert_allclose(array(x).numpy(), wanted, rtol=1e-5, atol=1e-5)
    assert 2 < array.convergence.iterations < 30 and array.convergence.residual <= 1e-6
    straight = Array(weight, device, seeded(), rows=5, columns=4, wiring=wires, adc_bits=None, coding=coding)
    assert float((straight(x) - torch.as_tensor(wanted)).abs().max()) > 1e-2  # what ignoring the curves costs


def test_without_wires_a_graded_input_meets_the_conductance_of_its_own_voltage():
    device = Written(HfOxLevels(sigmas=(0.0,) * 5, v_sinh=0.25), read_volts=0.5)
    weight = torch.tensor([[0.5, -1.0, 1.0]])
    array = Array(weight, device, seeded(), adc_bits=None, curved=True)
    x = torch.tensor([[0.3, -0.6, 1.0]])
    amperes = lambda g, v: g * 0.25 * math.sinh(v / 0.25)  # noqa: E731
    top, low = (amperes(g, 0.5) / 0.5 for g in (90e-6, 10e-6))
    total = sum(
        amperes(plus, 0.5 * v) - amperes(minus, 0.5 * v)
        for plus, minus, v in ((50e-6, 10e-6, 0.3), (10e-6, 90e-6, -0.6), (90e-6, 10e-6, 1.0))
    )
    assert float(array(x)) == pytest.approx(total / (top - low) / 0.5, rel=1e-5)
    assert not Written(HfOxLevels()).curved and Written(BinaryMTJ()).curved
    with pytest.raises(ns.InputError, match="v_sinh"):
        HfOxLevels(v_sinh=0.0)


def test_curved_devices_reach_deploy_with_a_report_of_convergence(made):
    graph, spikes, _ = made
    chip = Crossbar(BinaryMTJ(**ALIKE), adc_bits=None, wires=2.0, read_volts=0.4, curved=True, rows=8, columns=8)
    report = ns.deploy(graph, spikes, chip)
    told = {note["what"]: note["size"] for note in report.info["approximations"] if note["node"] == "dense1"}
    assert told["curved devices: most iterations"] > 2 and told["curved devices: largest residual"] <= 1e-6
    certificate = ns.certify(graph, spikes, chip, causes=True)
    assert {one.name for one in certificate.causes} == {"levels", "wires", "curved devices"}
    assert certificate.unexplained is not None and certificate.unexplained.differing == 0
    straight = ns.deploy(graph, spikes, chip.only(["levels", "wires"]))
    assert not np.array_equal(straight.spikes, report.spikes)
    same = ns.deploy(graph, spikes, "crossbar", device="hfox", curved=True)
    np.testing.assert_array_equal(same.spikes, ns.deploy(graph, spikes, "crossbar", device="hfox").spikes)


@pytest.mark.parametrize("kelvin", [4.0, 300.0, 420.0])
def test_the_polarisation_falls_as_spin_waves_and_tmr_as_julliere(kelvin, made):
    device = BinaryMTJ(**ALIKE)
    state = device.initial((2,), seeded())
    state["parallel"][1] = 1
    p = math.sqrt(1.735 / 3.735) * (1 - 2e-5 * kelvin**1.5) / (1 - 2e-5 * 300**1.5)
    tmr = 2 * p**2 / (1 - p**2)
    resistance = 1 / device.conductance(state, 0.1, kelvin).double()
    assert resistance.tolist() == pytest.approx([3363.7 * (1 + tmr / 1.04), 3363.7], rel=1e-6)
    assert (tmr > 1.735) == (kelvin < 300) or tmr == pytest.approx(1.735)
    graph, _, _ = made
    hot = Crossbar(BinaryMTJ(**ALIKE), adc_bits=None, read_temperature=kelvin)
    assert ("heat in reads" in hot.causes) == (kelvin != 300)
    error = hot.prepare(graph).layers["dense1"].arrays[0].held_error().abs().max()
    low, high = 1 / (3363.7 * (1 + tmr / 1.04)), 1 / 3363.7
    cold = 1 / (3363.7 * (1 + 1.735 / 1.04))
    largest = 8 / math.sqrt(12)
    assert float(error) == pytest.approx(largest * abs((high - low) / (high - cold) - 1), rel=1e-4, abs=1e-6)


def test_a_polarisation_of_one_is_refused():
    with pytest.raises(ns.InputError, match="tmr_alpha: expected at least 0"):
        BinaryMTJ(tmr=50.0)


def test_other_pulses_on_the_lines_of_a_device_are_counted_by_hand():
    on = torch.rand(7, 10, generator=seeded()) < 0.4
    lines, rest = _others(on, (3, 4))
    tile_row = (np.arange(7) + 2) // 3  # tiles are filled from the last row on
    for i in range(7):
        for j in range(10):
            same = [(a, b) for a in range(7) for b in range(10) if tile_row[a] == tile_row[i] and b // 4 == j // 4]
            others = [(a, b) for a, b in same if bool(on[a, b]) and (a, b) != (i, j)]
            assert int(lines[i, j]) == sum(a == i or b == j for a, b in others)
            assert int(rest[i, j]) == sum(a != i and b != j for a, b in others)


@pytest.mark.parametrize(("access", "part"), [("half", 1 / 2), ("third", 1 / 3)])
def test_half_selected_junctions_flip_with_the_closed_form(access, part):
    device, rows, columns = Written(BinaryMTJ(**ALIKE, delta=10.0), access=access), 6, 4000
    state = device.device.initial((rows, columns), seeded())
    way = torch.zeros(rows, columns)
    way[:2] = 1.0  # two pulses in the column of each device of the other rows, 2 (columns − 1) elsewhere
    after, cost = device._disturbed(state, way, (rows, 1), seeded(1))  # columns are tiles of their own
    v_c = 0.461 / (1 - math.log(10 / math.log(2)) / 10)
    once = math.exp(-10 * (1 - part * 1.5 * 0.461 / v_c)) * 10
    chance = 1 - math.exp(-2 * once)
    n = (rows - 2) * columns
    flipped = float(after["parallel"][2:].sum())
    assert 0.01 < chance < 0.9 and abs(flipped / n - chance) < 4.5 * math.sqrt(chance * (1 - chance) / n)
    joules = (part * 1.5 * 0.461) ** 2 * 10e-9 / (3363.7 * 2.735)
    assert cost.joules == pytest.approx(joules * (2 * n + 2 * columns), rel=1e-2)
    assert cost.disturbed == float(after["parallel"].sum()) and torch.equal(after["cycles"], state["cycles"])


def test_disturbed_writing_is_verified_and_told_by_deploy(made):
    graph, spikes, _ = made
    device = {"kind": "binary_mtj", "delta": 25.0}
    told = {}
    for access in ("transistor", "half", "third"):
        report = ns.deploy(graph, spikes, "crossbar", device=device, adc_bits=None, access=access, seed=3)
        told[access] = report.info["programming"]
        assert report.info["approximations"][0]["size"] < 0.1  # every junction is in its state in the end
    assert told["transistor"]["disturbed"] == 0 < told["half"]["disturbed"]
    assert told["half"]["joules"] > told["transistor"]["joules"] and told["half"]["reads"] > told["transistor"]["reads"]
    chip = Crossbar(device, access="half", adc_bits=None)
    assert "half-select" in chip.causes and chip.only([]).causes == ()
    for device, words in ((PhaseChange(), "whose pulses have voltages"), (None, "a device that pulses write")):
        with pytest.raises(ns.InputError, match=words):
            Crossbar(device, access="half")
    with pytest.raises(ns.NeurospinError, match="did you mean 'half'"):
        Crossbar("binary_mtj", access="hlf")


def test_hidden_values_of_a_graph_protect_their_junctions(made):
    graph, spikes, _ = made
    hidden = np.asarray(graph.metadata["neurospin"]["weights"]["dense1"]["hidden"])
    chip = Crossbar(MagnetoIonicMTJ(**QUIET, delta=32.0), m=25.0, adc_bits=None)
    layer = chip.prepare(graph).layers["dense1"]
    wanted = 2 * np.log(np.cosh(25 * np.abs(hidden))).T
    for state in layer.arrays[0].state[0]:
        rise = LogCosh(5.0)(state["h"]).numpy()
        np.testing.assert_allclose(rise, wanted, atol=10 / 4096 + 1e-4)  # |dΔE/dh| < 10
        assert float(state["gate_cycles"].max()) == 1
    gate = ns.deploy(graph, spikes, chip).info["programming"]
    assert gate["gate_pulses"] > 0 and gate["gate_joules"] > 0
    plus, minus = (dict(state) for state in layer.arrays[0].state[0])
    seconds = 0.7e-9 * math.exp(32.0)
    layer.relax(seconds, 300.0)
    flips = (layer.arrays[0].state[0][0]["parallel"] != plus["parallel"]) | (layer.arrays[0].state[0][1]["parallel"] != minus["parallel"])  # fmt: skip
    one = (1 - np.exp(-2 * 0.7 * np.exp(-wanted))) / 2
    chance = 1 - (1 - one) ** 2
    assert abs(float(flips.sum()) - chance.sum()) < 4.5 * math.sqrt((chance * (1 - chance)).sum())
    with pytest.raises(ns.InputError, match="a device with a hidden value"):
        Crossbar("binary_mtj", m=25.0)


def test_reads_that_verify_are_in_the_books():
    device = Written(BinaryMTJ(**ALIKE), read_volts=0.2, read_seconds=5e-9)
    low, high = device.g_min, device.g_max
    wanted = torch.full((4, 5), high, dtype=torch.float64)
    done = device.program(wanted, seeded())["written"]
    assert done.reads == 40  # before and after the only pulses, which all succeed
    assert done.read_joules == pytest.approx(0.04 * 5e-9 * 20 * (low + high), rel=1e-4)
    synapses = BinarySynapses(MagnetoIonicMTJ(**QUIET), scheme=Sign())
    memory = synapses.place(torch.ones(1000), seeded())
    start = synapses.ledger(memory)
    after = synapses.ledger(synapses.request(memory, torch.tensor([-1.0, 1.0]).repeat(500), seeded(1)))
    assert after.reads - start.reads == 500  # those pulsed against their state
    flipped = after.gate_pulses - 500  # each a reset
    ap = 1 / (3363.7 * (1 + 1.735 / 1.04))
    spent = 0.01 * 10e-9 * (flipped * ap + (500 - flipped) / 3363.7)
    assert after.read_joules - start.read_joules == pytest.approx(spent, rel=1e-6)
    outside = BinarySynapses(BinaryMTJ(**ALIKE), scheme=Verify(rounds=3))
    memory = outside.place(torch.ones(10), seeded())
    before = outside.ledger(memory).reads
    assert outside.ledger(outside.request(memory, torch.ones(10), seeded())).reads - before == 10
