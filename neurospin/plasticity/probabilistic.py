"""Probabilistic metaplasticity: a strong synapse is rewritten rarely, one device level at a time."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from neurospin.plasticity.kernels import moves, probabilistic
from neurospin.plasticity.levels import Levels, generator_for
from neurospin.plasticity.rule import Rule, check
from neurospin.plasticity.sampled import Params
from neurospin.plasticity.storage import Memory, Storage


class ProbabilisticMetaplasticity(Rule):
    """Weights on device levels; where the gathered error is large, one level is moved, with chance `e^(−m|w|)`.

    Per synapse, with A the gathered gradient, m the metaplasticity and w the weight::

        A ← A + g
        where |A| > threshold:  with probability exp(−m |w|), one level against A;  A ← 0
        where |g| > activity:   m ← min(m + growth, cap)

    The weight is the mean of `devices` devices, of which one is written at a time, in turn. The paper
    gathers the error per neuron and lets spike traces say which synapses are active; here, on any torch
    model, each synapse's gradient does both.

    Source: Zohora, Karia, Soures & Kudithipudi, Scientific Reports, 2024, doi:10.1038/s41598-024-78290-w.

    Args:
        params: parameters or groups of them; fresh values are rounded to the levels.
        threshold: of the gathered gradient, default 0.1; 0 moves at every gradient that is not 0.
        growth: of m per active step, default 6e-3; 0 leaves m at 0, so that every move is made.
        cap: of m, default 10, in units of 1/weight.
        activity: |g| above which a synapse is active, default 0.
        levels: number of levels, default 17.
        bound: last level, in units of the weight; default 1.
        write_noise: standard deviation per write in units of the spacing, default 0.
        devices: per synapse, default 1.
        seed: of the draws.
        storage: device models that hold the weights, in place of `levels`, `bound`, `write_noise` and `devices`; a move is
            a request of one step.
    """

    citation = "Zohora et al., Scientific Reports, 2024, doi:10.1038/s41598-024-78290-w"
    needs_task_boundaries = False
    needs_task_id = False

    def __init__(
        self,
        params: Params,
        threshold: float = 0.1,
        growth: float = 6e-3,
        cap: float = 10.0,
        activity: float = 0.0,
        levels: int = 17,
        bound: float = 1.0,
        write_noise: float = 0.0,
        devices: int = 1,
        seed: int = 0,
        storage: Storage | None = None,
    ) -> None:
        check(
            "ProbabilisticMetaplasticity", threshold=(threshold, 0, math.inf), growth=(growth, 0, math.inf),
            cap=(cap, 0, math.inf), activity=(activity, 0, math.inf), levels=(levels, 2, 2**31), devices=(devices, 1, 1000),
        )  # fmt: skip
        super().__init__(params, {"threshold": threshold, "growth": growth, "cap": cap, "activity": activity})
        self.levels = Levels(levels, bound, write_noise)
        self.devices = devices
        self.storage = storage
        self.memories: list[Memory] = []
        self.generator = generator_for(self.param_groups, seed)
        self.state_bits_per_synapse = (storage.bits if storage else devices * self.levels.bits) + 64  # and A and m
        with torch.no_grad():
            for p in self.parameters():
                kept = {name: torch.zeros_like(p) for name in ("gathered", "m", "writes")}
                self.state[p].update(kept)
                if storage is not None:
                    self.memories.append(storage.place(p.detach().clone(), self.generator))
                    p.copy_(storage.acting(self.memories[-1]))
                    continue
                lowest = torch.full((devices, *p.shape), -bound, dtype=p.dtype, device=p.device)
                wanted = p.detach().clamp(-bound, bound).expand(devices, *p.shape)
                device = self.levels.request(lowest, wanted, self.generator)
                self.state[p].update(device=device, turn=torch.zeros_like(p))
                p.copy_(device.mean(0))

    def advance(self) -> None:
        """Gather, and move what asks for it and is let."""
        places = {p: at for at, p in enumerate(self.parameters())}
        for p, gradient, group in self.moving():
            self._update(p, gradient, group, places[p])

    def _update(self, p: Tensor, gradient: Tensor, group: dict[str, Any], at: int) -> None:
        state, levels = self.state[p], self.levels
        numbers = (group["threshold"], group["growth"], group["cap"], group["activity"])
        device = (levels.bound, levels.spacing, levels.count - 1, levels.write_noise)
        if self.storage is None and probabilistic(p, gradient, state, (*numbers, *device), self.generator):
            return
        by = moves(p, gradient, state, numbers, self.generator)
        state["writes"] += by != 0
        if self.storage is not None:
            self.memories[at] = self.storage.request(self.memories[at], by * self.storage.step, self.generator)
            p.copy_(self.storage.acting(self.memories[at]))
            return
        number = torch.arange(self.devices, device=p.device).view(-1, *([1] * p.dim()))
        its_turn = number == state["turn"]
        state["device"] = self.levels.move(state["device"], by * its_turn, self.generator)
        state["turn"] = torch.where(by != 0, (state["turn"] + 1) % self.devices, state["turn"])
        p.copy_(state["device"].mean(0))

    def writes(self, p: Tensor) -> Tensor | None:
        """Moves that were made, of one device each."""
        return self.state[p]["writes"]

    def extra_state(self) -> dict[str, Any]:
        """Where the generator stands, and what a storage keeps."""
        return {"generator": self.generator.get_state(), "memories": list(self.memories)}

    def load_extra_state(self, extra: dict[str, Any]) -> None:
        """Take back what `extra_state` gave."""
        self.generator.set_state(extra["generator"])
        self.memories = [dict(memory) for memory in extra["memories"]]
