"""Observations: how a unit's drive becomes what an instrument records, and how likely that is.

The drive is `(bins, batch, units)`, and so are the expected responses. `nll` leaves out terms that do not depend on
the twin.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from neurospin.errors import unknown_name

_LEAST = 1e-6
NONLINEARITIES = ("exp", "softplus", "elu")


class Observation(nn.Module, ABC):
    """From drive to expected responses, and their likelihood.

    Args:
        units: number of recorded units.
        dt: width of a bin in seconds.
        nonlinearity: of a positive mean: `"exp"`, `"softplus"` or `"elu"` (`ELU + 1`).

    Attributes:
        mean_suffices: whether the likelihood of repeats depends on their mean and number alone.
    """

    mean_suffices: ClassVar[bool] = False

    def __init__(self, units: int, dt: float, nonlinearity: str = "exp") -> None:
        super().__init__()
        if nonlinearity not in NONLINEARITIES:
            raise unknown_name("Twin.nonlinearity", nonlinearity, NONLINEARITIES, "nonlinearity")
        self.units, self.dt, self.nonlinearity = units, dt, nonlinearity
        self.prepare()

    def prepare(self) -> None:
        """Make the parameters; none by default."""

    @abstractmethod
    def mean(self, drive: Tensor) -> Tensor:
        """Expected responses."""

    @abstractmethod
    def nll(self, mean: Tensor, response: Tensor) -> Tensor:
        """Negative log-likelihood of every response, in nats."""

    @abstractmethod
    def start(self, average: Tensor, variance: Tensor) -> Tensor:
        """Drive `(units,)` at which the units respond on average as recorded; sets the spread, too."""

    @abstractmethod
    def sample(self, mean: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Responses drawn at random."""

    def positive(self, drive: Tensor) -> Tensor:
        """A positive number, by the nonlinearity."""
        if self.nonlinearity == "exp":
            return drive.clamp(max=15).exp()
        if self.nonlinearity == "softplus":
            return functional.softplus(drive) + _LEAST
        return functional.elu(drive) + 1 + _LEAST

    def inverse(self, value: Tensor) -> Tensor:
        """The drive that gives a positive value."""
        value = value.clamp(min=1e-4)
        if self.nonlinearity == "exp":
            return value.log()
        if self.nonlinearity == "softplus":
            return value + torch.log(-torch.expm1(-value))
        return torch.where(value < 1, value.log(), value - 1)


