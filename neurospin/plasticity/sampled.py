"""Rules that draw their weights: the loop that all of them share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from neurospin.plasticity.levels import generator_for
from neurospin.plasticity.rule import Rule, check

Params = Iterable[Tensor] | Iterable[dict[str, Any]]


class Sampled(Rule, ABC):
    """A posterior per synapse, of which `sampling` draws one weight for the whole sequence.

    Outside `sampling` a parameter is the posterior's mean. Gradients of all samples add up in `grad`;
    a step without `sampling` takes the gradient at the mean.

    Args:
        params: parameters or groups of them.
        defaults: of the groups.
        samples: per step.
        batch_size: samples whose mean the loss is; a rule of Bayes needs their sum.
        seed: of the draws.
    """

    def __init__(
        self, params: Params, defaults: dict[str, Any], samples: int, batch_size: float, seed: int
    ) -> None:  # fmt: skip
        super().__init__(params, defaults)
        check(type(self).__name__, samples=(samples, 1, 10_000), batch_size=(batch_size, 0, float("inf")))
        self.samples = samples
        self.batch_size = batch_size
        self.generator = generator_for(self.param_groups, seed)
        for group in self.param_groups:
            for p in group["params"]:
                self.start(p, group)

    @abstractmethod
    def start(self, p: Tensor, group: dict[str, Any]) -> None:
        """Make the state of a fresh parameter; `"gathered"` among it starts at 0."""

    @abstractmethod
    def draw(self, p: Tensor, group: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """One sample of the weight, and what `gather` needs of it."""

    @abstractmethod
    def gather(self, p: Tensor, gradient: Tensor, drawn: Tensor) -> Tensor:
        """What one sample adds to `"gathered"`."""

    @abstractmethod
    def update(self, p: Tensor, group: dict[str, Any], gradient: Tensor, gathered: Tensor | None) -> None:
        """One step, given means over the samples of the summed loss; `gathered` is None without a sample."""

    @contextmanager
    def sampling(self) -> Iterator[None]:
        """Inside, the parameters are one sample; on the way out its gradients are gathered."""
        kept: list[tuple[Tensor, Tensor, Tensor, Tensor | None]] = []
        with torch.no_grad():
            for group in self.param_groups:
                for p in group["params"]:
                    value, drawn = self.draw(p, group)
                    kept.append((p, p.detach().clone(), drawn, None if p.grad is None else p.grad.clone()))
                    p.copy_(value)
        try:
            yield
        finally:
            with torch.no_grad():
                for p, mean, _, _ in kept:
                    p.copy_(mean)
        with torch.no_grad():
            for p, _, drawn, before in kept:
                if p.grad is not None:
                    gradient = p.grad if before is None else p.grad - before
                    self.state[p]["gathered"] += self.gather(p, gradient, drawn)
                    self.state[p]["drawn"] = self.state[p].get("drawn", 0.0) + 1.0

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One update of every parameter that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                drawn = state.get("drawn", 0.0)
                scale = self.batch_size / max(1.0, drawn)
                self.update(p, group, p.grad * scale, state["gathered"] * scale if drawn else None)
                state["gathered"].zero_()
                state["drawn"] = 0.0
        return loss

    def extra_state(self) -> dict[str, Any]:
        """Where the generator stands."""
        return {"generator": self.generator.get_state()}

    def load_extra_state(self, extra: dict[str, Any]) -> None:
        """Take back what `extra_state` gave."""
        self.generator.set_state(extra["generator"])


class Gaussian(Sampled, ABC):
    """`w = μ + σ ε`: the parameter is μ, `state[p]["sigma"]` is σ, and `g ε` is gathered."""

    def start(self, p: Tensor, group: dict[str, Any]) -> None:
        """`σ` everywhere as given."""
        self.state[p].update(sigma=torch.full_like(p, group["sigma"]), gathered=torch.zeros_like(p))

    def draw(self, p: Tensor, group: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """`μ + σ ε` and ε."""
        del group
        noise = torch.randn(p.shape, generator=self.generator, device=p.device, dtype=p.dtype)
        return p + self.state[p]["sigma"] * noise, noise

    def gather(self, p: Tensor, gradient: Tensor, drawn: Tensor) -> Tensor:
        """`g ε`: its mean is σ times the mean curvature."""
        del p
        return gradient * drawn


class Bernoulli(Sampled, ABC):
    """`w = ±1` with half log-odds λ in `state[p]["lambda"]`; the parameter is the mean `tanh λ`.

    A sample is relaxed, `w = tanh((λ + logit(u)/2) / temperature)`; its sign is an exact sample.
    On `Binary` weights the parameter's sign acts, so that λ plays the hidden value.
    """

    def start(self, p: Tensor, group: dict[str, Any]) -> None:
        """λ from the parameter as a mean."""
        del group
        self.state[p].update({"lambda": p.detach().clamp(-0.999, 0.999).atanh(), "gathered": torch.zeros_like(p)})
        with torch.no_grad():
            self.show(p)

    def stored(self, p: Tensor) -> list[Tensor]:
        """λ."""
        return [self.state[p]["lambda"]]

    def show(self, p: Tensor) -> None:
        """`tanh λ`."""
        p.copy_(self.state[p]["lambda"].tanh())

    def draw(self, p: Tensor, group: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """A relaxed sample, and that before its tanh, which does not saturate."""
        u = torch.rand(p.shape, generator=self.generator, device=p.device, dtype=p.dtype).clamp(1e-7, 1 - 1e-7)
        before = (self.state[p]["lambda"] + u.logit() / 2) / group["temperature"]
        return before.tanh(), before
