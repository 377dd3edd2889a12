"""Rules that stand around an optimizer, and what all of them share."""

from __future__ import annotations

from abc import ABC
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor

from neurospin.plasticity.evidence import Evidence
from neurospin.plasticity.kernels import Beside, adam_with, pull
from neurospin.plasticity.rule import Rule


class Around(Rule, ABC):
    """A rule around any optimizer or rule, whose parameter groups it shares.

    Args:
        base: the optimizer or rule that makes the step.
        own_bits: what this rule keeps per synapse in addition.
    """

    def __init__(self, base: torch.optim.Optimizer, own_bits: int = 0) -> None:
        super().__init__(base.param_groups, {})
        self.param_groups = base.param_groups  # the same groups: a scheduler on either changes both
        self.base = base
        self.own_bits = own_bits
        if isinstance(base, Rule):
            self.needs_task_boundaries = self.needs_task_boundaries or base.needs_task_boundaries
            self.needs_task_id = self.needs_task_id or base.needs_task_id
            self.samples = base.samples
            self.draws = self.draws or base.draws

    @property
    def state_bits_per_synapse(self) -> int:  # type: ignore[override]
        """Bits of the weight, of the base's state as it is now, and of this rule."""
        return bits_per_synapse(self.base) + self.own_bits

    def advance(self) -> None:
        """The base's step."""
        self.base.step()

    def begin_task(self, task: int) -> None:
        """Told to the base too, where it is a rule that wants to know."""
        if isinstance(self.base, Rule) and self.base.needs_task_boundaries:
            self.base.begin_task(task if self.base.needs_task_id else -1)

    def end_task(self, evidence: Evidence) -> None:
        """Told to the base too, where it is a rule that wants to know."""
        if isinstance(self.base, Rule) and self.base.needs_task_boundaries:
            self.base.end_task(evidence)

    def sampling(self) -> AbstractContextManager[None]:
        """The base's."""
        return self.base.sampling() if isinstance(self.base, Rule) else super().sampling()

    def train_on(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """The base's."""
        return self.base.train_on(x, y) if isinstance(self.base, Rule) else (x, y)

    def rehearse(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """The base's."""
        return self.base.rehearse(x, y) if isinstance(self.base, Rule) else (x, y)

    def writes(self, p: Tensor) -> Tensor | None:
        """The base's."""
        return self.base.writes(p) if isinstance(self.base, Rule) else None

    def stored(self, p: Tensor) -> list[Tensor]:
        """The base's."""
        return self.base.stored(p) if isinstance(self.base, Rule) else [p]

    def show(self, p: Tensor) -> None:
        """The base's."""
        if isinstance(self.base, Rule):
            self.base.show(p)

    def extra_state(self) -> dict[str, Any]:
        """The base's whole state."""
        return {"base": self.base.state_dict()}

    def load_extra_state(self, extra: dict[str, Any]) -> None:
        """Take back what `extra_state` gave."""
        self.base.load_state_dict(extra["base"])

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take back what `state_dict` gave; the groups stay those of the base."""
        super().load_state_dict(state_dict)
        self.param_groups = self.base.param_groups


def bits_per_synapse(optimizer: torch.optim.Optimizer) -> int:
    """Bits per synapse that an optimizer keeps: declared by a rule, else weights and state as they are now."""
    if isinstance(optimizer, Rule):
        return optimizer.state_bits_per_synapse
    synapses, bits = 0, 0
    for group in optimizer.param_groups:
        for p in group["params"]:
            kept = [p, *(s for s in optimizer.state.get(p, {}).values() if torch.is_tensor(s) and s.shape == p.shape)]
            synapses += p.numel()
            bits += sum(t.numel() * t.element_size() * 8 for t in kept)
    return round(bits / max(1, synapses))


class Anchored(Around, ABC):
    """Every parameter is pulled to where the last task left it, by a spring as strong as its importance.

    The gradient gets `factor · strength · Ω_i (θ_i − θ*_i)` before the base's step.

    Args:
        base: the optimizer or rule that makes the step.
        strength: of the springs; 0 is the base alone, bit for bit.
        factor: 1 where the paper's penalty carries one half, else 2.
        own_bits: what is kept per synapse in addition.
    """

    def __init__(self, base: torch.optim.Optimizer, strength: float, factor: float, own_bits: int) -> None:
        super().__init__(base, own_bits)
        self.strength, self.factor = strength, factor

    def advance(self) -> None:
        """Pull, then the base's step; both in one pass over memory where the base is plain Adam."""
        pulled = self.strength and any("anchor" in state for state in self.state.values())
        if not (pulled and adam_with(self.base, self._beside)):
            self.pull()
            self.base.step()

    def _beside(self, p: Tensor) -> Beside:
        state = self.state.get(p, {})
        return Beside(state.get("importance"), state.get("anchor"), strength=self.factor * self.strength)

    @torch.no_grad()
    def consolidate(self, importance: dict[Tensor, Tensor], decay: float = 1.0) -> None:
        """`Ω ← decay · Ω + importance`, and the anchors move to where the parameters are."""
        for p in self.parameters():
            if p not in importance:
                continue
            state = self.state[p]
            state["importance"] = (
                importance[p].clone() if "importance" not in state else state["importance"] * decay + importance[p]
            )
            state["anchor"] = p.detach().clone()

    @torch.no_grad()
    def pull(self) -> None:
        """Add the springs' forces to the gradients."""
        if not self.strength:
            return
        for p in self.parameters():
            state = self.state.get(p, {})
            if p.grad is not None and "anchor" in state:
                pull(p.grad, state["importance"], p, state["anchor"], self.factor * self.strength)

    def penalty(self) -> Tensor:
        """The energy of the springs, a scalar: `½ · factor · strength · Σ Ω_i (θ_i − θ*_i)²`."""
        held = [p for p in self.parameters() if "anchor" in self.state.get(p, {})]
        energy = [(self.state[p]["importance"] * (p - self.state[p]["anchor"]).square()).sum() for p in held]
        return 0.5 * self.factor * self.strength * (torch.stack(energy).sum() if energy else torch.zeros(()))
