"""One learner of an experiment: build it, run it through the stream, keep what is needed to go on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from neurospin import surrogate
from neurospin.continual import (
    Epoch,
    Perceptron,
    Result,
    Stream,
    blurred,
    drifting,
    drifting_twin,
    learn,
    permuted,
    rotated,
    sequence,
    shortened,
    split,
    subsets,
)
from neurospin.continual.belief import belief
from neurospin.continual.learner import ALONE, Code, Learner, child_seed
from neurospin.continual.moment import Moment
from neurospin.continual.share import Share
from neurospin.continual.tally import Tally
from neurospin.data import load
from neurospin.encode import Direct, Recorded
from neurospin.encode import Rate as RateCode
from neurospin.network import Network
from neurospin.neurons import LI, LIF, Neuron
from neurospin.plasticity import LevelLimited, Levels, Rule, make
from neurospin.runs.config import Experiment, LearnerConfig, NetworkConfig, TrainingConfig
from neurospin.runs.folder import Folder
from neurospin.surrogate import Surrogate
from neurospin.synapses import Dense, Synapse
from neurospin.weights import Binary, Float


class Observer(Protocol):
    """Who is told how a run goes on."""

    def begin(self, learner: str, batches: int, done: int) -> None:
        """A learner begins, with so many batches in all, of which some are done."""

    def batch(self, moment: Moment) -> None:
        """A batch is done; `moment.means` are those of the epoch so far."""

    def epoch(self, learner: str, epoch: Epoch) -> None:
        """An epoch is done."""

    def say(self, text: str) -> None:
        """Something that a person wants to know."""

    def stage(self, text: str) -> None:
        """What is being done now."""


class Silent:
    """An observer that tells nobody."""

    def begin(self, learner: str, batches: int, done: int) -> None:
        """Nothing."""

    def batch(self, moment: Moment) -> None:
        """Nothing."""

    def epoch(self, learner: str, epoch: Epoch) -> None:
        """Nothing."""

    def say(self, text: str) -> None:
        """Nothing."""

    def stage(self, text: str) -> None:
        """Nothing."""


def seed_of(experiment: Experiment, use: str) -> int:
    """The seed of one use: `"data"`, `"initialisation"`, `"noise"` or `"target"`."""
    return child_seed(experiment.seed, ("data", "initialisation", "noise", "target").index(use))


def build_network(config: NetworkConfig, neuron: str, inputs: int, classes: int, seed: int) -> Network:
    """A stack of dense layers and LIF neurons (or their rate twins) with a leaky readout."""
    generator = torch.Generator().manual_seed(seed)
    kinds = {"arctan": surrogate.ArcTan, "fast_sigmoid": surrogate.FastSigmoid}
    shape: Surrogate = kinds.get(config.surrogate, surrogate.Triangle)(config.slope)
    blocks: list[Neuron | Synapse] = []
    sizes = [inputs, *config.hidden, classes]
    for layer, gain in enumerate(config.gain):
        weight = Binary(gain) if config.weight == "binary" else Float(gain)
        blocks.append(Dense(sizes[layer], sizes[layer + 1], weight=weight, generator=generator))
        if layer < len(config.hidden):
            blocks.append(LIF(sizes[layer + 1], config.tau_mem, surrogate=shape, memory=config.memory))
    network = Network([*blocks, LI(classes, config.tau_out)], config.dt)
    return network.rate_twin() if neuron == "rate" else network


def build_learner(experiment: Experiment, name: str, inputs: int, classes: int, seed: int) -> Learner:
    """The network or the perceptron of one learner of an experiment."""
    config, neuron = experiment.network, experiment.learners[name].neuron
    if neuron in ("lif", "rate"):
        return build_network(config, neuron, inputs, classes, seed)
    return Perceptron(
        [inputs, *config.hidden, classes],
        [Binary(gain) if config.weight == "binary" else Float(gain) for gain in config.gain],
        activation="sign" if neuron == "sign" else "relu",
        normalisation=config.normalisation,
        private_tasks=experiment.stream.tasks if config.private_normalisation else 0,
        generator=torch.Generator().manual_seed(seed),
    )


def build_code(experiment: Experiment) -> Code:
    """What intensities become before a network sees them."""
    config = experiment.encode
    if config.kind == "recorded":
        return Recorded()
    return Direct(config.steps) if config.kind == "direct" else RateCode(config.steps, config.probability)


def build_stream(experiment: Experiment) -> Stream:
    """The stream that an experiment describes."""
    config, seed = experiment.stream, seed_of(experiment, "data")
    if config.kind == "linear":
        return drifting_twin(config.tasks, samples=config.samples or 200, seed=seed)
    if config.kind == "split":
        stream = split(config.dataset, config.tasks, config.scenario, seed)
    elif config.kind == "permuted":
        stream = permuted(config.dataset, config.tasks, seed, config.scenario)
    elif config.kind == "sequence":
        stream = sequence(config.datasets, seed, config.scenario)
    elif config.kind == "subsets":
        stream = subsets(config.dataset, config.tasks, seed)
    else:
        stream = rotated(config.dataset, config.tasks, seed)
    if config.samples:
        stream = shortened(stream, config.samples, child_seed(seed, 1))
    if config.ends == "blurred":
        return blurred(stream, config.blur, child_seed(seed, 2))
    return drifting(stream, child_seed(seed, 2)) if config.ends == "drifting" else stream


def build_rule(network: Learner, learner: LearnerConfig, training: TrainingConfig) -> Rule:
    """The rule of a learner over a network's parameters."""
    settings = dict(learner.settings)
    if learner.rule == "metaplastic":
        settings = {"m": learner.m, **settings}
    params: Any = network.parameters()
    if learner.rule == "metaplastic" and isinstance(network, Perceptron):  # gains and biases hide nothing
        others = [*network.gains, *network.biases]
        params = [{"params": list(network.stored)}, *([{"params": others, "m": 0.0}] if others else [])]
    rule = make(learner.rule, params, settings, lr=training.lr, eps=training.eps)
    return LevelLimited(rule, Levels(**learner.levels.model_dump())) if learner.levels else rule


