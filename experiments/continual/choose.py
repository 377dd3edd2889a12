"""Choose settings of rules on a seed that gives no result.

python -m experiments.continual.choose experiments/matrix/grid.yml

The grid names, by experiment file beside it and by learner, keys of the learner (with a dot in front: of the experiment)
and the values that each one takes; lists under one learner are tried after each other, keys of one list in combination.
Every trial is a line of `choices.csv` beside the grid, and one that stands there is not run again. Nothing is chosen here: the
best line goes into the experiment file by hand, and seeds that no choice has seen give the results.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from neurospin.runs import experiment as experiments
from neurospin.runs.config import load
from neurospin.runs.train import Silent

HEAD = ("experiment", "learner", "setting", "seed", "average", "last five", "just learned", "plasticity loss", "CPU s")
METRICS = ("average_accuracy", "window_accuracy", "learning_accuracy", "plasticity_loss")


def trials(grid: dict[str, Any]) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Experiment, learner and settings `key=value` of every trial."""
    for name, learners in grid.items():
        for learner, lists in learners.items():
            for axes in lists:
                texts = [[f"{key}={value}" for value in values] for key, values in axes.items()]
                yield from ((name, learner, setting) for setting in itertools.product(*texts))


def trial(file: Path, learner: str, settings: tuple[str, ...], seed: int) -> list[str]:
    """Run one learner of an experiment with these settings; `METRICS` in per cent, and seconds of CPU."""
    began = time.process_time()
    changes = [text[1:] if text.startswith(".") else f"learners.{learner}.{text}" for text in settings]
    whole = load(file, changes, seed)
    alone = whole.model_copy(update={"learners": {learner: whole.learners[learner]}})
    with tempfile.TemporaryDirectory() as folder:
        results = experiments.run(alone, Path(folder) / "run", Silent(), report=False)
    assert results is not None
    found = results["learners"][learner]
    return [*(f"{100 * found[name]:.2f}" for name in METRICS), f"{time.process_time() - began:.0f}"]


def main() -> None:
    """Every trial of the grid that is not on record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("grid", type=Path)
    parser.add_argument("--only", help="one experiment of the grid")
    parser.add_argument("--seed", type=int, default=100)
    given = parser.parse_args()
    record = given.grid.with_name("choices.csv")
    known = set()
    if record.is_file():
        with record.open(newline="", encoding="utf-8") as file:
            known = {tuple(row[:4]) for row in csv.reader(file)}
    for name, learner, settings in trials(yaml.safe_load(given.grid.read_text(encoding="utf-8"))):
        key = (name, learner, " ".join(settings), str(given.seed))
        if key in known or given.only not in (None, name):
            continue
        row = [*key, *trial(given.grid.with_name(f"{name}.yaml"), learner, settings, given.seed)]
        with record.open("a", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([row] if file.tell() else [HEAD, row])
        print(*row, sep="  ", flush=True)


if __name__ == "__main__":
    main()
