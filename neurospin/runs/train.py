"""One learner of an experiment: build it, run it through the stream, keep what is needed to go on."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from neurospin import surrogate
from neurospin.continual import Epoch, Perceptron, Result, Stream, learn, permuted, rotated, sequence, shortened, split
from neurospin.continual.learner import Code, Learner, child_seed
from neurospin.encode import Direct
from neurospin.encode import Rate as RateCode
from neurospin.files import existing, replacing, write_text
from neurospin.network import Network
from neurospin.neurons import LI, LIF, Neuron
from neurospin.plasticity import LevelLimited, Levels, Metaplastic, Rule, make
from neurospin.runs import checkpoint
from neurospin.runs.config import Experiment, LearnerConfig, NetworkConfig, TrainingConfig
from neurospin.surrogate import Surrogate
from neurospin.synapses import Dense, Synapse
from neurospin.weights import Binary, Float

SHOWN = 20_000  # hidden values kept per layer and task for the histograms


class Observer(Protocol):
    """Who is told how a run goes on."""

    def begin(self, learner: str, batches: int, done: int) -> None:
        """A learner begins, with so many batches in all, of which some are done."""

    def batch(self) -> None:
        """A batch is done."""

    def epoch(self, learner: str, epoch: Epoch) -> None:
        """An epoch is done."""

    def say(self, text: str) -> None:
        """Something that a person wants to know."""


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
            blocks.append(LIF(sizes[layer + 1], config.tau_mem, surrogate=shape))
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
    return Direct(config.steps) if config.kind == "direct" else RateCode(config.steps, config.probability)


def build_stream(experiment: Experiment) -> Stream:
    """The stream that an experiment describes."""
    config, seed = experiment.stream, seed_of(experiment, "data")
    if config.kind == "split":
        stream = split(config.dataset, config.tasks, config.scenario, seed)
    elif config.kind == "permuted":
        stream = permuted(config.dataset, config.tasks, seed, config.scenario)
    elif config.kind == "sequence":
        stream = sequence(config.datasets, seed)
    else:
        stream = rotated(config.dataset, config.tasks, seed)
    return shortened(stream, config.samples, child_seed(seed, 1)) if config.samples else stream


def build_rule(network: Learner, learner: LearnerConfig, training: TrainingConfig) -> Rule:
    """The rule of a learner over a network's parameters."""
    settings = dict(learner.settings)
    if learner.rule == "metaplastic":
        settings = {"m": learner.m, **settings}
    rule = make(learner.rule, network.parameters(), settings, lr=training.lr, eps=training.eps)
    return LevelLimited(rule, Levels(**learner.levels.model_dump())) if learner.levels else rule


class Folder:
    """What one learner keeps in the run folder; the JSON file, written last, says what counts."""

    def __init__(self, folder: Path, learner: str) -> None:
        self.learner = learner
        self.folder = folder / "checkpoints"
        self.metrics = folder / "metrics.jsonl"
        self.index = self.folder / f"{learner}.json"
        self.folder.mkdir(exist_ok=True)

    def read(self) -> dict[str, Any] | None:
        """What was reached before: tasks done, accuracy matrix, seconds."""
        return json.loads(self.index.read_text()) if self.index.is_file() else None

    def network(self, tasks: int) -> Path:
        """The network after so many tasks."""
        return self.folder / f"{self.learner}-{tasks}.safetensors"

    def rule(self, tasks: int) -> Path:
        """What the rule knows after so many tasks."""
        return self.folder / f"{self.learner}-{tasks}.rule.pt"

    def hidden(self, task: int) -> Path:
        """Hidden values after a task, for the histograms."""
        return self.folder / f"{self.learner}-hidden-{task + 1}.npz"

    def commit(self, network: Learner, rule: Rule, task: int, matrix: np.ndarray, seconds: float) -> None:
        """Keep the state after a task; a kill at any moment leaves the previous one."""
        values = {
            name: stored.flatten()[:: max(1, stored.numel() // SHOWN)].numpy()
            for name, stored in network.hidden_state().items()
        }
        if values:
            with replacing(self.hidden(task)) as temporary, temporary.open("wb") as file:
                np.savez_compressed(file, allow_pickle=False, **values)
        checkpoint.save(network, self.network(task + 1))
        if type(rule) is not Metaplastic:  # its moments start afresh with every task
            with replacing(self.rule(task + 1)) as temporary:
                torch.save(rule.state_dict(), temporary)
        rows = [[None if np.isnan(value) else float(value) for value in row] for row in matrix]
        write_text(self.index, json.dumps({"tasks": task + 1, "matrix": rows, "seconds": seconds}))
        self.network(task).unlink(missing_ok=True)
        self.rule(task).unlink(missing_ok=True)

    def log(self, epoch: Epoch) -> None:
        """Append one line to the run's metrics."""
        with self.metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"learner": self.learner, **vars(epoch)}) + "\n")

    def forget_after(self, tasks: int) -> None:
        """Drop metrics of tasks that were not finished, and a last line that was cut."""
        if not self.metrics.is_file():
            return
        kept = []
        for line in self.metrics.read_text(encoding="utf-8").splitlines():
            try:
                row = json.loads(line)
            except json.JSONDecodeError:
                continue
            if row["learner"] != self.learner or row["task"] < tasks:
                kept.append(line)
        write_text(self.metrics, "".join(f"{line}\n" for line in kept))


def train(
    experiment: Experiment, learner: str, stream: Stream, folder: Path, observer: Observer
) -> tuple[Learner, Result, float]:
    """Run one learner through the stream, from where an earlier run left off.

    Returns:
        The network, its result, and the seconds of training over all parts.
    """
    settings, training = experiment.learners[learner], experiment.training
    place = Folder(folder, learner)
    reached = place.read() or {"tasks": 0, "matrix": None, "seconds": 0.0}
    start = int(reached["tasks"])
    place.forget_after(start)
    seed = seed_of(experiment, "initialisation")
    network = build_learner(experiment, learner, stream.inputs, stream.classes, seed)
    matrix = None
    if start:
        checkpoint.load_into(network, place.network(start))
        matrix = np.array(reached["matrix"], dtype=np.float64)
    values = {name: value.clone() for name, value in network.state_dict().items()}
    rule = build_rule(network, settings, training)
    if start and place.rule(start).is_file():
        rule.load_state_dict(torch.load(existing(place.rule(start)), weights_only=True))
        network.load_state_dict(values)  # a fresh rule may have moved them
    batches = -(-len(stream.tasks[0].train_y) // training.batch_size) * training.epochs
    observer.begin(learner, batches * len(stream), batches * start)
    began = time.perf_counter() - float(reached["seconds"])

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
        matrix=matrix,
        start=start,
        on_batch=observer.batch,
        on_epoch=on_epoch,
        on_task=lambda task, rows: place.commit(network, rule, task, rows, time.perf_counter() - began),
    )
    seconds = float((place.read() or reached)["seconds"])
    return network, result, seconds
