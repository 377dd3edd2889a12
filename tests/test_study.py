"""The study of flexible dimensionality: what is followed, what its statistics say, and that it goes on where it was stopped."""

import json

import numpy as np
import pytest
import torch
from scipy import stats
from typer.testing import CliRunner

import neurospin as ns
from neurospin.cli import app
from neurospin.continual.metrics import forgetting
from neurospin.errors import ConfigError
from neurospin.runs import study as studies
from neurospin.tasks import category_stream
from neurospin.twins import flexible, geometry
from neurospin.twins.flexible_effects import compared, summary

SMALL = {
    "study": "flexible_dimensionality", "seeds": [0, 1, 2], "switches": ["I", "VI"], "hidden": 16, "epochs": 2, "steps": 8,
    "samples": 32, "tests": 32, "every": 1,
}  # fmt: skip


class Counting:
    def __init__(self):
        self.told = []

    def cells(self, done, failed, running, total):
        self.told.append((done, total))

    def say(self, text):
        pass


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study") / "run"
    study = studies.Study.model_validate(SMALL)
    return study, folder, studies.run(study, folder, Counting())


def test_every_learner_of_a_seed_begins_alike_and_sees_the_same(finished):
    study, folder, _ = finished
    first = {
        cell: studies._cell(study, cell, folder / "cells" / f"{studies._name(*cell)}.npz")[0] for cell in study.cells()
    }
    for form in ("rate", "lif"):
        plain, strong = first[form, 0.0, "switches", 1], first[form, 8.0, "switches", 1]
        alone = first[form, None, "I", 1]
        for name in flexible.FOLLOWED:  # the first task of the switches is the rule I from scratch
            np.testing.assert_array_equal(plain.values[name][:3], alone.values[name])
        np.testing.assert_array_equal(plain.values["accuracy"][0], strong.values["accuracy"][0])
        assert plain.epochs.tolist() == [0, 1, 2, 2, 3, 4] and plain.tasks.tolist() == [0, 0, 0, 1, 1, 1]
        assert plain.matrix.shape == (2, 2)


def test_a_look_is_what_it_says():
    stream = category_stream(("I", "VI"), samples=32, tests=64, noise=0.1, seed=0)
    net = flexible.recurrent_learner(stream.inputs, 20, seed=1)
    encode = ns.encode.Rate(12, 1.0)
    found = flexible._look(net, stream.tasks[1], net, encode, 5)
    shown = encode(stream.tasks[1].test_x, torch.Generator().manual_seed(5))
    run = net(shown, record=("spikes",))
    hidden = run.spikes["hidden"].detach()
    by_turn = hidden.mean(0).reshape(8, 8, 20)  # sample i is of stimulus i % 8
    patterns = by_turn.transpose(0, 1).double().numpy()
    means = patterns.mean(1)
    assert found["signal_dimension"] == pytest.approx(geometry.signal_dimension(patterns))
    assert found["shattering_dimension"] == pytest.approx(geometry.shattering_dimension(patterns))
    labels = 2 * stream.tasks[1].test_y[:8].numpy() - 1
    assert found["ccgp"] == pytest.approx(geometry.ccgp(patterns, labels))
    assert np.linalg.matrix_rank(means - means.mean(0)) <= 7
    assert found["spikes"] == pytest.approx(float(hidden.sum()) / (64 * 20))
    given, within = (
        shown[:, :16].sum(),
        hidden[:, :16].sum(),
    )  # a spike of the input reaches 20 neurons, theirs 20 and 2
    assert found["operations"] == pytest.approx(float(20 * given + 22 * within) / 16)
    rate = net.rate_twin()
    told = flexible._look(rate, stream.tasks[1], net, encode, 5)
    assert told["operations"] == 12 * (stream.inputs * 20 + 20 * 20 + 20 * 2)
    assert sum(p.numel() for p in rate.parameters()) == sum(p.numel() for p in net.parameters())


def test_the_statistics_are_those_of_scipy():
    draw = np.random.default_rng(0)
    family = [("lif", str(k), draw.standard_normal(6) + k, draw.standard_normal(6)) for k in range(4)]
    found = compared("q", "m", family)
    p = [stats.ttest_rel(first, second).pvalue for *_, first, second in family]
    for effect, one, (*_, first, second) in zip(found, p, family, strict=True):
        interval = stats.ttest_rel(first, second).confidence_interval()
        assert (effect["low"], effect["high"]) == pytest.approx((interval.low, interval.high))
        assert effect["p"] == pytest.approx(one)
    order = np.argsort(p)
    running = 0.0
    for rank, index in enumerate(order):  # Holm: the k-th smallest times how many are left, never falling
        running = max(running, min(1.0, p[index] * (4 - rank)))
        assert found[index]["holm"] == pytest.approx(running)


