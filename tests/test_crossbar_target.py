"""The crossbar as a target: options, devices by name, convolutions, costs, causes, and the command line."""

import json

import nir
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import neurospin as ns
from hardware_targets.cases import CASES
from hardware_targets.crossbar.array import Wiring
from hardware_targets.crossbar.devices import (
    BinaryMTJ,
    BoundedLinear,
    HfOxLevels,
    Ideal,
    MagnetoIonicMTJ,
    Written,
    presets,
)
from hardware_targets.crossbar.target import Crossbar
from neurospin.cli import app
from neurospin.graph.check import shape_of
from neurospin.graph.simulate import simulate


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def made():
    torch.manual_seed(0)
    net = ns.Network([ns.Dense(40, 60, weight=ns.Binary(gain=8)), ns.LIF(60, 8e-3), ns.Dense(60, 5), ns.LI(5)], dt=1e-3)
    spikes = (np.random.default_rng(0).random((20, 16, 40)) < 0.3).astype(np.float32)
    return ns.to_graph(net), spikes, ns.simulate(ns.to_graph(net), spikes, record=["lif1"])


def conv(two, groups=2, stride=1, padding=1, dilation=1, channels=4):
    rng = np.random.default_rng(1)
    space = (7, 6) if two else (11,)
    weight = rng.normal(size=(6, channels // groups, *((3, 2) if two else (3,)))).astype(np.float32)
    bias = rng.normal(size=6).astype(np.float32)
    size = space if two else space[0]
    node = (nir.Conv2d if two else nir.Conv1d)(size, weight, stride, padding, dilation, groups, bias)
    shape = (channels, *space)
    ends = {"input": nir.Input({"input": np.array(shape)}), "c": node}
    out = shape_of("c", node, shape)
    full = lambda value: np.full(out, value, np.float32)  # noqa: E731
    ends |= {"n": nir.LI(tau=full(4e-3), r=full(1), v_leak=full(0)), "output": nir.Output({"output": np.array(out)})}
    edges = [("input", "c"), ("c", "n"), ("n", "output")]
    graph = nir.NIRGraph(ends, edges, metadata={"neurospin": {"dt": 1e-3}}, type_check=False)
    return graph, (rng.random((5, 3, *shape)) < 0.4).astype(np.float32)


@pytest.mark.parametrize("convolution", ["patches", "unrolled"])
@pytest.mark.parametrize(
    "settings",
    [{"two": True}, {"two": False}, {"two": True, "groups": 1, "stride": 2, "padding": 0}, {"two": True, "padding": "same"},
     {"two": False, "padding": "valid", "dilation": 2}],
)  # fmt: skip
def test_convolutions_on_arrays_are_convolutions(settings, convolution):
    graph, spikes = conv(**settings)
    truth = ns.simulate(graph, spikes).output
    fine = ns.deploy(graph, spikes, "crossbar", device="ideal", adc_bits=24, rows=5, convolution=convolution)
    np.testing.assert_allclose(fine.spikes, truth, atol=3e-5 * np.abs(truth).max())
    exact = ns.deploy(graph, spikes, "crossbar", device="ideal", adc_bits=None, rows=5, convolution=convolution)
    np.testing.assert_array_equal(exact.spikes, truth)


def test_a_convolution_is_told_by_its_matrices_and_positions():
    graph, spikes = conv(two=True, groups=1)
    patches, unrolled = (
        ns.deploy(graph, spikes, "crossbar", convolution=how, rows=16, columns=4).info["mapping"][0]
        for how in ("patches", "unrolled")
    )
    assert patches["matrices"] == [[4 * 6, 6]] and patches["positions"] == 7 * 7  # of 3 × 2, padded by 1
    assert patches["devices"] == 2 * 24 * 6 and patches["tiles"] == 2 * 2 * 2
    assert patches["utilisation"] == pytest.approx(2 * 144 / (8 * 64))
    assert unrolled["matrices"] == [[4 * 42, 6 * 49]] and unrolled["positions"] == 1
    graph.nodes["c"].weight = np.zeros((6, 4, 3, 2), np.float32)
    huge = Crossbar(convolution="unrolled")
    node = nir.Conv2d((200, 200), np.ones((6, 1, 3, 3), np.float32), 1, 0, 1, 1, np.zeros(6, np.float32))
    out = np.array([6, 198, 198])
    big = nir.NIRGraph({"input": nir.Input({"input": np.array([1, 200, 200])}), "c": node, "output": nir.Output({"output": out})},
                       [("input", "c"), ("c", "output")])  # fmt: skip
    (problem,) = huge.check(big)
    assert "unrolled" in str(problem) and "patches" in problem.fix
    assert Crossbar().check(big) == []


@pytest.mark.parametrize("name", [n for n in presets.NAMES if n != "table"])
def test_every_device_can_be_deployed_and_explained(name, made):
    graph, spikes, truth = made
    report = ns.deploy(graph, spikes, "crossbar", device=name, record=["lif1"], seed=1)
    again = ns.deploy(graph, spikes, "crossbar", device=name, record=["lif1"], seed=1)
    np.testing.assert_array_equal(report.records["lif1"], again.records["lif1"])
    got, want = report.records["lif1"], truth.records["lif1"]
    assert 2 * (got * want).sum() / (got + want).sum() > 0.65  # binary weights suit every device
    chip = Crossbar(name)
    assert chip.causes == ("ADC",) if name == "ideal" else "device" in report.info
    none = ns.deploy(graph, spikes, chip.only([]), record=["lif1"])
    np.testing.assert_array_equal(none.records["lif1"], want)
    json.loads(report.to_json(), parse_constant=lambda word: pytest.fail(word))


def test_writing_and_verifying_reaches_the_nearest_state():
    wanted = torch.rand(50, 60, generator=seeded(), dtype=torch.float64)
    binary = Written(BinaryMTJ(r_spread=0, tmr_spread=0, v_spread=0))
    low, high = binary.g_min, binary.g_max
    assert high == pytest.approx(1 / 3363.7) and low == pytest.approx(1 / (3363.7 * (1 + 1.735 / 1.04)))
    state = binary.program(low + (high - low) * wanted, seeded())
    clear = (wanted - 0.5).abs() > 0.03  # the expected conductance is that at 0 V, where TMR is 4 % larger
    assert bool((state["parallel"] > 0.5)[clear].eq(wanted[clear] > 0.5).all())
    assert state["written"].pulses >= float((wanted[clear] > 0.5).sum()) and state["written"].joules > 0
    levels = Written(HfOxLevels(sigmas=(0.0,) * 5))
    g = levels.conductance(levels.program(10e-6 + 80e-6 * wanted, seeded()))
    torch.testing.assert_close(g, 10e-6 + 20e-6 * (4 * wanted).round().float(), rtol=1e-5, atol=0, check_dtype=False)


def test_causes_of_a_written_device_are_separate():
    device = Written(MagnetoIonicMTJ(stuck=0.1, read_noise=0.02))
    assert device.causes == ("levels", "device spread", "stuck devices", "read noise")
    wanted = device.g_min + (device.g_max - device.g_min) * torch.rand(30, 30, generator=seeded(), dtype=torch.float64)
    bare = device.only([])
    torch.testing.assert_close(bare.conductance(bare.program(wanted, seeded())), wanted, rtol=1e-14, atol=0)
    spread = device.only(["device spread"])
    error = spread.conductance(spread.program(wanted, seeded())) / wanted - 1
    assert 0.03 < float(error.std()) < 0.06 and spread.read_variance(spread.program(wanted, seeded())).max() == 0
    assert float(device.only(["read noise"]).read_variance(device.program(wanted, seeded())).min()) > 0


def test_costs_follow_from_the_arrays_by_hand():
    graph = ns.to_graph(ns.Network([ns.Dense(6, 4), ns.LI(4)], dt=1e-3))
    weight = graph.nodes["dense1"].weight
    weight[:] = np.where(np.arange(24).reshape(4, 6) % 2, 1.0, -0.5)
    spikes = np.zeros((3, 2, 6), np.float32)
    spikes[1, 0, :3] = 1
    quiet = BoundedLinear(programming_noise=0, read_noise=0)
    report = ns.deploy(
        graph, spikes, "crossbar", device=quiet, rows=4, columns=4, read_volts=0.2, read_seconds=5e-9, adc_bits=8
    )
    share = np.abs(weight[:, :3]).sum()  # of the three driven rows; each pair has two g_min
    siemens = 2 * 4 * 3 * 10e-6 + 90e-6 * share
    assert report.energy["arrays"] == pytest.approx([0.04 * 5e-9 * siemens] * 2)
    assert report.operations["adc_conversions"] == 3 * 2 * 4 * 2  # two tiles of rows
    assert report.energy["converters"][0] == pytest.approx(48 * 2e-3 / 1.28e9)
    assert report.operations["device_reads"] == 3 * 4 * 2
    assert report.info["seconds"] == pytest.approx([3 * (5e-9 + 4 / 1.28e9)] * 2)
    assert report.info["tiles"] == 4 and report.info["utilisation"] == pytest.approx(48 / 64)
    assert report.info["area_m2"]["cells"] == pytest.approx(64 * 0.0002e-6 / 131072)


def test_calibration_uses_the_samples_it_is_given_and_helps(made):
    graph, spikes, truth = made
    errors = []
    for samples in (0, 4):
        report = ns.deploy(graph, spikes, "crossbar", device="ideal", adc_bits=5, calibration=samples)
        errors.append(float(np.square(report.spikes - truth.output).mean()))
        assert ("4 samples" in report.info["adc_range"]) == bool(samples)
    assert errors[1] < 0.7 * errors[0]
    graph, spikes = conv(two=True)
    fine = ns.deploy(graph, spikes, "crossbar", device="ideal", adc_bits=12, calibration=3)
    np.testing.assert_allclose(fine.spikes, ns.simulate(graph, spikes).output, atol=0.01)


def test_wires_reach_deploy_and_are_a_cause(made):
    graph, spikes, truth = made
    plain = Crossbar(Ideal(), adc_bits=None, wires=2.0)
    assert plain.causes == ("wires",) and plain.options.wires == Wiring(2.0, 2.0)
    bad = ns.deploy(graph, spikes, plain, record=["lif1"])
    small = ns.deploy(
        graph, spikes, "crossbar", device="ideal", adc_bits=None, wires=2.0, rows=8, columns=8, record=["lif1"]
    )
    gained = ns.deploy(graph, spikes, plain, record=["lif1"], compensate=True, calibration=8)
    wrong = [int((r.records["lif1"] != truth.records["lif1"]).sum()) for r in (bad, small, gained)]
    assert wrong[0] > 1.5 * wrong[2]
    assert wrong[0] > 2 * wrong[1] > 0
    told = ns.certify(graph, spikes, plain, causes=True)
    assert told.unexplained is not None and told.unexplained.differing == 0
    assert told.causes[0].alone.differing == wrong[0]


def test_age_and_temperature_are_switched_as_ageing(made):
    graph, spikes, truth = made
    old = Crossbar(MagnetoIonicMTJ(delta=30.0), age=1e7, temperature=400.0)
    fresh = old.only([c for c in old.causes if c != "ageing"])
    wrong = [
        int((ns.deploy(graph, spikes, c, record=["lif1"]).records["lif1"] != truth.records["lif1"]).sum())
        for c in (fresh, old)
    ]
    assert "ageing" in old.causes and wrong[1] > 2 * wrong[0]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"device": "magneto_ionic"}, "did you mean 'magneto_ionic_mtj'"),
        ({"device": {"kind": "pcm", "g_mx": 1.0}}, "did you mean 'g_max'"),
        ({"device": {"kind": "pcm", "g_max": "big"}}, "a number"),
        ({"device": {"kind": "bounded_linear", "g_min": 2e-4}}, "0 <= g_min < g_max"),
        ({"device": {"kind": "hfox", "means": [2e-6, 1e-6], "sigmas": [0, 0]}}, "rising means"),
        ({"device": {"kind": "table"}}, "path"),
        ({"device": {"kind": "table", "path": "nowhere.csv"}}, "a CSV file"),
        ({"device": 3}, "name the device under kind"),
        ({"wires": -1.0}, "row_segment"),
        ({"wires": {"row_segmnt": 1.0}}, "did you mean 'row_segment'"),
        ({"wires": float("nan")}, "row_segment"),
        ({"rows": 2.5}, "a whole number"),
        ({"adc_bits": True}, "2 to 24"),
        ({"coding": "pairs"}, "did you mean 'pair'"),
        ({"temperature": 0}, "a number > 0"),
        ({"age": -1.0}, ">= 0"),
        ({"compensate": True}, "samples to calibrate on"),
        ({"adc": 8}, "got 'adc'"),
        ({"slices": 2, "coding": "reference"}, "coding='pair'"),
    ],
)
def test_impossible_options_are_one_line(options, words, made):
    graph, spikes, _ = made
    with pytest.raises(ns.NeurospinError, match=words) as told:
        ns.deploy(graph, spikes, "crossbar", **options)
    assert "\n" not in str(told.value) and "Fix:" in str(told.value)


