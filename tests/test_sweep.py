"""Sweeps: cells are known by what they are, tried again when they fail, never repeated when they are done."""

import json
import os
import signal
import sys
import threading
import time
from collections import Counter

import pytest
import yaml

import neurospin as ns
from neurospin.runs.local import Local
from neurospin.runs.sweep import ERROR, Failure, Grid, Runner, carry_out, hold, is_done, prepare, sweep
from neurospin.runs.sweep_file import load_sweep
from tests.killing import TINY

BASE = {
    **TINY,
    "learners": {"a": {"title": "A", "m": 20.0}},
    "targets": [],
    "training": {"epochs": 1, "batch_size": 900},
}
SWEEP = {
    "name": "s", "experiment": "e.yaml", "seeds": [0, 1], "grid": {"training.lr": ["1e-3", 0.01], "learners.a.m": [0, 20]},
}  # fmt: skip


def plan_of(tmp_path, **changes):
    (tmp_path / "e.yaml").write_text(yaml.safe_dump(BASE))
    (tmp_path / "s.yaml").write_text(yaml.safe_dump({**SWEEP, **changes}))
    return load_sweep(tmp_path / "s.yaml")


class Watch:
    def __init__(self):
        self.said, self.seen = [], []

    def cells(self, done, failed, running, total):
        self.seen.append((done, failed, running, total))

    def say(self, text):
        self.said.append(text)


class Fake(Runner):
    """Two cells at a time; `does` says what becomes of each."""

    def __init__(self, does):
        self.does, self.taken, self.started, self.closed = does, [], [], False

    @property
    def free(self):
        return 2 - len(self.taken)

    def start(self, cells):
        self.taken += cells
        self.started += [cell.name for cell in cells]

    def wait(self):
        cell = self.taken.pop(0)
        return [(cell, self.does(cell))]

    def close(self):
        self.closed = True


def finish(folder, value=0.5):
    def does(cell):
        place = folder / "cells" / cell.name
        place.mkdir(parents=True, exist_ok=True)
        got = value(cell) if callable(value) else value
        (place / "results.json").write_text(json.dumps({"learners": {"a": {"average_accuracy": got}}}))

    return does


def test_a_cell_is_known_by_its_whole_configuration(tmp_path):
    cells = plan_of(tmp_path).cells()
    assert len(cells) == 8 and len({cell.name for cell in cells}) == 8
    assert {(c.experiment.training.lr, c.experiment.learners["a"].m, c.experiment.seed) for c in cells} == {
        (lr, m, seed) for lr in (1e-3, 1e-2) for m in (0.0, 20.0) for seed in (0, 1)
    }
    more = plan_of(tmp_path, grid={"learners.a.m": [20, 0, 5], "training.lr": [0.001, 0.01]}, seeds=[1, 0]).cells()
    digests = [{c.name[-10:] for c in some} for some in (cells, more)]
    assert digests[0] < digests[1] and len(digests[1]) == 12  # the same cells, in whatever order and notation
    changed = plan_of(tmp_path, set={"encode.steps": 4}).cells()
    assert digests[0].isdisjoint(c.name[-10:] for c in changed)


def test_cells_that_fail_are_tried_again_and_listed_and_what_is_done_is_not_repeated(tmp_path):
    plan = plan_of(tmp_path, retries=2)
    folder, cells = tmp_path / "sweep", plan.cells()
    (folder / "cells").mkdir(parents=True)
    finish(folder)(cells[0])
    counts = Counter()

    def does(cell):
        counts[cell.name] += 1
        if cell.name == cells[1].name and counts[cell.name] < 3:
            return Failure("killed")
        if cell.name == cells[2].name:
            return Failure("killed again")
        if cell.name == cells[3].name:
            return Failure("expected a number", final=True)
        return finish(folder)(cell)

    runner, watch = Fake(does), Watch()
    outcome = sweep(plan, folder, Grid(cells), runner, watch)
    assert outcome.before == [cells[0].name] and counts[cells[0].name] == 0
    assert [counts[c.name] for c in cells[1:]] == [3, 3, 1, 1, 1, 1, 1]
    assert outcome.failed == {cells[2].name: "killed again", cells[3].name: "expected a number"}
    assert len(outcome.done) == 5 and runner.closed and watch.seen[-1] == (6, 2, 0, 8)
    assert sum("tried again" in text for text in watch.said) == 4
    assert json.loads((folder / "outcome.json").read_text())["failed"] == outcome.failed
    again = Fake(finish(folder))
    assert sorted(sweep(plan, folder, Grid(cells), again, Watch()).done) == sorted(outcome.failed)


def test_workers_give_what_a_run_gives_and_one_that_is_killed_is_replaced(tmp_path):
    plan = plan_of(tmp_path, grid={"training.lr": [1e-3, 1e-2]}, set={"training.epochs": 3})
    folder, cells = tmp_path / "sweep", plan.cells()
    runner, watch = Local(folder / "cells", 2, every=0.0), Watch()

    def kill():
        while not any((folder / "cells").glob("*/metrics.jsonl")):
            time.sleep(0.01)
        os.kill(next(w.process.pid for w in runner.crew if w.cell), signal.SIGKILL)

    with hold(folder):
        prepare(plan, folder)
        thread = threading.Thread(target=kill)
        thread.start()
        outcome = sweep(plan, folder, Grid(cells), runner, watch)
        thread.join()
    assert len(outcome.done) == 4 and not outcome.failed and not runner.crew
    assert any("its process died (SIGKILL); tried again" in text for text in watch.said)
    assert carry_out(cells[0], tmp_path / "alone") is None
    for name in ("network.safetensors", "config.yaml"):
        one, other = (place / cells[0].name / name for place in (tmp_path / "alone", folder / "cells"))
        assert one.read_bytes() == other.read_bytes()


