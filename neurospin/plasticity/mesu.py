"""MESU: metaplasticity from synaptic uncertainty, with a memory of finite length."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from neurospin.plasticity.kernels import drawn
from neurospin.plasticity.rule import check
from neurospin.plasticity.sampled import Gaussian, Params


class MESU(Gaussian):
    """A Gaussian posterior per synapse of the last `window` steps, with the plasticity of its variance.

    With g the gradient of the summed loss at `w = μ + σ ε` and a prior `N(μ_p, σ_p²)`::

        μ ← μ + lr · [−σ² E[g] + σ² (μ_p − μ) / (window σ_p²)]
        σ ← σ + lr/2 · [−σ² E[g ε] + σ (σ_p² − σ²) / (window σ_p²)]

    Where the curvature of the summed loss is H in every step, σ settles at `1/σ² = 1/σ_p² + window · H`.

    Source: Bonnet, Cottart, Hirtzlin, Januel, Dalgaty, Vianello & Querlioz, Nature Communications, 2025,
    arXiv:2504.13569.

    Args:
        params: parameters or groups of them.
        lr: default 1. With an infinite window and the gradient at the mean, MESU is plain gradient
            descent of step `lr · σ²`, bit for bit where σ² is a power of two.
        sigma: of fresh synapses, in units of the weight; default 0.05.
        window: memory in steps, default infinite.
        prior_sigma: σ_p, default 1.
        prior_mean: μ_p, default 0.
        trust: largest step of μ and of σ in units of σ, default 0.5.
        samples: weight samples per step, default 1.
        batch_size: samples whose mean the loss is, default 1.
        seed: of the draws.
    """

    citation = "Bonnet et al., Nature Communications, 2025, arXiv:2504.13569"
    needs_task_boundaries = False
    needs_task_id = False
    state_bits_per_synapse = 64  # μ and σ

    def __init__(
        self,
        params: Params,
        lr: float = 1.0,
        sigma: float = 0.05,
        window: float = math.inf,
        prior_sigma: float = 1.0,
        prior_mean: float = 0.0,
        trust: float = 0.5,
        samples: int = 1,
        batch_size: float = 1,
        seed: int = 0,
    ) -> None:
        check(
            "MESU", lr=(lr, 0, math.inf), sigma=(sigma, 1e-12, 1e12), window=(window, 1, math.inf),
            prior_sigma=(prior_sigma, 1e-12, 1e12), trust=(trust, 0, math.inf),
        )  # fmt: skip
        defaults = {
            "lr": lr, "sigma": sigma, "window": window, "prior_sigma": prior_sigma, "prior_mean": prior_mean,
            "trust": trust,
        }  # fmt: skip
        super().__init__(params, defaults, samples, batch_size, seed)

    def update(self, p: Tensor, group: dict[str, Any], gradient: Tensor, gathered: Tensor | None, scale: float) -> None:
        """One step."""
        sigma, lr = self.state[p]["sigma"], group["lr"]
        prior, trust = group["prior_sigma"] ** 2, group["trust"] / lr if lr else math.inf
        rate = 1 / (group["window"] * prior)  # 0 where the window is infinite
        numbers = (scale, lr, rate, prior, group["prior_mean"], trust)
        if gathered is not None and drawn("mesu", (p, sigma, gathered, gradient), numbers):
            return
        variance = sigma.square()
        step = variance * (gradient * scale)
        widen = sigma * 0 if gathered is None else -variance * gathered * scale
        if rate:
            step = step - variance * (group["prior_mean"] - p) * rate
            widen = widen + sigma * (prior - variance) * rate
        if math.isfinite(trust):
            limit = sigma * trust
            step, widen = step.clamp(-limit, limit), widen.clamp(-2 * limit, 2 * limit)
        p.add_(step, alpha=-lr)
        sigma.add_(widen, alpha=lr / 2).clamp_(min=1e-9)
        if gathered is not None:
            gathered.zero_()
