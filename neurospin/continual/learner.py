"""Run a network through a stream with a rule."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from neurospin.continual.metrics import average_accuracy, backward_transfer, forgetting, learning_accuracy
from neurospin.continual.streams import Stream, Task
from neurospin.encode import Rate, decide
from neurospin.errors import InputError
from neurospin.network import Network, Run
from neurospin.plasticity.evidence import Evidence
from neurospin.plasticity.rule import Rule


@dataclass(frozen=True)
class Epoch:
    """What one pass over a task's training samples gave."""

    task: int
    epoch: int
    loss: float
    accuracy: float
    spikes_per_neuron: float
    seconds: float


@dataclass(frozen=True)
class Result:
    """What a learner did on a stream.

    Attributes:
        accuracy_matrix: `R[i, j]`, accuracy on task j after task i, shape `(tasks, tasks)`.
        bits_per_synapse: bits that training kept per synapse.
    """

    accuracy_matrix: np.ndarray
    bits_per_synapse: int

    @property
    def average_accuracy(self) -> float:
        """Mean over tasks after the last one."""
        return average_accuracy(self.accuracy_matrix)

    @property
    def backward_transfer(self) -> float:
        """What later tasks did to earlier ones."""
        return backward_transfer(self.accuracy_matrix)

    @property
    def forgetting(self) -> float:
        """How far each task fell from its best."""
        return forgetting(self.accuracy_matrix)

    @property
    def learning_accuracy(self) -> float:
        """Accuracy on each task right after it was learned."""
        return learning_accuracy(self.accuracy_matrix)


def child_seed(seed: int, *path: int) -> int:
    """An independent seed for one use of one integer seed (numpy's SeedSequence)."""
    return int(np.random.SeedSequence([seed, *path]).generate_state(1, np.uint64)[0] >> 1)


@torch.no_grad()
def accuracy(network: Network, task: Task, encode: Rate, seed: int) -> float:
    """Share of the task's test samples that the network decides rightly.

    Where the task names its classes (task-incremental streams), only these are decided between.

    Args:
        network: gives `(time, batch, classes)`.
        task: whose test samples are used.
        encode: intensities to spikes.
        seed: of the spikes; the same seed gives the same spikes.
    """
    spikes = encode(task.test_x, torch.Generator().manual_seed(seed))
    return float((decide(allowed(network(spikes).output, task)) == task.test_y).float().mean())


def allowed(output: Tensor, task: Task) -> Tensor:
    """The outputs `(…, classes)` with −∞ at the classes that the task, where it may tell, rules out."""
    if task.classes is None:
        return output
    ruled_out = torch.ones(output.shape[-1], dtype=torch.bool)
    ruled_out[list(task.classes)] = False
    return output.masked_fill(ruled_out, float("-inf"))


def _mean_output(run: Run) -> Tensor:
    return run.output.mean(0)


def _among(stream: Stream) -> Tensor | None:
    """Where the task is told: for every label (row) the classes of its task, so that old samples keep theirs."""
    if stream.scenario != "task":
        return None
    among = torch.zeros(stream.classes, stream.classes)
    for task in stream.tasks:
        for label in task.classes or ():
            among[label, list(task.classes or ())] = 1
    return among


def refuse_leaks(stream: Stream, rule: Rule) -> None:
    """Refuse a rule that wants to know what the stream hides.

    Raises:
        InputError: the rule needs task identities or boundaries that the scenario does not give.
    """
    name = type(rule).__name__
    if rule.needs_task_id and stream.scenario != "task":
        raise InputError(
            name, "a rule that needs no task identity", f"a {stream.scenario}-incremental stream", "use scenario='task'"
        )
    if rule.needs_task_boundaries and not stream.boundaries:
        raise InputError(
            name, "a rule that needs no task boundaries", f"a {stream.kind} stream, which tells none",
            "choose a rule with needs_task_boundaries = False",
        )  # fmt: skip


