"""Experiment files name any rule; a stopped run with one goes on bit for bit."""

import copy

import numpy as np
import pytest
import torch
import yaml

import neurospin as ns
from neurospin.report.console import results_table
from neurospin.runs import checkpoint
from neurospin.runs.config import load, parse
from neurospin.runs.experiment import run
from neurospin.runs.train import Silent, build_learner, build_rule, build_stream, train


def experiment(tmp_path, **learner):
    content = {
        "name": "small",
        "stream": {"kind": "permuted", "dataset": "digits", "tasks": 2},
        "encode": {"steps": 3},
        "network": {"hidden": [8], "weight": "float", "gain": [4.0, 4.0]},
        "training": {"epochs": 1, "batch_size": 500},
        "learners": {"one": {"title": "One", **learner}},
        "main": "one",
        "targets": [],
    }
    path = tmp_path / "experiment.yaml"
    path.write_text(yaml.safe_dump(content))
    return load(path)


LEARNERS = [
    {"rule": "ewc", "settings": {"strength": 30.0, "fisher": "empirical"}},
    {"rule": "replay", "settings": {"capacity": 50}},
    {"rule": "mesu", "settings": {"samples": 2}, "levels": {"count": 9, "bound": 2.0, "write_noise": 0.1}},
    {"rule": "bayesbinn", "settings": {"lr": 2e-3}},
    {"rule": "probabilistic", "settings": {"levels": 9}},
    {"rule": "kalman", "settings": {"batch_size": 500, "window": 30}},
    {"m": 4.0},
]


@pytest.mark.parametrize("learner", LEARNERS, ids=lambda learner: learner.get("rule", "metaplastic"))
def test_a_run_of_any_rule_that_is_stopped_goes_on(tmp_path, learner):
    config = experiment(tmp_path, **learner)
    stream = build_stream(config)
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    whole.mkdir()
    stopped.mkdir()
    done = train(config, "one", stream, whole, Silent())
    network, result = done.network, done.result

    class Halt(Silent):
        tasks = 0

        def epoch(self, learner, epoch):
            if epoch.task == 1:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config, "one", stream, stopped, Halt())
    stopped_once = train(config, "one", stream, stopped, Silent())
    again, resumed = stopped_once.network, stopped_once.result
    np.testing.assert_array_equal(result.accuracy_matrix, resumed.accuracy_matrix)
    counted, other = result.tally.state_dict(), resumed.tally.state_dict()
    assert all(torch.equal(counted["flips"][name], other["flips"][name]) for name in counted["flips"])
    assert {k: v for k, v in counted.items() if k not in ("flips", "positive")} == {
        k: v for k, v in other.items() if k not in ("flips", "positive")
    } or np.isnan(counted["before"])
    assert done.believed == stopped_once.believed and done.believed
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), again.parameters(), strict=True))
    fresh = build_learner(config, "one", stream.inputs, stream.classes, 0)
    assert not any(torch.equal(a, b) for a, b in zip(network.parameters(), fresh.parameters(), strict=True))
    assert len(list(stopped.glob("checkpoints/*.rule.pt"))) == (0 if "m" in learner else 2)
    checkpoint.load_into(fresh, next(iter(stopped.glob("checkpoints/*-2.safetensors"))))
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), fresh.parameters(), strict=True))


