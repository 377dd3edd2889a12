"""Chains of beakers: a fast visible value that drains into slower and slower hidden ones."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from neurospin.plasticity.around import Around
from neurospin.plasticity.kernels import Beside, adam_with, exchange
from neurospin.plasticity.rule import check


class BennaFusi(Around):
    """Any optimizer whose parameters are the first of a chain of beakers.

    After each step of the base on `u_1` the pairs of neighbours exchange a share of their difference, the k-th pair in
    every `4^(k−1)`-th step::

        u_k ← u_k − rate · (u_k − u_{k+1}),    u_{k+1} ← u_{k+1} + rate/2 · (u_k − u_{k+1})

    This is the flow `C_k du_k = g_{k−1} (u_{k−1} − u_k) + g_k (u_{k+1} − u_k)` with `C_k = 2^(k−1)` and
    `g_k = rate · 2^−(k−1)`, in Euler steps that are as long for every pair as its own time allows.

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
        self.steps = 0
        for p in self.parameters():  # every beaker starts as full as the first
            self.state[p].update({f"u{k}": p.detach().clone() for k in range(2, beakers + 1)})
        self.beakers = beakers

    def stored(self, p: Tensor) -> list[Tensor]:
        """All beakers, the visible one first."""
        return [p, *(self.state[p][f"u{k}"] for k in range(2, self.beakers + 1))]

    def advance(self) -> None:
        """The base's step on the first beaker, then the flow between those whose turn it is."""
        if not self.rate or self.beakers == 1:
            self.base.step()
            return
        first = adam_with(self.base, self._beside)
        if not first:
            self.base.step()
        self.steps += 1
        for p in self.parameters():
            for k, (upper, lower) in enumerate(pairwise(self.stored(p))):
                if self.steps % 4**k == 0 and (k or not first or p.grad is None):
                    exchange(upper, lower, self.rate)

    def _beside(self, p: Tensor) -> Beside:
        return Beside(lower=self.state[p]["u2"], rate=self.rate)

    def extra_state(self) -> dict[str, Any]:
        """The base's state, and how many steps were made."""
        return {**super().extra_state(), "steps": self.steps}

    def load_extra_state(self, extra: dict[str, Any]) -> None:
        """Take back what `extra_state` gave."""
        super().load_extra_state(extra)
        self.steps = extra["steps"]
