"""Generalisation tests: what a twin foretells about stimuli, blocks or tasks that it has never met."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from neurospin.errors import InputError
from neurospin.twins.data import TwinData
from neurospin.twins.evaluate import score
from neurospin.twins.fitting import fit
from neurospin.twins.scores import Scores
from neurospin.twins.twin import Twin


@dataclass(frozen=True)
class Generalisation:
    """Scores on the same test trials of every group, with and without the group in training.

    Attributes:
        by: the column of the trials.
        groups: its values, `(groups,)`.
        seen: of the twin that was trained with all groups.
        unseen: of twins that were trained without the group.
    """

    by: str
    groups: np.ndarray
    seen: tuple[Scores, ...]
    unseen: tuple[Scores, ...]

    def __str__(self) -> str:
        lines = [f"| {self.by} | cc_norm seen | unseen | bits per spike seen | unseen |", "|---|---|---|---|---|"]
        for group, *both in zip(self.groups, self.seen, self.unseen, strict=True):
            told = [f"{scores.means()[name]:.3f}" for name in ("cc_norm", "bits_per_spike") for scores in both]
            lines.append(f"| {group} | {' | '.join(told)} |")
        return "\n".join(lines)


def generalisation(
    twin: Twin, data: TwinData, by: str, *, seed: int = 0, dt: float | None = None, **options: Any
) -> Generalisation:
    """Leave one group of trials out of training at a time, and score both twins on the group's test trials.

    What is lost from `seen` to `unseen` is what the twin had learned by heart.

    Args:
        twin: what to fit: once with all groups, and once without each.
        data: with tiers, for example of `split("trial")`, so that every group has test trials.
        by: column of the trials: stimulus, category, block, task, ….
        seed: of every fit.
        dt: of the scores; see `score`.
        options: of `fit`.

    Raises:
        InputError: no such column, no tiers, one group only, or a group without test trials or whose absence leaves
            nothing to train on.
    """
    if by not in data.trials or "tier" not in data.trials:
        expected = f"trials with the columns {by!r} and 'tier'"
        raise InputError("generalisation", expected, ", ".join(data.trials), "add the column, split('trial')")
    column, tested = data.trials[by], data.trials["tier"] == "test"
    groups = np.unique(column)
    for group in groups:
        if not (tested & (column == group)).any() or not ((column != group) & (data.trials["tier"] == "train")).any():
            got = f"none for {by} {group}"
            raise InputError("generalisation", "test trials, and others to train on", got, "split('trial')")
    every = fit(twin, data, seed=seed, **options)
    seen, unseen = [], []
    for group in groups:
        held = data.select(tested & (column == group))
        seen.append(score(every, held, dt=dt))
        without = fit(twin, data.select(tested | (column != group)), seed=seed, **options)
        unseen.append(score(without, held, dt=dt))
    return Generalisation(by, groups, tuple(seen), tuple(unseen))
