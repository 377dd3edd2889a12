"""`Learner`: what every model of trial-by-trial category learning has in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from neurospin.errors import InputError, unknown_name
from neurospin.tasks.categories import Trials

Values = Mapping[str, float | np.ndarray]
"""Parameters by name: one number for all subjects, or one for each, `(subjects,)`."""


@dataclass(frozen=True)
class Parameter:
    """A free parameter: its published or typical value, and the range in which a fit looks.

    Attributes:
        value: default.
        low: smallest value of a fit.
        high: largest value of a fit.
        log: whether a fit moves on a logarithmic axis.
    """

    value: float
    low: float
    high: float
    log: bool = True


class Learner(ABC):
    """A model that answers, gets feedback, and changes; vectorised over subjects.

    The memory is explicit: `begin` gives it, `respond` reads it, `learn` returns the next one.
    """

    parameters: ClassVar[dict[str, Parameter]]
    citation: ClassVar[str]

    @abstractmethod
    def begin(self, trials: Trials, values: dict[str, np.ndarray], seed: int) -> Any:
        """Memory before the first trial.

        Args:
            trials: what will come; only shapes and the set of possible stimuli may be used.
            values: every parameter, `(subjects,)`.
            seed: of everything random.
        """

    @abstractmethod
    def respond(self, memory: Any, stimulus: np.ndarray, values: dict[str, np.ndarray]) -> tuple[np.ndarray, Any]:
        """Probability of every category, `(subjects, categories)`, and the trace that `learn` needs.

        Args:
            memory: present memory.
            stimulus: features, `(subjects, features)`.
            values: every parameter, `(subjects,)`.
        """

    @abstractmethod
    def learn(self, memory: Any, trace: Any, category: np.ndarray, values: dict[str, np.ndarray]) -> Any:
        """Memory after feedback.

        Args:
            memory: present memory.
            trace: of `respond`.
            category: the category that the feedback names, `(subjects,)`.
            values: every parameter, `(subjects,)`.
        """

    def resolved(self, values: Values, subjects: int) -> dict[str, np.ndarray]:
        """Every parameter as one number per subject; those not given have their default.

        Raises:
            UnknownName: a parameter that the learner does not have.
            InputError: a value that is not finite, or not one per subject.
        """
        for name in values:
            if name not in self.parameters:
                raise unknown_name(f"{type(self).__name__}.values", name, self.parameters, "parameter")
        found = {}
        for name, parameter in self.parameters.items():
            value = np.asarray(values.get(name, parameter.value), np.float64)
            where = f"{type(self).__name__}.{name}"
            if value.shape not in ((), (subjects,)):
                raise InputError(where, f"one number or shape ({subjects},)", str(value.shape), "give one per subject")
            if not np.isfinite(value).all():
                raise InputError(where, "finite numbers", str(value), "give finite numbers")
            found[name] = np.broadcast_to(value, (subjects,))
        return found

    def probabilities(self, trials: Trials, values: Values | None = None, *, seed: int = 0) -> np.ndarray:
        """Probability of every category in every trial, before its feedback: `(subjects, trials, categories)`.

        Args:
            trials: what each subject meets.
            values: parameters (default: the learner's own).
            seed: of everything random (default 0).
        """
        return self._run(trials, values, seed)[0]

    def transfer(self, trials: Trials, items: np.ndarray, values: Values | None = None, *, seed: int = 0) -> np.ndarray:
        """Probability of every category for new items after the last trial: `(subjects, items, categories)`.

        Args:
            trials: what each subject learned from.
            items: features, `(items, features)`.
            values: parameters (default: the learner's own).
            seed: of everything random (default 0).
        """
        _, memory, full = self._run(trials, values, seed)
        answers = [self.respond(memory, np.tile(item, (len(trials), 1)), full)[0] for item in np.asarray(items)]
        return np.stack(answers, axis=1)

    def _run(self, trials: Trials, values: Values | None, seed: int) -> tuple[np.ndarray, Any, dict[str, np.ndarray]]:
        full = self.resolved(values or {}, len(trials))
        memory = self.begin(trials, full, seed)
        answers = []
        for t in range(trials.stimuli.shape[1]):
            answer, trace = self.respond(memory, trials.stimuli[:, t], full)
            memory = self.learn(memory, trace, trials.categories[:, t], full)
            answers.append(answer)
        return np.stack(answers, axis=1), memory, full


def correct(probabilities: np.ndarray, trials: Trials) -> np.ndarray:
    """Probability of the right answer in each trial, `(subjects, trials)`."""
    return np.take_along_axis(probabilities, trials.categories[..., None], axis=-1)[..., 0]


def one_hot(category: np.ndarray, classes: int) -> np.ndarray:
    """1 for the category and 0 for the others, `(subjects, categories)`."""
    return (category[:, None] == np.arange(classes)).astype(np.float64)


def softmax(evidence: np.ndarray) -> np.ndarray:
    """`exp(e_k) / Σ exp(e)` over the last axis."""
    raised = np.exp(evidence - evidence.max(-1, keepdims=True))
    return raised / raised.sum(-1, keepdims=True)


def ratio(evidence: np.ndarray, background: np.ndarray) -> np.ndarray:
    """`(max(e_k, 0) + b) / Σ (max(e, 0) + b)`: the ratio rule with background noise b, `(subjects,)`."""
    raised = np.maximum(evidence, 0) + background[:, None]
    return raised / raised.sum(-1, keepdims=True)
