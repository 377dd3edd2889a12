"""From numbers to spikes or currents, and from outputs to decisions."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from neurospin.errors import InputError


@dataclass(frozen=True)
class Rate:
    """Bernoulli spike trains: in each step a neuron fires with probability `x · probability`.

    Attributes:
        steps: length of the train (default 25).
        probability: of a spike per step at x = 1 (default 0.5); `probability / dt` is the rate in hertz.
    """

    steps: int = 25
    probability: float = 0.5

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise InputError("encode.Rate.steps", "at least 1", str(self.steps), "give a positive number")
        if not (math.isfinite(self.probability) and 0 < self.probability <= 1):
            raise InputError("encode.Rate.probability", "0 < p <= 1", str(self.probability), "give a probability")

    def __call__(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Spikes `(time, batch, *input)` of intensities `x` in [0, 1], shape `(batch, *input)`."""
        if x.numel() and not (float(x.min()) >= 0 and float(x.max()) <= 1):
            raise InputError(
                "encode.Rate", "intensities in [0, 1]", f"{float(x.min()):g} to {float(x.max()):g}", "scale x"
            )
        draws = torch.rand((self.steps, *x.shape), generator=generator)
        return (draws < x * self.probability).to(torch.float32)


@dataclass(frozen=True)
class Direct:
    """A constant current: every step gets the intensities themselves.

    The steps share their memory, so that the first layer's currents are computed once.

    Attributes:
        steps: length of the sequence (default 10).
    """

    steps: int = 10

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise InputError("encode.Direct.steps", "at least 1", str(self.steps), "give a positive number")

    def __call__(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Currents `(time, batch, *input)` of intensities `x (batch, *input)`; nothing is drawn."""
        del generator
        return x.expand(self.steps, *x.shape)


@dataclass(frozen=True)
class Recorded:
    """Spikes that are there already, for data sets of spike trains: time goes first."""

    def __call__(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Spikes `(time, batch, *input)`, float32, of `x (batch, time, *input)`; nothing is drawn."""
        del generator
        if x.dim() < 3:
            raise InputError(
                "encode.Recorded",
                "spikes (batch, time, *input)",
                f"shape {tuple(x.shape)}",
                "encode intensities by Rate",
            )
        return x.transpose(0, 1).to(torch.float32)


def decide(output: Tensor) -> Tensor:
    """The class with the largest mean output over time.

    Args:
        output: `(time, batch, classes)`, voltages or spikes.

    Returns:
        Class index per sample, `(batch,)`; of equal outputs the first class wins.

    >>> decide(torch.tensor([[[0.0, 1.0]], [[3.0, 1.0]]]))  # two steps, one sample, two classes
    tensor([0])
    """
    return output.mean(0).argmax(-1)
