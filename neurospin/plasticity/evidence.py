"""`Evidence`: a model and samples, and what they say about each parameter, by per-sample gradients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from neurospin.errors import InputError

Fisher = Literal["exact", "sampled", "empirical"]


def _itself(output: Any) -> Any:
    return output


@dataclass(frozen=True)
class Evidence:
    """A model and the samples that it has learned.

    Attributes:
        model: any torch module, one of our networks too.
        x: its input; samples along `batch_dim`.
        y: class indices `(samples,)`.
        logits: takes what the model gives to `(samples, classes)`; default: it is that.
        batch_dim: where the samples are in `x`: 0, or 1 for `(time, samples, …)`.
        chunk: samples whose gradients are in memory together.
        seed: of the labels that the sampled Fisher draws, and of the samples that `part` takes.
    """

    model: nn.Module
    x: Tensor
    y: Tensor
    logits: Callable[[Any], Tensor] = _itself
    batch_dim: int = 0
    chunk: int = 32
    seed: int = 0

    def __post_init__(self) -> None:
        if self.x.shape[self.batch_dim] != len(self.y) or not len(self.y):
            raise InputError(
                "Evidence.x", f"{max(1, len(self.y))} samples along axis {self.batch_dim}", str(tuple(self.x.shape)),
                "give one label per sample, or another batch_dim",
            )  # fmt: skip

    def part(self, samples: int) -> Evidence:
        """So many of the samples, drawn by `seed`; all of them if there are no more, or for 0."""
        if not 0 < samples < len(self.y):
            return self
        generator = torch.Generator().manual_seed(self.seed)
        chosen = torch.randperm(len(self.y), generator=generator)[:samples].to(self.y.device)
        return replace(self, x=self.x.index_select(self.batch_dim, chosen), y=self.y[chosen])

    def fisher(self, kind: Fisher = "exact") -> dict[Tensor, Tensor]:
        """Diagonal Fisher information per sample, in the shape of every trainable parameter.

        `F_i = mean_x Σ_c p(c|x) (∂ log p(c|x)/∂θ_i)²` (exact), the same with one label drawn from
        `p(·|x)` (sampled), or with the given label (empirical).

        Source: Kirkpatrick et al., PNAS 114:3521, 2017, doi:10.1073/pnas.1611835114; the kinds: van de
        Ven, arXiv:2502.11756.

        Raises:
            InputError: no such kind.
        """
        if kind == "exact":
            classes = self._outputs().shape[-1]
            found: dict[Tensor, Tensor] = {}
            for number in range(classes):
                labels = torch.full_like(self.y, number)
                for p, value in self._mean(_root_weighted, labels, torch.square).items():
                    found[p] = found[p] + value if p in found else value
            return found
        if kind == "sampled":
            generator = torch.Generator(self.x.device).manual_seed(self.seed)
            labels = torch.multinomial(self._outputs().softmax(-1), 1, generator=generator)[:, 0]
            return self._mean(_log_likelihood, labels, torch.square)
        if kind == "empirical":
            return self._mean(_log_likelihood, self.y, torch.square)
        raise InputError("fisher", "'exact', 'sampled' or 'empirical'", repr(kind), "choose one of the three")

    def sensitivity(self) -> dict[Tensor, Tensor]:
        """`mean_x |∂ ‖f(x)‖²/∂θ_i|` of the logits f, in the shape of every trainable parameter; needs no labels.

        Source: Aljundi et al., ECCV 2018, doi:10.1007/978-3-030-01219-9_9.
        """
        return self._mean(_squared_norm, self.y, torch.abs)

    @torch.no_grad()
    def _outputs(self) -> Tensor:
        return self.logits(self.model(self.x))

    def _mean(
        self, value: Callable[[Tensor, Tensor], Tensor], labels: Tensor, of: Callable[[Tensor], Tensor]
    ) -> dict[Tensor, Tensor]:
        """Mean over samples of `of(∂ value(logits, label)/∂θ)`, every sample by itself."""
        trainable = {name: p for name, p in self.model.named_parameters() if p.requires_grad}
        fixed = {name: p for name, p in self.model.named_parameters() if not p.requires_grad}
        fixed |= dict(self.model.named_buffers())

        def one(values: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
            output = functional_call(self.model, (values, fixed), (x.unsqueeze(self.batch_dim),))
            return value(self.logits(output)[0], y)

        every = vmap(grad(one), in_dims=(None, self.batch_dim, 0), randomness="different")
        values = {name: p.detach() for name, p in trainable.items()}
        sums = {name: torch.zeros_like(p) for name, p in values.items()}
        parts = zip(self.x.split(self.chunk, self.batch_dim), labels.split(self.chunk), strict=True)
        for x, y in parts:
            for name, gradient in every(values, x, y).items():
                sums[name] += of(gradient).sum(0)
        return {p: sums[name] / len(labels) for name, p in trainable.items()}


def _log_likelihood(logits: Tensor, y: Tensor) -> Tensor:
    return logits.log_softmax(-1).gather(-1, y[None])[0]


def _root_weighted(logits: Tensor, y: Tensor) -> Tensor:
    """`√p(y) · log p(y)` with the root held constant: the square of its gradient is weighted by p(y)."""
    log_likelihood = _log_likelihood(logits, y)
    return log_likelihood * (log_likelihood.detach() / 2).exp()


def _squared_norm(logits: Tensor, y: Tensor) -> Tensor:
    del y
    return logits.square().sum()
