"""The command line as a user meets it: results, exit status, one-line errors, nothing half-written."""

import json
import shutil
import subprocess
import sys

import nir
import numpy as np
import pytest

import neurospin as ns
from neurospin.runs import config, experiment
from tests.test_runs import SMALL, Quiet


def call(*words, cwd=None):
    return subprocess.run(
        [sys.executable, "-m", "neurospin", *map(str, words)],
        capture_output=True,
        text=True,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
    )


def refused(done, *words):
    assert done.returncode == 1, (done.stdout, done.stderr)
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("neurospin: ") and "Fix:" in lines[0], done.stderr
    for word in words:
        assert word in lines[0]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli")
    net = ns.Network(
        [ns.Dense(6, 9, weight=ns.Binary(gain=7)), ns.LIF(9, 8e-3), ns.Dense(9, 3), ns.LIF(3, v_threshold=0.2)], dt=1e-3
    )
    ns.write(folder / "net.nir", ns.to_graph(net))
    spikes = (np.random.default_rng(0).random((14, 5, 6)) < 0.5).astype(np.float32)
    np.savez(folder / "spikes.npz", spikes=spikes)
    np.savez(folder / "bad.npz", spikes=spikes[..., :4])
    np.savez(folder / "other.npz", x=spikes)
    (folder / "text.npz").write_text("hello")
    experiment.run(config.parse(SMALL, "test"), folder / "run", Quiet())
    return folder


def test_help_names_the_commands_without_loading_torch():
    code = "import sys; sys.argv = ['neurospin', '--help']\nfrom neurospin.cli import app\ntry: app()\nexcept SystemExit: pass\nprint('torch' in sys.modules, 'numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    for name in ("run", "resume", "export", "check", "deploy", "compare", "report", "targets", "doctor", "cite"):
        assert f"  {name} " in done.stdout
    assert done.stdout.strip().endswith("False False")


def test_what_is_repaired_in_a_file_is_told_in_one_line(tmp_path):
    one = np.ones(())
    lif = nir.LIF(tau=0.02 * one, r=one, v_leak=0 * one, v_threshold=one, v_reset=0 * one)
    nodes = {
        "input": nir.Input({"input": np.array([3])}), "w": nir.Linear(np.ones((2, 3))), "n": lif,
        "output": nir.Output({"output": np.array([2])}),
    }  # fmt: skip
    edges = [("input", "w"), ("w", "n"), ("n", "output")]
    nir.write(tmp_path / "x.nir", nir.NIRGraph(nodes, edges, type_check=False), compression=None)
    done = call("check", tmp_path / "x.nir", "--target", "loihi")
    assert done.returncode == 0 and "fits loihi" in done.stdout
    told = done.stderr.replace(str(tmp_path), "").strip()
    assert told == "neurospin: warning: /x.nir: n: constants of shape () spread over (2,)"


