"""BayesBiNN: binary weights learned as half log-odds by the Bayesian learning rule."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import softplus

from neurospin.plasticity.kernels import drawn
from neurospin.plasticity.rule import check
from neurospin.plasticity.sampled import Bernoulli, Params


class BayesBiNN(Bernoulli):
    """Binary weights ±1 with half log-odds λ; the posterior of one task is the prior of the next.

    With g the gradient at the relaxed sample w (see `Bernoulli`) and temperature τ::

        λ ← (1 − lr) λ − lr · [batch_size · E[s g] − λ_prior],   s = (1 − w²) / (τ (1 − tanh² λ))

    Source: Meng, Bachmann & Khan, ICML 2020, arXiv:2002.10778.

    Args:
        params: parameters or groups of them, binary weights.
        lr: ρ of the paper, default 1e-3; 0 freezes.
        temperature: τ, default 1.
        samples: weight samples per step, default 1.
        batch_size: size of the data set whose mean loss the gradient estimates, default 1000.
        seed: of the draws.
    """

    gathering = "bayesbinn_gather"
    citation = "Meng, Bachmann & Khan, ICML 2020, arXiv:2002.10778"
    needs_task_boundaries = True
    needs_task_id = False
    state_bits_per_synapse = 64  # λ and its prior

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        temperature: float = 1.0,
        samples: int = 1,
        batch_size: float = 1000,
        seed: int = 0,
    ) -> None:
        check("BayesBiNN", lr=(lr, 0, 1), temperature=(temperature, 1e-12, 1e6))
        super().__init__(params, {"lr": lr, "temperature": temperature}, samples, batch_size, seed)
        self.learned = False

    def begin_task(self, task: int) -> None:
        """From the second task on, what is known becomes the prior; that of the first is 0."""
        del task
        for p in self.parameters():
            state = self.state[p]
            state["prior"] = state["lambda"].clone() if self.learned else state["lambda"] * 0

    def weighted(self, gradient: Tensor, lam: Tensor, before: Tensor, temperature: float) -> Tensor:
        """`s g`, by logarithms, since both its squares vanish where λ is large."""
        return gradient * (2 * (_log_cosh(lam) - _log_cosh(before))).exp() / temperature

    def update(self, p: Tensor, group: dict[str, Any], gradient: Tensor, gathered: Tensor | None, scale: float) -> None:
        """One step."""
        self.learned = True
        state, lr = self.state[p], group["lr"]
        lam = state["lambda"]
        prior = state.setdefault("prior", torch.zeros_like(lam))
        if gathered is not None and drawn("bayesbinn", (p, lam, gathered, prior), (scale, lr)):
            return
        evidence = gradient if gathered is None else gathered
        lam.sub_(evidence * scale + (lam - prior), alpha=lr)
        self.show(p)
        if gathered is not None:
            gathered.zero_()

    def extra_state(self) -> dict[str, Any]:
        """Also whether anything was learned."""
        return {**super().extra_state(), "learned": self.learned}

    def load_extra_state(self, extra: dict[str, Any]) -> None:
        """Take back what `extra_state` gave."""
        super().load_extra_state(extra)
        self.learned = extra["learned"]


def _log_cosh(x: Tensor) -> Tensor:
    return x.abs() + softplus(-2 * x.abs()) - math.log(2)
