"""The sweep file: an experiment over a grid or a search, over seeds, and where its cells run."""

from __future__ import annotations

import copy
import hashlib
import itertools
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, StrictInt, ValidationError, model_validator

from neurospin.errors import ConfigError
from neurospin.runs import yaml_file
from neurospin.runs.config import Count, Experiment, Number, Part, Positive, parse
from neurospin.runs.keys import put, told

Value = StrictInt | float | bool | str | list[Any] | dict[str, Any] | None


class Variable(Part):
    """One dimension of a search: `choices`, or numbers from `low` to `high`; whole ones where both are whole."""

    low: StrictInt | Number | None = None
    """Lowest number."""
    high: StrictInt | Number | None = None
    """Highest number."""
    log: bool = False
    """Whether the logarithm is what is spread evenly."""
    choices: list[Value] = Field(default_factory=list)
    """In place of numbers."""

    @model_validator(mode="after")
    def _one_kind(self) -> Variable:
        numbers = self.low is not None and self.high is not None
        if numbers == bool(self.choices) or (self.low is None) != (self.high is None):
            raise ValueError("low and high, or choices, not both or neither")
        if numbers and not (float(self.low or 0) < float(self.high or 0)):
            raise ValueError(f"low below high, not {self.low} and {self.high}")
        if self.log and not (numbers and float(self.low or 0) > 0):
            raise ValueError(f"log: a low above 0, not {self.low}")
        return self


class SearchConfig(Part):
    """A search by Optuna."""

    trials: Count
    """Settings that are tried, over all processes that share the storage."""
    space: Annotated[dict[str, Variable], Field(min_length=1)]
    """Keys of the experiment file, and what each may be."""
    learner: str | None = None
    """Whose result counts; null for the main learner."""
    objective: Literal["average_accuracy", "learning_accuracy", "backward_transfer", "forgetting", "seconds"] = (
        "average_accuracy"
    )
    """What counts, as the mean over seeds."""
    direction: Literal["maximize", "minimize"] = "maximize"
    """Which way."""
    seed: Annotated[StrictInt, Field(ge=0)] = 0
    """Of the sampler."""
    storage: str | None = None
    """URL of a database that several machines share, such as postgresql://…; null for a file in the sweep folder."""


class SlurmConfig(Part):
    """What SLURM is asked for; null leaves it to the cluster."""

    partition: str | None = None
    """Name of the partition."""
    account: str | None = None
    """Name of the account."""
    qos: str | None = None
    """Quality of service."""
    timeout_min: Count = 60
    """Minutes after which a job is put back into the queue, from its checkpoint."""
    max_num_timeout: Count = 100
    """How often."""
    cpus_per_task: Count = 1
    """Cores of a job."""
    mem_gb: Positive | None = None
    """Memory of a job."""
    gpus_per_node: Count | None = None
    """GPUs of a job."""
    array_parallelism: Count = 256
    """Jobs that run at one time."""
    signal_delay_s: Count = 90
    """Seconds of notice before the time is out."""
    setup: list[str] = Field(default_factory=list)
    """Lines of shell before the job."""
    additional: dict[str, StrictInt | str] = Field(default_factory=dict)
    """Any other option of sbatch, by its long name."""


