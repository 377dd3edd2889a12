"""A Kalman filter per synapse: what the gradients have said makes it certain, and certainty makes it stiff."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from neurospin.plasticity.kernels import Filter, kalman
from neurospin.plasticity.rule import Rule, check
from neurospin.plasticity.sampled import Params


class Kalman(Rule):
    """A Gaussian posterior `N(w, σ²)` per synapse of the last `window` steps, without samples of the weights.

    With G the gradient of the batch's summed loss at w, and a prior `N(0, σ_0²)` that fresh values are draws of::

        1/σ² ← (1 − 1/window) / σ² + 1/(window σ_0²) + evidence · G²
        w    ← w − lr · σ² [G + w / (window σ_0²)]

    This is the Gaussian filter `λ ← (1 − 1/N) λ + λ_0/N − ∇_μ E[l]` (`neurospin.theory.gaussian`), whose curvature
    `E[∂²l/∂w²]` is replaced by its Fisher information. The expected square of a sum of independent per-sample
    gradients of mean 0 is the sum of their squares, so that `G²` estimates the batch's Fisher information with one
    multiplication: no weight is drawn, no per-sample gradient is taken, no task boundary is needed. With an infinite
    window it is the natural gradient with step 1/t, that is, the diagonal extended Kalman filter for a static weight
    (Ollivier, Electronic Journal of Statistics 12:2930, 2018, doi:10.1214/18-EJS1468). Where a filter such as `MESU`
    estimates the curvature by `g ε / σ` of a drawn weight, the error of that estimate is as large as the step itself;
    here it is that of a square.

    A synapse that mattered for an old task has a small σ and is hardly moved by a new one, as in `EWC`, whose Fisher
    information at the end of each task this one gathers on the way.

    Float32 values on a CPU take one pass over memory in a compiled kernel, equal to plain torch up to rounding.

    Source: the filter of Ollivier 2018 with the finite memory of Bonnet et al. 2025 (`MESU`).

    Args:
        params: parameters or groups of them.
        lr: of the mean, default 1, which is Bayes; 0 freezes. With `evidence = 0` and an infinite window the rule is
            plain gradient descent of step `lr · σ_0²` on the summed loss, bit for bit where σ_0² and `batch_size` are
            powers of two.
        sigma: σ_0 in units of the root mean square of each tensor's fresh values (of 1 where they are all 0);
            default 1.
        window: memory in steps, default infinite.
        evidence: weight of what the gradients say about σ, default 1, which is Bayes.
        trust: largest step of w in units of σ, default 0.5; the quadratic approximation holds no farther.
        batch_size: samples whose mean the loss is, default 1.
    """

    citation = "Ollivier, Electronic Journal of Statistics 12:2930, 2018, doi:10.1214/18-EJS1468"
    needs_task_boundaries = False
    needs_task_id = False
    state_bits_per_synapse = 64  # w and σ

    def __init__(
        self,
        params: Params,
        lr: float = 1.0,
        sigma: float = 1.0,
        window: float = math.inf,
        evidence: float = 1.0,
        trust: float = 0.5,
        batch_size: float = 1,
    ) -> None:
        check(
            "Kalman", lr=(lr, 0, math.inf), sigma=(sigma, 1e-12, 1e12), window=(window, 1, math.inf),
            evidence=(evidence, 0, math.inf), trust=(trust, 0, math.inf), batch_size=(batch_size, 0, math.inf),
        )  # fmt: skip
        super().__init__(
            params,
            {
                "lr": lr,
                "sigma": sigma,
                "window": window,
                "evidence": evidence,
                "trust": trust,
                "batch_size": batch_size,
            },
        )
        for group in self.param_groups:
            for p in group["params"]:
                fresh = float(p.detach().square().mean().sqrt()) if p.numel() else 0.0
                prior = (group["sigma"] * (fresh or 1.0)) ** 2
                self.state[p].update(prior=prior, precision=torch.ones_like(p))  # in units of 1/prior

    def sigma(self, p: Tensor) -> Tensor:
        """σ of a parameter, in its units and shape."""
        return (self.state[p]["prior"] / self.state[p]["precision"]).sqrt()

    def advance(self) -> None:
        """One step of the filter."""
        for p, gradient, group in self.moving():
            state = self.state[p]
            numbers = Filter(
                group["lr"], state["prior"], group["window"], group["evidence"], group["trust"], group["batch_size"]
            )
            kalman(p, gradient, state["precision"], numbers)
