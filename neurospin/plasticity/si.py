"""Synaptic intelligence: importance is what a synapse did for the loss on its way."""

from __future__ import annotations

import torch
from torch import Tensor

from neurospin.plasticity.around import Anchored
from neurospin.plasticity.evidence import Evidence
from neurospin.plasticity.kernels import Beside, adam_with
from neurospin.plasticity.rule import check


class SI(Anchored):
    """`L + strength · Σ_i Ω_i (θ_i − θ*_i)²`, with importance gathered along the path of each task.

    In every step `ω_i ← ω_i − g_i Δθ_i` with the gradient g of the loss alone; at the end of a task
    `Ω_i ← Ω_i + max(ω_i, 0) / ((Δθ_i over the task)² + damping)` and ω starts at 0. As the steps get
    small, `Σ_i ω_i` becomes the loss that the task lost.

    Source: Zenke, Poole & Ganguli, ICML 2017, arXiv:1703.04200.

    Args:
        base: the optimizer that makes the step.
        strength: c of the paper, default 0.1; 0 is the base alone, bit for bit.
        damping: ξ of the paper, default 0.1, in squared units of the parameter.
    """

    citation = "Zenke, Poole & Ganguli, ICML 2017, arXiv:1703.04200"
    needs_task_boundaries = True
    needs_task_id = False

    def __init__(self, base: torch.optim.Optimizer, strength: float = 0.1, damping: float = 0.1) -> None:
        check("SI", strength=(strength, 0, float("inf")), damping=(damping, 1e-12, float("inf")))
        super().__init__(base, strength, factor=2.0, own_bits=96)  # importance, anchor, path
        self.damping = damping

    def advance(self) -> None:
        """Pull, step, and gather what each parameter did."""
        moved = [(p, gradient) for p, gradient, _ in self.moving()]
        for p, _ in moved:
            if "path" not in self.state[p]:
                fresh = {"path": torch.zeros_like(p), "anchor": p.detach().clone(), "importance": torch.zeros_like(p)}
                self.state[p].update(fresh)
        if self.strength and adam_with(self.base, self._beside):
            return
        kept = [(p, gradient.clone(), p.detach().clone()) for p, gradient in moved]  # of the loss alone
        self.pull()
        self.base.step()
        for p, gradient, before in kept:
            self.state[p]["path"].addcmul_(gradient, p - before, value=-1.0)

    def _beside(self, p: Tensor) -> Beside:
        state = self.state[p]
        strength = self.factor * self.strength
        return Beside(state["importance"], state["anchor"], state["path"], strength=strength)

    @torch.no_grad()
    def end_task(self, evidence: Evidence) -> None:
        """Turn the path of the task that ends into importance, and anchor."""
        super().end_task(evidence)
        found = {}
        for p in self.parameters():
            state = self.state[p]
            if "path" in state:
                found[p] = state["path"].clamp(min=0) / ((p - state["anchor"]).square() + self.damping)
                state["path"].zero_()
        self.consolidate(found)
