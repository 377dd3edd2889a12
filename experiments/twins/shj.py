"""Which model of category learning predicts the choices of people whose other choices it was fitted to?

`python experiments/twins/shj.py FILE FOLDER`, where FILE is the trial-level table of Nosofsky et al. 1994 (`subj, type,
block, logstim, resp, cat`). Every model's scores are kept in FOLDER as they come, so that a run that was stopped goes on;
then the tables are printed, and `shj_subjects.csv` is written there.
"""

import argparse
import csv
import time
from pathlib import Path

import numpy as np
import torch

from neurospin.data.shj import shj_trials
from neurospin.tasks import SHJ
from neurospin.twins import behaviour

torch.set_num_threads(1)
LEARNERS = {
    "GCM": lambda: behaviour.GCM(3),
    "prototype": lambda: behaviour.Prototype(3),
    "MLP": lambda: behaviour.MLP(),
    "ALCOVE": lambda: behaviour.ALCOVE(),
    "ALCOVE, background noise": lambda: behaviour.ALCOVE("noise"),
    "SUSTAIN": lambda: behaviour.SUSTAIN(),
    "LIF exemplars": lambda: behaviour.LIFExemplar(),
}
FOLDS, BLOCK, CANDIDATES, GENERATIONS = 2, 8, 12, 30


def scored(name, trials, folder):
    """Held-out negative log-likelihood of every subject and problem, and the CPU seconds that it took."""
    place = folder / f"{name.replace(', ', '_').replace(' ', '_')}.npz"
    if not place.is_file():
        began = time.process_time()
        nll = behaviour.cross_validated_nll(
            LEARNERS[name](), trials, folds=FOLDS, block=BLOCK, candidates=CANDIDATES, generations=GENERATIONS
        )
        np.savez(place, nll=nll, seconds=time.process_time() - began)
        print(f"{name}: {nll.mean():.4f}", flush=True)
    with np.load(place) as found:
        return found["nll"], float(found["seconds"])


def interval(values):
    """Mean over people of the mean over their two problems, with the bootstrap's 95 % interval over people."""
    found = behaviour.compare(values, np.zeros_like(values))
    return found.difference, found.low, found.high


def main(path, folder):
    folder.mkdir(parents=True, exist_ok=True)
    trials = shj_trials(path)
    who = [name.rpartition("-")[0] for name in trials.names]
    people, row = np.unique(who, return_inverse=True)
    kinds = np.array(trials.condition)
    counted = trials.valid.sum(1)
    found = {name: scored(name, trials, folder) for name in LEARNERS}

    def each(values):
        return np.bincount(row, values) / np.bincount(row)

    best = min(found, key=lambda name: each(found[name][0]).mean())
    print(f"{len(people)} people, {len(trials)} problems, {counted.sum()} choices; best: {best}\n")
    print(
        "| model | parameters | NLL per choice [95 %] | above the best [95 %] | all choices | CPU s |\n"
        + "|---" * 6
        + "|"
    )
    for name, (nll, seconds) in sorted(found.items(), key=lambda item: each(item[1][0]).mean()):
        mean, low, high = interval(each(nll))
        apart, below, above = interval(each(nll) - each(found[best][0]))
        gap = "—" if name == best else f"{apart:+.3f} [{below:+.3f}, {above:+.3f}]"
        pooled = (nll * counted).sum() / counted.sum()
        free = len(LEARNERS[name]().parameters)
        print(f"| {name} | {free} | {mean:.3f} [{low:.3f}, {high:.3f}] | {gap} | {pooled:.4f} | {seconds:.0f} |")
    print("\n| model | " + " | ".join(SHJ) + " |\n" + "|---" * (1 + len(SHJ)) + "|")
    for name, (nll, _) in found.items():
        print(f"| {name} | " + " | ".join(f"{nll[kinds == kind].mean():.3f}" for kind in SHJ) + " |")
    with (folder / "shj_subjects.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["subject", "type", "choices", *LEARNERS])
        for i in range(len(trials)):
            writer.writerow([who[i], kinds[i], counted[i], *(f"{found[name][0][i]:.4f}" for name in LEARNERS)])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    main(arguments.file, arguments.folder)
