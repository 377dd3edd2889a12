"""Rehearsal: a few old samples in every batch, or all of them as the upper reference."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from neurospin.plasticity.around import Around
from neurospin.plasticity.rule import check


class Reservoir:
    """A fixed number of samples of a stream, of which each has the same chance to be kept.

    Source: Vitter, ACM Transactions on Mathematical Software 11:37, 1985, doi:10.1145/3147.3165.

    Args:
        capacity: samples kept.
        seed: of what is kept and drawn.
    """

    def __init__(self, capacity: int, seed: int = 0) -> None:
        self.capacity, self.seen = capacity, 0
        self.generator = torch.Generator().manual_seed(seed)
        self.x, self.y = torch.empty(0), torch.empty(0, dtype=torch.long)

    def __len__(self) -> int:
        return min(self.seen, self.capacity)

    def offer(self, x: Tensor, y: Tensor) -> None:
        """Show the samples `(samples, …)` and their labels, in order."""
        if not self.capacity or not len(y):
            return
        if not self.seen:
            self.x, self.y = x.new_empty((self.capacity, *x.shape[1:])), y.new_empty(self.capacity)
        for one, label in zip(x, y, strict=True):
            self.seen += 1
            place = self.seen - 1
            if self.seen > self.capacity:
                place = int(torch.randint(self.seen, (1,), generator=self.generator))
            if place < self.capacity:
                self.x[place], self.y[place] = one, label

    def draw(self, count: int) -> tuple[Tensor, Tensor]:
        """So many different kept samples, or all if there are fewer."""
        chosen = torch.randperm(len(self), generator=self.generator)[:count]
        return self.x[chosen], self.y[chosen]


class Replay(Around):
    """Every batch is joined by as many samples from a reservoir of what came before.

    Source: Chaudhry et al., arXiv:1902.10486.

    Args:
        base: the optimizer that makes the step.
        capacity: samples kept, default 200; 0 is the base alone, bit for bit.
        seed: of the reservoir.
    """

    citation = "Chaudhry et al., On tiny episodic memories in continual learning, arXiv:1902.10486"
    needs_task_boundaries = False
    needs_task_id = False

    def __init__(self, base: torch.optim.Optimizer, capacity: int = 200, seed: int = 0) -> None:
        check("Replay", capacity=(capacity, 0, 2**31))
        super().__init__(base)
        self.memory = Reservoir(capacity, seed)

    @property
    def state_bits_per_synapse(self) -> int:  # type: ignore[override]
        """The base's, and the reservoir shared out over the synapses."""
        return super().state_bits_per_synapse + _shared(self, self.memory.x, self.memory.y)

    def rehearse(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """The batch and as many old samples; then the batch is offered to the reservoir."""
        old_x, old_y = self.memory.draw(len(y))
        self.memory.offer(x, y)
        return (torch.cat([x, old_x]), torch.cat([y, old_y])) if len(old_y) else (x, y)

    def extra_state(self) -> dict[str, Any]:
        """The base's state, and the reservoir."""
        memory = self.memory
        kept = {"seen": memory.seen, "x": memory.x, "y": memory.y, "generator": memory.generator.get_state()}
        return {**super().extra_state(), **kept}

    def load_extra_state(self, extra: dict[str, Any]) -> None:
        """Take back what `extra_state` gave."""
        super().load_extra_state(extra)
        memory = self.memory
        memory.seen, memory.x, memory.y = extra["seen"], extra["x"], extra["y"]
        memory.generator.set_state(extra["generator"])


class Joint(Around):
    """Training on everything that came so far: the upper reference.

    Args:
        base: the optimizer that makes the step.
    """

    citation = "Caruana, Machine Learning 28:41, 1997, doi:10.1023/A:1007379606734"
    needs_task_boundaries = True
    needs_task_id = False

    def __init__(self, base: torch.optim.Optimizer) -> None:
        super().__init__(base)
        self.x, self.y = torch.empty(0), torch.empty(0, dtype=torch.long)

    @property
    def state_bits_per_synapse(self) -> int:  # type: ignore[override]
        """The base's, and all samples shared out over the synapses."""
        return super().state_bits_per_synapse + _shared(self, self.x, self.y)

    def train_on(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """The training sets of all tasks so far."""
        self.x, self.y = (torch.cat([self.x, x]), torch.cat([self.y, y])) if len(self.y) else (x, y)
        return self.x, self.y

    def extra_state(self) -> dict[str, Any]:
        """The base's state, and all samples."""
        return {**super().extra_state(), "x": self.x, "y": self.y}

    def load_extra_state(self, extra: dict[str, Any]) -> None:
        """Take back what `extra_state` gave."""
        super().load_extra_state(extra)
        self.x, self.y = extra["x"], extra["y"]


def _shared(rule: Around, *kept: Tensor) -> int:
    bits = 8 * sum(t.numel() * t.element_size() for t in kept)
    return round(bits / max(1, sum(p.numel() for p in rule.parameters())))
