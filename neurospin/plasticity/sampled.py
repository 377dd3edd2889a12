"""Rules that draw their weights: the loop that all of them share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from neurospin.plasticity.kernels import draw_key
from neurospin.plasticity.kernels import drawn as in_one_pass
from neurospin.plasticity.levels import generator_for
from neurospin.plasticity.rule import Rule, check


@dataclass(frozen=True)
class Drawn:
    """A sample: the mean that stood in its place, and how to make its noise again, or the noise."""

    mean: Tensor
    key: Sequence[Any] = ()
    noise: Tensor | None = None


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

    draws = True

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
    def draw(self, p: Tensor, group: dict[str, Any]) -> Drawn:
        """Give the parameter one sample of the weight, and tell what `gather` needs of it."""

    @abstractmethod
    def gather(self, p: Tensor, group: dict[str, Any], gradient: Tensor, drawn: Drawn) -> None:
        """Give the parameter its mean again, and add what the sample's gradient says to `"gathered"`."""

    @abstractmethod
    def update(self, p: Tensor, group: dict[str, Any], gradient: Tensor, gathered: Tensor | None, scale: float) -> None:
        """One step, given sums over the samples that `scale` makes means of the summed loss; `gathered` starts at 0 again.

        `gathered` is None where nothing was drawn.
        """

    @contextmanager
    def sampling(self) -> Iterator[None]:
        """Inside, the parameters are one sample; on the way out its gradients are gathered."""
        kept: list[tuple[Tensor, dict[str, Any], Drawn, Tensor | None]] = []
        with torch.no_grad():
            for group in self.param_groups:
                for p in group["params"]:
                    before = None if p.grad is None else p.grad.clone()
                    kept.append((p, group, self.draw(p, group), before))
        good = False
        try:
            yield
            good = True
        finally:
            with torch.no_grad():
                for p, group, drawn, before in kept:
                    if good and p.grad is not None:
                        self.gather(p, group, p.grad if before is None else p.grad - before, drawn)
                        self.state[p]["drawn"] = self.state[p].get("drawn", 0.0) + 1.0
                    else:
                        p.copy_(drawn.mean)

    def advance(self) -> None:
        """One step, and what was gathered starts at 0."""
        for p, gradient, group in self.moving():
            state = self.state[p]
            drawn = state.get("drawn", 0.0)
            scale = self.batch_size / max(1.0, drawn)
            self.update(p, group, gradient.contiguous(), state["gathered"] if drawn else None, scale)
            state["drawn"] = 0.0

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

    def draw(self, p: Tensor, group: dict[str, Any]) -> Drawn:
        """`μ + σ ε`; in one pass over memory where that can be, with an ε that `gather` makes again."""
        del group
        sigma, mean, key = self.state[p]["sigma"], torch.empty_like(p), draw_key(self.generator)
        if in_one_pass("gaussian_draw", (p, sigma, mean), (), key):
            return Drawn(mean, key)
        noise = torch.randn(p.shape, generator=self.generator, device=p.device, dtype=p.dtype)
        mean.copy_(p)
        p.addcmul_(sigma, noise)
        return Drawn(mean, noise=noise)

    def gather(self, p: Tensor, group: dict[str, Any], gradient: Tensor, drawn: Drawn) -> None:
        """`g ε`: its mean is σ times the mean curvature."""
        del group
        gathered = self.state[p]["gathered"]
        if drawn.noise is None:
            in_one_pass("gaussian_gather", (p, gathered, drawn.mean, gradient.contiguous()), (), drawn.key)
            return
        p.copy_(drawn.mean)
        gathered.addcmul_(gradient, drawn.noise)


class Bernoulli(Sampled, ABC):
    """`w = ±1` with half log-odds λ in `state[p]["lambda"]`; the parameter is the mean `tanh λ`.

    A sample is relaxed, `w = tanh((λ + logit(u)/2) / temperature)`; its sign is an exact sample.
    On `Binary` weights the parameter's sign acts, so that λ plays the hidden value.

    Attributes:
        gathering: name of the compiled form of `weighted`.
    """

    gathering: str

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

    def draw(self, p: Tensor, group: dict[str, Any]) -> Drawn:
        """A relaxed sample; in one pass over memory where that can be, with a u that `gather` makes again."""
        lam, mean, key = self.state[p]["lambda"], torch.empty_like(p), draw_key(self.generator)
        if in_one_pass("bernoulli_draw", (p, lam, mean), (group["temperature"],), key):
            return Drawn(mean, key)
        u = torch.rand(p.shape, generator=self.generator, device=p.device, dtype=p.dtype).clamp(1e-7, 1 - 1e-7)
        before = (lam + u.logit() / 2) / group["temperature"]
        mean.copy_(p)
        p.copy_(before.tanh())
        return Drawn(mean, noise=before)

    def gather(self, p: Tensor, group: dict[str, Any], gradient: Tensor, drawn: Drawn) -> None:
        """What `weighted` makes of the gradient."""
        state = self.state[p]
        if drawn.noise is None:
            tensors = (p, state["gathered"], state["lambda"], drawn.mean, gradient.contiguous())
            in_one_pass(self.gathering, tensors, (group["temperature"],), drawn.key)
            return
        p.copy_(drawn.mean)
        state["gathered"] += self.weighted(gradient, state["lambda"], drawn.noise, group["temperature"])

    @abstractmethod
    def weighted(self, gradient: Tensor, lam: Tensor, before: Tensor, temperature: float) -> Tensor:
        """The gradient for λ of a sample `tanh(before)`."""
