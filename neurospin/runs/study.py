"""A study: many learners over seeds, followed while they learn, with statistics; `neurospin run` takes its file too."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Iterable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
import yaml
from pydantic import Field, StrictInt, ValidationError, field_validator

from neurospin.continual.learner import child_seed
from neurospin.encode import Rate as RateCode
from neurospin.energy import DIGITAL
from neurospin.errors import ConfigError
from neurospin.files import replacing, write_text
from neurospin.plasticity import Metaplastic
from neurospin.report.results import read_results
from neurospin.report.study import write_study
from neurospin.runs import yaml_file
from neurospin.runs.config import Count, Number, Part, Positive
from neurospin.runs.experiment import METRICS, PACKAGES, SURROGATE, SURROGATES
from neurospin.runs.keys import change, told
from neurospin.runs.lock import make_run_folder, only_one, sweep_out
from neurospin.runs.sweep import Watcher
from neurospin.tasks.categories import SHJ
from neurospin.tasks.streams import CITATION, category_stream
from neurospin.twins.flexible import Followed, follow, recurrent_learner
from neurospin.twins.flexible_effects import summary

Whole = Annotated[StrictInt, Field(ge=0)]
GEOMETRY = (
    "Bernardi et al., Cell 183, 2020, doi:10.1016/j.cell.2020.09.031",
    "Gao & Ganguli, bioRxiv 214262, 2017, doi:10.1101/214262",
    "Sorscher, Ganguli & Sompolinsky, PNAS 119, 2022, doi:10.1073/pnas.2200800119",
)


class Study(Part):
    """Rules of one, two and three features over the same stimuli: learned from scratch, then one after the other."""

    study: Literal["flexible_dimensionality"]
    """Which study it is."""
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")] = "flexible_dimensionality"
    """Of the run folder."""
    seeds: Annotated[list[Whole], Field(min_length=3, default_factory=lambda: [0, 1, 2, 3, 4])]
    """Every learner with each; at least three, for the statistics."""
    neurons: Annotated[list[Literal["rate", "lif"]], Field(min_length=1, default_factory=lambda: ["rate", "lif"])]
    """Forms of the learner."""
    rules: Annotated[list[str], Field(min_length=2, default_factory=lambda: ["I", "II", "VI"])]
    """Types of Shepard, Hovland & Jenkins, each learned from scratch, in order of the features that they need."""
    switches: Annotated[list[str], Field(min_length=2, default_factory=lambda: ["I", "II", "VI", "I", "II", "VI"])]
    """Types in the order in which they are learned one after the other."""
    m: Annotated[list[Annotated[Number, Field(ge=0)]], Field(min_length=1, default_factory=lambda: [0.0, 8.0])]
    """Metaplasticity of the learners that switch; 0 is none."""
    hidden: Count = 64
    """Recurrent neurons."""
    binary: bool = True
    """Whether the acting weights are the signs of hidden values."""
    gain: Positive = 5.0
    """Size of the weights, in units of 1/√fan_in."""
    recurrent_gain: Positive = 1.0
    """The same, of the weights within the layer."""
    lr: Positive = 5e-3
    """Step size of the rule."""
    epochs: Count = 15
    """Passes over each task."""
    every: Count = 3
    """Epochs between two looks."""
    steps: Count = 20
    """Of a trial, 1 ms each."""
    samples: Count = 256
    """Training samples, a multiple of 8."""
    tests: Count = 192
    """Test samples, a multiple of 16."""
    noise: Annotated[Number, Field(ge=0)] = 0.15
    """On every input."""
    batch_size: Count = 32
    """Samples of a step."""

    @field_validator("rules", "switches")
    @classmethod
    def _types(cls, value: list[str]) -> list[str]:
        for name in value:
            if name not in SHJ:
                raise ValueError(f"types {', '.join(SHJ)}, not {name!r}")
        return value

    @field_validator("samples", "tests")
    @classmethod
    def _balanced(cls, value: int) -> int:
        if value % 16:
            raise ValueError(f"a multiple of 16, not {value}")
        return value

    def cells(self) -> list[tuple[str, float | None, str, int]]:
        """Every learner: its form, its m where it switches (else None), the rule that it learns or `"switches"`, its seed."""
        found: list[tuple[str, float | None, str, int]] = []
        for seed in self.seeds:
            for neuron in self.neurons:
                found += [(neuron, None, rule, seed) for rule in dict.fromkeys(self.rules)]
                found += [(neuron, m, "switches", seed) for m in dict.fromkeys(self.m)]
        return found

    def to_yaml(self) -> str:
        """The study with every default written out."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def load(path: str | os.PathLike[str], changes: Iterable[str] = ()) -> Study:
    """Read the file of a study.

    Args:
        path: of the YAML file.
        changes: `key=value` texts.

    Raises:
        MissingFile: no such file.
        ConfigError: a key or value that cannot be.
    """
    content = yaml_file.read(path)
    for text in changes:
        change(content, text, Study)
    try:
        return Study.model_validate(content)
    except ValidationError as error:
        raise told(error, str(path), Study, content) from error