def test_options_of_the_crossbar_are_refused_by_another_target(made):
    with pytest.raises(ns.UnknownName, match="target loihi: expected one of rounding, scaling, got 'wires'"):
        ns.deploy(*made[:2], "loihi", wires=1.0)


def test_the_command_line_sets_options_and_writes_nothing_when_they_are_wrong(made, tmp_path):
    graph, spikes, _ = made
    ns.write(tmp_path / "g.nir", graph)
    np.savez(tmp_path / "x.npz", spikes=spikes)
    base = ["deploy", f"{tmp_path}/g.nir", "-i", f"{tmp_path}/x.npz", "-t", "crossbar", "-o", f"{tmp_path}/o.npz", "--json", f"{tmp_path}/r.json"]  # fmt: skip
    sets = ["--set", "device=binary_mtj", "--set", "device.r_spread=1e-1", "--set", "wires.row_segment=1e-2", "--set", "adc_bits=none"]  # fmt: skip
    done = CliRunner().invoke(app, [*base, *sets])
    assert done.exit_code == 0, done.output + str(done.exception)
    told = json.loads((tmp_path / "r.json").read_text())["info"]
    assert told["r_spread"] == 0.1 and told["wires"]["row_segment"] == 0.01 and told["adc_bits"] is None
    (tmp_path / "o.npz").unlink()
    for wrong in (["--set", "device=mtj"], ["--set", "wires=-2"], ["--set", "device"], ["--set", "device.g_min=-1"]):
        done = CliRunner().invoke(app, [*base, *wrong])
        assert isinstance(done.exception, ns.NeurospinError) and not (tmp_path / "o.npz").exists()


