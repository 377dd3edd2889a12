"""`GCM` and `Prototype`: what is stored of a category is every example, or their mean."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import numpy as np

from neurospin.errors import InputError
from neurospin.tasks.categories import Trials
from neurospin.twins.behaviour.alcove import summing_to_one
from neurospin.twins.behaviour.learner import Learner, Parameter, one_hot


class Counts(NamedTuple):
    """How often each exemplar `(exemplars, features)` was met in each category, `(subjects, exemplars, categories)`."""

    exemplars: np.ndarray
    counts: np.ndarray


class Means(NamedTuple):
    """Sum of the examples of each category `(subjects, categories, features)`, and their number."""

    total: np.ndarray
    number: np.ndarray


class _Similarity(Learner):
    """Shared by both: attention weights, specificity, background and response scaling."""

    def __init__(self, features: int) -> None:
        if features < 1:
            raise InputError(f"{type(self).__name__}.features", "at least 1", str(features), "give their number")
        self.features = features
        self.parameters = {  # type: ignore[misc]
            "specificity": Parameter(4.0, 0.1, 40.0),
            "scaling": Parameter(1.0, 0.1, 10.0),
            "background": Parameter(0.01, 1e-4, 2.0),
            **{f"attention{i + 1}": Parameter(1.0, 1e-3, 1.0) for i in range(features)},
        }

    def _weight(self, values: dict[str, np.ndarray]) -> np.ndarray:
        attention = np.stack([values[f"attention{i + 1}"] for i in range(self.features)], axis=1)
        return values["specificity"][:, None] * summing_to_one(attention)

    def _answer(self, evidence: np.ndarray, values: dict[str, np.ndarray]) -> np.ndarray:
        raised = (evidence + values["background"][:, None]) ** values["scaling"][:, None]
        return raised / raised.sum(1, keepdims=True)

    def _checked(self, trials: Trials) -> None:
        if trials.stimuli.shape[2] != self.features:
            got = f"{trials.stimuli.shape[2]} features"
            raise InputError(type(self).__name__, f"{self.features} features", got, "match the number of features")


class GCM(_Similarity):
    """Generalised context model: every example is stored.

    `E_k = Σ_{examples j of k} exp(−c Σ_i w_i |x_ji − x_i|)`, `P(k) = (E_k + b)^γ / Σ (E + b)^γ`, Σ w = 1.

    Args:
        features: number of features.

    Source: Nosofsky, J. Exp. Psychol. General 115, 1986, doi:10.1037/0096-3445.115.1.39; response scaling γ:
    Ashby & Maddox, J. Math. Psychol. 37, 1993, doi:10.1006/jmps.1993.1023.
    """

    citation: ClassVar[str] = "Nosofsky, J. Exp. Psychol. General 115, 1986, doi:10.1037/0096-3445.115.1.39"

    def begin(self, trials: Trials, values: dict[str, np.ndarray], seed: int) -> Counts:
        """Nothing stored."""
        self._checked(trials)
        exemplars, _ = trials.exemplars()
        return Counts(exemplars, np.zeros((len(trials), len(exemplars), trials.classes)))

    def respond(
        self, memory: Counts, stimulus: np.ndarray, values: dict[str, np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Probability of every category."""
        distance = np.abs(stimulus[:, None] - memory.exemplars)
        similar = np.exp(-np.einsum("sef,sf->se", distance, self._weight(values)))
        return self._answer(np.einsum("se,sek->sk", similar, memory.counts), values), stimulus

    def learn(self, memory: Counts, trace: np.ndarray, category: np.ndarray, values: dict[str, np.ndarray]) -> Counts:
        """Store the example."""
        same = (trace[:, None] == memory.exemplars).all(-1)
        return Counts(
            memory.exemplars, memory.counts + same[:, :, None] * one_hot(category, memory.counts.shape[2])[:, None]
        )


class Prototype(_Similarity):
    """Prototype model: the mean of each category is stored.

    `E_k = exp(−c Σ_i w_i |m_ki − x_i|)` with the mean m_k of the examples of k that were met (0 before the first),
    `P(k) = (E_k + b)^γ / Σ (E + b)^γ`, Σ w = 1.

    Args:
        features: number of features.

    Source: Reed, Cognitive Psychology 3, 1972, doi:10.1016/0010-0285(72)90014-X; Smith & Minda,
    J. Exp. Psychol. LMC 24, 1998, doi:10.1037/0278-7393.24.6.1411.
    """

    citation: ClassVar[str] = "Reed, Cognitive Psychology 3, 1972, doi:10.1016/0010-0285(72)90014-X"

    def begin(self, trials: Trials, values: dict[str, np.ndarray], seed: int) -> Means:
        """No example met."""
        self._checked(trials)
        subjects, _, features = trials.stimuli.shape
        return Means(np.zeros((subjects, trials.classes, features)), np.zeros((subjects, trials.classes)))

    def respond(
        self, memory: Means, stimulus: np.ndarray, values: dict[str, np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Probability of every category."""
        mean = memory.total / np.maximum(memory.number, 1)[..., None]
        distance = np.einsum("skf,sf->sk", np.abs(stimulus[:, None] - mean), self._weight(values))
        return self._answer(np.where(memory.number > 0, np.exp(-distance), 0.0), values), stimulus

    def learn(self, memory: Means, trace: np.ndarray, category: np.ndarray, values: dict[str, np.ndarray]) -> Means:
        """Move the mean."""
        hot = one_hot(category, memory.number.shape[1])
        return Means(memory.total + hot[..., None] * trace[:, None], memory.number + hot)