@dataclass(frozen=True)
class Trained:
    """A learner after its stream.

    Attributes:
        network: the network or perceptron.
        result: what it did.
        rule: as the stream left it.
        believed: see `neurospin.continual.belief`; empty for streams of real values.
        seconds: of training, over all parts of the run.
    """

    network: Learner
    result: Result
    rule: Rule
    believed: dict[str, float]
    seconds: float


def train(
    experiment: Experiment,
    learner: str,
    stream: Stream,
    folder: Path,
    observer: Observer,
    every: float = 60.0,
    share: Share = ALONE,
) -> Trained:
    """Run one learner through the stream, from where an earlier run left off.

    Args:
        experiment: of which the learner is one.
        learner: its name.
        stream: see `build_stream`.
        folder: the run folder.
        observer: is told how it goes on.
        every: seconds between two states that are kept within a task.
        share: of every batch that this process takes; the first process alone writes.

    Returns:
        What came of it.
    """
    settings, training = experiment.learners[learner], experiment.training
    place = Folder(folder, learner, every, writes=share.rank == 0)
    network = build_learner(experiment, learner, stream.inputs, stream.classes, seed_of(experiment, "initialisation"))
    reached = place.reached(network)
    start, moment = reached.tasks, reached.moment
    place.forget_after(start, moment.epoch if moment else 0)
    network.to(training.device)
    values = {name: value.clone() for name, value in network.state_dict().items()}
    rule = build_rule(network, settings, training)
    if reached.rule:
        rule.load_state_dict(reached.rule)
        network.load_state_dict(values)  # a fresh rule may have moved them
    tally = Tally(**reached.tally) if reached.tally else Tally()
    batches = -(-len(stream.tasks[0].train_y) // training.batch_size)
    behind = batches * (training.epochs * start + (moment.epoch if moment else 0))
    behind += -(-moment.done // training.batch_size) if moment else 0
    observer.begin(learner, batches * training.epochs * len(stream), behind)
    place.start(reached.seconds)

    def on_batch(moment: Moment) -> None:
        observer.batch(moment)
        place.keep(network, rule, moment, tally)

    def on_epoch(epoch: Epoch) -> None:
        place.log(epoch)
        observer.epoch(learner, epoch)

    result = learn(
        network,
        stream,
        rule,
        encode=build_code(experiment),
        epochs=training.epochs,
        batch_size=training.batch_size,
        seed=seed_of(experiment, "noise"),
        test=experiment.stream.test,
        matrix=reached.matrix,
        start=start,
        moment=moment,
        tally=tally,
        gap=experiment.stream.gap or 0,
        share=share,
        on_batch=on_batch,
        on_epoch=on_epoch,
        on_task=lambda task, rows: place.commit(network, rule, task, rows, tally),
    )
    unknown = experiment.stream.unknown
    foreign = load(unknown, seed_of(experiment, "data")) if unknown else None
    believed = (
        {}
        if stream.real
        else belief(network, rule, stream, build_code(experiment), foreign, seed_of(experiment, "noise"))
    )
    return Trained(network.cpu(), result, rule, believed, place.seconds)
