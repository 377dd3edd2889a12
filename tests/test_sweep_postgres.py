"""One search from several nodes: two processes with folders of their own, one study in a PostgreSQL on loopback."""

import json
import subprocess
import sys

import pytest
import yaml

from tests import postgres
from tests.test_sweep import BASE

pytestmark = pytest.mark.postgresql
TRIALS = 5


def test_two_processes_share_one_search(tmp_path):
    optuna = pytest.importorskip("optuna")
    pytest.importorskip("psycopg", reason="pip install 'neurospin[postgresql]'")
    if reason := postgres.missing():
        pytest.skip(reason)
    (tmp_path / "e.yaml").write_text(yaml.safe_dump(BASE))
    with postgres.database() as url:
        search = {"trials": TRIALS, "space": {"training.lr": {"low": 1e-3, "high": 1e-1, "log": True}}, "storage": url}
        sweep = {"name": "shared", "experiment": "e.yaml", "seeds": [0, 1], "workers": 1, "search": search}
        (tmp_path / "s.yaml").write_text(yaml.safe_dump(sweep))
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        storage = optuna.storages.RDBStorage(url)
        optuna.create_study(study_name="shared", storage=storage, direction="maximize")  # so that both find it
        command = [sys.executable, "-m", "neurospin", "sweep", "s.yaml", "--output"]
        nodes = [
            subprocess.Popen(
                [*command, name], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
            for name in ("one", "two")
        ]
        told = [node.communicate(timeout=300)[0] for node in nodes]
        assert [node.returncode for node in nodes] == [0, 0], told
        trials = optuna.load_study(study_name="shared", storage=storage).get_trials()
        storage.scoped_session.remove()
        storage.engine.dispose()
    counted = [trial for trial in trials if trial.number < TRIALS]
    assert len(counted) == TRIALS and all(trial.state.name == "COMPLETE" for trial in counted)
    assert all(trial.state.name == "FAIL" for trial in trials[TRIALS:])  # asked at the same moment, and given back
    owners = {trial.user_attrs["owner"] for trial in counted}
    assert owners == {str(tmp_path / "one"), str(tmp_path / "two")}  # both have worked
    for trial in counted:  # the value of a trial is the mean over the seeds of its cells, which one folder holds
        cells = list((tmp_path / trial.user_attrs["owner"] / "cells").glob("*/results.json"))
        found = {}
        for cell in cells:
            lr = yaml.safe_load((cell.parent / "config.yaml").read_text())["training"]["lr"]
            found.setdefault(lr, []).append(json.loads(cell.read_text())["learners"]["a"]["average_accuracy"])
        values = found[trial.params["training.lr"]]
        assert len(values) == 2 and trial.value == pytest.approx(sum(values) / 2)
    best = max(trial.value for trial in counted)
    assert any(f"best: {best:.6g} with training.lr=" in text for text in told)  # who ends last knows it
