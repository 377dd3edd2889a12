"""Devices and arrays that cannot be, through the command line: one line each, and nothing written."""

import math

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import neurospin as ns
from hardware_targets.crossbar import nonlinear, wires
from neurospin.cli import app


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("crossbar")
    torch.manual_seed(0)
    net = ns.Network([ns.Dense(8, 6, weight=ns.Binary(gain=8)), ns.LIF(6), ns.Dense(6, 2), ns.LI(2)], dt=1e-3)
    ns.write(place / "g.nir", ns.to_graph(net))
    np.savez(place / "x.npz", spikes=np.ones((3, 2, 8), np.float32))
    (place / "holes.csv").write_text("pulse,g_up,g_down\n0,1e-5,1e-4\n1,2e-5,9e-5\n3,4e-5,8e-5\n")
    (place / "nan.csv").write_text("pulse,g_up,g_down\n0,1e-5,1e-4\n1,nan,9e-5\n")
    return place


def told(folder, *sets):
    """The line that a wrong call ends with."""
    before = sorted(path.name for path in folder.iterdir())
    base = ["deploy", f"{folder}/g.nir", "-i", f"{folder}/x.npz", "-t", "crossbar", "-o", f"{folder}/o.npz", "--json", f"{folder}/r.json"]  # fmt: skip
    done = CliRunner().invoke(app, [*base, *(word for one in sets for word in ("--set", one))])
    assert isinstance(done.exception, ns.NeurospinError), (done.output, done.exception)
    assert sorted(path.name for path in folder.iterdir()) == before
    line = str(done.exception)
    assert "\n" not in line and "expected" in line and "Fix:" in line
    return line


@pytest.mark.parametrize(
    ("sets", "words"),
    [
        (["device=bounded_linear", "device.g_min=1e-3"], "0 <= g_min < g_max"),
        (["device=bounded_linear", "device.g_min=1e-4", "device.g_max=1e-4"], "0 <= g_min < g_max"),
        (["device=pcm", "device.g_min=1"], "0 <= g_min < g_max"),
        (["device=domain_wall_mtj", "device.g_max=1e-9"], "0 <= g_min < g_max"),
        (["device=binary_mtj", "device.r_p=-3e3"], "a number > 0"),
        (["device=binary_mtj", "device.tmr=.nan"], "a number > 0"),
        (["wires=-1"], "row_segment"),
        (["wires.driver=-5"], "driver"),
        (["wires.sense=.inf"], "sense"),
        (["device=hfox", "device.v_sinh=0"], "v_sinh"),
        (["device=pcm", "access=half"], "whose pulses have voltages"),
        (["device=binary_mtj", "m=25"], "hidden value"),
        (["device=magneto_ionic_mtj", "m=-1"], "a number > 0"),
        (["read_temperature=0"], "a number > 0"),
        (["curved=3"], "true or false"),
    ],
)
def test_what_cannot_be_is_one_line(folder, sets, words):
    assert words in told(folder, *sets)


def test_tables_with_holes_name_their_line(folder):
    device = 'device={"kind": "table", "path": "%s"}'
    assert ":4: expected pulse 2" in told(folder, device % (folder / "holes.csv"))
    assert ":3: expected three finite numbers" in told(folder, device % (folder / "nan.csv"))


def test_weights_that_are_no_numbers_are_named(folder):
    graph = ns.read(folder / "g.nir")
    graph.nodes["dense1"].weight[1, 2] = math.nan
    with pytest.raises(ns.NeurospinError, match="dense1: expected finite weights") as wrong:
        ns.deploy(graph, np.ones((3, 2, 8), np.float32), "crossbar")
    assert "\n" not in str(wrong.value)


def test_an_iteration_that_does_not_converge_ends_the_run(folder, monkeypatch):
    monkeypatch.setattr(nonlinear, "ROUNDS", 2)
    line = told(folder, "device=binary_mtj", "curved=true", "wires=5", "read_volts=0.4")
    assert "a residual below 1e-06 within 2 iterations" in line


def test_arrays_beyond_the_memory_are_refused(folder, monkeypatch):
    monkeypatch.setattr(wires, "_memory", lambda: 1000)
    assert "tile the matrix" in told(folder, "device=ideal", "wires=1")
