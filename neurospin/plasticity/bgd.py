"""Bayesian gradient descent: the diagonal of FOO-VB."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from neurospin.plasticity.kernels import drawn
from neurospin.plasticity.rule import check
from neurospin.plasticity.sampled import Gaussian, Params


class BGD(Gaussian):
    """A Gaussian posterior per synapse that is the prior of the next step; it never forgets.

    With g the gradient of the summed loss at `w = μ + σ ε`::

        μ ← μ − lr · σ² E[g]
        σ ← σ √(1 + h²) − σ h,   h = σ E[g ε] / 2    (= σ exp(−asinh h))

    Source: Zeno, Golan, Hoffer & Soudry, arXiv:1803.10123 (2018) and Neural Computation 33:3139, 2021,
    doi:10.1162/neco_a_01430.

    Args:
        params: parameters or groups of them.
        lr: η of the paper, default 1. With the gradient at the mean, BGD is plain gradient descent of
            step `lr · σ²`, bit for bit where σ² is a power of two.
        sigma: of fresh synapses, in units of the weight; default 0.05.
        trust: largest step of μ in units of σ, default infinite. Deep or spiking networks need about 0.1.
        samples: weight samples per step, default 1.
        batch_size: samples whose mean the loss is, default 1.
        seed: of the draws.
    """

    citation = "Zeno et al., Neural Computation 33:3139, 2021, doi:10.1162/neco_a_01430"
    needs_task_boundaries = False
    needs_task_id = False
    state_bits_per_synapse = 64  # μ and σ

    def __init__(
        self,
        params: Params,
        lr: float = 1.0,
        sigma: float = 0.05,
        trust: float = math.inf,
        samples: int = 1,
        batch_size: float = 1,
        seed: int = 0,
    ) -> None:
        check("BGD", lr=(lr, 0, math.inf), sigma=(sigma, 1e-12, 1e12), trust=(trust, 0, math.inf))
        super().__init__(params, {"lr": lr, "sigma": sigma, "trust": trust}, samples, batch_size, seed)

    def update(self, p: Tensor, group: dict[str, Any], gradient: Tensor, gathered: Tensor | None, scale: float) -> None:
        """One step."""
        sigma, lr = self.state[p]["sigma"], group["lr"]
        trust = group["trust"] / lr if lr else math.inf
        if gathered is not None and drawn("bgd", (p, sigma, gathered, gradient), (scale, lr, trust)):
            return
        step = sigma.square() * (gradient * scale)
        if math.isfinite(trust):
            step = step.clamp(-sigma * trust, sigma * trust)
        p.add_(step, alpha=-lr)
        if gathered is not None:
            sigma.mul_((sigma * gathered * (scale / 2)).asinh().neg().exp())
            gathered.zero_()
