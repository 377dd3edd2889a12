"""Cells from a search by Optuna, whose study several machines may share."""

from __future__ import annotations

import json
import math
import warnings
from collections import deque
from pathlib import Path
from typing import Any

from neurospin.errors import ConfigError, MissingDependency
from neurospin.report.results import read_run
from neurospin.runs.sweep import Failure, Source
from neurospin.runs.sweep_file import Cell, Plan, Variable


class Search(Source):
    """Trials of a study; each is a cell per seed, and is told the mean over seeds.

    Trials that an earlier process in this folder left unfinished are gone on with.

    Args:
        plan: with a search.
        folder: of the sweep.

    Raises:
        MissingDependency: optuna, or the driver of the database, is not installed.
        ConfigError: the storage cannot be opened.
    """

    def __init__(self, plan: Plan, folder: Path) -> None:
        assert plan.sweep.search
        try:
            import optuna
        except ImportError as error:
            raise MissingDependency(
                "neurospin sweep", "optuna", "a Python without it", "pip install 'neurospin[sweeps]'"
            ) from error
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.plan, self.folder, self.config = plan, folder, plan.sweep.search
        self.owner = str(folder.resolve())
        storage = self.config.storage or f"sqlite:///{folder.resolve() / 'study.db'}"
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self.study = optuna.create_study(
                    study_name=plan.sweep.name, storage=storage, direction=self.config.direction, load_if_exists=True,
                    sampler=optuna.samplers.TPESampler(seed=self.config.seed),
                )  # fmt: skip
        except ImportError as error:
            driver = str(getattr(error.__cause__ or error, "name", None) or "of this database")
            wanted = "'neurospin[postgresql]'" if driver == "psycopg" else driver
            raise MissingDependency(
                "search.storage", f"the driver {driver}", "none", f"pip install {wanted}"
            ) from error
        except Exception as error:
            text = str(error).splitlines()[0] or type(error).__name__
            raise ConfigError("search.storage", "a database that can be opened", text, "check the URL") from error
        self.space = {key: _distribution(one) for key, one in self.config.space.items()}
        self.total = self.config.trials * len(plan.sweep.seeds)
        self.left: deque[Cell] = deque()
        self.open: dict[int, dict[str, float | None]] = {}
        for trial in self.study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):
            if trial.user_attrs.get("owner") == self.owner:
                self._cells(trial.number, trial.params)

    def take(self) -> Cell | None:
        """A cell of an open trial, or the first of a new one, while there are trials to make."""
        from optuna.trial import TrialState

        if not self.left:
            if len(self.study.get_trials(deepcopy=False)) >= self.config.trials:
                return None
            trial = self.study.ask(self.space)
            if trial.number >= self.config.trials:  # another process asked at the same moment
                self.study.tell(trial, state=TrialState.FAIL)
                return None
            trial.set_user_attr("owner", self.owner)
            self._cells(trial.number, trial.params)
        return self.left.popleft()

    def told(self, cell: Cell, failure: Failure | None) -> None:
        """Tell the study, when the last seed of a trial is in; a trial with a failed cell is a failed one."""
        from optuna.trial import TrialState

        assert cell.trial is not None
        found = self.open[cell.trial]
        found[cell.name] = None if failure else self._value(cell)
        if len(found) < len(self.plan.sweep.seeds):
            return
        values = [value for value in self.open.pop(cell.trial).values() if value is not None]
        if len(values) < len(found):
            self.study.tell(cell.trial, state=TrialState.FAIL)
        else:
            self.study.tell(cell.trial, sum(values) / len(values))

    def best(self) -> tuple[float, dict[str, Any]] | None:
        """The best value so far, and its settings."""
        try:
            return self.study.best_value, {key: _plain(value) for key, value in self.study.best_params.items()}
        except ValueError:
            return None

    def _cells(self, trial: int, params: dict[str, Any]) -> None:
        settings = {key: _plain(params[key]) for key in self.space}
        self.open[trial] = {}
        self.left.extend(self.plan.cell(settings, seed, trial) for seed in self.plan.sweep.seeds)

    def _value(self, cell: Cell) -> float | None:
        learner = self.config.learner or cell.experiment.main
        value = float(read_run(self.folder / "cells" / cell.name)["learners"][learner][self.config.objective])
        return value if math.isfinite(value) else None


def _distribution(variable: Variable) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if variable.choices:
        return CategoricalDistribution([_named(choice) for choice in variable.choices])
    low, high = variable.low, variable.high
    assert low is not None and high is not None
    if isinstance(low, int) and isinstance(high, int):
        return IntDistribution(low, high, log=variable.log)
    return FloatDistribution(float(low), float(high), log=variable.log)


def _named(choice: Any) -> Any:
    """Studies hold numbers and texts only: lists and parts become JSON."""
    return f"json:{json.dumps(choice)}" if isinstance(choice, list | dict) else choice


def _plain(value: Any) -> Any:
    return json.loads(value.removeprefix("json:")) if isinstance(value, str) and value.startswith("json:") else value
