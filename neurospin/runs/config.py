"""The experiment file: what a run is, with every default visible.

Read by pydantic, which names every unknown or illegal key. YAML is loaded without tags, aliases or
duplicate keys; numbers such as `1e-3`, which YAML takes for text, are read as numbers.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import torch
import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictInt, ValidationError, model_validator

from neurospin.errors import ConfigError, InputError, NeurospinError, unknown_name
from neurospin.files import existing, write_text
from neurospin.plasticity.registry import kind, make

LARGEST_FILE = 1_000_000


def _number(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError(f"a number, not {value}")
    return value


Number = Annotated[float, BeforeValidator(_number), Field(allow_inf_nan=False)]
Count = Annotated[StrictInt, Field(ge=1)]
Positive = Annotated[Number, Field(gt=0)]


class Part(BaseModel):
    """A part of the experiment file: no unknown keys, frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class StreamConfig(Part):
    """The stream of tasks; see `neurospin.continual.streams`."""

    kind: Literal["permuted", "rotated", "split"] = "permuted"
    dataset: Literal["digits", "mnist", "fashion_mnist", "kmnist"] = "digits"
    tasks: Count = 5
    scenario: Literal["domain", "class"] = "domain"

    @model_validator(mode="after")
    def _only_split_has_scenarios(self) -> StreamConfig:
        if self.scenario != "domain" and self.kind != "split":
            raise ValueError(f"scenario: domain for a {self.kind} stream, not {self.scenario!r}")
        return self


class EncodeConfig(Part):
    """Intensities to spikes; see `neurospin.encode.Rate`."""

    steps: Count = 20
    probability: Annotated[Number, Field(gt=0, le=1)] = 1.0


class NetworkConfig(Part):
    """The network: dense layers of one kind of neuron, and a leaky readout.

    `gain` gives the size of the weights of every layer in units of `1/√fan_in`.
    """

    hidden: Annotated[list[Count], Field(min_length=1)] = [256]
    weight: Literal["binary", "float"] = "binary"
    gain: Annotated[list[Positive], Field(min_length=1)] = [8.0, 16.0]
    dt: Positive = 1e-3
    tau_mem: Positive = 10e-3
    tau_out: Positive = 10e-3
    surrogate: Literal["arctan", "fast_sigmoid", "triangle"] = "arctan"
    slope: Positive = 5.0

    @model_validator(mode="after")
    def _one_gain_per_layer(self) -> NetworkConfig:
        if len(self.gain) != len(self.hidden) + 1:
            raise ValueError(f"one gain per layer ({len(self.hidden) + 1}), not {len(self.gain)}")
        return self


class TrainingConfig(Part):
    """How every learner is trained; see `neurospin.plasticity.Metaplastic`."""

    epochs: Count = 10
    batch_size: Count = 100
    lr: Positive = 1e-2
    eps: Positive = 1e-3


class LevelsConfig(Part):
    """Levels of the stored values; see `neurospin.plasticity.Levels`."""

    count: Annotated[StrictInt, Field(ge=2)]
    bound: Positive = 0.5
    write_noise: Annotated[Number, Field(ge=0)] = 0.0


class LearnerConfig(Part):
    """One learner: its neurons, and what its synapses remember.

    `rule` is a name of `neurospin.plasticity.RULES`, `settings` are its own, `m` is the metaplasticity of
    the rule `metaplastic` (0: none, plain Adam), `levels` limit what a synapse stores.
    """

    title: str
    neuron: Literal["lif", "rate"] = "lif"
    m: Annotated[Number, Field(ge=0)] = 0.0
    rule: str = "metaplastic"
    settings: dict[str, StrictInt | Number | str | bool] = {}
    levels: LevelsConfig | None = None

    @model_validator(mode="after")
    def _m_is_of_metaplastic(self) -> LearnerConfig:
        if self.m and self.rule != "metaplastic":
            raise ValueError(f"m only with the rule metaplastic, not {self.rule!r}")
        return self


class Experiment(Part):
    """A whole run."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    seed: Annotated[StrictInt, Field(ge=0)] = 0
    stream: StreamConfig = StreamConfig()
    encode: EncodeConfig = EncodeConfig()
    network: NetworkConfig = NetworkConfig()
    training: TrainingConfig = TrainingConfig()
    learners: Annotated[
        dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9_]{1,32}$")], LearnerConfig], Field(min_length=1)
    ]
    main: str
    targets: list[str] = ["reference", "loihi", "crossbar", "lava"]
    samples: Count = 256

    @model_validator(mode="after")
    def _main_is_a_learner(self) -> Experiment:
        if self.main not in self.learners:
            raise ValueError(f"main: one of {', '.join(self.learners)}, not {self.main!r}")
        if self.learners[self.main].neuron != "lif":
            raise ValueError(f"main: a spiking learner (NIR has no rate neuron), not {self.main!r}")
        return self

    def to_yaml(self) -> str:
        """The experiment with every default written out."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


