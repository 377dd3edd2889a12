"""`ALCOVE`: exemplars, associations, and attention learned from errors."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import numpy as np

from neurospin.errors import unknown_name
from neurospin.tasks.categories import Trials
from neurospin.twins.behaviour.learner import Learner, Parameter, one_hot, ratio, softmax


class Memory(NamedTuple):
    """Exemplars `(exemplars, features)`, attention `(subjects, features)`, weights `(subjects, exemplars, categories)`."""

    exemplars: np.ndarray
    attention: np.ndarray
    weights: np.ndarray


class Trace(NamedTuple):
    """Distances, exemplar activations and outputs of one trial."""

    distance: np.ndarray
    activation: np.ndarray
    output: np.ndarray


class ALCOVE(Learner):
    """Attention learning covering map.

    Exemplar j is active as `a_j = exp(−c Σ_i α_i |h_ji − x_i|)`, category k as `o_k = Σ_j w_jk a_j`. With
    the humble teacher `t_k = max(1, o_k)` for the right category and `min(t₋, o_k)` for the others::

        Δw_jk = λ_w (t_k − o_k) a_j
        Δα_i  = −λ_α Σ_j [Σ_k (t_k − o_k) w_jk] a_j c |h_ji − x_i|,    α_i ≥ 0

    The first attention is `1 / features`.

    Args:
        choice: `"exponential"` (Kruschke 1992): `exp(φ o_k) / Σ exp(φ o)`, `t₋ = −1`, attention free; or
            `"noise"` (Nosofsky et al. 1994): `(o_k⁺ + φ) / Σ (o⁺ + φ)` with background noise φ, `t₋ = 0`,
            attention that sums to 1.

    Source: Kruschke, Psychological Review 99, 1992, doi:10.1037/0033-295X.99.1.22; Nosofsky, Gluck,
    Palmeri, McKinley & Glauthier, Memory & Cognition 22, 1994, doi:10.3758/BF03200862.
    """

    citation: ClassVar[str] = "Kruschke, Psychological Review 99, 1992, doi:10.1037/0033-295X.99.1.22"

    def __init__(self, choice: str = "exponential") -> None:
        if choice not in ("exponential", "noise"):
            raise unknown_name("ALCOVE.choice", choice, ("exponential", "noise"), "choice rule")
        self.choice = choice
        exponential = choice == "exponential"
        # fitted to the curves of Nosofsky et al. 1994: catlearn's optimum, and the paper's own
        self.parameters = {  # type: ignore[misc]
            "specificity": Parameter(5.8219 if exponential else 6.33, 0.1, 40.0),
            "response": Parameter(1.9539, 0.05, 20.0) if exponential else Parameter(0.011, 1e-4, 2.0),
            "attention_rate": Parameter(0.9856 if exponential else 0.409, 1e-4, 20.0),
            "association_rate": Parameter(0.0754 if exponential else 0.179, 1e-3, 1.0),
        }

    def begin(self, trials: Trials, values: dict[str, np.ndarray], seed: int) -> Memory:
        """Even attention and no association; one exemplar for each stimulus that can come."""
        exemplars, _ = trials.exemplars()
        attention = np.full((len(trials), exemplars.shape[1]), 1 / exemplars.shape[1])
        return Memory(exemplars, attention, np.zeros((len(trials), len(exemplars), trials.classes)))

    def respond(self, memory: Memory, stimulus: np.ndarray, values: dict[str, np.ndarray]) -> tuple[np.ndarray, Trace]:
        """Probability of every category."""
        distance = np.abs(stimulus[:, None, :] - memory.exemplars)
        similar = np.exp(-values["specificity"][:, None] * np.einsum("sef,sf->se", distance, memory.attention))
        output = np.einsum("se,sek->sk", similar, memory.weights)
        if self.choice == "noise":
            answer = ratio(output, values["response"])
        else:
            answer = softmax(values["response"][:, None] * output)
        return answer, Trace(distance, similar, output)

    def learn(self, memory: Memory, trace: Trace, category: np.ndarray, values: dict[str, np.ndarray]) -> Memory:
        """One step down the humble teacher's squared error."""
        floor = 0.0 if self.choice == "noise" else -1.0
        error = humble(trace.output, category, floor) - trace.output
        blame = np.einsum("sk,sek->se", error, memory.weights) * trace.activation * values["specificity"][:, None]
        slope = np.einsum("se,sef->sf", blame, trace.distance)
        attention = np.maximum(memory.attention - values["attention_rate"][:, None] * slope, 0)
        if self.choice == "noise":
            attention = summing_to_one(attention)
        step = values["association_rate"][:, None, None] * trace.activation[:, :, None] * error[:, None, :]
        return Memory(memory.exemplars, attention, memory.weights + step)


def humble(output: np.ndarray, category: np.ndarray, floor: float) -> np.ndarray:
    """The humble teacher: never asks for less than what is already right, `(subjects, categories)`."""
    right = one_hot(category, output.shape[1]) > 0
    return np.where(right, np.maximum(output, 1), np.minimum(output, floor))


def summing_to_one(attention: np.ndarray) -> np.ndarray:
    """Attention `(subjects, features)` divided by its sum; even where all of it is 0."""
    total = attention.sum(1, keepdims=True)
    return np.where(total > 0, attention / np.where(total > 0, total, 1), 1 / attention.shape[1])
