"""`Rule`: what a synapse remembers, as a torch optimizer with per-synapse state."""

from __future__ import annotations

from abc import ABC
from typing import ClassVar

import torch


class Rule(torch.optim.Optimizer, ABC):
    """A learning rule, usable on any torch model: `zero_grad`, `backward`, `step`, as any optimizer.

    Attributes:
        citation: the paper that the rule is from.
        needs_task_boundaries: whether it must be told when a task begins.
        needs_task_id: whether it must be told which task it is.
        state_bits_per_synapse: bits that training keeps per synapse.
    """

    citation: ClassVar[str]
    needs_task_boundaries: ClassVar[bool]
    needs_task_id: ClassVar[bool]
    state_bits_per_synapse: ClassVar[int]

    def begin_task(self, task: int) -> None:
        """Told to rules that need task boundaries; `task` is -1 for those that need no identity."""
        del task
