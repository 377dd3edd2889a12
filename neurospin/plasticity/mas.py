"""Memory aware synapses: importance is how much the output would move."""

from __future__ import annotations

import torch

from neurospin.plasticity.around import Anchored
from neurospin.plasticity.evidence import Evidence
from neurospin.plasticity.rule import check


class MAS(Anchored):
    """`L + strength · Σ_i Ω_i (θ_i − θ*_i)²`, with `Ω_i = mean_x |∂ ‖f(x)‖²/∂θ_i|` summed over tasks.

    The importance needs inputs and no labels (`Evidence.sensitivity`).

    Source: Aljundi, Babiloni, Elhoseiny, Rohrbach & Tuytelaars, ECCV 2018,
    doi:10.1007/978-3-030-01219-9_9.

    Args:
        base: the optimizer that makes the step.
        strength: of the penalty, default 1; 0 is the base alone, bit for bit.
    """

    citation = "Aljundi et al., ECCV 2018, doi:10.1007/978-3-030-01219-9_9"
    needs_task_boundaries = True
    needs_task_id = False

    def __init__(self, base: torch.optim.Optimizer, strength: float = 1.0) -> None:
        check("MAS", strength=(strength, 0, float("inf")))
        super().__init__(base, strength, factor=2.0, own_bits=64)  # importance and anchor

    def end_task(self, evidence: Evidence) -> None:
        """Add the sensitivity of the task that ends, and anchor."""
        super().end_task(evidence)
        self.consolidate(evidence.sensitivity())