def test_conformance_cases_run_with_physical_devices():
    for name in ("Conv2d", "AvgPool2d", "loop", "delay"):
        case = CASES[name]
        spikes = case.spikes(20, 3)
        report = ns.deploy(case.make(), spikes, "crossbar", device="magneto_ionic_mtj", wires=0.05, dt=1e-3)
        truth = simulate(case.make(), spikes, dt=1e-3).output
        assert 2 * (report.spikes * truth).sum() / (report.spikes + truth).sum() > 0.5


def test_settings_change_what_they_name_and_nothing_else():
    chip = Crossbar("binary_mtj", wires=2.0, adc_bits=6, rows=16)
    other = chip.adjusted(**{"device.r_spread": 0.2, "wires.driver": 5.0, "columns": 8})
    assert other.options.wires == Wiring(2.0, 2.0, 5.0) and other.options.adc_bits == 6
    assert (other.options.rows, other.options.columns) == (16, 8)
    assert isinstance(other.device, Written) and other.device.device == BinaryMTJ(r_spread=0.2)
    assert chip.adjusted(read_volts=0.3).device == Written(BinaryMTJ(), 0.3)
    assert Crossbar().adjusted(**{"device.levels": 4}).device == BoundedLinear(levels=4)
    for wrong, words in (({"device.tmrr": 1.0}, "did you mean 'tmr'"), ({"rows.x": 1}, "device.NAME")):
        with pytest.raises(ns.NeurospinError, match=words):
            chip.adjusted(**wrong)


