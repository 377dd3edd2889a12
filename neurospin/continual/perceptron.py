"""`Perceptron`: the plain network of the papers on continual learning, whose private parts are declared and counted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm, layer_norm, linear

from neurospin.errors import InputError
from neurospin.weights import Binary, Float, Levels, Weight

Activation = Literal["relu", "sign"]
Normalisation = Literal["none", "batch", "layer"]


class Perceptron(nn.Module):
    """Layers of weights without biases, each but the last followed by an activation; gives logits `(batch, classes)`.

    `x_l = φ(n(W_l x_{l−1}))`, with `φ = max(0, ·)` or `φ = sign` (whose gradient is 1 where |x| ≤ 1, as in Hubara et
    al., NeurIPS 2016, arXiv:1602.02830) and a normalisation n:

    - `"none"`;
    - `"layer"`: of each sample's hidden layers to mean 0 and variance 1, without gain or bias (Ba, Kiros & Hinton,
      arXiv:1607.06450); nothing is learned and nothing is shared between tasks;
    - `"batch"`: of each neuron to mean 0 and variance 1 over the batch that is shown, at test too, with a learned gain
      and bias, in the last layer too (Ioffe & Szegedy, ICML 2015, arXiv:1502.03167). At test the batch is one task's test
      set: predictions then depend on the other test samples. So does the code of Laborieux et al. 2021 since August 2023.

    With `private_tasks`, every task has gains and biases of its own, chosen by `enter(task)`: then the network must be
    told the task, at test too, and `private_parameters` counts what each further task costs.

    Args:
        sizes: inputs, hidden layers, classes.
        weight: what a synapse stores, of every layer; default `Float()`.
        activation: `"relu"` (default) or `"sign"`.
        normalisation: see above, default `"none"`.
        private_tasks: tasks that have a normalisation of their own; default 0, shared.
        generator: of the fresh weights.

    Raises:
        InputError: fewer than two sizes, no such activation or normalisation, or private tasks without `"batch"`.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        weight: Weight | Sequence[Weight] | None = None,
        *,
        activation: Activation = "relu",
        normalisation: Normalisation = "none",
        private_tasks: int = 0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if len(sizes) < 2 or min(sizes) < 1:
            raise InputError(
                "Perceptron.sizes", "at least two sizes, each at least 1", str(sizes), "give inputs, classes"
            )
        for name, value, known in (
            ("activation", activation, get_args(Activation)),
            ("normalisation", normalisation, get_args(Normalisation)),
        ):
            if value not in known:
                raise InputError(f"Perceptron.{name}", f"one of {', '.join(known)}", repr(value), "choose one of them")
        if private_tasks and normalisation != "batch":
            raise InputError(
                "Perceptron.private_tasks", "normalisation 'batch'", repr(normalisation), "share it, or take 'batch'"
            )
        layers = len(sizes) - 1
        self.kinds: list[Weight] = list(weight) if isinstance(weight, Sequence) else [weight or Float()] * layers
        self.activation, self.normalisation, self.private_tasks = activation, normalisation, private_tasks
        self.stored = nn.ParameterList(
            nn.Parameter(kind.initial((after, before), generator))
            for kind, before, after in zip(self.kinds, sizes[:-1], sizes[1:], strict=True)
        )
        own = sizes[1:] if normalisation == "batch" else []
        copies = max(1, private_tasks)
        self.gains = nn.ParameterList(nn.Parameter(torch.ones(n)) for _ in range(copies) for n in own)
        self.biases = nn.ParameterList(nn.Parameter(torch.zeros(n)) for _ in range(copies) for n in own)
        self.task = 0

    def enter(self, task: int) -> None:
        """Take the private normalisation of a task; without private tasks nothing changes.

        Raises:
            InputError: no such task.
        """
        if self.private_tasks:
            if not 0 <= task < self.private_tasks:
                raise InputError("Perceptron.enter", f"0 to {self.private_tasks - 1}", str(task), "declare more tasks")
            self.task = task

    def forward(self, x: Tensor) -> Tensor:
        """Inputs `(batch, inputs)` to logits `(batch, classes)`."""
        last = len(self.stored) - 1
        for layer, (kind, stored) in enumerate(zip(self.kinds, self.stored, strict=True)):
            x = linear(x, kind.value(stored))
            if self.normalisation == "batch":
                at = self.task * (last + 1) + layer
                x = batch_norm(x, None, None, self.gains[at], self.biases[at], training=True)
            elif self.normalisation == "layer" and layer < last:
                x = layer_norm(x, x.shape[-1:])
            if layer < last:
                x = x.relu() if self.activation == "relu" else _SignActivation.apply(x)  # type: ignore[assignment]
        return x

    @property
    def private_parameters(self) -> int:
        """Numbers that every further task adds and that no other task uses."""
        return sum(2 * p.numel() for p in list(self.gains)[: len(self.stored)]) if self.private_tasks else 0

    def parameter_count(self) -> int:
        """How many numbers are learned, those private to a task among them."""
        return sum(p.numel() for p in self.parameters())

    def hidden_state(self) -> dict[str, Tensor]:
        """The hidden value behind every synapse of two or few levels, by layer, `(out, in)`, detached."""
        return {
            f"dense{number}": stored.detach()
            for number, (kind, stored) in enumerate(zip(self.kinds, self.stored, strict=True), 1)
            if isinstance(kind, Binary | Levels)
        }


class _SignActivation(torch.autograd.Function):
    generate_vmap_rule = True  # for per-sample gradients

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return torch.where(x >= 0, 1.0, -1.0).to(x.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        del output
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return gradients[0] * (x.abs() <= 1)
