"""Arrays with converters, slices, tiles and wires against their formulas and against single tiles."""

import numpy as np
import pytest
import torch
from scipy import stats

import neurospin as ns
from hardware_targets.crossbar.array import Array, Wiring
from hardware_targets.crossbar.devices import BoundedLinear, Ideal
from hardware_targets.crossbar.readout import normal
from hardware_targets.crossbar.wires import effective_conductance

QUIET = BoundedLinear(programming_noise=0, read_noise=0)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def made(weight, device=QUIET, seed=0, **options):
    return Array(torch.as_tensor(weight), device, seeded(seed), **{"adc_bits": None, **options})


def weights(*shape, seed=0):
    return torch.as_tensor(np.random.default_rng(seed).normal(size=shape))


@pytest.mark.parametrize("options", [{}, {"rows": 7}, {"rows": 7, "columns": 5}, {"coding": "reference"}])
@pytest.mark.parametrize("device", [QUIET, Ideal()])
def test_without_noise_a_product_is_the_product(options, device):
    w, x = weights(13, 30), torch.rand(4, 6, 30, dtype=torch.float64)
    torch.testing.assert_close(made(w, device, **options)(x), x @ w.mT, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("slices", "bits"), [(2, 2), (3, 2), (4, 1), (2, 4)])
def test_slices_give_the_weight_rounded_to_their_levels(slices, bits):
    w = weights(9, 20)
    top = 2 ** (bits * slices) - 1
    wanted = torch.round(w / w.abs().max() * top) / top * w.abs().max()
    got = made(w, slices=slices, slice_bits=bits, rows=8)(torch.eye(20, dtype=torch.float64))
    torch.testing.assert_close(got, wanted.mT, rtol=1e-11, atol=1e-12)


def test_every_tile_has_its_own_wires_and_a_stale_operator_is_computed_once():
    w = weights(20, 24)
    wires = Wiring(20.0, 30.0, 100.0, 200.0)
    array = made(w, rows=12, columns=10, wiring=wires)
    x = torch.rand(5, 24, dtype=torch.float64)
    for _ in range(3):
        got = array(x)
    assert array.refreshes == 1 and array.tiles == 8
    wanted = torch.zeros(5, 20, dtype=torch.float64)
    for i in (0, 12):
        for j in (0, 10):
            plus, minus = (s[i : i + 12, j : j + 10] for s in array.state[0])
            seen = [effective_conductance(g, 20.0, 30.0, 100.0, 200.0) for g in (plus, minus)]
            wanted[:, j : j + 10] += x[:, i : i + 12] @ (seen[0] - seen[1]) * array.largest / 90e-6
    torch.testing.assert_close(got, wanted, rtol=1e-11, atol=1e-13)
    assert (got - x @ w.mT).abs().max() > 0.02 * got.abs().max()  # the wires matter here
    array.program(w / 2)
    assert (array(x) - got / 2).abs().max() < 0.1 * got.abs().max()
    assert array.refreshes == 2


def test_converters_round_to_their_levels_and_calibration_wastes_none():
    w, x = weights(40, 50).float(), torch.rand(200, 50)
    array = made(w, Ideal(), adc_bits=8, dac_bits=6)
    array.calibrate(x)
    step = float(array.full_scale) / 127
    coded = (x * 31).round() / 31 @ w.mT
    got = array(x)
    free = coded.abs() < float(array.full_scale)
    assert float((got - coded)[free].abs().max()) <= step / 2 * 1.001
    assert array.saturated == int((coded.abs() > float(array.full_scale) + step / 2).sum())
    default = made(w, Ideal(), adc_bits=8, dac_bits=6)
    error = [float((a(x) - coded).square().mean()) for a in (array, default)]
    assert error[0] < error[1] / 2


@pytest.mark.parametrize(("bits", "range_", "rms"), [(4, 2.48, 0.114), (6, 3.27, 0.033), (8, 3.92, 0.0094)])
def test_the_calibrated_range_of_gaussian_currents_is_the_known_optimum(bits, range_, rms):
    x = torch.randn(400_000, 1, generator=seeded(), dtype=torch.float64)
    array = Array(torch.ones(1, 1, dtype=torch.float64), Ideal(), seeded(), adc_bits=bits)
    array.calibrate(x)
    assert float(array.full_scale) == pytest.approx(range_, rel=0.06)
    assert float((array(x) - x).square().mean().sqrt()) == pytest.approx(rms, rel=0.06)


