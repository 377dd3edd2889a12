"""Terms that a fit adds to the likelihood: statistics that the twin's activity shares with the recording.

The likelihood alone says nothing about what a twin does when it runs by itself: its samples may be too regular or too
independent. `PSTH` and `NoiseCorrelation` compare statistics of samples with those of the recording (sample and
measure, Bellec et al., NeurIPS 2021, arXiv:2106.10064); `TrialMatching` compares single trials. Samples are drawn from
the observation, with the gradient straight through; shared variability comes from `Twin(noise=…)`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from neurospin.errors import InputError
from neurospin.twins.observations import Observation

if TYPE_CHECKING:
    from neurospin.twins.twin import Model


@dataclass(frozen=True)
class Batch:
    """What a term may look at.

    Attributes:
        mean: expected responses, `(bins, samples, units)`.
        responses: recorded ones, same shape.
        recorded: 1 where there is a response, 0 elsewhere; `None` where everywhere.
        spikes: output of the core, `(steps, samples, *features)`.
        drawn: responses drawn from the twin, `(bins, samples, units)`, for terms with `samples`.
        stimulus: number of every sample's stimulus, `(samples,)`.
        model: the twin's module.
    """

    mean: Tensor
    responses: Tensor
    recorded: Tensor | None
    spikes: Tensor
    drawn: Tensor | None
    stimulus: Tensor
    model: Model

    def sample(self) -> Tensor:
        """`drawn`, which is there for terms with `samples`."""
        assert self.drawn is not None
        return self.drawn


@dataclass(frozen=True)
class Term(ABC):
    """One part of a loss.

    Attributes:
        weight: that the fit gives it.
    """

    samples: ClassVar[bool] = False
    weight: float = 1.0

    @abstractmethod
    def __call__(self, batch: Batch) -> Tensor:
        """The loss, a number of no less than 0."""


def sampled_through(observation: Observation, mean: Tensor, generator: torch.Generator) -> Tensor:
    """Responses drawn around `mean`, with the gradient of `mean` (straight-through, Bengio et al. 2013)."""
    drawn = observation.sample(mean.detach(), generator).detach()
    return mean + (drawn - mean.detach())


@dataclass(frozen=True)
class PSTH(Term):
    """Mean over stimuli, bins and units of the squared difference of trial averages, in units of each unit's variance.

    `⟨(z̄ − z̄_D)²⟩ / Var(z_D)`, where `z̄` averages the samples of one stimulus.

    Source: Bellec et al., NeurIPS 2021, arXiv:2106.10064, equation 5.
    """

    samples = True

    def __call__(self, batch: Batch) -> Tensor:
        """Of samples and responses."""
        real, weight = batch.responses, batch.recorded
        mine, theirs = _averages(batch.sample(), batch.stimulus, weight), _averages(real, batch.stimulus, weight)
        return ((mine - theirs).square() / _variance(real, weight)).mean()


@dataclass(frozen=True)
class NoiseCorrelation(Term):
    """Mean over pairs of units of the squared difference of their noise correlations.

    A noise correlation is that of two units' deviations from their averages over the trials of one stimulus, all bins
    together. A batch must hold several trials of a stimulus.

    Source: Bellec et al., NeurIPS 2021, arXiv:2106.10064, equation 6 (theirs compares by cross-entropy).
    """

    samples = True

    def __call__(self, batch: Batch) -> Tensor:
        """Of samples and responses."""
        mine = correlations(batch.sample(), batch.stimulus, batch.recorded)
        theirs = correlations(batch.responses, batch.stimulus, batch.recorded)
        pairs = torch.triu(torch.ones_like(theirs, dtype=torch.bool), diagonal=1)
        return (mine - theirs)[pairs].square().mean()


@dataclass(frozen=True)
class Rate(Term):
    """Mean squared distance of the core's neurons from a firing rate, `⟨(f_i − f)²⟩ / f²`.

    Attributes:
        hertz: the rate f (default 5): of spikes, or the output of rate neurons divided by the step.
    """

    hertz: float = 5.0

    def __call__(self, batch: Batch) -> Tensor:
        """Of the core's output."""
        if not self.hertz > 0:
            raise InputError("losses.Rate.hertz", "more than 0", f"{self.hertz:g}", "give a firing rate")
        rate = batch.spikes.mean((0, 1)) / batch.model.core.dt
        return (rate / self.hertz - 1).square().mean()


@dataclass(frozen=True)
class TrialMatching(Term):
    """Mean distance of drawn and recorded trials, each matched with one of the same stimulus as well as they can be.

    `min_π ⟨‖T(z_k) − T(z_D,π(k))‖²⟩`, where `T` is the activity of the whole population in time, averaged over units
    that are first divided by their standard deviation; π is found by the Hungarian method.

    Source: Sourmpis et al., NeurIPS 2023, arXiv:2306.03603.
    """

    samples = True

    def __call__(self, batch: Batch) -> Tensor:
        """Of samples and responses."""
        from scipy.optimize import linear_sum_assignment  # a third of what `import neurospin.twins.fit` would take

        scale = _variance(batch.responses, batch.recorded).rsqrt()
        held = torch.ones_like(batch.responses) if batch.recorded is None else batch.recorded.expand_as(batch.responses)
        number = held.sum(-1).clamp(min=1)
        mine, theirs = (((z * scale * held).sum(-1) / number).T for z in (batch.sample(), batch.responses))
        total = mine.new_zeros(())
        for stimulus in batch.stimulus.unique():
            a, b = mine[batch.stimulus == stimulus], theirs[batch.stimulus == stimulus]
            cost = (a.detach()[:, None] - b[None]).square().mean(-1)
            row, column = (torch.as_tensor(k) for k in linear_sum_assignment(cost.cpu().numpy()))
            total = total + (a[row] - b[column]).square().mean(-1).sum()
        return total / len(mine)


def _variance(responses: Tensor, weight: Tensor | None) -> Tensor:
    """Variance of every unit over bins and samples, `(units,)`."""
    if weight is None:
        return responses.var((0, 1), unbiased=False).clamp(min=1e-6)
    number = weight.expand_as(responses).sum((0, 1)).clamp(min=1)
    average = (responses * weight).sum((0, 1)) / number
    return (((responses - average).square() * weight).sum((0, 1)) / number).clamp(min=1e-6)


def _averages(values: Tensor, stimulus: Tensor, weight: Tensor | None) -> Tensor:
    """Mean over the samples of each stimulus, `(bins, stimuli, units)`; 0 where there is none."""
    kinds, which = stimulus.unique(return_inverse=True)
    belongs = torch.nn.functional.one_hot(which, len(kinds)).to(values.dtype)
    if weight is None:
        return torch.einsum("tsu,sk->tku", values, belongs) / belongs.sum(0)[:, None]
    held = weight.expand_as(values)
    number = torch.einsum("tsu,sk->tku", held, belongs)
    return torch.einsum("tsu,sk->tku", values * held, belongs) / number.clamp(min=1)


def correlations(values: Tensor, stimulus: Tensor, weight: Tensor | None = None) -> Tensor:
    """Noise correlations `(units, units)` of samples `(bins, samples, units)` of numbered stimuli `(samples,)`."""
    _, which = stimulus.unique(return_inverse=True)
    apart = values - _averages(values, stimulus, weight)[:, which]
    if weight is not None:
        apart = apart * weight
    flat = apart.flatten(0, 1)
    spread = flat.square().sum(0).clamp(min=1e-12).sqrt()
    return (flat.T @ flat) / torch.outer(spread, spread)