@pytest.mark.parametrize("two", [False, True])
def test_charge_is_accumulated_over_windows_with_its_noise(two, made):
    graph, spikes = conv(two) if two else made[:2]
    seen = ns.deploy(graph, spikes, "crossbar", device="ideal", adc_bits=None, accumulate=3)
    summed = np.zeros_like(spikes)
    for start in range(0, len(spikes), 3):
        summed[min(start + 2, len(spikes) - 1)] = spikes[start : start + 3].sum(0)
    if two:  # the readout sees the very sums, with the bias in every step
        np.testing.assert_allclose(seen.spikes, ns.simulate(graph, summed).output, atol=1e-5)
    else:
        layer = Crossbar(BoundedLinear(programming_noise=0, read_noise=0.1), adc_bits=None, accumulate=3)
        one = layer.prepare(graph, 1).layers["dense1"]
        one.batch = 4000
        x = torch.as_tensor(np.repeat(spikes[:6, :1], 4000, axis=1)).flatten(0, 1)
        y = one(x).unflatten(0, (6, 4000)).double()
        assert not y[[0, 1, 3, 4]].any()
        plus, minus = one.arrays[0].state[0]
        variance = torch.as_tensor(spikes[:3, 0]).double().sum(0) @ ((0.1 * plus) ** 2 + (0.1 * minus) ** 2)
        wanted = variance.sqrt() * one.arrays[0].largest / 90e-6
        assert ((y[2].std(0) / wanted - 1).abs() < 4.5 / (2 * 4000) ** 0.5).all()
    plain, few = (ns.deploy(graph, spikes, "crossbar", device="ideal", accumulate=k).operations for k in (1, 3))
    windows = -(-len(spikes) // 3)
    assert few["adc_conversions"] == plain["adc_conversions"] * windows / len(spikes)
    only = Crossbar(Ideal(), adc_bits=None, accumulate=2)
    assert only.causes == ("accumulation",)
    np.testing.assert_array_equal(ns.deploy(graph, spikes, only.only([])).spikes, ns.simulate(graph, spikes).output)


def test_loops_do_not_accumulate():
    problems = Crossbar(accumulate=4).check(CASES["loop"].make())
    assert [p.fix for p in problems] == ["accumulate=1"] and "loop" in str(problems[0])
