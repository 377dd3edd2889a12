"""The experiment file: what a run is, with every default visible.

Read by pydantic, which names every unknown or illegal key; numbers such as `1e-3`, which YAML takes for
text, are read as numbers. The text under a field is what `neurospin config` and editors show beside it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

import torch
import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictInt, ValidationError, model_validator

from neurospin.errors import ConfigError, InputError
from neurospin.plasticity.registry import kind, make
from neurospin.runs import yaml_file
from neurospin.runs.keys import change, told


def _number(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError(f"a number, not {value}")
    return value


def _setting(value: Any) -> Any:
    scientific = isinstance(value, str) and re.fullmatch(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+", value)
    return float(value) if scientific else value


Number = Annotated[float, BeforeValidator(_number), Field(allow_inf_nan=False)]
Count = Annotated[StrictInt, Field(ge=1)]
Positive = Annotated[Number, Field(gt=0)]
Setting = Annotated[StrictInt | Number | str | bool, BeforeValidator(_setting)]


Dataset = Literal[
    "digits", "mnist", "fashion_mnist", "kmnist", "nmnist", "randman", "shj_I", "shj_II", "shj_III", "shj_IV", "shj_V",
    "shj_VI", "five_four", "rule", "integration",
]  # fmt: skip
SPIKES = ("nmnist", "randman")  # data sets of spike trains


class Part(BaseModel):
    """A part of the experiment file: no unknown keys, frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class StreamConfig(Part):
    """The stream of tasks; see `neurospin.continual.streams`."""

    kind: Literal["permuted", "rotated", "split", "sequence", "subsets", "linear"] = "permuted"
    """What makes one task from the next; linear: a neuron whose weights drift, without a data set."""
    dataset: Dataset = "digits"
    """The samples; those of MNIST's kind are read from the folder NEUROSPIN_DATA, the others come with neurospin."""
    datasets: list[Dataset] = []
    """Of a sequence: one for each task."""
    tasks: Count = 5
    """Number of tasks."""
    scenario: Literal["task", "domain", "class"] = "domain"
    """Whether the task is told (task), hidden (domain), or brings classes of its own (class, of split streams)."""
    ends: Literal["sharp", "blurred", "drifting"] = "sharp"
    """Whether tasks end, swap samples over their ends, or fade into each other; only sharp ends are told."""
    blur: Annotated[Number, Field(gt=0, le=0.5)] = 0.2
    """Share of the samples that are swapped over blurred ends."""
    samples: Count | None = None
    """Training samples of each task; null for all."""
    test: Literal["all", "own"] = "all"
    """Tested after each task: all tasks, or its own, and all after the last."""
    gap: Count | None = None
    """Test samples of the task before that are tested after every batch, for the stability gap; null for none."""
    unknown: Dataset | None = None
    """Samples of no task, which uncertainty should tell; null for none."""

    @model_validator(mode="after")
    def _scenarios_of_the_kind(self) -> StreamConfig:
        known = {"split": ("task", "domain", "class"), "rotated": ("domain",)}.get(self.kind, ("task", "domain"))
        if self.scenario not in known:
            raise ValueError(f"scenario: {' or '.join(known)} for a {self.kind} stream, not {self.scenario!r}")
        if (self.kind == "sequence") != bool(self.datasets):
            raise ValueError(f"datasets: names for a sequence and for nothing else, not {self.datasets}")
        if self.ends != "sharp" and (self.scenario == "task" or self.kind == "linear"):
            raise ValueError(f"ends: sharp where tasks are told and in a linear stream, not {self.ends!r}")
        if self.unknown and self.kind == "linear":
            raise ValueError(f"unknown: null in a linear stream, not {self.unknown!r}")
        if self.datasets and self.tasks != len(self.datasets):
            raise ValueError(f"tasks: one for each of {len(self.datasets)} datasets, not {self.tasks}")
        return self


