"""Against the chip's faults: lines by least squares, conductances for wires, training through the chip."""

import numpy as np
import pytest
import torch

import neurospin as ns
from hardware_targets.crossbar.array import Array, Wiring
from hardware_targets.crossbar.compensation import Chip, calibrate_columns, predistort
from hardware_targets.crossbar.devices import BoundedLinear, Ideal
from neurospin.plasticity import Through
from tests.crossbar_oracle import nodal

KILO = BoundedLinear(g_min=1 / 9199.2, g_max=1 / 3363.7, programming_noise=0.0, read_noise=0.0, levels=None)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def weights(outputs=10, inputs=12):
    return torch.randn(outputs, inputs, generator=seeded(1), dtype=torch.float64)


def test_the_effective_matrix_is_that_of_kirchhoff():
    w = weights()
    array = Array(w, KILO, seeded(), rows=7, columns=6, wiring=Wiring(2.0, 1.0), adc_bits=None)
    span = KILO.g_max - KILO.g_min
    wanted = np.zeros((10, 12))
    plus, minus = array.state[0]
    for g, sign in ((plus.numpy(), 1), (minus.numpy(), -1)):
        for rows in (slice(0, 5), slice(5, 12)):  # 12 rows in tiles of 7: the first is short
            for columns in (slice(0, 6), slice(6, 10)):
                currents, _ = nodal(g[rows, columns], 2.0, 1.0)
                wanted[columns, rows] += sign * currents.T * float(w.abs().max()) / span
    np.testing.assert_allclose(array.matrix().numpy(), wanted, rtol=1e-9, atol=1e-12)
    x = torch.rand(5, 12, generator=seeded(2), dtype=torch.float64)
    torch.testing.assert_close(array(x), x @ array.matrix().mT)


def test_lines_are_those_of_least_squares_and_mend_what_is_a_line():
    w, x = weights(), torch.rand(50, 12, generator=seeded(2), dtype=torch.float64)
    factor = torch.linspace(0.5, 1.2, 10, dtype=torch.float64)
    line = calibrate_columns(lambda x: x @ (w * factor[:, None]).mT - 0.3, w, x)
    torch.testing.assert_close(line.gain, 1 / factor)
    torch.testing.assert_close(line.offset, 0.3 / factor)
    assert line.after < 1e-12 < 0.1 < line.before
    array = Array(w, KILO, seeded(), wiring=Wiring(5.0, 5.0), adc_bits=None)
    line = calibrate_columns(array, w, x)
    for j in range(10):
        slope, offset = np.polyfit(array(x)[:, j].numpy(), (x @ w.mT)[:, j].numpy(), 1)
        assert (float(line.gain[j]), float(line.offset[j])) == pytest.approx((slope, offset), rel=1e-8)
    assert line.after < line.before


def test_predistorted_conductances_cancel_the_wires_where_there_is_head_room():
    w = weights()
    array = Array(w * 2, KILO, seeded(), wiring=Wiring(5.0, 5.0), adc_bits=None)
    array.program(w)
    ignored = float((array.matrix() - w).square().mean().sqrt() / w.square().mean().sqrt())
    left = predistort(array, w, rounds=25)
    assert ignored > 0.05 and left < 1e-3
    now = float((array.matrix() - w).square().mean().sqrt() / w.square().mean().sqrt())
    assert now == pytest.approx(left, rel=1e-9)
    tight = Array(w, KILO, seeded(), wiring=Wiring(5.0, 5.0), adc_bits=None)
    assert predistort(tight, w, rounds=25) > 10 * left  # the largest weight has nowhere to go


def test_training_through_an_exact_chip_is_training_and_a_noisy_one_is_seen_only_inside():
    def trained(wrap):
        p = torch.nn.Parameter(weights(4, 6).clone())
        rule = wrap(torch.optim.Adam([p], lr=0.01))
        x, y = (
            torch.rand(20, 6, generator=seeded(3), dtype=torch.float64),
            torch.rand(20, 4, generator=seeded(4), dtype=torch.float64),
        )
        for _ in range(5):
            rule.zero_grad()
            with rule.sampling() if isinstance(rule, Through) else torch.enable_grad():
                (x @ p.mT - y).square().mean().backward()
            rule.step()
        return p.detach()

    plain = trained(lambda base: base)
    assert torch.equal(trained(lambda base: Through(base, lambda w, _: w)), plain)
    torch.testing.assert_close(trained(lambda base: Through(base, Chip(Ideal()))), plain)
    p = torch.nn.Parameter(weights())
    rule = Through(torch.optim.SGD([p], lr=1.0), Chip(BoundedLinear(programming_noise=0.05, read_noise=0.0)), seed=2)
    before, seen = p.detach().clone(), []
    for _ in range(200):
        with rule.sampling():
            seen.append(p.detach().clone())
    assert torch.equal(p.detach(), before)
    noise = (torch.stack(seen) - before)[
        :, (before.abs() > 0.2 * before.abs().max()) & (before.abs() < 0.8 * before.abs().max())
    ]
    # each pair: one device inside the range with the full error, one at its lower end that can only err upwards
    wanted = 0.05 * float(before.abs().max()) * (1 + (0.5 - 0.5 / np.pi)) ** 0.5
    assert float(noise.std(0).square().mean().sqrt()) == pytest.approx(wanted, rel=0.03)
    with pytest.raises(ns.InputError, match=r"Through\.base"):
        Through(ns.plasticity.BayesBiNN([torch.zeros(2)], samples=2), lambda w, _: w)


def test_a_chip_of_another_shape_is_refused():
    with pytest.raises(ns.InputError, match="calibrate_columns: expected finite outputs"):
        calibrate_columns(lambda x: x, weights(), torch.rand(3, 12, dtype=torch.float64))
