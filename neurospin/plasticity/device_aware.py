"""The device-aware rule: levels that switch with the chance that makes plasticity the variance of the posterior."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from neurospin.plasticity.kernels import device_aware
from neurospin.plasticity.levels import Levels, generator_for
from neurospin.plasticity.rule import Rule, check
from neurospin.plasticity.sampled import Params


class DeviceAware(Rule):
    """Binary synapses ±1 whose whole memory is one level of a device; nothing else is kept.

    Level k of K stands for the mean `μ_k = (2k + 1)/K − 1`, never certain; its half log-odds are `λ = atanh μ` and its
    variance is `V = 1 − μ²`. A Bayesian filter with a memory of `window` steps moves the mean, where the loss has the
    gradient g, by::

        Δ = −V(μ) · [lr · g + λ(μ) / window]

    The device moves by `⌊|Δ| K/2⌋` levels in the sign of Δ, and by one more with the chance of what is left, so that the
    mean move is Δ: from a level that means much to one that means nothing, the chance to switch falls as the variance does.
    In mean space plasticity is then the posterior's variance at every level, which a chance `exp(−m |w|)`
    (`ProbabilisticMetaplasticity`) or steps that are damped on one side (`Metaplastic`) are not; see the page on theory.

    The parameter is the mean. On `Binary` weights its sign acts.

    Source: derived in docs/theory; the filter is that of Cottart et al., arXiv:2605.30198 (`BiMU`), without its
    preconditioner, and the rounding that of Gupta et al., ICML 2015, arXiv:1502.02551.

    Args:
        params: parameters or groups of them, binary weights; fresh values are means, rounded to levels without bias.
        lr: how much evidence one unit of gradient is, default 1; 0 with an infinite window freezes.
        window: N, memory in steps, default infinite.
        levels: K, default 16, which are 4 bits.
        write_noise: standard deviation per write in units of the spacing, default 0.
        seed: of the draws.
    """

    citation = "Cottart, Ballet, Bonnet & Querlioz, ICML 2026, arXiv:2605.30198"
    needs_task_boundaries = False
    needs_task_id = False

    def __init__(
        self,
        params: Params,
        lr: float = 1.0,
        window: float = math.inf,
        levels: int = 16,
        write_noise: float = 0.0,
        seed: int = 0,
    ) -> None:
        check("DeviceAware", lr=(lr, 0, math.inf), window=(window, 1, math.inf), levels=(levels, 2, 2**20))
        super().__init__(params, {"lr": lr, "window": window})
        self.levels = Levels(levels, 1 - 1 / levels, write_noise)
        self.generator = generator_for(self.param_groups, seed)
        self.state_bits_per_synapse = self.levels.bits
        with torch.no_grad():
            for p in self.parameters():
                self.state[p]["writes"] = torch.zeros_like(p)
                lowest = torch.full_like(p, -self.levels.bound)
                p.copy_(self.levels.request(lowest, p.clamp(-self.levels.bound, self.levels.bound), self.generator))

    def advance(self) -> None:
        """Move the levels that the draws choose."""
        for p, gradient, group in self.moving():
            writes, forget = self.state[p]["writes"], 1 / group["window"]
            if not self.levels.write_noise and device_aware(
                (p, writes, gradient.contiguous()), (group["lr"], forget, self.levels.count), self.generator
            ):
                continue
            wanted = p - (1 - p.square()) * (group["lr"] * gradient + forget * p.atanh())
            new = self.levels.request(p, wanted, self.generator)
            writes += new != p
            p.copy_(new)

    def writes(self, p: Tensor) -> Tensor:
        """Changes of level."""
        return self.state[p]["writes"]

    def extra_state(self) -> dict[str, torch.Tensor]:
        """Where the generator stands."""
        return {"generator": self.generator.get_state()}

    def load_extra_state(self, extra: dict[str, torch.Tensor]) -> None:
        """Take back what `extra_state` gave."""
        self.generator.set_state(extra["generator"])
