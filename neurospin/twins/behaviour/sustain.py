"""`SUSTAIN`: clusters that are recruited when a surprise demands one."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import numpy as np

from neurospin.tasks.categories import Trials
from neurospin.twins.behaviour.alcove import humble
from neurospin.twins.behaviour.learner import Learner, Parameter, softmax


class Memory(NamedTuple):
    """Clusters of every subject; `used` of them are in use.

    Attributes:
        centre: `(subjects, clusters, features)`.
        weights: `(subjects, clusters, categories)`.
        tuning: λ, `(subjects, features)`.
        used: how many, `(subjects,)`.
    """

    centre: np.ndarray
    weights: np.ndarray
    tuning: np.ndarray
    used: np.ndarray


class Trace(NamedTuple):
    """Stimulus, activation of every cluster, the winner's output, and the categories' output."""

    stimulus: np.ndarray
    activation: np.ndarray
    winner: np.ndarray
    strength: np.ndarray
    output: np.ndarray


class SUSTAIN(Learner):
    """Supervised and unsupervised stratified adaptive incremental network, supervised case.

    Cluster j with centre h is active as `A_j = Σ_i λ_i^r exp(−λ_i |h_ji − x_i|) / Σ_i λ_i^r`; the winner
    sends `H = A^β / Σ A^β · A`; category k gets `C_k = w_k H` and is chosen with `exp(d C_k) / Σ exp(d C)`.
    When the right category's output is not the largest, a new cluster is recruited at the stimulus. Then, for the winner::

        Δh_i = η (x_i − h_i)
        Δλ_i = η exp(−λ_i μ_i) (1 − λ_i μ_i),    μ_i = |h_i − x_i|
        Δw_k = η (t_k − C_k) H,                  t the humble teacher with 1 and 0

    Features are taken on a scale on which 1 is the largest difference.

    Source: Love, Medin & Gureckis, Psychological Review 111, 2004, doi:10.1037/0033-295X.111.2.309;
    default parameters: its fit to Nosofsky et al. 1994.
    """

    citation: ClassVar[str] = "Love, Medin & Gureckis, Psychological Review 111, 2004, doi:10.1037/0033-295X.111.2.309"
    parameters: ClassVar[dict[str, Parameter]] = {
        "attention_focus": Parameter(9.01245, 0.1, 30.0),
        "competition": Parameter(1.252233, 0.1, 20.0),
        "response": Parameter(16.924073, 0.1, 60.0),
        "rate": Parameter(0.092327, 1e-3, 0.5),
    }

    def begin(self, trials: Trials, values: dict[str, np.ndarray], seed: int) -> Memory:
        """No cluster, tunings of 1."""
        subjects, _, features = trials.stimuli.shape
        return Memory(
            np.zeros((subjects, 1, features)), np.zeros((subjects, 1, trials.classes)),
            np.ones((subjects, features)), np.zeros(subjects, np.int64),
        )  # fmt: skip

    def respond(self, memory: Memory, stimulus: np.ndarray, values: dict[str, np.ndarray]) -> tuple[np.ndarray, Trace]:
        """Probability of every category."""
        activation = self._activation(memory, stimulus, values)
        winner, strength = self._compete(activation, memory.used, values)
        output = memory.weights[np.arange(len(winner)), winner] * strength[:, None]
        answer = softmax(values["response"][:, None] * output)
        return answer, Trace(stimulus, activation, winner, strength, output)

    def _activation(self, memory: Memory, stimulus: np.ndarray, values: dict[str, np.ndarray]) -> np.ndarray:
        distance = np.abs(memory.centre - stimulus[:, None])
        focus = memory.tuning ** values["attention_focus"][:, None]
        near = np.exp(-memory.tuning[:, None] * distance)
        return np.einsum("scf,sf->sc", near, focus / focus.sum(1, keepdims=True))

    @staticmethod
    def _compete(
        activation: np.ndarray, number: np.ndarray, values: dict[str, np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        used = np.arange(activation.shape[1]) < number[:, None]
        acting = np.where(used, activation, 0.0)
        winner = acting.argmax(1)
        largest = acting[np.arange(len(winner)), winner]
        # relative to the winner, so that a large β cannot overflow
        share = np.where(used, (acting / np.maximum(largest, 1e-300)[:, None]) ** values["competition"][:, None], 0.0)
        return winner, largest / np.maximum(share.sum(1), 1.0)

    def learn(self, memory: Memory, trace: Trace, category: np.ndarray, values: dict[str, np.ndarray]) -> Memory:
        """Recruit where the feedback is a surprise, then move the winner."""
        rows = np.arange(len(category))
        others = trace.output.copy()
        others[rows, category] = -np.inf
        surprised = (memory.used == 0) | (trace.output[rows, category] <= others.max(1))
        memory, winner = _recruit(memory, trace, surprised)
        activation = np.zeros((len(rows), memory.centre.shape[1]))
        activation[:, : trace.activation.shape[1]] = trace.activation
        activation[rows[surprised], winner[surprised]] = 1.0  # it stands on the stimulus
        winner, strength = self._compete(activation, memory.used, values)
        output = memory.weights[rows, winner] * strength[:, None]
        rate = values["rate"][:, None]
        here = memory.centre[rows, winner]
        pull = memory.tuning * np.abs(here - trace.stimulus)
        centre, weights = memory.centre.copy(), memory.weights.copy()
        centre[rows, winner] = here + rate * (trace.stimulus - here)
        weights[rows, winner] += rate * (humble(output, category, 0.0) - output) * strength[:, None]
        tuning = np.maximum(memory.tuning + rate * np.exp(-pull) * (1 - pull), 1e-12)
        return Memory(centre, weights, tuning, memory.used)


def _recruit(memory: Memory, trace: Trace, surprised: np.ndarray) -> tuple[Memory, np.ndarray]:
    """A cluster on the stimulus for every surprised subject; memory grows when one has no room left."""
    centre, weights, number = memory.centre, memory.weights, memory.used
    if surprised.any() and number[surprised].max() == centre.shape[1]:
        room = ((0, 0), (0, centre.shape[1]), (0, 0))
        centre, weights = np.pad(centre, room), np.pad(weights, room)
    winner = trace.winner.copy()
    winner[surprised] = number[surprised]
    centre = centre.copy()
    centre[surprised, winner[surprised]] = trace.stimulus[surprised]
    return Memory(centre, weights, memory.tuning, number + surprised), winner
