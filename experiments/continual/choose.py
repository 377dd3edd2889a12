"""Choose a rule's settings on a seed of their own: every value of a grid, one learner at a time.

python -m experiments.continual.choose experiments/continual/long.yaml kalman settings.window=1000,3000 settings.sigma=1,2

Every trial is a line of `choices.csv` beside this file; a trial that stands there is not run again. Nothing is chosen
here: the line that is best goes into the experiment file by hand, and seeds that no choice has seen give the results.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import tempfile
import time
from pathlib import Path

from neurospin.runs import experiment as experiments
from neurospin.runs.config import load
from neurospin.runs.train import Silent

CHOICES = Path(__file__).with_name("choices.csv")
HEAD = ("experiment", "learner", "setting", "seed", "average", "last five", "just learned", "plasticity loss", "CPU s")


def tried() -> set[tuple[str, ...]]:
    """Experiment, learner, setting and seed of every trial so far."""
    if not CHOICES.is_file():
        return set()
    with CHOICES.open(newline="", encoding="utf-8") as file:
        return {tuple(row[:4]) for row in list(csv.reader(file))[1:]}


def trial(file: Path, learner: str, changes: list[str], seed: int) -> list[str]:
    """Run one learner of an experiment with changed settings; what `HEAD` says from the fifth column on, in per cent."""
    began = time.process_time()
    whole = load(file, changes, seed)
    alone = whole.model_copy(update={"learners": {learner: whole.learners[learner]}, "main": None, "targets": []})
    with tempfile.TemporaryDirectory() as folder:
        results = experiments.run(alone, Path(folder) / "run", Silent(), report=False)
    assert results is not None
    found = results["learners"][learner]
    names = ("average_accuracy", "window_accuracy", "learning_accuracy", "plasticity_loss")
    return [*(f"{100 * found[name]:.2f}" for name in names), f"{time.process_time() - began:.0f}"]


def main() -> None:
    """Every combination of the values that are given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("learner")
    parser.add_argument("grid", nargs="*", help="KEY=VALUE,VALUE…; of the learner, or with a dot in front of the file")
    parser.add_argument("--seed", type=int, default=100)
    given = parser.parse_args()
    grid = [key.partition("=")[::2] for key in given.grid]
    axes = [[f"{key}={value}" for value in values.split(",")] for key, values in grid]
    for setting in itertools.product(*axes):
        keys = (load(given.file).name, given.learner, " ".join(setting), str(given.seed))
        if keys in tried():
            continue
        changes = [one[1:] if one.startswith(".") else f"learners.{given.learner}.{one}" for one in setting]
        row = [*keys, *trial(given.file, given.learner, changes, given.seed)]
        with CHOICES.open("a", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([HEAD, row] if not file.tell() else [row])
        print(*row, sep="  ", flush=True)


if __name__ == "__main__":
    main()