class Poisson(Observation):
    """Counts of spikes, `y ~ Poisson(f(u))`."""

    mean_suffices = True

    def mean(self, drive: Tensor) -> Tensor:
        """`f(u)`."""
        return self.positive(drive)

    def nll(self, mean: Tensor, response: Tensor) -> Tensor:
        """`r − y log r`."""
        return mean - response * mean.clamp(min=1e-20).log()

    def start(self, average: Tensor, variance: Tensor) -> Tensor:
        """`f⁻¹(average)`."""
        return self.inverse(average)

    def sample(self, mean: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Counts."""
        return torch.poisson(mean, generator=generator)


class Bernoulli(Observation):
    """At most one spike in a bin, `P(y = 1) = σ(u)`."""

    mean_suffices = True

    def mean(self, drive: Tensor) -> Tensor:
        """`σ(u)`, kept off 0 and 1 by a millionth."""
        return torch.sigmoid(drive).clamp(_LEAST, 1 - _LEAST)

    def nll(self, mean: Tensor, response: Tensor) -> Tensor:
        """`−y log p − (1 − y) log(1 − p)`."""
        return -response * mean.log() - (1 - response) * torch.log1p(-mean)

    def start(self, average: Tensor, variance: Tensor) -> Tensor:
        """`logit(average)`."""
        return torch.logit(average.clamp(1e-4, 1 - 1e-4))

    def sample(self, mean: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Zeros and ones."""
        return torch.bernoulli(mean.clamp(0, 1), generator=generator)


class Gaussian(Observation):
    """Any continuous response, `y ~ N(u, σ²_n)`.

    Attributes:
        log_variance: `log σ²`, `(units,)`, learned.
    """

    def prepare(self) -> None:
        """Variance 1."""
        self.log_variance = nn.Parameter(torch.zeros(self.units))

    def mean(self, drive: Tensor) -> Tensor:
        """`u`."""
        return drive

    def nll(self, mean: Tensor, response: Tensor) -> Tensor:
        """`(y − u)² / 2σ² + log σ`."""
        return 0.5 * ((response - mean).square() * torch.exp(-self.log_variance) + self.log_variance)

    def start(self, average: Tensor, variance: Tensor) -> Tensor:
        """The average; the variance is that of all responses."""
        with torch.no_grad():
            self.log_variance.copy_(variance.clamp(min=1e-12).log())
        return average

    def sample(self, mean: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """The mean and noise."""
        noise = torch.randn(mean.shape, generator=generator, dtype=mean.dtype, device=mean.device)
        return mean + noise * torch.exp(0.5 * self.log_variance)


class Gamma(Observation):
    """Positive responses whose spread grows with them, as high-gamma power: `y ~ Gamma(k_n, mean f(u))`.

    Attributes:
        log_shape: `log k`, `(units,)`, learned.
    """

    def prepare(self) -> None:
        """Shape 1."""
        self.log_shape = nn.Parameter(torch.zeros(self.units))

    def mean(self, drive: Tensor) -> Tensor:
        """`f(u)`."""
        return self.positive(drive)

    def nll(self, mean: Tensor, response: Tensor) -> Tensor:
        """`k (log r + y / r) − k log k + log Γ(k) − (k − 1) log y`."""
        shape, mean = self.log_shape.exp(), mean.clamp(min=1e-20)
        own = torch.special.gammaln(shape) - torch.xlogy(shape, shape)
        return shape * (mean.log() + response / mean) + own - (shape - 1) * response.clamp(min=1e-20).log()

    def start(self, average: Tensor, variance: Tensor) -> Tensor:
        """`f⁻¹(average)`; the shape is `average² / variance`."""
        with torch.no_grad():
            self.log_shape.copy_((average.square() / variance.clamp(min=1e-12)).clamp(min=1e-3).log())
        return self.inverse(average)

    def sample(self, mean: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Positive numbers, by numpy's generator with a seed from torch's."""
        import numpy as np

        seed = int(torch.randint(2**62, (1,), generator=generator))
        shape = self.log_shape.exp().detach().cpu().expand_as(mean).numpy()
        drawn = np.random.default_rng(seed).gamma(shape, mean.detach().cpu().numpy() / shape)
        return torch.as_tensor(drawn, dtype=mean.dtype, device=mean.device)


class BOLD(Gaussian):
    """fMRI: the drive, convolved with the haemodynamic response, and Gaussian noise. A trial starts at rest, `u = b`.

    The response is the difference of two gamma densities, `g(t; 6) − g(t; 16) / 6`, of sum 1 over the bins.

    Source: Friston et al., NeuroImage 7, 1998, doi:10.1006/nimg.1997.0306; parameters as in SPM.
    """

    kernel: Tensor

    def prepare(self) -> None:
        """Variance 1; the kernel, `(lags,)`, over 32 s."""
        super().prepare()
        time = (torch.arange(max(1, round(32.0 / self.dt))) + 0.5) * self.dt
        density = [torch.exp((k - 1) * time.log() - time - math.lgamma(k)) for k in (6.0, 16.0)]
        kernel = density[0] - density[1] / 6
        self.register_buffer("kernel", kernel / kernel.sum())

    def mean(self, drive: Tensor) -> Tensor:
        """`Σ_s h_s u_{t−s}`, with the drive of the first bin before it."""
        return convolved(drive, self.kernel)


class Calcium(Gaussian):
    """Fluorescence: the positive drive `f(u)`, which decays as the indicator does, and Gaussian noise.

    `c_t = d c_{t−1} + (1 − d) f(u_t)` with `d = exp(−dt / τ_n)`, from `c_0 = f(u_0)`; no response is below 0.

    Attributes:
        log_tau: logarithm of τ in seconds, `(units,)`, learned from 0.5 s (GCaMP6s).

    Source: Vogelstein et al., Journal of Neurophysiology 104, 2010, doi:10.1152/jn.01073.2009.
    """

    def prepare(self) -> None:
        """Variance 1, τ 0.5 s."""
        super().prepare()
        self.log_tau = nn.Parameter(torch.full((self.units,), math.log(0.5)))

    def mean(self, drive: Tensor) -> Tensor:
        """The filtered rate."""
        decay, rate = torch.exp(-self.dt / self.log_tau.exp()), self.positive(drive)
        now, found = rate[0], [rate[0]]
        for r in rate[1:].unbind(0):
            now = decay * now + (1 - decay) * r
            found.append(now)
        return torch.stack(found)

    def start(self, average: Tensor, variance: Tensor) -> Tensor:
        """`f⁻¹(average)`."""
        return self.inverse(super().start(average, variance))


class Choice(Observation):
    """One of several options in every bin, as a trial of behaviour: `P(y_n = 1) = softmax(u)_n`; a unit is an option.

    `TwinData.choices` makes the responses. Bits per spike of all units together are the information about a choice.
    """

    mean_suffices = True

    def mean(self, drive: Tensor) -> Tensor:
        """`softmax(u)` over the units."""
        return torch.softmax(drive, dim=-1)

    def nll(self, mean: Tensor, response: Tensor) -> Tensor:
        """`−y log p`."""
        return -response * mean.clamp(min=1e-20).log()

    def start(self, average: Tensor, variance: Tensor) -> Tensor:
        """`log(average)`."""
        return average.clamp(min=1e-4).log()

    def sample(self, mean: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """One option each: a 1 among zeros."""
        drawn = torch.multinomial(mean.flatten(0, -2), 1, generator=generator)
        return torch.zeros_like(mean).flatten(0, -2).scatter_(1, drawn, 1.0).view_as(mean)


def convolved(x: Tensor, kernel: Tensor) -> Tensor:
    """Causal convolution along axis 0, `(lags,)`, with the first value before the start."""
    lags = len(kernel)
    padded = torch.cat([x[:1].expand(lags - 1, *x.shape[1:]), x]).flatten(1).T[:, None]
    found = functional.conv1d(padded, kernel.flip(0)[None, None])
    return found[:, 0].T.reshape(x.shape)


OBSERVATIONS: dict[str, type[Observation]] = {
    "poisson": Poisson, "bernoulli": Bernoulli, "gaussian": Gaussian, "gamma": Gamma, "bold": BOLD, "calcium": Calcium,
    "choice": Choice,
}  # fmt: skip
