"""Chains of beakers: a fast visible value that drains into slower and slower hidden ones."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

from neurospin.plasticity.around import Around
from neurospin.plasticity.rule import check


class BennaFusi(Around):
    """Any optimizer whose parameters are the first of a chain of beakers.

    After each step of the base on `u_1`, with `C_k = 2^(k−1)` and `g_k = rate · 2^−(k−1)`::

        C_k u_k ← C_k u_k + g_{k−1} (u_{k−1} − u_k) + g_k (u_{k+1} − u_k)

    The chain is sealed: without steps of the base, `Σ_k C_k u_k` is conserved.

    Sources: Benna & Fusi, Nature Neuroscience 19:1697, 2016, doi:10.1038/nn.4401; around an optimizer:
    Kaplanis, Shanahan & Clopath, ICML 2018, arXiv:1802.07239.

    Args:
        base: the optimizer that makes the step.
        beakers: length of the chain, default 6; 1 is the base alone, bit for bit.
        rate: of the first coupling per step, at most 0.5, default 0.01; 0 is the base alone, bit for bit.
    """

    citation = "Benna & Fusi, Nature Neuroscience 19:1697, 2016, doi:10.1038/nn.4401"
    needs_task_boundaries = False
    needs_task_id = False

    def __init__(self, base: torch.optim.Optimizer, beakers: int = 6, rate: float = 0.01) -> None:
        check("BennaFusi", beakers=(beakers, 1, 60), rate=(rate, 0, 0.5))
        super().__init__(base, own_bits=32 * (beakers - 1))
        self.rate = rate
        for p in self.parameters():  # every beaker starts as full as the first
            self.state[p].update({f"u{k}": p.detach().clone() for k in range(2, beakers + 1)})
        self.beakers = beakers

    def stored(self, p: Tensor) -> list[Tensor]:
        """All beakers, the visible one first."""
        return [p, *(self.state[p][f"u{k}"] for k in range(2, self.beakers + 1))]

    def around_step(self, take: Callable[[], None]) -> None:
        """The base's step on the first beaker, then one step of the flow between all."""
        take()
        if not self.rate:
            return
        for p in self.parameters():
            chain = self.stored(p)
            flows = [(a - b).mul_(self.rate * 0.5**k) for k, (a, b) in enumerate(pairwise(chain))]
            for k, flow in enumerate(flows):
                chain[k].sub_(flow, alpha=0.5**k)
                chain[k + 1].add_(flow, alpha=0.5 ** (k + 1))