def learn(
    network: Network,
    stream: Stream,
    rule: Rule,
    *,
    encode: Rate,
    epochs: int = 5,
    batch_size: int = 32,
    seed: int = 0,
    matrix: np.ndarray | None = None,
    start: int = 0,
    on_batch: Callable[[], None] = lambda: None,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
    on_task: Callable[[int, np.ndarray], None] = lambda task, matrix: None,
) -> Result:
    """Learn the tasks of a stream one after the other, and test on all of them after each.

    The loss is the cross-entropy of the output's mean over time. Every task draws its order of
    samples and its spikes from a seed of its own, so that a run that starts at a later task with the
    network and the rule of that moment continues exactly as the run that was not stopped.

    A rule is told of boundaries and identities only what it declares to need, and is refused where the
    stream hides that.

    Args:
        network: changed in place.
        stream: the tasks.
        rule: over the network's parameters.
        encode: intensities to spikes.
        epochs: passes over each task's training samples.
        batch_size: samples per step.
        seed: of the order of samples and of the spikes.
        matrix: rows of the accuracy matrix that an earlier part of the run filled.
        start: the task to start with.
        on_batch, on_epoch, on_task: called after each; `on_task` gets the task's number and the matrix.

    Raises:
        InputError: the rule needs what the stream hides.
    """
    refuse_leaks(stream, rule)
    tasks = len(stream)
    among = _among(stream)
    found = np.full((tasks, tasks), np.nan) if matrix is None else matrix.copy()
    for number in range(start, tasks):
        task = stream.tasks[number]
        if rule.needs_task_boundaries:
            rule.begin_task(number if rule.needs_task_id else -1)
        generator = torch.Generator().manual_seed(child_seed(seed, 1, number))
        x, y = rule.train_on(task.train_x, task.train_y)
        shown = replace(task, train_x=x, train_y=y)
        for epoch in range(epochs):
            began = time.perf_counter()
            loss, right, fired = _epoch(network, shown, among, rule, encode, batch_size, generator, on_batch)
            on_epoch(Epoch(number, epoch, loss, right, fired, time.perf_counter() - began))
        if rule.needs_task_boundaries:
            spikes = encode(task.train_x, torch.Generator().manual_seed(child_seed(seed, 3, number)))
            rule.end_task(Evidence(network, spikes, task.train_y, _mean_output, batch_dim=1))
        found[number] = [
            accuracy(network, other, encode, child_seed(seed, 2, index)) for index, other in enumerate(stream.tasks)
        ]
        on_task(number, found)
    return Result(found, rule.state_bits_per_synapse)


def _epoch(
    network: Network,
    task: Task,
    among: Tensor | None,
    rule: Rule,
    encode: Rate,
    batch_size: int,
    generator: torch.Generator,
    on_batch: Callable[[], None],
) -> tuple[float, float, float]:
    """One pass over the training samples: mean loss, accuracy, spikes per neuron and sample."""
    samples = len(task.train_y)
    total = torch.zeros(3, dtype=torch.float64)
    spiking = [name for name, block in network.neurons().items() if block.spiking]
    for chosen in torch.randperm(samples, generator=generator).split(batch_size):
        x, y = rule.rehearse(task.train_x[chosen], task.train_y[chosen])
        spikes = encode(x, generator)
        rule.zero_grad()
        for _ in range(rule.samples):
            with rule.sampling():
                run = network(spikes, record=("spikes",))
                output = run.output if among is None else run.output.masked_fill(among[y] == 0, float("-inf"))
                loss = cross_entropy(output.mean(0), y)
                loss.backward()
            with torch.no_grad():
                fired = sum(float(run.spikes[name].sum(0).mean()) for name in spiking) / max(1, len(spiking))
                right = float((decide(output) == y).float().mean())
                total += torch.tensor([float(loss), right, fired]) * len(chosen) / rule.samples
        rule.step()
        on_batch()
    loss_, right_, fired_ = (total / samples).tolist()
    return loss_, right_, fired_
