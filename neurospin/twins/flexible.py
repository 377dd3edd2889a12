"""Compression or expansion? Recurrent learners of rules of one, two and three features over the same stimuli, followed."""

from __future__ import annotations

from dataclasses import dataclass

import nir
import numpy as np
import torch
from torch import Tensor

from neurospin.continual.learner import Epoch, child_seed, learn
from neurospin.continual.streams import Stream, Task
from neurospin.encode import Rate as RateCode
from neurospin.energy import DIGITAL, estimate, operations, rate_operations
from neurospin.graph.build import to_graph
from neurospin.network import Network, Recurrent
from neurospin.neurons import LI, LIF
from neurospin.plasticity.rule import Rule
from neurospin.surrogate import ArcTan
from neurospin.synapses import Dense
from neurospin.twins.geometry import measures
from neurospin.twins.tracking import Track
from neurospin.weights import Binary, Float

GEOMETRY = ("signal_dimension", "participation_ratio", "ccgp", "shattering_dimension", "class_radius")
FOLLOWED = ("accuracy", *GEOMETRY, "spikes", "operations", "joules_low", "joules_high")
"""What is followed: accuracy on test samples; measures of `neurospin.twins.geometry` of the hidden neurons' mean output
(dimension of the eight stimuli's means, of all trials, CCGP and radius of the two categories, shattering dimension);
spikes per hidden neuron and trial (of rates, their sum over time); operations (additions for spikes, products for rates)
and joules per trial, by `neurospin.energy.DIGITAL`."""
STIMULI, PRICED = 8, 16


@dataclass(frozen=True)
class Followed:
    """What was followed while one learner learned a stream.

    Attributes:
        matrix: `R[i, j]`, accuracy on task j after task i, `(tasks, tasks)`.
        epochs: of the looks, from 0 (before the first epoch) over all tasks, `(looks,)`.
        tasks: number of the task in force at each look, `(looks,)`; a task's first look comes before its first epoch.
        values: by name of `FOLLOWED`, `(looks,)`.
    """

    matrix: np.ndarray
    epochs: np.ndarray
    tasks: np.ndarray
    values: dict[str, np.ndarray]


def recurrent_learner(
    inputs: int, hidden: int = 64, *, binary: bool = False, gain: float = 3.0, recurrent_gain: float = 1.0, tau_mem: float = 10e-3,
    seed: int = 0,
) -> Network:  # fmt: skip
    """A layer of LIF neurons that also feed themselves, and a leaky readout of two classes; `rate_twin()` is its rate form.

    Args:
        inputs: size of a sample.
        hidden: neurons.
        binary: whether the acting weights are the signs of hidden values (for metaplastic synapses).
        gain: size of the input's and the readout's weights in units of `1 / √fan_in`.
        recurrent_gain: of the weights of the loop.
        tau_mem: time constant of neurons and readout in seconds; the step is 1 ms.
        seed: of the weights.
    """
    draw = torch.Generator().manual_seed(seed)

    def dense(a: int, b: int, size: float) -> Dense:
        return Dense(a, b, weight=Binary(size) if binary else Float(size), generator=draw)

    return Network(
        {
            "encode": dense(inputs, hidden, gain),
            "hidden": Recurrent(LIF(hidden, tau_mem, surrogate=ArcTan(2.0)), dense(hidden, hidden, recurrent_gain)),
            "decode": dense(hidden, 2, gain),
            "out": LI(2, tau_mem),
        },
        1e-3,
    )


def follow(
    network: Network, stream: Stream, rule: Rule, spiking: Network, *, encode: RateCode, epochs: int, batch_size: int = 32,
    every: int = 1, seed: int = 0,
) -> Followed:  # fmt: skip
    """Let a network learn a stream of rules, and look at its hidden neurons before, every few epochs, and at the end of each task.

    Args:
        network: of `recurrent_learner`, or its rate twin; changed in place.
        stream: of `neurospin.tasks.category_stream`.
        rule: over its parameters.
        spiking: the spiking form, by which a rate form's operations are counted.
        encode: intensities to spikes.
        epochs: passes over each task.
        batch_size: samples of a step.
        every: epochs between two looks.
        seed: of spikes and of the order of samples.
    """
    names, looked, tasks = list(FOLLOWED), [], []
    values: dict[str, list[float]] = {name: [] for name in names}

    def look(epoch: int, number: int) -> None:
        found = _look(network, stream.tasks[number], spiking, encode, child_seed(seed, 7, epoch))
        looked.append(epoch)
        tasks.append(number)
        for name in names:
            values[name].append(found[name])

    def on_epoch(epoch: Epoch) -> None:
        done = epoch.epoch + 1
        if done % every == 0 or done == epochs:
            look(epoch.task * epochs + done, epoch.task)

    def on_task(number: int, _: np.ndarray) -> None:
        if number + 1 < len(stream):
            look((number + 1) * epochs, number + 1)

    look(0, 0)
    result = learn(
        network, stream, rule, encode=encode, epochs=epochs, batch_size=batch_size, seed=seed, on_epoch=on_epoch,
        on_task=on_task,
    )  # fmt: skip
    arrays = {name: np.array(values[name]) for name in names}
    return Followed(result.accuracy_matrix, np.array(looked), np.array(tasks), arrays)


@torch.no_grad()
def _look(network: Network, task: Task, spiking: Network, encode: RateCode, seed: int) -> dict[str, float]:
    x, y = task.test_x, task.test_y
    shown = encode(x, torch.Generator().manual_seed(seed))
    run = network(shown, record=("spikes",))
    hidden = run.spikes["hidden"]
    labels = 2 * y[:STIMULI].numpy() - 1
    track = Track(x.numpy(), measures(GEOMETRY, labels=labels), np.arange(len(x)) % STIMULI)
    track.look(0, hidden.mean(0).double().numpy())
    counts = _operations(network, spiking, shown)
    low, high = estimate(counts, DIGITAL).total
    return {
        "accuracy": float((run.output.mean(0).argmax(-1) == y).float().mean()),
        **{name: track.values[name][0] for name in GEOMETRY},
        "spikes": float(hidden.sum(0).mean()),
        "operations": counts["weight_reads"],
        "joules_low": low,
        "joules_high": high,
    }


def _operations(network: Network, spiking: Network, shown: Tensor) -> dict[str, float]:
    """Operations of one trial."""
    if network.neurons()["hidden"].spiking:
        priced = shown[:, :PRICED]
        return {name: count / priced.shape[1] for name, count in operations(network, priced).items()}
    graph: nir.NIRGraph = to_graph(spiking)
    return rate_operations(graph, steps=len(shown), samples=1)
