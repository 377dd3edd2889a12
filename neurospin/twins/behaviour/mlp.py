"""`MLP`: a hidden layer trained by backpropagation, one trial after the other."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import numpy as np

from neurospin.errors import InputError
from neurospin.tasks.categories import Trials
from neurospin.twins.behaviour.learner import Learner, Parameter, one_hot, softmax


class Memory(NamedTuple):
    """Weights with the bias in the last column: `(subjects, hidden, features + 1)`, `(subjects, categories, hidden + 1)`."""

    inner: np.ndarray
    outer: np.ndarray


class MLP(Learner):
    """One hidden layer of tanh units, softmax output, online gradient descent on the log-likelihood.

    Features enter as `2 x − 1`. The classical failure on the Shepard types: it finds IV easy and II hard
    (Kruschke 1992), where humans find II easy.

    Args:
        hidden: hidden units (default 32).

    Source: Rumelhart, Hinton & Williams, Nature 323, 1986, doi:10.1038/323533a0.
    """

    citation: ClassVar[str] = "Rumelhart, Hinton & Williams, Nature 323, 1986, doi:10.1038/323533a0"
    parameters: ClassVar[dict[str, Parameter]] = {
        "rate": Parameter(0.15, 1e-3, 2.0),
        "spread": Parameter(1.0, 0.05, 5.0),
    }

    def __init__(self, hidden: int = 32) -> None:
        if hidden < 1:
            raise InputError("MLP.hidden", "at least 1", str(hidden), "give a positive number")
        self.hidden = hidden

    def begin(self, trials: Trials, values: dict[str, np.ndarray], seed: int) -> Memory:
        """Gaussian weights of standard deviation `spread / √inputs`."""
        draw = np.random.default_rng(seed)
        subjects, _, features = trials.stimuli.shape
        spread = values["spread"][:, None, None]
        inner = draw.standard_normal((subjects, self.hidden, features + 1)) * spread / np.sqrt(features + 1)
        outer = draw.standard_normal((subjects, trials.classes, self.hidden + 1)) * spread / np.sqrt(self.hidden + 1)
        return Memory(inner, outer)

    def respond(
        self, memory: Memory, stimulus: np.ndarray, values: dict[str, np.ndarray]
    ) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Probability of every category."""
        one = np.ones((len(stimulus), 1))
        given = np.concatenate([2 * stimulus - 1, one], axis=1)
        hidden = np.concatenate([np.tanh(np.einsum("shf,sf->sh", memory.inner, given)), one], axis=1)
        answer = softmax(np.einsum("skh,sh->sk", memory.outer, hidden))
        return answer, (given, hidden, answer)

    def learn(
        self,
        memory: Memory,
        trace: tuple[np.ndarray, np.ndarray, np.ndarray],
        category: np.ndarray,
        values: dict[str, np.ndarray],
    ) -> Memory:
        """One step up the gradient of the log-likelihood."""
        given, hidden, answer = trace
        rate = values["rate"][:, None, None]
        error = one_hot(category, answer.shape[1]) - answer
        back = np.einsum("sk,skh->sh", error, memory.outer)[:, :-1] * (1 - hidden[:, :-1] ** 2)
        return Memory(
            memory.inner + rate * back[:, :, None] * given[:, None],
            memory.outer + rate * error[:, :, None] * hidden[:, None],
        )
