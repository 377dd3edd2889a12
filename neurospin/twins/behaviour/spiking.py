"""`LIFExemplar`: an exemplar learner whose exemplars are populations of spiking neurons."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor

from neurospin.errors import InputError
from neurospin.neurons import LIF
from neurospin.surrogate import ArcTan, Surrogate
from neurospin.tasks.categories import Trials
from neurospin.twins.behaviour.alcove import humble, summing_to_one
from neurospin.twins.behaviour.learner import Learner, Parameter


class Memory(NamedTuple):
    """Exemplars `(exemplars, features)`, attention `(subjects, features)`, weights `(subjects, exemplars, categories)`."""

    exemplars: np.ndarray
    attention: np.ndarray
    weights: np.ndarray
    full: np.ndarray


class Trace(NamedTuple):
    """Activations and outputs of one trial, and how the activations change with attention."""

    activation: Tensor
    attention: Tensor
    output: np.ndarray


class LIFExemplar(Learner):
    """Exemplars are populations of LIF neurons; attention is learned through their surrogate gradient.

    Exemplar j receives the constant current `I_j = g exp(−c Σ_i α_i |h_ji − x_i|)` for `steps` steps; its
    activation `a_j` is its number of spikes over that of a perfect match. Its neurons differ in threshold, so
    that their number resolves small differences of current. Outputs `o_k = Σ_j w_jk a_j`, choice
    `(o_k⁺ + b)^γ / Σ (o⁺ + b)^γ`; weights and attention go down the humble teacher's squared error as in
    `ALCOVE(choice="noise")`, attention sums to 1.

    Args:
        neurons: LIF neurons for each exemplar (default 4), thresholds evenly between 0.2 and 1.
        steps: steps of 1 ms for which a stimulus is shown (default 20).
        tau_mem: membrane time constant in seconds (default 10 ms).
        surrogate: derivative of the spike (default `ArcTan()`).

    Source: exemplars and attention: Kruschke 1992, doi:10.1037/0033-295X.99.1.22; surrogate gradients: Neftci,
    Mostafa & Zenke 2019, doi:10.1109/MSP.2019.2931595. The combination is this project's; its default values were
    fitted to the curves of Nosofsky et al. 1994 (`fit_curves`).
    """

    citation: ClassVar[str] = "Kruschke, Psychological Review 99, 1992, doi:10.1037/0033-295X.99.1.22"
    parameters: ClassVar[dict[str, Parameter]] = {
        "specificity": Parameter(4.29, 0.1, 40.0),
        "drive": Parameter(1.80, 0.3, 10.0),
        "background": Parameter(0.0386, 1e-4, 2.0),
        "scaling": Parameter(1.21, 0.1, 10.0),
        "attention_rate": Parameter(0.187, 1e-4, 20.0),
        "association_rate": Parameter(0.201, 1e-3, 1.0),
    }

    def __init__(
        self, neurons: int = 4, steps: int = 20, tau_mem: float = 10e-3, surrogate: Surrogate | None = None
    ) -> None:
        for name, number in (("neurons", neurons), ("steps", steps)):
            if number < 1:
                raise InputError(f"LIFExemplar.{name}", "at least 1", str(number), "give a positive number")
        self.neurons, self.steps = neurons, steps
        threshold = torch.linspace(0.2, 1.0, neurons) if neurons > 1 else torch.tensor([0.5])
        self.population = LIF(neurons, tau_mem, v_threshold=threshold, surrogate=surrogate or ArcTan(), dt=1e-3)

    def rate(self, current: Tensor) -> Tensor:
        """Spikes per neuron and step for a constant current of any shape; differentiable."""
        given = current.reshape(-1, 1).expand(self.steps, -1, self.neurons)
        return self.population(given)[0].mean((0, 2)).reshape(current.shape)

    def begin(self, trials: Trials, values: dict[str, np.ndarray], seed: int) -> Memory:
        """Even attention and no association."""
        exemplars, _ = trials.exemplars()
        subjects, _, features = trials.stimuli.shape
        with torch.no_grad():
            drive, back = np.unique(values["drive"], return_inverse=True)
            full = self.rate(torch.as_tensor(drive, dtype=torch.float32)).double().numpy()[back]
        attention = np.full((subjects, features), 1 / features)
        return Memory(exemplars, attention, np.zeros((subjects, len(exemplars), trials.classes)), full)

    def respond(self, memory: Memory, stimulus: np.ndarray, values: dict[str, np.ndarray]) -> tuple[np.ndarray, Trace]:
        """Probability of every category."""
        distance = torch.from_numpy(np.abs(stimulus[:, None] - memory.exemplars))
        attention = torch.from_numpy(memory.attention).requires_grad_()
        away = torch.einsum("sef,sf->se", distance, attention) * torch.from_numpy(values["specificity"].copy())[:, None]
        current = torch.from_numpy(values["drive"].copy())[:, None] * torch.exp(-away)
        share = torch.from_numpy(np.where(memory.full > 0, 1 / np.maximum(memory.full, 1e-12), 0.0))
        activation = self.rate(current.float()).double() * share[:, None]
        output = np.einsum("se,sek->sk", activation.detach().numpy(), memory.weights)
        raised = (np.maximum(output, 0) + values["background"][:, None]) ** values["scaling"][:, None]
        return raised / raised.sum(1, keepdims=True), Trace(activation, attention, output)

    def learn(self, memory: Memory, trace: Trace, category: np.ndarray, values: dict[str, np.ndarray]) -> Memory:
        """One step down the humble teacher's squared error; attention through the surrogate gradient."""
        error = humble(trace.output, category, 0.0) - trace.output
        blame = torch.from_numpy(np.einsum("sk,sek->se", error, memory.weights))
        (rise,) = torch.autograd.grad((trace.activation * blame).sum(), trace.attention)
        moved = memory.attention + values["attention_rate"][:, None] * rise.numpy()
        step = values["association_rate"][:, None, None] * trace.activation.detach().numpy()[:, :, None]
        return Memory(
            memory.exemplars, summing_to_one(np.maximum(moved, 0)), memory.weights + step * error[:, None], memory.full
        )
