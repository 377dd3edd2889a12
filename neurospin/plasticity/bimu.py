"""BiMU: binary synapses with metaplasticity from their own uncertainty, and a memory of finite length."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from neurospin.plasticity.rule import check
from neurospin.plasticity.sampled import Bernoulli, Params


class BiMU(Bernoulli):
    """Binary weights ±1 with half log-odds λ, of the last `window` steps.

    With g the gradient with respect to λ through the relaxed sample (see `Bernoulli`)::

        λ ← λ − [lr a g + κ λ sech²(λ) / window] / [κ sech²(λ) + 2 a g tanh(λ) + 2 |a g| + 1/max_rate]

    `λ sech²(λ)` is the gradient of the divergence from the even prior, so that synapses that hear
    nothing come back.

    Source: Cottart, Ballet, Bonnet & Querlioz, ICML 2026, arXiv:2605.30198.

    Args:
        params: parameters or groups of them, binary weights.
        lr: default 4.9; 0 with an infinite window freezes.
        window: N, memory in steps, default 700; may be infinite.
        likelihood: a, default 161.3.
        divergence: κ, default 3.76.
        max_rate: default 2.3e-3.
        temperature: of the relaxation, default 1.
        samples: weight samples per step, default 1.
        batch_size: samples whose mean the loss is, default 1.
        seed: of the draws.
    """

    citation = "Cottart, Ballet, Bonnet & Querlioz, ICML 2026, arXiv:2605.30198"
    needs_task_boundaries = False
    needs_task_id = False
    state_bits_per_synapse = 32  # λ

    def __init__(
        self,
        params: Params,
        lr: float = 4.9,
        window: float = 700,
        likelihood: float = 161.3,
        divergence: float = 3.76,
        max_rate: float = 2.3e-3,
        temperature: float = 1.0,
        samples: int = 1,
        batch_size: float = 1,
        seed: int = 0,
    ) -> None:
        check(
            "BiMU", lr=(lr, 0, math.inf), window=(window, 1, math.inf), likelihood=(likelihood, 0, math.inf),
            divergence=(divergence, 0, math.inf), max_rate=(max_rate, 1e-12, 1e12),
            temperature=(temperature, 1e-12, 1e6),
        )  # fmt: skip
        defaults = {
            "lr": lr, "window": window, "likelihood": likelihood, "divergence": divergence, "max_rate": max_rate,
            "temperature": temperature,
        }  # fmt: skip
        super().__init__(params, defaults, samples, batch_size, seed)

    def gather(self, p: Tensor, gradient: Tensor, drawn: Tensor) -> Tensor:
        """`dL/dλ` of one sample: `g (1 − w²) / temperature`."""
        group = next(group for group in self.param_groups if any(q is p for q in group["params"]))
        return gradient * (1 - drawn.tanh().square()) / group["temperature"]

    def update(self, p: Tensor, group: dict[str, Any], gradient: Tensor, gathered: Tensor | None) -> None:
        """One step."""
        lam = self.state[p]["lambda"]
        variance = 1 - lam.tanh().square()
        pull = group["likelihood"] * (gradient * variance if gathered is None else gathered)
        rise = group["lr"] * pull + group["divergence"] * lam * variance / group["window"]
        rise /= group["divergence"] * variance + 2 * pull * lam.tanh() + 2 * pull.abs() + 1 / group["max_rate"]
        lam.sub_(rise)
        self.show(p)
