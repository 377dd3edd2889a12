"""Metaplastic binary synapses: the further a hidden value is from zero, the harder it is to bring back."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from neurospin.errors import InputError
from neurospin.plasticity.kernels import Settings, metaplastic_adam
from neurospin.plasticity.rule import Rule, check


class Metaplastic(Rule):
    """Adam whose steps towards zero are damped by the hidden value.

    With the Adam direction `U` of a hidden value `h` (the acting weight is `c · sign(h)`)::

        h ← h − lr · U · f(h)    where sign(h) · U > 0   (a step that shrinks |h|)
        h ← h − lr · U           elsewhere
        f(h) = 1 − tanh²(m h)

    `m = 0` is `torch.optim.Adam`, bit for bit. Give parameters that are not hidden values a group of
    their own with `m=0`: `Metaplastic([{"params": hidden}, {"params": others, "m": 0.0}], m=8.0)`.

    Steps away from zero are not damped, so that pushes that say nothing make |h| grow for ever and freeze
    the synapse. Two variants mend this: `symmetric` damps every step, and a finite `window` lets the hidden
    value relax in every step as if only so many steps were remembered::

        h ← h − h / window

    so that what was said k steps ago counts `(1 − 1/window)^k`, as in a Bayesian filter of the half
    log-odds `λ = m h`; pushes that say nothing then bring |h| to `lr · window / 2` at most. Both concern
    only parameters with `m > 0`.

    Float32 values take one pass over memory in a compiled kernel, equal to plain torch up to rounding;
    `m = 0`, `symmetric` and other dtypes take plain torch (`neurospin.plasticity.kernels`).

    Source: Laborieux, Ernoult, Hirtzlin & Querlioz, Nature Communications 12:2549, 2021,
    doi:10.1038/s41467-021-22768-y. As in the paper, Adam's moments start afresh with every task.

    Args:
        params: parameters or groups of them.
        lr: step size, default 5e-3.
        m: metaplasticity, in units of 1/hidden value; default 8. Useful values grow as
            `lr × steps per task` shrinks.
        betas: decays of Adam's moments, default (0.9, 0.999).
        eps: of Adam, default 1e-8.
        weight_decay: added to the gradient before Adam, default 0.
        symmetric: damp steps away from zero too, default no.
        window: memory in steps, default infinite.
    """

    citation = "Laborieux et al., Nature Communications 12:2549, 2021, doi:10.1038/s41467-021-22768-y"
    needs_task_boundaries = True
    needs_task_id = False
    state_bits_per_synapse = 96  # hidden value and Adam's two moments, float32 each

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 5e-3,
        m: float = 8.0,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        symmetric: bool = False,
        window: float = math.inf,
    ) -> None:
        defaults = {"lr": lr, "m": m, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, {**defaults, "symmetric": symmetric, "window": window})
        for group in self.param_groups:
            for name in ("lr", "m", "eps", "weight_decay"):
                if not (isinstance(group[name], int | float) and 0 <= group[name] < float("inf")):
                    raise InputError(f"Metaplastic.{name}", "a finite number >= 0", repr(group[name]), f"change {name}")
            check("Metaplastic", window=(group["window"], 1, math.inf))
            if not all(0 <= beta < 1 for beta in group["betas"]):
                raise InputError("Metaplastic.betas", "two numbers in [0, 1)", repr(group["betas"]), "change betas")

    def begin_task(self, task: int) -> None:
        """Start Adam's moments afresh; the hidden values are what remembers."""
        self.state.clear()

    def advance(self) -> None:
        """One step of damped Adam."""
        for p, gradient, group in self.moving():
            state = self.state[p]
            if not state:
                state["step"] = 0
                state["exp_avg"] = torch.zeros_like(p)
                state["exp_avg_sq"] = torch.zeros_like(p)
            state["step"] += 1
            settings = Settings(
                group["lr"], group["m"], group["betas"], group["eps"], group["weight_decay"], state["step"],
                group["symmetric"],
            )  # fmt: skip
            metaplastic_adam(p, gradient, state["exp_avg"], state["exp_avg_sq"], settings)
            if group["m"] and math.isfinite(group["window"]):
                p.sub_(p, alpha=1 / group["window"])
