"""One process's share of every batch, where several processes train one network."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, distributed

from neurospin.errors import InputError


@dataclass(frozen=True)
class Share:
    """Which part of every batch this process takes; alone (the default), all of it.

    Every process holds the same network and the same rule with the same seeds. Each takes its part of the
    batch; gradients are added up over the processes before the rule sees them, inside `rule.sampling()`,
    so that a rule is at work on the gradient of the whole batch: what it keeps per synapse, its penalties
    and its draws are then the same everywhere, and nothing else needs to travel.

    Attributes:
        rank: number of this process, from 0.
        world: number of processes.
    """

    rank: int = 0
    world: int = 1

    def part(self, count: int) -> tuple[slice, float]:
        """Which of `count` samples, and the weight of their mean in the mean over all.

        Where there are fewer samples than processes, some take the first one with weight 0, so that all
        walk the same graph.
        """
        low, high = count * self.rank // self.world, count * (self.rank + 1) // self.world
        return (slice(low, high), (high - low) / count) if high > low else (slice(0, 1), 0.0)

    def backward(self, loss: Tensor, parameters: Iterable[Tensor]) -> None:
        """Add to `grad` the gradient of the sum over processes of `loss`."""
        if self.world == 1:
            loss.backward()
            return
        trained = [p for p in parameters if p.requires_grad]
        found = torch.autograd.grad(loss, trained, allow_unused=True)
        pairs = [(p, gradient) for p, gradient in zip(trained, found, strict=True) if gradient is not None]
        flat = torch.cat([gradient.reshape(-1) for _, gradient in pairs])
        distributed.all_reduce(flat)
        for (p, _), gradient in zip(pairs, flat.split([p.numel() for p, _ in pairs]), strict=True):
            p.grad = gradient.view_as(p).clone() if p.grad is None else p.grad + gradient.view_as(p)

    def total(self, values: Tensor) -> Tensor:
        """The sum of `values` over processes."""
        if self.world > 1:
            distributed.all_reduce(values)
        return values

    def check(self, parameters: Iterable[Tensor]) -> None:
        """Find out whether all processes still hold the same parameters, bit for bit.

        Raises:
            InputError: they do not, for example because one of them has another version of torch.
        """
        if self.world == 1:
            return
        words = torch.cat([p.detach().to(torch.float32).reshape(-1).view(torch.int32).long() for p in parameters])
        places = torch.arange(1, words.numel() + 1, device=words.device)
        digest = (words * places).sum()[None]
        low, high = digest.clone(), digest.clone()
        distributed.all_reduce(low, distributed.ReduceOp.MIN)
        distributed.all_reduce(high, distributed.ReduceOp.MAX)
        if not torch.equal(low, high):
            raise InputError(
                "data-parallel training", "the same parameters in every process", "different ones",
                "use the same machine type and the same versions everywhere",
            )  # fmt: skip
