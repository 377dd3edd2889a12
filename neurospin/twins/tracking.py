"""`Track`: measures of a geometry while it is learned."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch

from neurospin.errors import InputError
from neurospin.twins.twin import Model


@dataclass
class Track:
    """Follows measures of patterns over learning: `fit(…, observer=track)`, or `track.look(…)` for any other learner.

    Attributes:
        stimuli: that are shown to a twin at every look, `(stimuli, *size)` or films.
        measures: by name, functions of the patterns, averaged over time: of `(stimuli, features)`, for example
            `geometry.participation_ratio`; with `conditions`, of `(conditions, trials, features)`, for example all of
            `geometry.measures(…)`.
        conditions: of each stimulus, `(stimuli,)`; equally many stimuli of each are its trials. Default: none.
        iterations: of the looks.
        values: by name, one number per look; nan where all patterns were the same (a silent core).
    """

    stimuli: np.ndarray
    measures: Mapping[str, Callable[[np.ndarray], float]]
    conditions: np.ndarray | None = None
    iterations: list[int] = field(default_factory=list)
    values: dict[str, list[float]] = field(default_factory=dict)

    def __call__(self, iteration: int, model: Model) -> None:
        """One look at the core of a twin."""
        with torch.no_grad():
            shown = torch.as_tensor(self.stimuli, dtype=torch.float32)
            self.look(iteration, model.spikes(shown).mean(0).flatten(1).double().numpy())

    def look(self, iteration: int, patterns: np.ndarray) -> None:
        """One look at given patterns.

        Args:
            iteration: of the look.
            patterns: of the stimuli in their order, `(stimuli, features)`.

        Raises:
            InputError: not one condition per stimulus, or unequal numbers of stimuli.
        """
        found = patterns if self.conditions is None else grouped(patterns, self.conditions)
        same = not np.ptp(patterns, axis=0).any()
        self.iterations.append(iteration)
        for name, measure in self.measures.items():
            self.values.setdefault(name, []).append(np.nan if same else float(measure(found)))


def grouped(patterns: np.ndarray, conditions: np.ndarray) -> np.ndarray:
    """Patterns `(stimuli, features)` as `(conditions, trials, features)`, conditions in ascending order.

    Raises:
        InputError: not one condition per stimulus, or unequal numbers of stimuli.
    """
    kinds, counts = np.unique(conditions, return_counts=True)
    if np.shape(conditions) != (len(patterns),) or counts.min() != counts.max():
        expected = f"one per stimulus ({len(patterns)},), equally often each"
        raise InputError("Track.conditions", expected, f"{np.shape(conditions)}, {counts.tolist()}", "match them")
    order = np.argsort(conditions, kind="stable")
    return patterns[order].reshape(len(kinds), counts[0], *patterns.shape[1:])
