"""Several runs side by side: which belong together, and what one gains over another, seed by seed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from neurospin.continual.comparison import Paired, paired
from neurospin.errors import ConfigError
from neurospin.report.results import read_run
from neurospin.runs import yaml_file

METRICS = ("average_accuracy", "learning_accuracy", "backward_transfer")
LONGEST_LABEL = 60
BESIDE = ("name", "seed", "targets", "samples")  # what does not change what a learner learns, and the seed


@dataclass(frozen=True)
class Arm:
    """One learner of one configuration, over seeds.

    Attributes:
        label: the learner, and what sets its configuration apart from the others.
        matrices: accuracy matrix `(tasks, tasks)` by seed.
        values: by metric of `METRICS`, the value (a share of 1) by seed.
    """

    label: str
    matrices: Mapping[int, np.ndarray]
    values: Mapping[str, Mapping[int, float]]

    @property
    def seeds(self) -> list[int]:
        """The seeds, in order."""
        return sorted(self.matrices)


def align(folders: Sequence[Path]) -> list[Arm]:
    """The learners of finished runs; runs that differ in nothing but the seed are one arm.

    Of two runs of the same configuration and seed the second begins an arm of its own, so that runs of
    two versions of the code can be compared.

    Raises:
        ConfigError: a folder holds no finished run, or is given twice.
    """
    groups: list[tuple[dict[str, Any], dict[int, dict[str, Any]], Path]] = []
    for number, folder in enumerate(folders):
        if folder.resolve() in [other.resolve() for other in folders[:number]]:
            raise ConfigError(str(folder), "different run folders", "the same one twice", "give each once")
        results = read_run(folder)
        config = flat(yaml_file.read(folder / "config.yaml"))
        seed = int(results["seed"])
        config = {key: value for key, value in config.items() if key not in BESIDE}
        for known, by_seed, _ in groups:
            if known == config and seed not in by_seed:
                by_seed[seed] = results
                break
        else:
            groups.append((config, {seed: results}, folder))
    labels = _labels([config for config, _, _ in groups], [folder for _, _, folder in groups])
    arms = []
    for label, (_, by_seed, _) in zip(labels, groups, strict=True):
        for learner in next(iter(by_seed.values()))["learners"]:
            found = {seed: results["learners"][learner] for seed, results in by_seed.items()}
            matrices = {seed: np.array(one["accuracy_matrix"], dtype=float) for seed, one in found.items()}
            values = {metric: {seed: float(one[metric]) for seed, one in found.items()} for metric in METRICS}
            arms.append(Arm(f"{learner} {label}".strip(), matrices, values))
    return arms


def gain(arm: Arm, reference: Arm, metric: str) -> Paired | float | None:
    """`arm − reference` over the seeds that both have: with statistics from two seeds on, None without any."""
    shared = [seed for seed in arm.seeds if seed in reference.matrices]
    ours, theirs = ([one.values[metric][seed] for seed in shared] for one in (arm, reference))
    if not shared:
        return None
    return ours[0] - theirs[0] if len(shared) == 1 else paired(ours, theirs)


def flat(content: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Nested keys as dotted ones."""
    found: dict[str, Any] = {}
    for name, value in content.items():
        if isinstance(value, Mapping) and value:
            found |= flat(value, f"{before}{name}.")
        else:
            found[before + name] = value
    return found


def _labels(configs: Sequence[Mapping[str, Any]], folders: Sequence[Path]) -> list[str]:
    """What sets each configuration apart: the keys in which they differ, or the folder where these say too much."""
    if len(configs) < 2:
        return [""] * len(configs)
    every = sorted({key for config in configs for key in config})
    texts = [{key: json.dumps(config.get(key), sort_keys=True) for key in every} for config in configs]
    differing = [key for key in every if len({text[key] for text in texts}) > 1]
    short = [", ".join(f"{key.rpartition('.')[2]}={text[key]}" for key in differing) for text in texts]
    if len(set(short)) < len(short) or max(map(len, short)) > LONGEST_LABEL:
        return [f"({folder})" for folder in folders]
    return [f"({text})" for text in short]
