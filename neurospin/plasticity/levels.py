"""Hidden values that live on a few noisy levels of a device, for any rule."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from neurospin.plasticity.around import Around
from neurospin.plasticity.rule import check


@dataclass(frozen=True)
class Levels:
    """Equally spaced levels from `−bound` to `bound`, whose writes are unbiased and may be noisy.

    A requested change D of a value becomes `⌊D/d⌋` or one more level, the latter with the probability of
    the remainder, so that the mean change is D; a value that is written gets Gaussian noise in addition.

    Attributes:
        count: number of levels, at least 2; infinite (the default) leaves every value as it is.
        bound: the last level, in units of the stored value; default 0.5. Nothing goes beyond it.
        write_noise: standard deviation per write, in units of the spacing; default 0.
    """

    count: float = math.inf
    bound: float = 0.5
    write_noise: float = 0.0

    def __post_init__(self) -> None:
        check(
            "Levels", count=(self.count, 2, math.inf), bound=(self.bound, 1e-12, 1e12),
            write_noise=(self.write_noise, 0, 1e3),
        )  # fmt: skip
        if math.isfinite(self.count) and self.count != round(self.count):
            check("Levels", count=(math.nan, 2, math.inf))

    @property
    def spacing(self) -> float:
        """Distance of two neighbouring levels."""
        return 2 * self.bound / (self.count - 1)

    @property
    def bits(self) -> int:
        """Bits of one stored value; 32 where the levels are not counted."""
        return math.ceil(math.log2(self.count)) if math.isfinite(self.count) else 32

    def request(self, before: Tensor, wanted: Tensor, generator: torch.Generator) -> Tensor:
        """What is stored when `before` was, and `wanted` is asked for; any shape, both alike."""
        if math.isinf(self.count):
            return wanted
        change = (wanted - before) / self.spacing
        whole = change.floor()
        draw = torch.rand(change.shape, generator=generator, device=change.device, dtype=change.dtype)
        return self.move(before, whole + (draw < change - whole), generator)

    def move(self, value: Tensor, by: Tensor, generator: torch.Generator) -> Tensor:
        """Values after `by` levels up or down; those with `by = 0` are not written."""
        at = (value + self.bound) / self.spacing
        if self.write_noise:
            noise = torch.randn(at.shape, generator=generator, device=at.device, dtype=at.dtype)
            at = torch.where(by != 0, at + by + noise * self.write_noise, at)
        else:
            at = (at + by).round()  # on the grid, whatever rounding did
        return at.clamp(0, self.count - 1) * self.spacing - self.bound


class LevelLimited(Around):
    """Any rule or optimizer whose stored values live on `Levels`.

    What the base writes is taken as a request; what the device stores takes its place. For rules that
    store something else than the parameter (`Rule.stored`) that is what has levels.

    Source: unbiased rounding of updates: Gupta et al., ICML 2015, arXiv:1502.02551.

    Args:
        base: the rule.
        levels: of the device; infinitely many are the base alone, bit for bit.
        seed: of rounding and noise.
    """

    citation = "Gupta et al., ICML 2015, arXiv:1502.02551"
    needs_task_boundaries = False
    needs_task_id = False

    def __init__(self, base: torch.optim.Optimizer, levels: Levels, seed: int = 0) -> None:
        super().__init__(base)
        self.levels = levels
        self.generator = generator_for(self.param_groups, seed)
        with torch.no_grad():
            for p in self.parameters():
                for value in self.stored(p):
                    if math.isfinite(levels.count):  # fresh values stand between levels: round them, unbiased
                        start = value.clamp(-levels.bound, levels.bound)
                        value.copy_(levels.request(torch.full_like(value, -levels.bound), start, self.generator))
                self.show(p)

    @property
    def state_bits_per_synapse(self) -> int:  # type: ignore[override]
        """The base's, with the levels' bits instead of 32 for every stored value."""
        values = max((len(self.stored(p)) for p in self.parameters()), default=1)
        return super().state_bits_per_synapse + values * (self.levels.bits - 32)

    def advance(self) -> None:
        """The base's step, as far as the levels allow."""
        before = {p: [value.clone() for value in self.stored(p)] for p in self.parameters()}
        self.base.step()
        for p, values in before.items():
            state = self.state[p]
            if "writes" not in state:
                state["writes"] = torch.zeros_like(p)
            for value, old in zip(self.stored(p), values, strict=True):
                value.copy_(self.levels.request(old, value, self.generator))
                state["writes"] += value != old
            self.show(p)

    def writes(self, p: Tensor) -> Tensor | None:
        """Values that were written, of all that are stored for a synapse."""
        return self.state[p].get("writes")

    def extra_state(self) -> dict[str, Any]:
        """The base's state, and where the generator stands."""
        return {**super().extra_state(), "generator": self.generator.get_state()}

    def load_extra_state(self, extra: dict[str, Any]) -> None:
        """Take back what `extra_state` gave."""
        super().load_extra_state(extra)
        self.generator.set_state(extra["generator"])


def generator_for(groups: list[dict[str, Any]], seed: int) -> torch.Generator:
    """A generator on the device of the first parameter."""
    return torch.Generator(groups[0]["params"][0].device).manual_seed(seed)
