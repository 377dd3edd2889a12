"""SANA-FE in its own process: its spikes and counts against the emulator's, its joules against the published table."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import nir
import numpy as np
import pytest

import neurospin as ns
from hardware_targets.sanafe import client
from hardware_targets.sanafe.client import SanaFe, target
from neurospin.errors import TargetError
from neurospin.target import Report

PYTHON, REASON = client.find_python()
here = pytest.mark.skipif(not PYTHON, reason=REASON)


def full(n: int, value: float) -> np.ndarray:
    return np.full(n, value)


def graph(delay: float = 0.0) -> nir.NIRGraph:
    """A recurrent CubaLIF without bias, which starts at rest, and a readout."""
    rng, n, i, o = np.random.default_rng(0), 12, 6, 4
    nodes = {
        "input": nir.Input({"input": np.array([i])}),
        "w": nir.Linear(rng.normal(0.3, 3, (n, i))),
        "r": nir.Linear(rng.normal(0, 2, (n, n))),
        "cuba": nir.CubaLIF(*(full(n, v) for v in (5e-3, 2e-2, 1.0, 0.0, 0.2, 0.0))),
        "o": nir.Linear(rng.normal(0, 1, (o, n))),
        "li": nir.CubaLI(*(full(o, v) for v in (5e-3, 2e-2, 1.0, 0.0))),
        "output": nir.Output({"output": np.array([o])}),
    }
    edges = [("input", "w"), ("w", "cuba"), ("r", "cuba"), ("cuba", "o"), ("o", "li"), ("li", "output")]
    if delay:
        nodes["d"] = nir.Delay(full(n, delay))
        edges += [("cuba", "d"), ("d", "r")]
    else:
        edges += [("cuba", "r")]
    return nir.NIRGraph(nodes, edges, metadata={"neurospin": {"dt": 1e-3}})


def spikes() -> np.ndarray:
    return (np.random.default_rng(1).random((60, 2, 6)) < 0.3).astype(np.float32)


@pytest.fixture(scope="module")
def report() -> Report:
    return ns.deploy(graph(), spikes(), target, record=["cuba"])


@here
@pytest.mark.sanafe
def test_spikes_and_synaptic_operations_are_the_emulators(report: Report) -> None:
    chip = ns.deploy(graph(), spikes(), "loihi", record=["cuba"])
    assert report.info["differ"] == 0 and report.latency_steps == chip.latency_steps
    np.testing.assert_array_equal(report.records["cuba"], chip.records["cuba"])
    assert 0.1 < chip.records["cuba"].mean() < 0.6
    off = np.abs(report.spikes - chip.spikes).max()
    assert off < 1e-4 * np.abs(chip.spikes).max()  # fractions of 1/64, where the chip cuts
    assert report.info["counts"]["sanafe"] == report.info["counts"]["emulator"] == chip.operations["synaptic"] > 5000


@here
@pytest.mark.sanafe
def test_joules_and_seconds_lie_where_the_published_table_lies(report: Report) -> None:
    chip = ns.deploy(graph(), spikes(), "loihi")
    assert report.info["table"] == chip.energy
    each = report.info["counts"]["sanafe"]
    assert 23.6e-12 <= report.energy["synaptic"][0] / each <= 2 * 23.6e-12  # the table's is the least of a synapse
    ours, theirs = (sum(part[1] for part in energy.values()) for energy in (chip.energy, report.energy))
    assert 0.5 < theirs / ours < 3
    assert theirs == pytest.approx(sum(report.info["each"]["joules"]), rel=1e-9)
    low, high = chip.info["seconds"]
    assert 0.5 * low < report.info["seconds"][0] < 3 * high


def test_what_it_cannot_is_refused() -> None:
    assert target.check(graph()) == []
    (problem,) = target.check(graph(delay=3e-3))
    assert problem.node == "cuba" and "delay" in problem.value
    if PYTHON:
        with pytest.raises(TargetError, match="delay line"):
            ns.deploy(graph(delay=3e-3), spikes(), target)


def test_it_is_never_imported_here() -> None:
    code = (
        "import sys, hardware_targets.sanafe.client, hardware_targets.sanafe.setup; sys.exit('sanafe' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    root = Path(client.__file__).parents[2]
    for path in (file for folder in ("neurospin", "hardware_targets") for file in (root / folder).rglob("*.py")):
        if path == client.WORKER:
            continue
        names = [n for n in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(n, ast.Import | ast.ImportFrom)]
        for node in names:
            modules = [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            assert not [m for m in modules if m.split(".")[0] == "sanafe"], path


def test_absence_and_failure_are_told_in_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(client.PYTHON, str(tmp_path / "missing"))
    assert "doctor --setup-sanafe" in SanaFe().unavailable()
    with pytest.raises(TargetError, match="setup-sanafe"):
        ns.deploy(graph(), spikes(), target)
    monkeypatch.setenv(client.PYTHON, sys.executable)  # a Python without the package
    with pytest.raises(TargetError, match="sanafe: expected a run without errors, got ModuleNotFoundError") as caught:
        ns.deploy(graph(), spikes(), target)
    assert "\n" not in str(caught.value)
