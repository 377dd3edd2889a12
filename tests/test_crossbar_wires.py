"""The wire solver against a sparse LU of Kirchhoff's equations, ngspice, ladders, and finite differences."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import neurospin as ns
from hardware_targets.crossbar import blocks, reduction, wires
from hardware_targets.crossbar.fields import fields, selected
from hardware_targets.crossbar.nonlinear import nonlinear
from hardware_targets.crossbar.wires import admittance, effective_conductance, float_rows
from tests.crossbar_oracle import NGSPICE, ngspice, nodal

SHAPES = [(1, 1), (1, 9), (7, 1), (2, 3), (8, 8), (9, 5), (13, 40), (40, 13), (3, 70), (70, 3), (64, 64)]


def tensor(*arrays):
    return tuple(torch.as_tensor(a) for a in arrays)


def off(got, wanted):
    return np.abs(np.asarray(got) - wanted).max() / np.abs(wanted).max()


def drawn(shape, seed=0, on=3e3):
    rng = np.random.default_rng(seed)
    return 1 / rng.uniform(on, 1e5, shape), rng.uniform(0.1, 20, shape), rng.uniform(0.1, 20, shape), rng


@pytest.mark.parametrize("shape", SHAPES)
def test_the_effective_matrix_solves_kirchhoffs_equations(shape):
    g, row, column, _ = drawn(shape)
    wanted, _ = nodal(g, row, column, 3.0, 5.0)
    got = effective_conductance(*tensor(g, row, column), 3.0, 5.0)
    single = effective_conductance(*(x.float() for x in tensor(g, row, column)), 3.0, 5.0)
    both, y_in = admittance(*tensor(g, row, column), 3.0, 5.0)
    assert off(got, wanted) < 1e-11 and off(both, wanted) < 1e-11
    assert off(single, wanted) < 2e-6
    assert float((y_in - y_in.mT).abs().max() / y_in.max()) < 1e-14


@pytest.mark.parametrize("wire", [0.1, 2.5, 20.0])
def test_no_regime_needs_tuning(wire):
    g = np.where(np.random.default_rng(1).random((128, 128)) < 0.5, 1 / 3e3, 1 / 9.2e3)
    wanted, _ = nodal(g, wire, wire)
    assert off(effective_conductance(torch.tensor(g), wire, wire), wanted) < 1e-10
    assert off(effective_conductance(torch.tensor(g).float(), wire, wire), wanted) < 5e-6


@pytest.mark.skipif(NGSPICE is None, reason="ngspice is not installed (apt-get install ngspice)")
@pytest.mark.parametrize(("shape", "wire"), [((5, 8), 2.0), ((16, 16), 20.0), ((32, 32), 0.5)])
def test_ngspice_agrees(shape, wire, tmp_path):
    g, _, _, rng = drawn(shape, 3)
    volts = rng.uniform(-0.2, 0.2, shape[0])
    got = torch.tensor(volts) @ effective_conductance(torch.tensor(g), wire, 1.5 * wire)
    assert off(got, ngspice(g, wire, 1.5 * wire, volts, tmp_path)) < 1e-11


def test_closed_forms():
    g = torch.rand(20, 30, dtype=torch.float64)
    torch.testing.assert_close(effective_conductance(g, 0.0, 0.0), g, rtol=1e-14, atol=0)
    one = effective_conductance(torch.tensor([[2.0]], dtype=torch.float64), 0.3, 0.4, 0.5, 0.6)
    assert float(one) == pytest.approx(2 / (1 + 2 * 1.8), rel=1e-14)
    # one column, ideal wires but the sense: all rows share it
    column = effective_conductance(g[:, :1], 0.0, 0.0, 0.0, 0.7)
    torch.testing.assert_close(column, g[:, :1] / (1 + 0.7 * g[:, :1].sum()), rtol=1e-13, atol=0)
    row = effective_conductance(g[:1], 0.0, 0.0, 0.7, 0.0)
    torch.testing.assert_close(row, g[:1] / (1 + 0.7 * g[:1].sum()), rtol=1e-13, atol=0)
    # a ladder of n devices between a resistive row and ideal columns, by recursion from the open end
    ladder, seen = [], 0.0
    for x in g[0].flip(0).tolist():
        seen += x
        ladder.append(1 / (1 + 0.2 * seen))
        seen *= ladder[-1]
    share = torch.tensor(ladder, dtype=torch.float64).flip(0).cumprod(0)
    torch.testing.assert_close(effective_conductance(g[:1], 0.2, 0.0)[0], g[0] * share, rtol=1e-13, atol=0)


def test_resistance_and_conductance_scale_together():
    g = torch.rand(2, 17, 11, dtype=torch.float64)
    a = effective_conductance(g * 1e-4, 2.0, 3.0, 4.0, 5.0) / 1e-4
    torch.testing.assert_close(a, effective_conductance(g, 2e-4, 3e-4, 4e-4, 5e-4), rtol=1e-12, atol=0)
    torch.testing.assert_close(a[1], effective_conductance(g[1] * 1e-4, 2.0, 3.0, 4.0, 5.0) / 1e-4, rtol=1e-12, atol=0)


def test_many_arrays_in_chunks_equal_each_alone(monkeypatch):
    g = torch.rand(5, 40, 24, dtype=torch.float64)
    whole = effective_conductance(g, 0.1, 0.2)
    monkeypatch.setattr(reduction, "WORKING_SET", 64)
    torch.testing.assert_close(effective_conductance(g, 0.1, 0.2), whole, rtol=1e-13, atol=0)
    for k in range(5):
        torch.testing.assert_close(effective_conductance(g[k], 0.1, 0.2), whole[k], rtol=1e-13, atol=0)


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 2**31))
def test_any_shape_with_dead_devices_and_ideal_segments(m, n, seed):
    rng = np.random.default_rng(seed)
    g = rng.random((m, n)) * (rng.random((m, n)) < 0.7)
    row, column = (rng.random((m, n)) * (rng.random((m, n)) < 0.7) for _ in range(2))
    got = effective_conductance(*tensor(g, row, column))
    wanted, _ = nodal(g, np.maximum(row, 1e-9), np.maximum(column, 1e-9))
    assert np.abs(got.numpy() - wanted).max() < 1e-6


def test_the_dense_leaf_is_the_eliminated_leaf():
    g, row, column = (torch.rand(3, 15, 21, dtype=torch.float64) for _ in range(3))
    p, q = 5, 7
    at = torch.tensor([[a, i, j] for a in range(3) for i in (0, 5, 10) for j in (0, 7, 14)])
    H, cell = blocks.leaves(g, row, column, at, p, q, keep=True)
    short, _ = blocks.leaves(g, row, column, at, p, q, keep=False)
    other, through = blocks._leaves_by_solve(*(blocks.tiled(x, at, p, q) for x in (g, row, column)))
    torch.testing.assert_close(H, other, rtol=1e-11, atol=1e-12)
    torch.testing.assert_close(short, other, rtol=1e-11, atol=1e-12)
    torch.testing.assert_close(cell, through, rtol=1e-11, atol=1e-12)


def test_gradients_are_finite_differences():
    torch.manual_seed(0)
    g, row, column = (torch.rand(5, 12, dtype=torch.float64, requires_grad=True) for _ in range(3))
    driver, sense = (torch.rand(n, dtype=torch.float64, requires_grad=True) for n in (5, 12))
    assert torch.autograd.gradcheck(admittance, (g, row, column, driver, sense))
    stack = torch.rand(2, 17, 9, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: effective_conductance(x, 0.1, 0.2), (stack,))


def test_every_node_voltage_and_the_energy_balance():
    g, row, column, rng = drawn((19, 27), 5)
    drives, ends = rng.uniform(-1, 1, (3, 19)), rng.uniform(-1, 1, (3, 27))
    outputs, nodes = nodal(g, row, column, 3.0, 5.0, drives=drives, ends=ends)
    got = fields(*tensor(g, row, column, drives), 3.0, 5.0, column_voltages=torch.tensor(ends))
    assert off(got.row_voltage, nodes[:, 0]) < 1e-11 and off(got.column_voltage, nodes[:, 1]) < 1e-11
    assert off(got.output, outputs) < 1e-10
    grounded = fields(*tensor(g, row, column, drives), 3.0, 5.0)
    _, y_in = admittance(*tensor(g, row, column), 3.0, 5.0)
    drawn_power = ((torch.tensor(drives) @ y_in) * torch.tensor(drives)).sum(-1)
    torch.testing.assert_close(grounded.power.sum((-1, -2)) + grounded.wire_power, drawn_power, rtol=1e-12, atol=0)
    torch.testing.assert_close(grounded.source, torch.tensor(drives) @ y_in, rtol=1e-11, atol=1e-15)


def test_floating_rows_against_sources_taken_away():
    g, row, column, rng = drawn((12, 10), 7)
    driven = rng.random(12) < 0.5
    volts = rng.random((1, 12)) * driven
    wanted, nodes = nodal(g, row, column, 2.0, 1.0, driven=driven, drives=volts)
    g_eff, y_in = admittance(*tensor(g, row, column), 2.0, 1.0)
    got = torch.tensor(volts) @ float_rows(g_eff, y_in, torch.tensor(driven))
    assert off(got, wanted) < 1e-11
    inside = fields(*tensor(g, row, column, volts), 2.0, 1.0, driven=torch.tensor(driven[None]))
    assert off(inside.row_voltage, nodes[:, 0]) < 1e-11
    dead = torch.zeros(4, 3, dtype=torch.float64)
    dead[0] = 1e-3
    g_eff, y_in = admittance(dead, 1.0, 1.0)
    assert torch.isfinite(float_rows(g_eff, y_in, torch.tensor([True, False, False, False]))).all()


def test_nonlinear_devices_satisfy_their_law_and_kirchhoff():
    g0, _, _, rng = drawn((10, 14), 9)
    volts = torch.tensor(rng.uniform(0.1, 0.6, (3, 10)))

    def chord(v):  # I = g₀ V₀ sinh(v / V₀)
        x = v / 0.25
        return torch.tensor(g0) * torch.where(x.abs() < 1e-6, torch.ones_like(x), torch.sinh(x) / x)

    found, how = nonlinear(chord, 8.0, 8.0, volts)
    law = torch.tensor(g0) * 0.25 * torch.sinh(found.cell_voltage / 0.25)
    torch.testing.assert_close(found.current, law, rtol=1e-7, atol=0)
    torch.testing.assert_close(found.current.sum(-2), found.output, rtol=1e-12, atol=0)
    assert how.residual < 1e-9 and how.iterations < 40
    with pytest.raises(ns.InputError, match="within 2 iterations"):
        nonlinear(chord, 8.0, 8.0, volts, iterations=2)


@pytest.mark.parametrize(("scheme", "line", "rest"), [("half", 0.5, 0.0), ("third", 1 / 3, 1 / 3)])
def test_half_selected_cells_see_their_share(scheme, line, rest):
    g = torch.full((6, 9), 1e-4, dtype=torch.float64)
    seen = selected(g, 0.0, 0.0, 2, 3, 0.4, scheme).cell_voltage[0] / 0.4
    wanted = torch.full_like(g, rest)
    wanted[2], wanted[:, 3], wanted[2, 3] = line, line, 1.0
    assert (seen.abs() - wanted).abs().max() < 1e-12
    assert float(selected(g, 5.0, 5.0, 0, 8, 0.4, scheme).cell_voltage[0, 0, 8]) < 0.4  # the far corner gets less


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda g: (g * float("nan"), 1.0), "12 of 12 that are not"),
        (lambda g: (-g, 1.0), "finite values >= 0 siemens"),
        (lambda g: (g, -1.0), "row_segment: expected finite values >= 0 ohms"),
        (lambda g: (g, float("inf")), "row_segment"),
        (lambda g: (g, torch.ones(5)), "broadcast"),
        (lambda g: (g.int(), 1.0), "float32 or float64"),
        (lambda g: (g[0], 1.0), "rows, columns"),
        (lambda g: (g[:0], 1.0), "at least one"),
    ],
)
def test_impossible_arrays_are_refused(change, words):
    g, row = change(torch.rand(3, 4) + 0.1)
    with pytest.raises(ns.InputError, match=words) as told:
        effective_conductance(g, row, 1.0)
    assert "\n" not in str(told.value)


def test_an_array_larger_than_memory_is_refused_before_any_work(monkeypatch):
    monkeypatch.setattr(wires, "_memory", lambda: 2**20)
    with pytest.raises(ns.InputError, match="devices that need"):
        effective_conductance(torch.ones(128, 128), 1.0, 1.0)
