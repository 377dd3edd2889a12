"""What is counted on the way through a stream, beside the accuracy matrix."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor


@dataclass
class Tally:
    """Counts that only the way knows; with them, a stopped run goes on as if it had not stopped.

    Attributes:
        untrained: score of the fresh network on every task; empty where it was not measured.
        before: score on the task before, at the last switch, on the samples that `lowest` is about.
        lowest: of the same, after any batch of the new task's first epoch.
        gaps: `max(0, before − lowest)` of every switch that is behind, where it was asked for.
        samples: training samples that were shown.
        flips: by layer, how often every synapse's hidden value changed its sign.
    """

    untrained: list[float] = field(default_factory=list)
    before: float = float("nan")
    lowest: float = float("nan")
    gaps: list[float] = field(default_factory=list)
    samples: int = 0
    flips: dict[str, Tensor] = field(default_factory=dict)
    positive: dict[str, Tensor] = field(default_factory=dict)

    def look(self, hidden: dict[str, Tensor], samples: int) -> None:
        """After a step on so many samples: count the signs that changed."""
        self.samples += samples
        for name, value in hidden.items():
            now = value >= 0
            if name in self.positive:
                self.flips[name] += now ^ self.positive[name]
            else:
                self.flips[name] = torch.zeros(value.shape, dtype=torch.int32, device=value.device)
            self.positive[name] = now

    def close_gap(self) -> None:
        """A switch is behind."""
        if np.isfinite(self.before):
            self.gaps.append(max(0.0, self.before - self.lowest))
        self.before = self.lowest = float("nan")

    @property
    def flips_per_synapse(self) -> float | None:
        """Mean number of sign changes; None where no sign acts."""
        count = sum(flips.numel() for flips in self.flips.values())
        return sum(float(flips.sum()) for flips in self.flips.values()) / count if count else None

    @property
    def most_flips(self) -> int | None:
        """Of one synapse; None where no sign acts."""
        return max((int(flips.max()) for flips in self.flips.values() if flips.numel()), default=None)

    @property
    def stability_gap(self) -> float | None:
        """Mean over the switches; None where it was not measured."""
        return float(np.mean(self.gaps)) if self.gaps else None

    def state_dict(self) -> dict[str, Any]:
        """Tensors and numbers only, for `torch.load(weights_only=True)`; a copy."""
        return {
            "untrained": list(self.untrained), "before": self.before, "lowest": self.lowest, "gaps": list(self.gaps),
            "samples": self.samples, "flips": {n: v.clone() for n, v in self.flips.items()},
            "positive": {n: v.clone() for n, v in self.positive.items()},
        }  # fmt: skip