@pytest.mark.parametrize("target", ["reference", "loihi", "crossbar"])
def test_deploy_writes_spikes_records_and_a_report(place, tmp_path, target):
    done = call(
        "deploy", place / "net.nir", "--input", place / "spikes.npz", "--dt", "1e-3", "--target", target,
        "--output", tmp_path / "out.npz", "--record", "lif1", "--json", tmp_path / "out.json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    with np.load(tmp_path / "out.npz", allow_pickle=False) as file:
        assert sorted(file.files) == ["record/lif1", "spikes"]
        got, record = file["spikes"], file["record/lif1"]
    assert got.shape == (14, 5, 3) and record.shape == (14, 5, 9)
    told = json.loads((tmp_path / "out.json").read_text())
    assert told["latency_steps"] == {"reference": 0, "loihi": 2, "crossbar": 0}[target]
    with np.load(place / "spikes.npz") as file:
        wanted = ns.deploy(ns.read(place / "net.nir"), file["spikes"], target, record=["lif1"])
    np.testing.assert_array_equal(got, wanted.spikes)
    np.testing.assert_array_equal(record, wanted.records["lif1"])


def test_wrong_input_is_told_in_one_line_and_nothing_is_written(place, tmp_path):
    def deploy(graph="net.nir", spikes="spikes.npz", target="reference", output=tmp_path / "o.npz", *more):
        return call("deploy", place / graph, "-i", place / spikes, "-t", target, "-o", output, *more)

    refused(deploy(graph="none.nir"), "none.nir: expected an existing file, got nothing there")
    refused(deploy(graph="text.npz"), "expected a NIR file (HDF5)")
    refused(deploy(spikes="none.npz"), "expected an existing file")
    refused(deploy(spikes="bad.npz"), "expected shape (time, batch, 6), got shape (14, 5, 4)")
    refused(deploy(spikes="other.npz"), "expected an array named spikes, got x")
    refused(deploy(spikes="text.npz"), "expected an npz file")
    refused(deploy(target="lohi"), "got 'lohi'", "did you mean 'loihi'")
    refused(deploy(output=tmp_path / "none" / "o.npz"), "expected an existing folder")
    refused(deploy(output=tmp_path), "got a folder")
    refused(
        deploy("net.nir", "spikes.npz", "reference", tmp_path / "o.npz", "--record", "lif"),
        "expected one of lif1, lif2",
    )
    refused(
        deploy("net.nir", "spikes.npz", "reference", tmp_path / "o.npz", "--dt", "-1"), "dt: expected a positive number"
    )
    assert list(tmp_path.iterdir()) == []


def test_an_experiment_with_a_fault_is_told_in_one_line(tmp_path, monkeypatch):
    (tmp_path / "e.yaml").write_text("name: x\nmain: a\nlearners: {a: {title: A}}\ntrainig: {}\n")
    refused(call("run", tmp_path / "e.yaml", cwd=tmp_path), "trainig", "did you mean 'training'")
    refused(call("run", tmp_path / "none.yaml", cwd=tmp_path), "none.yaml: expected an existing file")
    (tmp_path / "e.yaml").write_text("name: x\nmain: a\nlearners: {a: {title: A}}\ntargets: [lohi]\n")
    refused(call("run", tmp_path / "e.yaml", cwd=tmp_path), "targets: ", "did you mean 'loihi'")  # before it trains
    assert [p.name for p in tmp_path.iterdir()] == ["e.yaml"]
    (tmp_path / "file").write_text("")
    (tmp_path / "e.yaml").write_text("name: x\nmain: a\nlearners: {a: {title: A}}\n")
    refused(call("run", tmp_path / "e.yaml", "-o", tmp_path / "file" / "run"), "a folder that can be made")
    (tmp_path / "s.yaml").write_text("name: s\nexperiment: e.yaml\n")
    refused(call("run", tmp_path / "s.yaml"), "expected an experiment file, got a sweep file", "neurospin sweep")
    refused(call("sweep", tmp_path / "e.yaml"), "expected a sweep file, got an experiment file", "neurospin run")
    monkeypatch.setenv("NEUROSPIN_DATA", str(tmp_path / "none"))
    told = call("run", tmp_path / "e.yaml", "--set", "stream.dataset=mnist", "-o", tmp_path / "m", cwd=tmp_path)
    refused(told, "mnist", "NEUROSPIN_DATA")
    usage = call("run")
    assert usage.returncode == 2 and "Missing argument" in usage.stderr


def test_debug_shows_the_traceback():
    done = call("check", "none.nir", "-t", "loihi", "--debug")
    assert done.returncode == 1 and "Traceback" in done.stderr


def test_check_and_certify(place, tmp_path):
    assert "fits loihi" in call("check", place / "net.nir", "-t", "loihi").stdout
    net = ns.Network([ns.Dense(3, 2), ns.LIF(2, reset="subtract")], dt=1e-3)
    ns.write(tmp_path / "s.nir", ns.to_graph(net))
    done = call("check", tmp_path / "s.nir", "-t", "loihi")
    assert done.returncode == 1 and "expected reset to a value, got reset by subtraction" in done.stdout
    done = call("check", tmp_path / "s.nir", "-t", "loihi", "--json", tmp_path / "p.json")
    (problem,) = json.loads((tmp_path / "p.json").read_text())["problems"]
    assert done.returncode == 1 and problem["value"] == "reset by subtraction" and problem["fix"]
    done = call(
        "certify", place / "net.nir", "-i", place / "spikes.npz", "-t", "reference", "--json", tmp_path / "c.json"
    )
    assert "0 of 630 entries differ" in done.stdout and json.loads((tmp_path / "c.json").read_text())["exact"]


def test_calibrate_writes_a_graph_that_keeps_its_rounding(place, tmp_path):
    given = ("--input", place / "spikes.npz", "--target", "loihi", "--output", tmp_path / "g.nir")
    done = call("calibrate", place / "net.nir", *given, "--set", "scaling=layer")
    assert done.returncode == 0, done.stderr
    assert "error of the membrane" in done.stdout and str(tmp_path / "g.nir") in done.stdout
    told = ns.read(tmp_path / "g.nir").metadata["neurospin"]["quantisation"]
    assert told["target"] == "loihi" and all(entry["scaling"] == "layer" for entry in told["neurons"].values())
    refused(call("calibrate", place / "net.nir", *given, "--set", "rounding=up"), "nearest")


def test_certify_writes_json_and_a_picture_of_a_graph_or_a_run(place, tmp_path):
    spikes = (np.random.default_rng(1).random((6, 12, 64)) < 0.5).astype(np.float32)
    np.savez(tmp_path / "labelled.npz", spikes=spikes, labels=np.arange(12) % 10)
    done = call(
        "certify", place / "run", "-i", tmp_path / "labelled.npz", "-t", "crossbar", "--json", tmp_path / "c.json",
        "--figure", tmp_path / "c.svg",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads((tmp_path / "c.json").read_text())
    assert {cause["name"] for cause in told["causes"]} == {"programming noise", "read noise", "ADC"}
    assert told["accuracy"]["before"] == told["unexplained"]["accuracy"] and "programming noise" in done.stdout
    assert json.loads(json.dumps(ns.Certificate.from_dict(told).to_dict())) == told
    assert (tmp_path / "c.svg").read_text().startswith("<svg")
    graph = ("certify", place / "net.nir", "-i", place / "spikes.npz", "-t", "loihi")
    assert call(*graph, "--no-causes", "--figure", tmp_path / "c.png").returncode == 0
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")
    before = sorted(tmp_path.iterdir())
    refused(call(*graph, "--figure", tmp_path / "c.gif"), "ends in .svg, .png or .pdf, got .gif")
    refused(call(*graph, "--figure", tmp_path / "none" / "c.svg"), "an existing folder")
    refused(call("certify", tmp_path, "-i", place / "spikes.npz", "-t", "loihi"), "network.nir")
    np.savez(tmp_path / "labelled.npz", spikes=spikes, labels=np.arange(5))
    refused(call("certify", place / "run", "-i", tmp_path / "labelled.npz", "-t", "loihi"), "shape (12,)")
    assert sorted(tmp_path.iterdir()) == before


def test_run_folders_can_be_exported_compared_cited_and_reported(place, tmp_path):
    assert call("export", place / "run", "-o", tmp_path / "n.nir").returncode == 0
    assert (tmp_path / "n.nir").read_bytes() == (place / "run" / "network.nir").read_bytes()
    shutil.copytree(place / "run", tmp_path / "twin")
    compared = call("compare", place / "run", tmp_path / "twin").stdout
    assert f"a ({tmp_path / 'twin'})" in "".join(compared.split("\n")).replace("│", "") or "twin" in compared
    assert "gain over a" in " ".join(compared.split()) and "+0.0" in compared
    assert "doi:10.1038/s41467-021-22768-y" in call("cite", place / "run").stdout
    assert call("report", place / "run").stdout.strip().endswith("report.html")
    refused(call("report", tmp_path), "a finished run")
    refused(call("cite", tmp_path / "none"), "a finished run")
    refused(call("resume", tmp_path / "none"), "expected an existing folder")
    refused(call("resume", tmp_path), "a run folder (config.yaml)")


def test_targets_and_doctor_tell_what_is_here():
    listed = call("targets").stdout
    assert all(name in listed for name in ("reference", "loihi", "lava", "crossbar"))
    told = call("doctor").stdout
    assert "torch" in told and "target loihi" in told


def test_run_ends_with_one_table_and_the_path_of_the_report(tmp_path):
    import yaml

    (tmp_path / "e.yaml").write_text(yaml.safe_dump({**SMALL, "targets": ["reference"]}))
    done = call("run", "e.yaml", "--seed", 3, "--set", "training.epochs=1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.rstrip().endswith("report: runs/small-seed3/report.html")
    assert "none of" in done.stdout and "all tasks" in done.stdout
    again = call("run", "e.yaml", "--seed", 3, "--set", "training.epochs=1", cwd=tmp_path)
    assert "already finished" in again.stdout and again.returncode == 0
