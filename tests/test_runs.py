"""Experiments: one seed the same numbers, stopping changes nothing, faults told in one line."""

import json

import numpy as np
import pytest
import yaml

import neurospin as ns
from neurospin.runs import checkpoint, config, experiment

SMALL = {
    "name": "small",
    "stream": {"tasks": 2},
    "encode": {"steps": 6},
    "network": {"hidden": [16], "gain": [8, 16], "tau_mem": 8e-3, "tau_out": 8e-3},
    "training": {"epochs": 2, "batch_size": 300},
    "learners": {"a": {"title": "A", "m": 20.0}, "b": {"title": "B", "neuron": "rate"}},
    "main": "a",
    "targets": ["reference", "loihi", "crossbar"],
    "samples": 12,
}


class Quiet:
    """An observer that can stop the run."""

    def __init__(self, stop_at=None):
        self.batches, self.stop_at, self.said = 0, stop_at, []

    def begin(self, learner, batches, done):
        pass

    def batch(self, moment):
        self.batches += 1
        if self.batches == self.stop_at:
            raise KeyboardInterrupt

    def epoch(self, learner, epoch):
        pass

    def say(self, text):
        self.said.append(text)

    def stage(self, text):
        pass


def results(folder):
    content = json.loads((folder / "results.json").read_text())
    for learner in content["learners"].values():
        learner.pop("seconds")
    return content


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "whole"
    experiment.run(config.parse(SMALL, "test"), folder, Quiet())
    return folder


def test_a_run_folder_holds_everything(finished):
    names = {p.name for p in finished.iterdir()} - {".lock"}
    assert names == {
        "config.yaml", "network.safetensors", "network.nir", "metrics.jsonl", "checkpoints", "certificates",
        "figures", "results.json", "report.html",
    }  # fmt: skip
    rows = [json.loads(line) for line in (finished / "metrics.jsonl").read_text().splitlines()]
    assert [(r["learner"], r["task"], r["epoch"]) for r in rows] == [
        (n, t, e) for n in "ab" for t in (0, 1) for e in (0, 1)
    ]
    content = results(finished)
    assert content["targets"]["reference"]["certificate"]["exact"]
    assert content["learners"]["a"]["parameters"] == content["learners"]["b"]["parameters"] == 64 * 16 + 16 * 10
    assert any("10.1038/s41467-021-22768-y" in source for source in content["citations"])
    net = checkpoint.load(finished / "network.safetensors")
    graph = ns.read(finished / "network.nir")
    np.testing.assert_array_equal(graph.nodes["dense1"].weight, net.blocks["dense1"].weight.detach().numpy())
    assert config.load(finished / "config.yaml") == config.parse(SMALL, "test")