class Sweep(Part):
    """A whole sweep."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    """Of the sweep folder and of the study."""
    experiment: str
    """The experiment file, relative to this file."""
    seeds: Annotated[list[Annotated[StrictInt, Field(ge=0)]], Field(min_length=1, default_factory=lambda: [0])]
    """Every cell runs with each."""
    set: dict[str, Value] = Field(default_factory=dict)
    """Keys of the experiment file that get another value in all cells."""
    grid: dict[str, Annotated[list[Value], Field(min_length=1)]] = Field(default_factory=dict)
    """Keys of the experiment file, each with its values; every combination is a cell."""
    search: SearchConfig | None = None
    """In place of a grid."""
    retries: Annotated[StrictInt, Field(ge=0)] = 1
    """How often a cell that failed is tried again."""
    workers: Count | None = None
    """Processes on this machine; null for one per core."""
    slurm: SlurmConfig = SlurmConfig()
    """Used with --on slurm."""

    @model_validator(mode="after")
    def _grid_or_search(self) -> Sweep:
        if self.grid and self.search:
            raise ValueError("grid or search, not both")
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds: each once, not {self.seeds}")
        return self


@dataclass(frozen=True)
class Cell:
    """One run of a sweep.

    Attributes:
        name: of its run folder; it follows from the whole configuration, so that a cell is known again.
        experiment: what to run.
        settings: what sets it apart, by dotted key.
        trial: number in the search's study; None in a grid.
    """

    name: str
    experiment: Experiment
    settings: Mapping[str, Any]
    trial: int | None = None


@dataclass(frozen=True)
class Plan:
    """A sweep file and the experiment that it changes, as plain values."""

    sweep: Sweep
    content: dict[str, Any]
    where: str

    def cell(self, settings: Mapping[str, Any], seed: int, trial: int | None = None) -> Cell:
        """The cell with these settings.

        Raises:
            ConfigError: a key or value that the experiment refuses.
        """
        content = copy.deepcopy(self.content)
        for key, value in {**self.sweep.set, **settings}.items():
            put(content, key, copy.deepcopy(value), f"{self.where}: {key}", Experiment)
        content["seed"] = seed
        told_by = ", ".join(f"{key}={value}" for key, value in settings.items())
        experiment = parse(content, f"{self.where} ({told_by})" if told_by else self.where)
        digest = hashlib.sha256(experiment.model_dump_json().encode()).hexdigest()[:10]
        words = "_".join(f"{key.rpartition('.')[2]}-{value}" for key, value in settings.items())
        slug = re.sub(r"[^A-Za-z0-9_.=-]+", "", words)[:60]
        return Cell("_".join(filter(None, (slug, f"seed-{seed}", digest))), experiment, dict(settings), trial)

    def cells(self) -> list[Cell]:
        """Every combination of the grid, with every seed."""
        grid = self.sweep.grid
        combinations = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
        found = [self.cell(settings, seed) for settings in combinations for seed in self.sweep.seeds]
        names = {cell.name for cell in found}
        if len(names) < len(found):
            raise ConfigError(f"{self.where}: grid", "every value once", "two cells that are the same", "remove one")
        return found


def load_sweep(path: str | os.PathLike[str]) -> Plan:
    """Read a sweep file and its experiment.

    Raises:
        MissingFile: one of them is not there.
        ConfigError: a key or value that cannot be.
    """
    content = yaml_file.read(path)
    if "learners" in content and "experiment" not in content:
        raise ConfigError(str(path), "a sweep file", "an experiment file", f"neurospin run {path}")
    try:
        sweep = Sweep.model_validate(content)
    except ValidationError as error:
        raise told(error, str(path), Sweep, content) from error
    plan = Plan(sweep, yaml_file.read(Path(path).parent / sweep.experiment), str(path))
    parse(plan.content, str(Path(path).parent / sweep.experiment))
    first = {
        key: (one.choices[0] if one.choices else one.low)
        for key, one in (sweep.search.space.items() if sweep.search else ())
    }
    cell = plan.cell(first, sweep.seeds[0])
    if sweep.search:
        learner = sweep.search.learner or cell.experiment.main
        if learner not in cell.experiment.learners:
            known = ", ".join(cell.experiment.learners)
            raise ConfigError(
                f"{path}: search.learner", f"one of {known}", repr(learner), "name the learner that counts"
            )
    return plan


def stored(sweep: Sweep) -> str:
    """What of a sweep must stay the same in its folder."""
    kept = {
        "name": sweep.name,
        "search": sweep.search.model_dump(exclude={"trials", "storage"}) if sweep.search else None,
    }
    return json.dumps(kept, indent=2, sort_keys=True)