class EncodeConfig(Part):
    """Intensities to spikes (`rate`) or to a constant current (`direct`), or spikes as they are (`recorded`).

    See `neurospin.encode`.
    """

    kind: Literal["rate", "direct", "recorded"] = "rate"
    """Spikes of these rates, a constant current, or the spikes of the data set."""
    steps: Count = 20
    """Length of the spike trains in steps."""
    probability: Annotated[Number, Field(gt=0, le=1)] = 1.0
    """Of a spike per step at full intensity."""


class NetworkConfig(Part):
    """The network: dense layers of one kind of neuron, and a leaky readout.

    `gain` gives the size of the weights of every layer in units of `1/√fan_in`. `normalisation` and
    `private_normalisation` (one for every task) are of the learners that do not spike; see
    `neurospin.continual.Perceptron`.
    """

    hidden: Annotated[list[Count], Field(min_length=1)] = [256]
    """Neurons in every hidden layer."""
    weight: Literal["binary", "float"] = "binary"
    """What acts: the sign of the hidden value, or the value."""
    gain: Annotated[list[Positive], Field(min_length=1)] = [8.0, 16.0]
    """Size of the weights of every layer, in units of 1/√fan_in."""
    dt: Positive = 1e-3
    """Step in seconds."""
    tau_mem: Positive = 10e-3
    """Membrane time constant of hidden neurons in seconds."""
    tau_out: Positive = 10e-3
    """Time constant of the readout in seconds."""
    surrogate: Literal["arctan", "fast_sigmoid", "triangle"] = "arctan"
    """Derivative that stands in for a spike's."""
    slope: Positive = 5.0
    """Of the surrogate."""
    memory: Literal["float32", "bfloat16", "recompute"] = "float32"
    """What spiking neurons keep for the backward pass; see `neurospin.scan.scan`."""
    normalisation: Literal["none", "batch", "layer"] = "none"
    """Of learners that do not spike."""
    private_normalisation: bool = False
    """Whether every task has a normalisation of its own; counted in the results."""

    @model_validator(mode="after")
    def _one_gain_per_layer(self) -> NetworkConfig:
        if len(self.gain) != len(self.hidden) + 1:
            raise ValueError(f"one gain per layer ({len(self.hidden) + 1}), not {len(self.gain)}")
        return self


class TrainingConfig(Part):
    """How every learner is trained; see `neurospin.plasticity.Metaplastic`."""

    epochs: Count = 10
    """Passes over the training samples of every task."""
    batch_size: Count = 100
    """Samples per step, over all processes."""
    lr: Positive = 1e-2
    """Adam's step size; rules that are not built on Adam have their own among the settings."""
    eps: Positive = 1e-3
    """Of Adam, added to the root of the second moment."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where learners are trained; under torchrun, cuda is one GPU for each process."""


class LevelsConfig(Part):
    """Levels of the stored values; see `neurospin.plasticity.Levels`."""

    count: Annotated[StrictInt, Field(ge=2)]
    """Number of levels."""
    bound: Positive = 0.5
    """The last level, in units of the stored value."""
    write_noise: Annotated[Number, Field(ge=0)] = 0.0
    """Standard deviation per write, in units of the spacing."""


class LearnerConfig(Part):
    """One learner: its neurons, and what its synapses remember.

    `neuron` is `lif` or its `rate` twin, or `relu` or `sign`: a perceptron of the same layers without time.
    `rule` is a name of `neurospin.plasticity.RULES`, `settings` are its own, `m` is the metaplasticity of
    the rule `metaplastic` (0: none, plain Adam), `levels` limit what a synapse stores.
    """

    title: str
    """What tables and figures call it."""
    neuron: Literal["lif", "rate", "relu", "sign"] = "lif"
    """Spiking neurons, their rate twins, or a perceptron of rectified or of binary neurons."""
    m: Annotated[Number, Field(ge=0)] = 0.0
    """Metaplasticity of the rule metaplastic; 0 is plain Adam."""
    rule: str = "metaplastic"
    """Name of a rule."""
    settings: dict[str, Setting] = {}
    """Of the rule."""
    levels: LevelsConfig | None = None
    """Levels on which stored values live; null for none."""

    @model_validator(mode="after")
    def _m_is_of_metaplastic(self) -> LearnerConfig:
        if self.m and self.rule != "metaplastic":
            raise ValueError(f"m only with the rule metaplastic, not {self.rule!r}")
        return self


