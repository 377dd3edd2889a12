"""The Lava target: found, run, and its failures told in one line."""

import sys
from pathlib import Path

import numpy as np
import pytest

import neurospin as ns
from hardware_targets.lava import client, setup
from hardware_targets.lava.client import Lava, target


@pytest.fixture
def graph():
    return ns.to_graph(
        ns.Network([ns.Dense(4, 6, weight=ns.Binary(gain=9)), ns.LIF(6, 8e-3), ns.Dense(6, 3), ns.LI(3)], dt=1e-3)
    )


SPIKES = (np.random.default_rng(0).random((10, 5, 4)) < 0.5).astype(np.float32)


@pytest.mark.lava
@pytest.mark.xdist_group("lava")
def test_lava_gives_what_the_emulator_gives(graph):
    if target.unavailable():
        pytest.skip(target.unavailable())
    a = ns.deploy(graph, SPIKES, "lava", record=["lif1"])
    b = ns.deploy(graph, SPIKES, "loihi", record=["lif1"])
    np.testing.assert_array_equal(a.spikes, b.spikes)
    np.testing.assert_array_equal(a.records["lif1"], b.records["lif1"])
    assert a.records["lif1"].sum() > 20
    assert (a.latency_steps, a.operations) == (b.latency_steps, b.operations)


def fake(tmp_path, body):
    """A Python that is not Lava's."""
    script = tmp_path / "python"
    script.write_text(f"#!{sys.executable}\nimport sys, pathlib\nfolder = pathlib.Path(sys.argv[2])\n{body}\n")
    script.chmod(0o755)
    return str(script)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("sys.exit('no module named lava')", "expected a worker that ends well, got no module named lava"),
        ("(folder / 'result.json').write_text('{')", "expected a result"),
        ("(folder / 'result.json').write_text('{\"error\": \"boom\"}')", "got boom"),
        ("(folder / 'result.json').write_text('{\"error\": null}')", "expected a result"),
        ("import time; time.sleep(60)", "an answer within 1 s"),
    ],
)
def test_a_worker_that_fails_is_told_in_one_line(graph, tmp_path, monkeypatch, body, words):
    monkeypatch.setenv("NEUROSPIN_LAVA_PYTHON", fake(tmp_path, body))
    monkeypatch.setattr(client.tempfile, "tempdir", str(tmp_path))
    with pytest.raises(ns.TargetError, match=words) as caught:
        Lava(seconds=1.0 if "sleep" in body else 30.0).run(graph, SPIKES, dt=1e-3)
    assert "\n" not in str(caught.value)
    assert [p.name for p in tmp_path.iterdir()] == ["python"]  # nothing is left behind


def test_without_lava_the_remedy_is_told(graph, monkeypatch, tmp_path):
    monkeypatch.setenv("NEUROSPIN_LAVA_PYTHON", str(tmp_path / "none"))
    (status,) = [s for s in ns.targets() if s.name == "lava"]
    assert not status.available and "neurospin doctor --setup-lava" in status.reason
    with pytest.raises(ns.TargetError, match="setup-lava"):
        ns.deploy(graph, SPIKES, "lava")


def test_the_environment_is_found_only_when_whole(monkeypatch, tmp_path):
    monkeypatch.delenv("NEUROSPIN_LAVA_PYTHON", raising=False)
    monkeypatch.setattr(setup, "folders", lambda: [tmp_path])
    assert setup.find_lava_python() is None
    (tmp_path / "ready").write_text("")
    assert setup.find_lava_python() == tmp_path / "bin" / "python"
    assert setup.setup_lava(tmp_path) == tmp_path / "bin" / "python"


def test_a_failed_setup_leaves_nothing(monkeypatch, tmp_path):
    monkeypatch.setattr(setup, "find_python310", lambda: None)
    with pytest.raises(ns.MissingDependency, match=r"a Python 3\.10"):
        setup.setup_lava(tmp_path / "lava")
    monkeypatch.setattr(setup, "find_python310", lambda: Path(fake(tmp_path, "sys.exit('no pip')")))
    with pytest.raises(ns.TargetError, match="no pip"):
        setup.setup_lava(tmp_path / "lava")
    assert not (tmp_path / "lava").exists()


def test_the_worker_imports_neither_neurospin_nor_torch():
    import ast

    tree = ast.parse(client.WORKER.read_text())
    names = {n.name for node in ast.walk(tree) if isinstance(node, ast.Import) for n in node.names}
    names |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not {name.split(".")[0] for name in names} & {"neurospin", "torch", "hardware_targets", "pickle"}
