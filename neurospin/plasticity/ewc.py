"""Online elastic weight consolidation: springs as stiff as the Fisher information."""

from __future__ import annotations

from typing import get_args

import torch

from neurospin.errors import InputError
from neurospin.plasticity.around import Anchored
from neurospin.plasticity.evidence import Evidence, Fisher
from neurospin.plasticity.rule import check


class EWC(Anchored):
    """`L + strength/2 · Σ_i F_i (θ_i − θ*_i)²`, with one running F and the latest θ*.

    At the end of a task `F ← decay · F + F_task` (`Evidence.fisher`). With `decay = 1` this single
    penalty is the Laplace recursion of Bayes, which one penalty per task is not from the third task on
    (Huszár, PNAS 115:E2496, 2018, doi:10.1073/pnas.1717042115).

    Sources: Kirkpatrick et al., PNAS 114:3521, 2017, doi:10.1073/pnas.1611835114; online: Schwarz et
    al., ICML 2018, arXiv:1805.06370.

    Args:
        base: the optimizer that makes the step. Plain gradient descent of step `lr` diverges where
            `lr · strength · F > 2`.
        strength: of the penalty, default 100; 0 is the base alone, bit for bit.
        decay: of what earlier tasks said, default 1.
        fisher: `"exact"` (default), `"sampled"` or `"empirical"`.
        fisher_samples: samples of each task that the Fisher information is measured on; default 0, all.
    """

    citation = "Kirkpatrick et al., PNAS 114:3521, 2017, doi:10.1073/pnas.1611835114"
    needs_task_boundaries = True
    needs_task_id = False

    def __init__(
        self,
        base: torch.optim.Optimizer,
        strength: float = 100.0,
        decay: float = 1.0,
        fisher: Fisher = "exact",
        fisher_samples: int = 0,
    ) -> None:
        check(
            "EWC", strength=(strength, 0, float("inf")), decay=(decay, 0, 1), fisher_samples=(fisher_samples, 0, 2**31)
        )
        if fisher not in get_args(Fisher):
            raise InputError("EWC.fisher", "'exact', 'sampled' or 'empirical'", repr(fisher), "choose one of the three")
        super().__init__(base, strength, factor=1.0, own_bits=64)  # importance and anchor
        self.decay = decay
        self.fisher: Fisher = fisher
        self.fisher_samples = fisher_samples

    def end_task(self, evidence: Evidence) -> None:
        """Add the Fisher information of the task that ends, and anchor."""
        super().end_task(evidence)
        self.consolidate(evidence.part(self.fisher_samples).fisher(self.fisher), self.decay)