class Experiment(Part):
    """A whole run."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    """Of the run folder."""
    seed: Annotated[StrictInt, Field(ge=0)] = 0
    """Of everything random; data, initialisation, noise and targets get independent children."""
    stream: StreamConfig = StreamConfig()
    encode: EncodeConfig = EncodeConfig()
    network: NetworkConfig = NetworkConfig()
    training: TrainingConfig = TrainingConfig()
    learners: Annotated[
        dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9_]{1,32}$")], LearnerConfig], Field(min_length=1)
    ]
    """Learners by name; each one learns the whole stream."""
    main: str | None = None
    """The spiking learner that is exported and run on the targets; null for none."""
    targets: list[str] = ["reference", "loihi", "crossbar", "lava"]
    """Where the main learner runs; see neurospin targets."""
    samples: Count = 256
    """Test samples on which targets are compared."""

    @model_validator(mode="after")
    def _main_is_a_learner(self) -> Experiment:
        if self.network.normalisation != "none" and any(
            learner.neuron in ("lif", "rate") for learner in self.learners.values()
        ):
            raise ValueError(f"network.normalisation: none with lif or rate, not {self.network.normalisation!r}")
        names = self.stream.datasets or ([] if self.stream.kind == "linear" else [self.stream.dataset])
        timed = any(learner.neuron in ("lif", "rate") for learner in self.learners.values())
        spikes = [name in SPIKES for name in (*names, *([self.stream.unknown] if self.stream.unknown else []))]
        if timed and spikes and (not all(spikes) if self.encode.kind == "recorded" else any(spikes)):
            raise ValueError(
                f"encode.kind: recorded with {' and '.join(SPIKES)} and with nothing else, not {self.encode.kind!r}"
            )
        if self.stream.kind == "linear" and timed and self.encode.kind != "direct":
            raise ValueError(f"encode.kind: direct in a linear stream, not {self.encode.kind!r}")
        if self.main is None:
            if self.targets:
                raise ValueError("targets: [] without a main learner, not " + ", ".join(self.targets))
            return self
        if self.encode.kind == "direct":
            raise ValueError("main: none with a constant current (targets take spikes), not " + repr(self.main))
        if self.main not in self.learners:
            raise ValueError(f"main: one of {', '.join(self.learners)}, not {self.main!r}")
        if self.learners[self.main].neuron != "lif":
            raise ValueError(f"main: a spiking learner (NIR has no rate neuron), not {self.main!r}")
        return self

    def to_yaml(self) -> str:
        """The experiment with every default written out."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def load(path: str | os.PathLike[str], changes: Iterable[str] = (), seed: int | None = None) -> Experiment:
    """Read an experiment file.

    Args:
        path: of the YAML file.
        changes: `key=value` texts with dotted keys, for example `training.epochs=3`.
        seed: takes the place of the file's.

    Raises:
        MissingFile: no such file.
        ConfigError: the file is not YAML, or a key is unknown or has an illegal value; names the key.
    """
    content = yaml_file.read(path)
    if "experiment" in content and "learners" not in content:
        raise ConfigError(str(path), "an experiment file", "a sweep file", f"neurospin sweep {path}")
    for text in changes:
        change(content, text, Experiment)
    if seed is not None:
        content["seed"] = seed
    return parse(content, str(path))


def parse(content: Mapping[str, Any], where: str) -> Experiment:
    """An experiment from plain values; `where` names their source in errors."""
    try:
        experiment = Experiment.model_validate(content)
    except ValidationError as error:
        raise told(error, where, Experiment, content) from error
    for name, learner in experiment.learners.items():
        at = f"{where}: learners.{name}"
        kind(learner.rule, learner.settings, f"{at}.rule")
        try:
            make(learner.rule, [torch.zeros(1)], learner.settings)
        except InputError as error:
            raise ConfigError(f"{at}.settings: {error.where}", error.expected, error.got, error.fix) from error
    return experiment