@pytest.mark.parametrize("adc_bits", [None, 16])
def test_read_noise_has_the_law_of_drawing_every_device(adc_bits):
    reads, w = 40_000, weights(3, 12).float()
    x = (torch.rand(1, 12, generator=seeded(1)) < 0.6).float()
    array = made(w, BoundedLinear(programming_noise=0, read_noise=0.05), rows=5, adc_bits=adc_bits)
    ours = array(x.expand(reads, -1)).double()
    sums = torch.zeros(reads, 3, dtype=torch.float64)
    for sign, g in zip((1, -1), array.state[0], strict=True):
        draws = torch.randn(reads, 12, 3, generator=seeded(3 + sign), dtype=torch.float64)
        sums += sign * (g * (1 + 0.05 * draws) * x[0, :, None]).sum(1)
    brute = sums * array.largest / 90e-6
    assert ((ours.std(0) / brute.std(0) - 1).abs() < 4.5 / reads**0.5).all()
    assert ((ours.mean(0) - brute.mean(0)).abs() < 4.5 * brute.std(0) * (2 / reads) ** 0.5 + 1e-3).all()


def test_the_fused_noise_is_normal_and_fixed_by_its_seed():
    draws = np.empty(1_000_000)
    normal(draws, 7)
    assert stats.kstest(draws, "norm").pvalue > 1e-3
    assert stats.kurtosis(draws) == pytest.approx(0, abs=5 * (24 / 1e6) ** 0.5)
    assert abs(np.corrcoef(draws[:-1], draws[1:])[0, 1]) < 4.5e-3
    tail = (np.abs(draws) > 3.5).sum() / 1e6  # beyond the last layer
    assert tail == pytest.approx(2 * stats.norm.sf(3.5), abs=4.5 * (4.65e-4 / 1e6) ** 0.5)
    w, x = weights(8, 16).float(), torch.rand(50, 16)
    device = BoundedLinear(programming_noise=0)
    a, b, c = (made(w, device, seed, adc_bits=12, noise="column")(x) for seed in (1, 1, 2))
    assert torch.equal(a, b) and not torch.equal(a, c)
    exact = torch.stack([made(w, device, s, adc_bits=16, noise="column")(x) for s in range(200)]).std(0).mean()
    other = torch.stack([made(w, device, s, adc_bits=16)(x) for s in range(200)]).std(0).mean()
    assert float(exact / other) == pytest.approx(1, rel=0.05)


def test_sparse_spikes_take_the_short_way_to_the_same_currents():
    w = weights(16, 200)
    spikes = (torch.rand(30, 4, 200, generator=seeded()) < 0.03).double()
    spikes[3] = 0  # silent samples
    array = made(w, rows=90)
    dense = spikes @ w.mT
    torch.testing.assert_close(array(spikes), dense, rtol=1e-11, atol=1e-12)
    torch.testing.assert_close(array(spikes * 0.5), dense * 0.5, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize(
    ("weight", "bits"), [(ns.Binary(gain=8), None), (ns.Float(gain=8), None), (ns.Float(gain=8), 24)]
)
def test_ideal_devices_without_wires_give_every_spike(weight, bits):
    torch.manual_seed(0)
    net = ns.Network([ns.Dense(64, 128, weight=weight), ns.LIF(128, 8e-3)], dt=1e-3)
    spikes = (np.random.default_rng(0).random((40, 64, 64)) < 0.3).astype(np.float32)
    graph = ns.to_graph(net)
    (name,) = (n for n, node in graph.nodes.items() if hasattr(node, "weight"))
    weight = torch.as_tensor(np.asarray(graph.nodes[name].weight), dtype=torch.float32)
    wanted = ns.simulate(graph, spikes).output
    array = Array(weight, Ideal(), seeded(), adc_bits=bits)
    got = ns.simulate(graph, spikes, operators={name: array}).output
    np.testing.assert_array_equal(got, wanted)
    assert wanted.any()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"adc_bits": 1}, "2 to 24"),
        ({"dac_bits": 30}, "2 to 24"),
        ({"rows": 0}, "at least 1"),
        ({"slices": 2, "coding": "reference"}, "coding='pair'"),
        ({"wiring": Wiring(-1.0)}, "row_segment"),
    ],
)
def test_impossible_arrays_are_refused(options, words):
    with pytest.raises(ns.InputError, match=words):
        made(weights(3, 4), **options).refresh()
    with pytest.raises(ns.InputError, match="finite matrix"):
        made(torch.full((2, 2), float("nan")))
    with pytest.raises(ns.InputError, match=r"\(…, 4\)"):
        made(weights(3, 4))(torch.ones(2, 5))