def test_one_seed_gives_the_same_run_twice(finished, tmp_path):
    experiment.run(config.parse(SMALL, "test"), tmp_path / "again", Quiet())
    assert results(finished) == results(tmp_path / "again")
    for name in ("network.safetensors", "network.nir"):
        assert (finished / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
    other = config.parse({**SMALL, "seed": 1, "targets": []}, "test")
    experiment.run(other, tmp_path / "other", Quiet())
    assert (
        results(tmp_path / "other")["learners"]["a"]["accuracy_matrix"]
        != results(finished)["learners"]["a"]["accuracy_matrix"]
    )


@pytest.mark.parametrize("stop_at", [1, 11, 20, 23, 37])
def test_a_stopped_run_goes_on_as_if_it_had_not_stopped(finished, tmp_path, stop_at):
    with pytest.raises(KeyboardInterrupt):
        experiment.run(config.parse(SMALL, "test"), tmp_path / "run", Quiet(stop_at))
    with (tmp_path / "run" / "metrics.jsonl").open("a") as file:
        file.write('{"learner": "a", "ta')  # a line that was cut
    observer = Quiet()
    experiment.run(config.load(tmp_path / "run" / "config.yaml"), tmp_path / "run", observer)
    assert observer.batches <= 40 - 10 * (stop_at // 10) + 10
    assert results(finished) == results(tmp_path / "run")
    assert (finished / "network.nir").read_bytes() == (tmp_path / "run" / "network.nir").read_bytes()
    kept = [
        {k: v for k, v in json.loads(line).items() if k != "seconds"}
        for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    ]
    whole = [
        {k: v for k, v in json.loads(line).items() if k != "seconds"}
        for line in (finished / "metrics.jsonl").read_text().splitlines()
    ]
    assert kept == whole


def test_a_finished_run_is_not_run_again_and_not_overwritten(finished):
    before = (finished / "results.json").read_bytes()
    observer = Quiet()
    experiment.run(config.parse(SMALL, "test"), finished, observer)
    assert observer.batches == 0 and observer.said == ["already finished; nothing was run again"]
    with pytest.raises(ns.ConfigError, match="another configuration"):
        experiment.run(config.parse({**SMALL, "seed": 5}, "test"), finished, Quiet())
    assert (finished / "results.json").read_bytes() == before


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(ns.OutputError, match="a new or empty folder"):
        experiment.run(config.parse(SMALL, "test"), tmp_path, Quiet())
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_networks_come_back_from_disk(tmp_path):
    net = ns.Network(
        [
            ns.Dense(5, 7, weight=ns.Binary(gain=3), bias=True),
            ns.LIF(
                7,
                tau_mem=np.linspace(5e-3, 9e-3, 7),
                learn=("tau_mem",),
                surrogate=ns.FastSigmoid(9),
                reset="subtract",
                memory="recompute",
            ),
            ns.Dense(7, 2),
            ns.Rate(2, activation="softplus"),
        ],
        dt=1e-3,
    )
    import torch

    checkpoint.save(net, tmp_path / "n.safetensors")
    back = checkpoint.load(tmp_path / "n.safetensors")
    x = (torch.rand(9, 3, 5) < 0.5).float()
    assert torch.equal(net(x).output, back(x).output) and back.config() == net.config()
    assert back.blocks["lif1"].memory == net.blocks["lif1"].memory == "recompute"
    assert back.blocks["lif1"].surrogate == ns.FastSigmoid(9) and back.parameter_count() == net.parameter_count()


def test_spoilt_networks_are_refused(tmp_path):
    import torch
    from safetensors.torch import load_file, save_file

    path = tmp_path / "n.safetensors"
    checkpoint.save(ns.Network([ns.Dense(3, 2), ns.LIF(2)], dt=1e-3), path)
    tensors = load_file(path)
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        about = file.metadata()
    for spoil, words in (
        (
            lambda t: t["blocks.dense1.stored"].fill_(float("nan")),
            r"blocks.dense1.stored: expected finite values, got 6",
        ),
        (lambda t: t.update({"blocks.dense1.stored": torch.ones(9, 9)}), r"expected shape \(2, 3\), got \(9, 9\)"),
        (lambda t: t.pop("blocks.dense1.stored"), r"got None"),
    ):
        changed = {k: v.clone() for k, v in tensors.items()}
        spoil(changed)
        save_file(changed, path, metadata=about)
        with pytest.raises(ns.InputError, match=words):
            checkpoint.load(path)
    save_file(tensors, path)
    with pytest.raises(ns.InputError, match=r"a header with neurospin.network"):
        checkpoint.load(path)
    path.write_bytes(b"\xff" * 100)
    with pytest.raises(ns.InputError, match="a safetensors file"):
        checkpoint.load(path)


YAML = yaml.safe_dump(SMALL)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            YAML.replace("epochs:", "epoch:"),
            r"training.epoch: expected one of .*, got 'epoch'. Fix: did you mean 'training.epochs'\?",
        ),
        (YAML + "nam: x\n", r"nam: .*did you mean 'name'"),
        (YAML + "main: a\n", r"line \d+: expected YAML, got the key 'main' twice"),
        (YAML + "seed: true\n", "seed: expected a valid integer, got True"),
        (YAML + "seed: -1\n", "seed: .*greater than or equal to 0"),
        (YAML.replace("tau_mem: 0.008", "tau_mem: -1"), "network.tau_mem: expected greater than 0, got -1"),
        (YAML.replace("tau_mem: 0.008", "tau_mem: .nan"), "network.tau_mem: expected a finite number"),
        (YAML.replace("tau_mem: 0.008", "tau_mem: !!python/object/apply:os.system ['true']"), "expected YAML"),
        (YAML + "x: &a [1]\ny: *a\n", "alias"),
        (YAML.replace("main: a", "main: b"), "a spiking learner"),
        (YAML.replace("main: a", "main: c"), "one of a, b, got 'c'"),
        (YAML.replace("name: small", "name: ../x"), "name: expected"),
        ("[1, 2]", "expected keys and values"),
        (": : :", "expected YAML"),
        ("", "expected keys and values"),
        ("x" * 2_000_000, "at most 1 MB"),
        ("[" * 5000, "expected YAML"),
    ],
)
def test_a_faulty_experiment_is_told_in_one_line(tmp_path, text, words):
    (tmp_path / "e.yaml").write_text(text)
    with pytest.raises(ns.NeurospinError, match=words) as caught:
        config.load(tmp_path / "e.yaml")
    assert "\n" not in str(caught.value)


def test_settings_can_be_changed_and_defaults_are_visible(tmp_path):
    (tmp_path / "e.yaml").write_text(YAML)
    changed = config.load(tmp_path / "e.yaml", ["training.lr=1e-3", "targets=[]", "learners.a.m=3"], seed=9)
    assert (changed.training.lr, changed.targets, changed.learners["a"].m, changed.seed) == (1e-3, [], 3.0, 9)
    assert "surrogate: arctan" in changed.to_yaml()
    with pytest.raises(ns.ConfigError, match="key=value"):
        config.load(tmp_path / "e.yaml", ["training.lr"])
    with pytest.raises(ns.ConfigError, match=r"did you mean 'training\.lr'"):
        config.load(tmp_path / "e.yaml", ["training.lrr=1"])