@pytest.mark.parametrize(
    ("learner", "told"),
    [
        ({"rule": "ewcc"}, "learners.one.rule.*did you mean 'ewc'"),
        ({"rule": "ewc", "settings": {"strenght": 1}}, "did you mean 'strength'"),
        ({"rule": "ewc", "settings": {"strength": -1}}, "EWC.strength: expected a number >= 0"),
        ({"rule": "ewc", "settings": {"fisher": "exakt"}}, "EWC.fisher: expected 'exact'"),
        ({"rule": "ewc", "m": 3.0}, "m only with the rule metaplastic"),
        ({"levels": {"count": 1}}, "levels.count"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_runs(tmp_path, learner, told):
    with pytest.raises(ns.NeurospinError, match=told):
        experiment(tmp_path, **learner)


STUDY = {
    "name": "study",
    "stream": {"kind": "permuted", "tasks": 2, "scenario": "task", "samples": 500, "test": "own"},
    "network": {"hidden": [8], "gain": [1.0, 1.0], "normalisation": "batch", "private_normalisation": True},
    "training": {"epochs": 1, "batch_size": 100},
    "learners": {"one": {"title": "One", "neuron": "sign", "m": 8.0}},
    "targets": [],
}


def test_a_study_without_a_main_learner_is_run_reported_and_counted(tmp_path):
    results = run(parse(STUDY, "test"), tmp_path / "run", Silent())
    one = results["learners"]["one"]
    assert one["private_parameters_per_task"] == 2 * (8 + 10)
    assert one["accuracy_matrix"][0][1] is None and one["window_accuracy"] == one["average_accuracy"]
    assert results["main"] is None and results["targets"] == {}
    assert not (tmp_path / "run" / "network.nir").exists()
    text = (tmp_path / "run" / "report.html").read_text()
    assert "What was kept" in text and "What runs where" not in text
    results_table(results)
    net = build_learner(parse(STUDY, "test"), "one", 64, 10, 0)
    rule = build_rule(net, parse(STUDY, "test").learners["one"], parse(STUDY, "test").training)
    m = {id(p): group["m"] for group in rule.param_groups for p in group["params"]}
    assert [m[id(p)] for p in (*net.stored, *net.gains, *net.biases)] == [8.0] * 2 + [0.0] * 8


@pytest.mark.parametrize(
    ("part", "changes", "told"),
    [
        ("stream", {"scenario": "class"}, "scenario: task or domain|task or domain for a permuted stream"),
        ("stream", {"kind": "sequence", "scenario": "domain"}, "names for a sequence"),
        ("stream", {"kind": "sequence", "scenario": "domain", "datasets": ["digits"]}, "one for each of 1 datasets"),
        (None, {"targets": ["loihi"]}, r"\[\] without a main learner"),
        ("learners", {"two": {"title": "Two"}}, "none with lif or rate"),
        (
            None,
            {"network": {}, "learners": {"a": {"title": "A"}}, "main": "a", "encode": {"kind": "direct"}},
            "targets take",
        ),
    ],
)
def test_a_study_that_cannot_be_is_refused(part, changes, told):
    content = copy.deepcopy(STUDY)
    (content if part is None else content[part]).update(changes)
    with pytest.raises(ns.NeurospinError, match=told):
        parse(content, "test")


def test_a_setting_in_scientific_notation_is_a_number(tmp_path):
    path = tmp_path / "experiment.yaml"  # YAML 1.1 takes 2e-3 for text
    path.write_text("name: one\ntargets: []\nlearners: {one: {title: One, rule: bayesbinn, settings: {lr: 2e-3}}}")
    assert load(path).learners["one"].settings == {"lr": 0.002}
    changed = load(path, ["learners.one.settings.lr=5e-4", "learners.one.settings.samples=2"])
    assert changed.learners["one"].settings == {"lr": 5e-4, "samples": 2}


def test_a_sequence_of_data_sets_by_name():
    content = copy.deepcopy(STUDY) | {"stream": {"kind": "sequence", "tasks": 2, "datasets": ["digits", "digits"]}}
    content["network"]["private_normalisation"] = False
    stream = build_stream(parse(content, "test"))
    assert (stream.kind, len(stream), stream.scenario) == ("sequence", 2, "domain")
    content["stream"]["scenario"] = "task"
    told = build_stream(parse(content, "here"))
    assert told.scenario == "task" and [task.classes for task in told.tasks] == [tuple(range(10))] * 2


def test_the_memory_of_the_neurons_changes_no_result(tmp_path):
    told = experiment(tmp_path)
    again = told.model_copy(update={"network": told.network.model_copy(update={"memory": "recompute"})})
    gradients = []
    for one in (told, again):
        net = build_learner(one, "one", 64, 10, 0)
        assert isinstance(net, ns.Network)
        assert net.neurons()["lif1"].memory == one.network.memory
        net((torch.rand(40, 4, 64, generator=torch.Generator().manual_seed(0)) < 0.8).float()).output.sum().backward()
        gradients.append([p.grad for p in net.parameters()])
    assert all(torch.equal(a, b) and bool(a.any()) for a, b in zip(*gradients, strict=True))  # type: ignore[union-attr]