def run(study: Study, folder: Path, watcher: Watcher) -> dict[str, Any]:
    """Carry out a study, from where an earlier run in the same folder left off; a learner that is done is not done again.

    Args:
        study: what to do.
        folder: made when it is not there.
        watcher: is told how it goes on.

    Returns:
        The content of `results.json`.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # sums do not depend on the number of cores, so that a seed fixes the result
    make_run_folder(folder)
    try:
        with only_one(folder):
            return _carry_out(study, folder, watcher)
    finally:
        torch.set_num_threads(threads)


def write_report(folder: Path) -> Path:
    """Write `report.html` and the figures of a finished study anew.

    Raises:
        ConfigError: the folder holds no finished study.
    """
    results, study = read_results(folder), load(folder / "config.yaml")
    gone = [_name(*cell) for cell in study.cells() if not _place(folder, cell).is_file()]
    if gone:
        fix = "neurospin run the study again in a new folder"
        raise ConfigError(str(folder / "cells"), "a file of every learner", f"{len(gone)} missing: {gone[0]}, …", fix)
    followed = {_name(*cell): _cell(study, cell, _place(folder, cell))[0] for cell in study.cells()}
    return write_study(folder, results, followed)


def _carry_out(study: Study, folder: Path, watcher: Watcher) -> dict[str, Any]:
    sweep_out(folder)
    config = folder / "config.yaml"
    if not config.is_file():
        write_text(config, study.to_yaml())
    elif load(config) != study:
        raise ConfigError(
            str(folder), "a run of this study", "a run with another configuration", "choose another --output"
        )
    if (folder / "results.json").is_file() and (folder / "report.html").is_file():
        watcher.say("already finished; nothing was run again")
        return read_results(folder)
    (folder / "cells").mkdir(exist_ok=True)
    cells, found = study.cells(), {}
    for number, cell in enumerate(cells):
        watcher.cells(number, 0, 1, len(cells))
        found[cell] = _cell(study, cell, _place(folder, cell))
    watcher.cells(len(cells), 0, 0, len(cells))
    results = {
        "study": study.study,
        "name": study.name,
        "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
        "citations": [CITATION, *GEOMETRY, METRICS, Metaplastic.citation, SURROGATE, SURROGATES["arctan"], DIGITAL.source],
        "order": study.switches,
        "seconds": sum(seconds for _, seconds in found.values()),
        **summary({cell: followed for cell, (followed, _) in found.items()}, study.rules, study.epochs),
    }  # fmt: skip
    write_text(folder / "results.json", json.dumps(results, indent=1))
    write_study(folder, results, {_name(*cell): followed for cell, (followed, _) in found.items()})
    return results


def _name(neuron: str, m: float | None, rule: str, seed: int) -> str:
    return "_".join([neuron, rule, *([] if m is None else [f"m{m:g}"]), f"seed{seed}"])


def _place(folder: Path, cell: tuple[str, float | None, str, int]) -> Path:
    return folder / "cells" / f"{_name(*cell)}.npz"


def _cell(study: Study, cell: tuple[str, float | None, str, int], place: Path) -> tuple[Followed, float]:
    """One learner, from its file where it is done, and the CPU seconds that it took."""
    if not place.is_file():
        began = time.process_time()
        found = learned(study, *cell)
        arrays = {"matrix": found.matrix, "epochs": found.epochs, "tasks": found.tasks}
        arrays |= {f"values/{name}": values for name, values in found.values.items()}
        with replacing(place) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, seconds=time.process_time() - began, **arrays)
    with np.load(place, allow_pickle=False) as file:
        values = {name.removeprefix("values/"): file[name] for name in file.files if name.startswith("values/")}
        return Followed(file["matrix"], file["epochs"], file["tasks"], values), float(file["seconds"])


def learned(study: Study, neuron: str, m: float | None, rule: str, seed: int) -> Followed:
    """One learner of a study.

    All learners of one seed begin with the same weights and see the same stimuli; only rule, cue and form differ.
    """
    stream = category_stream(
        [*study.rules, *study.switches], samples=study.samples, tests=study.tests, noise=study.noise,
        seed=child_seed(seed, 0),
    )  # fmt: skip
    number = len(study.rules)
    tasks = stream.tasks[number:] if m is not None else (stream.tasks[study.rules.index(rule)],)
    spiking = recurrent_learner(
        stream.inputs, study.hidden, binary=study.binary, gain=study.gain, recurrent_gain=study.recurrent_gain,
        seed=child_seed(seed, 1),
    )  # fmt: skip
    network = spiking if neuron == "lif" else spiking.rate_twin()
    return follow(
        network, replace(stream, tasks=tasks), Metaplastic(network.parameters(), lr=study.lr, m=m or 0.0), spiking,
        encode=RateCode(study.steps, 1.0), epochs=study.epochs, batch_size=study.batch_size, every=study.every,
        seed=child_seed(seed, 2),
    )  # fmt: skip