def planted(dimension, matrix):
    looks = {name: np.array([0.5, 0.5]) for name in flexible.FOLLOWED} | {
        "signal_dimension": np.array([3.0, dimension])
    }
    return flexible.Followed(np.array(matrix), np.array([0, 4]), np.array([0, 0]), looks)


def test_planted_compression_and_expansion_are_found():
    draw = np.random.default_rng(1)
    cells = {}
    for seed in range(5):
        for rule, ends in (("I", 1.5), ("II", 3.0), ("VI", 5.0)):
            cells["lif", None, rule, seed] = planted(ends + 0.1 * draw.standard_normal(), [[1.0]])
        for m, last in ((0.0, 0.5), (8.0, 0.9)):
            cells["lif", m, "switches", seed] = planted(3.0, [[1.0, 0.5], [last + 0.01 * seed, 1.0]])
    found = summary(cells, ["I", "II", "VI"], 4)
    change = {e["what"][:2].strip(","): e for e in found["effects"] if e["question"] == "compression or expansion"}
    assert change["I"]["high"] < 0 < change["VI"]["low"]
    assert change["I"]["difference"] == pytest.approx(-1.5, abs=0.15)
    assert found["trend"]["lif"] < 0.01
    (lost,) = [e for e in found["effects"] if e["measure"] == "forgetting"]
    assert lost["difference"] == pytest.approx(-0.4)
    assert found["switches"]["lif"]["0"]["forgetting"][0] == pytest.approx(
        np.mean([forgetting(cells["lif", 0.0, "switches", seed].matrix) for seed in range(5)])
    )


def test_a_study_goes_on_and_gives_the_same_again(finished, tmp_path):
    study, folder, results = finished
    assert json.loads((folder / "results.json").read_text()) == results
    for name in ("report.html", "figures/dimension.svg", "figures/switches.svg"):
        assert (folder / name).stat().st_size > 1000
    page = (folder / "report.html").read_text()
    assert "Compression or expansion" in page and page.count("<svg") == 5
    (folder / "cells" / "lif_VI_seed2.npz").unlink()
    (folder / "results.json").unlink()
    again = studies.run(study, folder, Counting())
    assert {**again, "seconds": 0} == {**results, "seconds": 0}
    other = study.model_copy(update={"hidden": 17})
    with pytest.raises(ConfigError, match="another configuration"):
        studies.run(other, folder, Counting())


def test_the_command_line_runs_studies(finished, tmp_path):
    _, folder, _ = finished
    runner = CliRunner()
    told = runner.invoke(app, ["run", str(folder / "config.yaml"), "--output", str(folder)])
    assert told.exit_code == 0 and "report:" in told.output and "type I: learning" in told.output
    assert runner.invoke(app, ["resume", str(folder)]).exit_code == 0
    assert "Shepard" in runner.invoke(app, ["cite", str(folder)]).output
    refused = runner.invoke(app, ["run", str(folder / "config.yaml"), "--seed", "3", "--output", str(tmp_path / "x")])
    assert refused.exit_code and isinstance(refused.exception, ConfigError)
    assert studies.load("experiments/flexible_dimensionality.yaml").seeds[:5] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("bad", [{"rules": ["I", "VII"]}, {"samples": 100}, {"seeds": [0]}, {"hiden": 3}])
def test_a_study_that_cannot_be_is_refused(bad, tmp_path):
    import yaml

    place = tmp_path / "study.yaml"
    place.write_text(yaml.safe_dump({**SMALL, **bad}))
    with pytest.raises(ConfigError, match=r"expected .*, got .*\. Fix: "):
        studies.load(place)


def test_the_other_commands_know_a_study(finished, tmp_path):
    _, folder, _ = finished
    report, before = folder / "report.html", (folder / "report.html").read_text()
    report.unlink()
    done = CliRunner().invoke(app, ["report", str(folder)])
    assert done.exit_code == 0, done.output
    assert report.read_text() == before
    cited = CliRunner().invoke(app, ["cite", str(folder)])
    assert cited.exit_code == 0 and "Laborieux" in cited.output
    refused = CliRunner().invoke(app, ["compare", str(folder), str(folder)])
    assert isinstance(refused.exception, ConfigError) and "a study over many seeds" in str(refused.exception)
    (tmp_path / "results.json").write_text("[1]")
    odd = CliRunner().invoke(app, ["report", str(tmp_path)])
    assert isinstance(odd.exception, ConfigError) and "something else" in str(odd.exception)
    cell = next((folder / "cells").iterdir())
    cell.rename(tmp_path / cell.name)
    gone = CliRunner().invoke(app, ["report", str(folder)])
    assert isinstance(gone.exception, ConfigError) and "1 missing" in str(gone.exception)
    (tmp_path / cell.name).rename(cell)
