"""The Lava worker and its client: equal to the emulator, clean after failure, and told in one line when absent."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import nir
import numpy as np
import pytest

from hardware_targets.lava import client, setup
from hardware_targets.lava.client import Job, Lava
from hardware_targets.loihi.compiler import compile
from hardware_targets.loihi.target import target as loihi
from neurospin.errors import InputError, MissingDependency, OutputError, TargetError
from neurospin.target import Report

DT = 1e-3
PYTHON, REASON = client.find_python()
needs_lava = pytest.mark.skipif(not PYTHON, reason=REASON)


def network() -> nir.NIRGraph:
    """A recurrent LIF layer with biases, a skip path, and a readout."""
    rng = np.random.default_rng(0)
    n = 20
    lif = nir.LIF(*(np.full(n, x) for x in (0.01, 1.0, 0.05, 0.4)), v_reset=np.full(n, -0.1))
    nodes = {
        "input": nir.Input({"input": np.array([8])}), "w": nir.Affine(rng.normal(0.2, 1, (n, 8)), rng.normal(0, 0.1, n)),
        "lif": lif, "rec": nir.Linear(rng.normal(0, 0.3, (n, n))), "out": nir.Linear(rng.normal(0, 1, (3, n))),
        "skip": nir.Linear(rng.normal(0, 1, (3, 8))), "li": nir.LI(np.full(3, 0.02), np.ones(3), np.zeros(3)),
        "output": nir.Output({"output": np.array([3])}),
    }  # fmt: skip
    edges = [
        ("input", "w"), ("w", "lif"), ("lif", "rec"), ("rec", "lif"), ("lif", "out"), ("out", "li"),
        ("input", "skip"), ("skip", "li"), ("li", "output"),
    ]  # fmt: skip
    return nir.NIRGraph(nodes, edges, metadata={"neurospin": {"dt": DT}})


def spikes(batch: int = 5) -> np.ndarray:
    return (np.random.default_rng(1).random((30, batch, 8)) < 0.4).astype(np.float32)


def job() -> Job:
    return Job(compile(network(), DT), spikes().astype(np.uint8), ("lif",), ("li",))


def same(a: Report, b: Report) -> bool:
    return np.array_equal(a.spikes, b.spikes) and np.array_equal(a.records["lif"], b.records["lif"])


@needs_lava
def test_target_gives_what_the_emulator_gives_whatever_the_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = loihi.run(network(), spikes(), dt=DT, record=["lif"])
    assert expected.records["lif"].sum() > 100
    lava = Lava(timeout=120)
    whole = lava.run(network(), spikes(), dt=DT, record=["lif"])
    assert same(whole, expected)
    assert whole.latency_steps == expected.latency_steps == 2
    priced = {"seconds", "energy_source"}  # lava tells no synaptic counts, so that its run has no price
    assert whole.info == {key: value for key, value in expected.info.items() if key not in priced}
    assert whole.operations["recorded_spikes"] == expected.records["lif"].sum()
    monkeypatch.setattr(client, "SYNAPSES", 1000)
    assert same(lava.run(network(), spikes(), dt=DT, record=["lif"]), expected)


@needs_lava
def test_nothing_is_left_behind_and_a_slow_run_is_ended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # a path too long for a socket, as clusters have them
    deep = tmp_path / ("deep" * 30)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    Lava(timeout=120).execute([job()])
    assert list(deep.iterdir()) == []
    with pytest.raises(TargetError, match=r"lava: expected an answer of the worker, got none after 0.2 s\. Fix: "):
        Lava(timeout=0.2).execute([job()])
    assert list(deep.iterdir()) == []


@needs_lava
def test_memory_limit_is_kept_and_told_in_one_line() -> None:
    with pytest.raises(TargetError) as caught:
        Lava(timeout=120, memory=150 << 20).execute([job()])
    assert "\n" not in str(caught.value)
    assert "memory" in str(caught.value).lower() or "failed to map" in str(caught.value)


def test_worker_stands_alone() -> None:
    """It imports neither neurospin nor torch, and starts in a bare interpreter."""
    code = (
        f"import runpy, sys; sys.path = [p for p in sys.path if 'neurospin' not in p]\n"
        f"runpy.run_path({str(client.WORKER)!r}, run_name='worker')\n"
        "print([m for m in sys.modules if m.split('.')[0] in ('neurospin', 'hardware_targets', 'torch', 'nir')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def fake_python(folder: Path, body: str) -> str:
    path = folder / "python"
    path.write_text(f"#!/bin/sh\nfolder=$3\n{body}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("echo 'Segmentation fault' >&2; exit 139", "Segmentation fault"),
        ("exit 3", "exit code 3"),
        (
            'echo \'{"ok": false, "error": "ValueError: no such thing"}\' > "$folder/report.json"; exit 1',
            "no such thing",
        ),
        ('echo \'{"ok": true}\' > "$folder/report.json"', "output.npz"),
        (
            'echo \'{"ok": true}\' > "$folder/report.json"; echo junk > "$folder/0/output.npz"',
            "the worker's output",
        ),
    ],
)
def test_worker_that_fails_is_told_in_one_line(
    body: str, words: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(client.PYTHON, fake_python(tmp_path, body))
    with pytest.raises(TargetError) as caught:
        Lava(timeout=60).execute([job()])
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_output_of_the_wrong_shape_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    np.savez(tmp_path / "wrong.npz", **{"spikes/lif": np.zeros((30, 4, 20), np.uint8)})
    body = f'cp {tmp_path}/wrong.npz "$folder/0/output.npz"; echo \'{{"ok": true}}\' > "$folder/report.json"'
    monkeypatch.setenv(client.PYTHON, fake_python(tmp_path, body))
    with pytest.raises(TargetError, match=r"lif has shape \(30, 4, 20\)"):
        Lava(timeout=60).execute([job()])


def test_worker_gets_plain_arrays_and_json(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    body = f'cp -r "$folder" {kept}; exit 3'
    monkeypatch.setenv(client.PYTHON, fake_python(tmp_path, body))
    with pytest.raises(TargetError):
        Lava(timeout=60).execute([job()])
    assert json.loads((kept / "jobs.json").read_text()) == ["0"]
    with np.load(kept / "0" / "program.npz", allow_pickle=False) as file:
        assert all(file[key].dtype.kind == "i" for key in file.files)
    structure = json.loads((kept / "0" / "program.json").read_text())
    assert [p["name"] for p in structure["populations"]] == ["lif", "li"]


def test_absence_is_told_with_the_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(client.PYTHON, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(client, "__file__", str(tmp_path / "a" / "b" / "client.py"))
    assert "neurospin doctor --setup-lava" in Lava().unavailable()
    with pytest.raises(TargetError, match="doctor --setup-lava"):
        Lava().execute([job()])
    assert Lava().check(network()) == []
    monkeypatch.setenv(client.PYTHON, str(tmp_path / "missing"))
    assert "missing" in Lava().unavailable()


def test_interpreters_are_found_in_order(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(client.PYTHON, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(client, "__file__", str(tmp_path / "project" / "b" / "c" / "client.py"))
    for folder in (
        tmp_path / "cache" / "neurospin" / "lava",
        tmp_path / "project" / ".lava",
        tmp_path / ".lava",
    ):
        (folder / "bin").mkdir(parents=True)
        (folder / "bin" / "python").write_text("")
        assert client.find_python() == (str(folder / "bin" / "python"), "")
    other = fake_python(tmp_path, "exit 0")
    monkeypatch.setenv(client.PYTHON, other)
    assert client.find_python() == (other, "")


def test_graded_input_is_refused_before_anything_starts() -> None:
    with pytest.raises(InputError, match="zeros and ones"):
        Lava().run(network(), spikes() * 2, dt=DT)


def test_python310_that_does_not_run_is_passed_over(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    shims, versions = tmp_path / "shims", tmp_path / "pyenv" / "versions"
    good = versions / "3.10.9" / "bin"
    for folder in (shims, good, versions / "3.10.14" / "bin"):
        folder.mkdir(parents=True)
    (shims / "python3.10").write_text("#!/bin/sh\nexit 127\n")
    (versions / "3.10.14" / "bin" / "python").write_text("#!/bin/sh\nexit 1\n")
    (good / "python").write_text("#!/bin/sh\nexit 0\n")
    for path in tmp_path.rglob("python*"):
        if path.is_file():
            path.chmod(0o755)
    monkeypatch.delenv(setup.PYTHON310, raising=False)
    monkeypatch.setenv("PATH", f"{shims}{os.pathsep}/bin")
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    assert setup.find_python310() == str(good / "python")
    (good / "python").unlink()
    assert setup.find_python310() is None
    with pytest.raises(MissingDependency, match=r"a Python 3\.10"):
        setup.setup_lava(tmp_path / "env")


def base_python(folder: Path, pip: str) -> str:
    """Stands in for a Python 3.10: `-m venv FOLDER` writes an interpreter whose pip does what is said."""
    inner = folder / "inner"
    inner.write_text(f'#!/bin/sh\ncase "$*" in *pip*) {pip};; esac\nexit 0\n')
    path = folder / "base"
    path.write_text(
        f'#!/bin/sh\nif [ "$2" = venv ]; then mkdir -p "$3/bin"; cp {inner} "$3/bin/python"; chmod 755 "$3/bin/python"; fi\n'
    )
    path.chmod(0o755)
    return str(path)


def test_setup_is_idempotent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(setup.PYTHON310, base_python(tmp_path, f"echo ran >> {tmp_path}/calls"))
    place = tmp_path / "deep" / "env"
    assert setup.setup_lava(place) == place / "bin" / "python"
    assert setup.setup_lava(place) == place / "bin" / "python"
    assert (tmp_path / "calls").read_text() == "ran\n"
    assert [p.name for p in place.parent.iterdir()] == ["env"]


def test_setup_that_fails_leaves_what_was_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(setup.PYTHON310, base_python(tmp_path, "echo no network >&2; exit 1"))
    place = tmp_path / "deep" / "env"
    place.mkdir(parents=True)
    (place / "mine").write_text("kept")
    with pytest.raises(OutputError, match="no network"):
        setup.setup_lava(place)
    assert (place / "mine").read_text() == "kept"
    assert [p.name for p in place.parent.iterdir()] == ["env"]