class _Loader(yaml.SafeLoader):
    """Safe YAML without aliases and duplicate keys."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()
            raise yaml.constructor.ConstructorError(None, None, "an alias (*), which is refused", event.start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"the key {key.value!r} twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


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
    place = existing(path)
    if place.stat().st_size > LARGEST_FILE:
        raise ConfigError(str(path), "at most 1 MB", f"{place.stat().st_size} bytes", "give an experiment file")
    try:
        content = yaml.load(place.read_text(encoding="utf-8"), Loader=_Loader)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}, line {mark.line + 1}" if mark else str(path)
        raise ConfigError(where, "YAML", getattr(error, "problem", None) or str(error), "mend the file") from error
    if not isinstance(content, dict):
        raise ConfigError(str(path), "keys and values", type(content).__name__, "see experiments/quickstart.yaml")
    for change in changes:
        _apply(content, change)
    if seed is not None:
        content["seed"] = seed
    return parse(content, str(path))


def parse(content: Mapping[str, Any], where: str) -> Experiment:
    """An experiment from plain values; `where` names their source in errors."""
    try:
        experiment = Experiment.model_validate(content)
    except ValidationError as error:
        raise _told(error, where) from error
    for name, learner in experiment.learners.items():
        at = f"{where}: learners.{name}"
        kind(learner.rule, learner.settings, f"{at}.rule")
        try:
            make(learner.rule, [torch.zeros(1)], learner.settings)
        except InputError as error:
            raise ConfigError(f"{at}.settings: {error.where}", error.expected, error.got, error.fix) from error
    return experiment


def _apply(content: dict[str, Any], change: str) -> None:
    key, sign, text = change.partition("=")
    if not sign or not key:
        raise ConfigError("--set", "key=value", repr(change), "for example --set training.epochs=3")
    *parents, last = key.split(".")
    for name in parents:
        content = content.setdefault(name, {})
        if not isinstance(content, dict):
            raise ConfigError(f"--set {key}", "a key with parts", f"{name}, which has none", "change the key")
    try:
        content[last] = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {key}", "a YAML value", repr(text), "quote the value") from error


def _told(error: ValidationError, where: str) -> Exception:
    """The first fault in one line, with the nearest known key where the key is unknown."""
    first = error.errors()[0]
    path = [str(part) for part in first["loc"]]
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    if first["type"] == "extra_forbidden":
        return _as_config(unknown_name(f"{where}: {'.'.join(path)}", path[-1], _known(path[:-1]), "key"), more)
    if first["type"] == "missing":
        return ConfigError(f"{where}: {'.'.join(path)}", "a value", f"none{more}", f"add {path[-1]}")
    expected = str(first["msg"]).removeprefix("Value error, ").removeprefix("Input should be ")
    at = f"{where}: {'.'.join(path)}".rstrip(": ")
    if first["type"] == "value_error":  # our own words: "KEY: EXPECTED, not GOT"
        expected, _, got = expected.partition(", not ")
        return ConfigError(at, expected, f"{got}{more}", "change the value")
    return ConfigError(at, expected, f"{first['input']!r}{more}", "change the value")


def _as_config(error: Exception, more: str) -> ConfigError:
    assert isinstance(error, NeurospinError)
    return ConfigError(error.where, error.expected, error.got + more, error.fix)


def _known(path: list[str]) -> list[str]:
    """The keys of the part of the experiment at `path`."""
    part: Any = Experiment
    for name in path:
        if isinstance(part, type) and issubclass(part, BaseModel):
            field = part.model_fields.get(name)
            part = field.annotation if field else None
        else:  # a mapping of parts by name
            parts = [a for a in get_args(part) if isinstance(a, type) and issubclass(a, BaseModel)]
            part = parts[0] if parts else None
    return list(part.model_fields) if isinstance(part, type) and issubclass(part, BaseModel) else []


def write(path: Path, experiment: Experiment) -> None:
    """Write the experiment with every default written out."""
    write_text(path, experiment.to_yaml())
