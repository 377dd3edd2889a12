"""Run experiment files over seeds in one process; stopped runs go on, finished ones are left alone.

python -m experiments.continual.run experiments/continual/lif.yaml --seeds 3
neurospin run experiments/continual/lif.yaml --seed 2 --output runs/lif-seed2      # the same run, one at a time
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from neurospin.report.console import Console
from neurospin.runs import experiment as experiments
from neurospin.runs.config import load


def main() -> None:
    """Every file with every seed, the first seed of all files first."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=Path("runs"))
    given = parser.parse_args()
    for seed in range(given.seeds):
        for file in given.files:
            experiment = load(file, seed=seed)
            began = time.process_time()
            with Console() as console:
                results = experiments.run(experiment, given.output / f"{experiment.name}-seed{seed}", console)
            spent = time.process_time() - began
            for name, learner in results["learners"].items():
                print(
                    f"{experiment.name} {name} seed {seed}: {100 * learner['average_accuracy']:.2f} %, last five"
                    f" {100 * learner['window_accuracy']:.2f} %, just learned {100 * learner['learning_accuracy']:.2f} %,"
                    f" {spent:.0f} s of CPU for the file",
                    flush=True,
                )


if __name__ == "__main__":
    main()
