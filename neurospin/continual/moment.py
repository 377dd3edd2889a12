"""Where learning stands between two batches: enough to go on as if it had not stopped."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor


def _nothing() -> Tensor:
    return torch.zeros(3, dtype=torch.float64)


@dataclass
class Moment:
    """A place in a stream, between two batches. With the network and the rule as they then are, it is all there is.

    Attributes:
        task, epoch: numbers from 0.
        generator: draws the order of samples and their spikes; one per task.
        given: the training set `(x, y)` that the rule made of the task's; None where it is the task's own.
        order: of the samples in this epoch, `(samples,)`; None before its first batch.
        done: samples of this epoch that are behind.
        totals: sums over them of loss, right decisions and spikes per neuron.
    """

    task: int
    epoch: int
    generator: torch.Generator
    given: tuple[Tensor, Tensor] | None = None
    order: Tensor | None = None
    done: int = 0
    totals: Tensor = field(default_factory=_nothing)

    def next_epoch(self) -> None:
        """Go to the beginning of the next epoch."""
        self.epoch, self.order, self.done, self.totals = self.epoch + 1, None, 0, _nothing()

    @property
    def means(self) -> tuple[float, float, float]:
        """Loss, accuracy and spikes per neuron and sample, of the epoch so far."""
        loss, right, fired = (self.totals / max(1, self.done)).tolist()
        return loss, right, fired

    def state_dict(self) -> dict[str, Any]:
        """Tensors and numbers only, for `torch.load(weights_only=True)`; a copy."""
        order = None if self.order is None else self.order.clone()
        return {
            "task": self.task, "epoch": self.epoch, "generator": self.generator.get_state(), "given": self.given,
            "order": order, "done": self.done, "totals": self.totals.clone(),
        }  # fmt: skip

    @classmethod
    def from_state_dict(cls, state: dict[str, Any]) -> Moment:
        """Take back what `state_dict` gave."""
        generator = torch.Generator()
        generator.set_state(state["generator"])
        given = state["given"]
        return cls(
            state["task"], state["epoch"], generator, None if given is None else (given[0], given[1]), state["order"],
            state["done"], state["totals"],
        )  # fmt: skip
