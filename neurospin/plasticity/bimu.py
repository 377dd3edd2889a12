"""BiMU: binary synapses with metaplasticity from their own uncertainty, and a memory of finite length."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from neurospin.plasticity.kernels import drawn
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

    gathering = "bimu_gather"
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

    def weighted(self, gradient: Tensor, lam: Tensor, before: Tensor, temperature: float) -> Tensor:
        """`g (1 − w²) / temperature`."""
        del lam
        return gradient * (1 - before.tanh().square()) / temperature

    def update(self, p: Tensor, group: dict[str, Any], gradient: Tensor, gathered: Tensor | None, scale: float) -> None:
        """One step."""
        lam, divergence = self.state[p]["lambda"], group["divergence"]
        scale, forget, floor = scale * group["likelihood"], divergence / group["window"], 1 / group["max_rate"]
        numbers = (scale, group["lr"], divergence, forget, floor)
        if gathered is not None and drawn("bimu", (p, lam, gathered), numbers):
            return
        variance = 1 - lam.tanh().square()
        pull = scale * (gradient * variance if gathered is None else gathered)
        rise = group["lr"] * pull + forget * lam * variance
        rise /= divergence * variance + 2 * pull * lam.tanh() + 2 * pull.abs() + floor
        lam.sub_(rise)
        self.show(p)
        if gathered is not None:
            gathered.zero_()
