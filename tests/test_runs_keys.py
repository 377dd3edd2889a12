"""Every key of an experiment file: shown with its default, described to editors, and found when it is misspelt."""

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

import neurospin as ns
from neurospin.cli import app
from neurospin.runs import config, show
from neurospin.runs.config import Experiment
from neurospin.runs.keys import nearest, paths

FILE = "experiments/quickstart.yaml"


def call(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def test_what_is_shown_is_the_whole_experiment_and_can_be_run(tmp_path):
    shown = call("config", "--show")
    assert shown.exit_code == 0
    (tmp_path / "e.yaml").write_text(shown.stdout)
    assert config.load(tmp_path / "e.yaml") == show.template()
    keys = {path.rpartition(".")[2] for path in paths(Experiment, show.template().model_dump())}
    lines = shown.stdout.splitlines()
    for key in keys - {"count", "bound", "write_noise"}:  # of levels, which are null here
        found = [line for line in lines if line.strip().startswith(f"{key}:")]  # some stand in two parts
        assert found and (all("#" in x for x in found) or key in ("stream", "encode", "network", "training", "learner"))
    (tmp_path / "q.yaml").write_text(call("config", FILE, "--show", "--set", "training.lr=0.5").stdout)
    assert config.load(tmp_path / "q.yaml") == config.load(FILE, ["training.lr=0.5"])
    assert config.load(tmp_path / "q.yaml").training.lr == 0.5


def test_the_schema_names_every_key_bound_rule_and_setting():
    schema = json.loads(call("config", "--schema").stdout)
    parts = schema["$defs"]
    lr = parts["TrainingConfig"]["properties"]["lr"]
    assert lr["exclusiveMinimum"] == 0 and lr["default"] == 1e-2 and lr["description"]
    assert parts["EncodeConfig"]["properties"]["probability"]["maximum"] == 1
    assert not any(part["additionalProperties"] for part in (schema, *parts.values()))
    learner = parts["LearnerConfig"]
    assert "bimu" in learner["properties"]["rule"]["enum"]
    (ewc,) = [one["then"] for one in learner["allOf"] if one["if"]["properties"]["rule"]["const"] == "ewc"]
    assert "strength" in ewc["properties"]["settings"]["properties"]
    words = json.dumps(schema)
    assert '"gt"' not in words and '"le"' not in words
    for part, about in ((Experiment, schema), *((getattr(config, name), parts[name]) for name in parts)):
        assert set(about["properties"]) == set(part.model_fields)


def test_the_schema_of_sweeps_knows_the_keys_of_experiments(tmp_path):
    """Files that load fit it; those with a misspelt key, or a value out of bounds, do not."""
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads(call("sweep", "--schema").stdout)
    jsonschema.Draft202012Validator.check_schema(schema)
    judge = jsonschema.Draft202012Validator(schema)
    good = {
        "name": "s", "experiment": "e.yaml", "seeds": [0, 1], "set": {"training.epochs": 2, "network": {"hidden": [8]}},
        "grid": {"training.lr": [1e-3, 1e-2], "learners.a.m": [0, 25], "stream.kind": ["split"]},
    }  # fmt: skip
    search = {"trials": 3, "space": {"training.lr": {"low": 1e-3, "high": 0.1, "log": True}}}
    assert judge.is_valid(good) and judge.is_valid({"name": "s", "experiment": "e.yaml", "search": search})
    for part, value in (
        ("grid", {"trainig.lr": [1]}), ("grid", {"training.lr": 0.1}), ("grid", {"training.lr": [-1]}),
        ("grid", {"stream.kind": ["spilt"]}), ("set", {"training.epochs": 0}), ("slurm", {"partion": "x"}),
        ("search", {**search, "space": {"lr": {"choices": [1]}}}), ("seeds", []), ("name", "../x"),
    ):  # fmt: skip
        assert not judge.is_valid({**good, part: value}), (part, value)


@pytest.mark.parametrize(
    ("change", "fix"),
    [
        ("trainig.lr=1", "did you mean 'training'?"),
        ("training.lrr=1", "did you mean 'training.lr'?"),
        ("lr=1", "did you mean 'training.lr'?"),
        ("network.epochs=1", "did you mean 'training.epochs'?"),
        ("learners.metaplsatic.m=1", "did you mean 'learners.metaplastic'?"),
        ("learners.plain.setings.x=1", "did you mean 'learners.plain.settings'?"),
        ("learners.plain.levels.cuont=9", "did you mean 'learners.plain.levels.count'?"),
        ("training.lr.x=1", "lr, which has none"),
        ("network.gain.0=1", "gain, which has none"),
        ("training", "got 'training'"),
        ("=1", "key=value"),
        ("training.lr=[", "a YAML value"),
        ("training.lr=fast", "training.lr"),
        ("learners.new=3", "learners.new"),
    ],
)
def test_a_misspelt_key_is_found_at_any_depth(change, fix):
    with pytest.raises(ns.NeurospinError) as caught:
        config.load(FILE, [change])
    assert fix in str(caught.value) and "\n" not in str(caught.value)


def test_a_misspelt_key_of_a_file_is_found_in_the_right_place(tmp_path):
    content = yaml.safe_load(Path(FILE).read_text())
    (tmp_path / "e.yaml").write_text(yaml.safe_dump({**content, "batch_size": 3}))
    with pytest.raises(ns.ConfigError, match=r"did you mean 'training.batch_size'\?"):
        config.load(tmp_path / "e.yaml")
    assert nearest("xyz", ["training.lr", "seed"]) is None


def test_a_whole_learner_can_be_added():
    changed = config.load(FILE, ["learners.new={title: N, rule: ewc}", "learners.new.settings.strength=3"])
    assert changed.learners["new"].settings == {"strength": 3}
