"""Run experiment files over seeds in one process; stopped runs go on, finished ones are left alone.

python -m experiments.continual.run experiments/continual/lif.yaml --seeds 10 11 12
neurospin run experiments/continual/lif.yaml --seed 2 --output runs/lif-seed2      # the same run, one at a time
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

from neurospin.files import write_text
from neurospin.report.console import Console
from neurospin.runs import experiment as experiments
from neurospin.runs.config import load

CPU = "cpu_seconds.json"  # of the whole run, evaluation and report among it


def cpu_seconds(folder: Path) -> float:
    """What was spent on a run so far, as far as it was run by this program."""
    place = folder / CPU
    return float(json.loads(place.read_text(encoding="utf-8"))) if place.is_file() else 0.0


def main() -> None:
    """Every file with every seed, the first seed of all files first; no reports are drawn (neurospin resume draws them)."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[10, 11, 12], metavar="SEED")
    parser.add_argument("--output", type=Path, default=Path("runs"))
    given = parser.parse_args()
    for seed in given.seeds:
        for file in given.files:
            experiment = load(file, seed=seed)
            folder = given.output / f"{experiment.name}-seed{seed}"
            if (folder / "results.json").is_file():
                continue
            began = time.process_time()
            with Console() as console:
                results = experiments.run(experiment, folder, console, report=False)
            assert results is not None
            spent = time.process_time() - began + cpu_seconds(folder)
            write_text(folder / CPU, json.dumps(spent) + "\n")
            for name, learner in results["learners"].items():
                print(
                    f"{experiment.name} {name} seed {seed}: {100 * learner['average_accuracy']:.2f} %, last five"
                    f" {100 * learner['window_accuracy']:.2f} %, just learned {100 * learner['learning_accuracy']:.2f} %,"
                    f" {spent:.0f} s of CPU for the file",
                    flush=True,
                )


if __name__ == "__main__":
    main()