def test_an_error_in_a_cell_is_kept_with_its_traceback(tmp_path):
    cell = plan_of(tmp_path).cells()[0]
    place = tmp_path / "cells" / cell.name
    place.mkdir(parents=True)
    (place / "thesis.tex").write_text("precious")
    failure = carry_out(cell, tmp_path / "cells")
    assert failure and "a new or empty folder" in failure.text and "\n" not in failure.text
    assert "Traceback" in (place / ERROR).read_text() and not is_done(place)


def test_two_sweeps_in_one_folder(tmp_path):
    plan, folder = plan_of(tmp_path), tmp_path / "sweep"
    with hold(folder):
        prepare(plan, folder)
        with pytest.raises(ns.ConfigError, match="in which nothing else is at work"), hold(folder):
            pass
    prepare(plan_of(tmp_path, seeds=[0, 1, 2]), folder)  # a larger one may
    with pytest.raises(ns.ConfigError, match="a sweep of another name"):
        prepare(plan_of(tmp_path, name="t"), folder)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("precious")
    with pytest.raises(ns.OutputError, match="a new or empty folder"):
        prepare(plan, tmp_path / "other")


SEARCH = {
    "trials": 6,
    "space": {
        "training.lr": {"low": "1e-3", "high": 1e-1, "log": True},
        "network.hidden": {"choices": [[8], [12]]},
        "training.epochs": {"low": 1, "high": 4},
    },
}


def test_a_search_asks_tells_and_goes_on(tmp_path):
    optuna = pytest.importorskip("optuna")
    from neurospin.runs.search import Search

    plan, folder = plan_of(tmp_path, grid={}, search=SEARCH, retries=0), tmp_path / "sweep"
    folder.mkdir()
    value = finish(folder, lambda cell: cell.experiment.training.epochs + cell.experiment.seed)

    def until(cell):
        if cell.trial == 3:
            raise KeyboardInterrupt
        return Failure("lost") if cell.trial == 1 else value(cell)

    source = Search(plan, folder)
    with pytest.raises(KeyboardInterrupt):
        sweep(plan, folder, source, Fake(until), Watch())
    left = {c.trial for c in source.left} | set(source.open)
    source = Search(plan, folder)
    assert {cell.trial for cell in source.left} == left  # unfinished trials are gone on with, not asked anew
    outcome = sweep(plan, folder, source, Fake(value), Watch())
    trials = source.study.get_trials()
    assert len(trials) == 6 and not outcome.failed
    states = [trial.state for trial in trials]
    assert states.count(optuna.trial.TrialState.COMPLETE) == 5 and states[1] == optuna.trial.TrialState.FAIL
    for trial in trials:
        if trial.value is not None:
            assert trial.value == trial.params["training.epochs"] + 0.5  # mean over seeds 0 and 1
    best, settings = source.best()
    assert best == max(t.value for t in trials if t.value) and settings["network.hidden"] in ([8], [12])
    assert Search(plan, folder).take() is None  # another process of the same study finds nothing left to do


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"grid": {"trainig.lr": [1]}}, "did you mean 'training'"),
        ({"grid": {"training.lr": [1, -1]}}, r"training.lr=-1\): training.lr: expected greater than 0"),
        ({"grid": {"training.lr": []}}, "grid.training.lr"),
        ({"grid": {"training.lr": [0.1, 0.1]}}, "every value once"),
        ({"grids": {}}, "did you mean 'grid'"),
        ({"seeds": [0, 0]}, "each once"),
        ({"seeds": [True]}, "seeds"),
        ({"search": SEARCH}, "grid or search"),
        ({"grid": {}, "search": {**SEARCH, "space": {"training.lr": {"low": 2, "high": 1}}}}, "low below high"),
        ({"grid": {}, "search": {**SEARCH, "space": {"training.lr": {}}}}, "low and high, or choices"),
        ({"grid": {}, "search": {**SEARCH, "space": {"lr": {"choices": [1]}}}}, "did you mean 'training.lr'"),
        ({"grid": {}, "search": {**SEARCH, "learner": "b"}}, "search.learner: expected one of a"),
        ({"slurm": {"partion": "x"}}, "did you mean 'slurm.partition'"),
        ({"experiment": "none.yaml"}, "none.yaml: expected an existing file"),
        ({"name": "../x"}, "name"),
    ],
)
def test_a_faulty_sweep_is_told_in_one_line_before_anything_runs(tmp_path, changes, told):
    with pytest.raises(ns.NeurospinError, match=told) as caught:
        plan_of(tmp_path, **changes).cells()
    assert "\n" not in str(caught.value)


def test_a_storage_that_cannot_be_opened_is_told(tmp_path, monkeypatch):
    pytest.importorskip("optuna")
    from neurospin.runs.search import Search

    monkeypatch.setitem(sys.modules, "psycopg", None)  # as if it were not installed
    for storage, told in (
        ("nonsense", "a database that can be opened"),
        ("postgresql://u@h/d", r"pip install 'neurospin\[postgresql\]'"),
    ):
        plan = plan_of(tmp_path, grid={}, search={**SEARCH, "storage": storage})
        with pytest.raises(ns.NeurospinError, match=told) as caught:
            Search(plan, tmp_path)
        assert "\n" not in str(caught.value)
