"""`Twin`: a description of a model of recorded units, and `Model`, the module that a fit makes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from neurospin.errors import InputError, unknown_name
from neurospin.network import Network
from neurospin.neurons import LI
from neurospin.twins.cores import Core
from neurospin.twins.data import Window
from neurospin.twins.observations import NONLINEARITIES, OBSERVATIONS
from neurospin.twins.readouts import READOUTS, Modulator, Shifter


@dataclass(frozen=True)
class Twin:
    """A model of recorded units: stimulus → core → readout → observation.

    The core sees the stimulus; its output, filtered and averaged in bins, goes through a readout to the drive of every
    unit, `u = w · φ + b`; the observation makes the expected response of it.

    Attributes:
        core: `FeedForward`, `Recurrent` or `Convolution`, in its rate form or a spiking one.
        readout: `"linear"`, and for the maps of a `Convolution` `"factorised"`, `"gaussian2d"` or `"attention"`.
        observation: `"poisson"` or `"bernoulli"` (spikes), `"gaussian"`, `"gamma"` (high-gamma power), `"bold"`,
            `"calcium"`, `"choice"` (behaviour; see `TwinData.choices`).
        dt: width of a bin in seconds; default, that of the counts or the signal. Spikes need it.
        window: from and to, in seconds after the start of a trial; default, the whole trial.
        steps: steps of the core in a bin.
        nonlinearity: of a positive mean: `"exp"`, `"softplus"` or `"elu"`.
        shifter: covariate that tells where the eye is: moves the core's maps; default none.
        modulator: covariates that scale every unit's response; default none.
        tau_filter: time constant in seconds of the filter behind the core, learned from there; `None` is two bins.
        noise: standard deviation of a white current into the first layer, in training and in samples (default 0).
    """

    core: Core
    readout: str = "linear"
    observation: str = "poisson"
    dt: float | None = None
    window: Window | None = None
    steps: int = 1
    nonlinearity: str = "exp"
    shifter: str | None = None
    modulator: tuple[str, ...] = ()
    tau_filter: float | None = None
    noise: float = 0.0

    def __post_init__(self) -> None:
        for name, value, known in (
            ("readout", self.readout, READOUTS),
            ("observation", self.observation, OBSERVATIONS),
            ("nonlinearity", self.nonlinearity, NONLINEARITIES),
        ):
            if value not in known:
                raise unknown_name(f"Twin.{name}", value, known, name)
        if self.steps < 1 or not self.noise >= 0:
            raise InputError("Twin", "steps ≥ 1 and noise ≥ 0", f"{self.steps} and {self.noise:g}", "check both")
        if self.shifter is not None and self.core.axes == 1:
            raise InputError("Twin.shifter", "a core with maps", type(self.core).__name__, "use Convolution")

        if self.observation == "choice" and self.modulator:
            raise InputError("Twin.modulator", "none, since a choice has no gain", ", ".join(self.modulator), "drop it")

    @property
    def covariates(self) -> tuple[str, ...]:
        """Names of the covariates that the twin uses."""
        return (*([self.shifter] if self.shifter else []), *self.modulator)


class Model(nn.Module):
    """A twin made for data of one shape.

    Args:
        twin: the description.
        size: of a stimulus at one time.
        units: number of recorded units.
        bins: of a trial.
        dt: width of a bin in seconds.
        covariates: how many numbers each covariate has at one time, by name.
        seed: of the fresh weights.

    Attributes:
        core: the `Network`; its `dt` is `dt / steps`. `to_graph(model.core)` exports it.
        filter: leaky integrators behind the core, with one learned time constant.
        readout, observation, shifter, modulator: see `Twin`.
    """

    def __init__(
        self, twin: Twin, size: tuple[int, ...], units: int, bins: int, dt: float, covariates: Mapping[str, int],
        seed: int,
    ) -> None:  # fmt: skip
        super().__init__()
        self.twin, self.size, self.bins, self.dt, self.covariates = twin, tuple(size), bins, dt, dict(covariates)
        step = dt / twin.steps
        generator = torch.Generator().manual_seed(seed)
        self.core: Network = twin.core.build(self.size, step, seed)
        features = self.core.output_size
        self.filter = LI(features, 2 * dt if twin.tau_filter is None else twin.tau_filter, learn=("tau_mem",), dt=step)
        self.readout = READOUTS[twin.readout](features, units, generator)
        self.observation = OBSERVATIONS[twin.observation](units, dt, twin.nonlinearity)
        self.shifter = None if twin.shifter is None else Shifter(covariates[twin.shifter], generator)
        inputs = sum(covariates[name] for name in twin.modulator)
        self.modulator = Modulator(inputs, units, generator) if inputs else None
        self.share(self.core)

    def share(self, core: Network) -> None:
        """Take a core, perhaps that of another model, as its own."""
        self.core = core
        self._split = (_without_first(core),)  # in a tuple: its blocks are those of the core

    def parameter_count(self) -> int:
        """How many numbers are learned."""
        return sum(p.numel() for p in self.parameters() if p.requires_grad)

    def inputs(self, stimuli: Tensor) -> Tensor:
        """What the core is shown, `(steps, stimuli, *size)`, of stimuli `(stimuli, *size)` or films of them."""
        shown = self._shown(stimuli)
        return shown.repeat_interleave(self.bins * self.twin.steps // len(shown), dim=0)

    def _shown(self, stimuli: Tensor) -> Tensor:
        """Stimuli, time first, at their own resolution: 1, `bins` or `bins · steps`."""
        if stimuli.shape[1:] == self.size:
            return stimuli[None]
        if stimuli.shape[2:] == self.size and stimuli.shape[1] in (self.bins, self.bins * self.twin.steps):
            return stimuli.transpose(0, 1)
        expected = f"(stimuli, *{self.size}) or films of {self.bins} bins"
        raise InputError("stimuli", expected, str(tuple(stimuli.shape)), "match the stimuli that were fitted")

    def spikes(self, stimuli: Tensor, generator: torch.Generator | None = None, *, noisy: bool = False) -> Tensor:
        """Output of the core, `(steps, stimuli, *features)`: spikes, or rates; a stimulus is held until the next."""
        shown = self._shown(stimuli)
        first, rest = self.core.named_blocks()[0][1], self._split[0]
        current = first(shown).repeat_interleave(self.bins * self.twin.steps // len(shown), dim=0)
        if noisy and self.twin.noise > 0:
            noise = torch.randn(current.shape, generator=generator, dtype=current.dtype)
            current = current + self.twin.noise * noise.to(current.device)
        return rest(current).output

    def features(self, spikes: Tensor) -> Tensor:
        """The core's output, filtered and averaged in bins, `(bins, stimuli, *features)`."""
        held = self.filter(spikes)[0]
        return held.unflatten(0, (self.bins, self.twin.steps)).mean(1) if self.twin.steps > 1 else held

    def respond(self, features: Tensor, covariates: Mapping[str, Tensor] | None = None) -> Tensor:
        """Expected responses `(bins, trials, units)` of features `(bins, trials, …)`."""
        if self.shifter is not None:
            assert self.twin.shifter is not None and covariates is not None
            features = self.shifter(features, covariates[self.twin.shifter])
        drive = self.readout(features)
        if self.modulator is None:
            return self.observation.mean(drive)
        assert covariates is not None
        gain = self.modulator(torch.cat([covariates[name] for name in self.twin.modulator], dim=-1))
        return self.observation.mean(drive) * gain

    def forward(
        self, stimuli: Tensor, covariates: Mapping[str, Tensor] | None = None,
        generator: torch.Generator | None = None, *, noisy: bool = False,
    ) -> Tensor:  # fmt: skip
        """Expected responses.

        Args:
            stimuli: `(trials, *size)`, or films `(trials, bins, *size)`.
            covariates: by name, `(bins, trials, …)`; those that the twin uses.
            generator: of the noise.
            noisy: whether the core's current is noisy.

        Returns:
            `(bins, trials, units)`.
        """
        return self.respond(self.features(self.spikes(stimuli, generator, noisy=noisy)), covariates)


def _without_first(network: Network) -> Network:
    """The same blocks without the first synapse, so that a stimulus that stands still passes it once."""
    named = dict(network.named_blocks())
    first = next(iter(named))
    del named[first]
    edges = [("input" if a == first else a, b) for a, b in network.edges if b != first]
    return Network(named, network.dt, edges)
