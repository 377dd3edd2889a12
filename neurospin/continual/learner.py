"""Run a network through a stream with a rule."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, mse_loss

from neurospin.continual.metrics import average_accuracy, backward_transfer, forgetting, learning_accuracy
from neurospin.continual.moment import Moment
from neurospin.continual.perceptron import Perceptron
from neurospin.continual.share import Share
from neurospin.continual.streams import Stream, Task
from neurospin.continual.tally import Tally
from neurospin.encode import Direct, Rate, Recorded
from neurospin.errors import InputError
from neurospin.network import Network
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
        tally: what was counted on the way.
    """

    accuracy_matrix: np.ndarray
    bits_per_synapse: int
    tally: Tally = field(default_factory=Tally)

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


Learner = Network | Perceptron
Code = Rate | Direct | Recorded
TESTED = 1000  # test samples that are in memory together, spikes and all
ALONE = Share()
ALL = slice(None)


def logits(
    learner: Learner, x: Tensor, encode: Code, generator: torch.Generator | None = None, own: slice = ALL
) -> Tensor:
    """What a learner says of intensities `x (batch, pixels)`, or of spikes `(batch, time, inputs)`: `(batch, classes)`.

    A network is shown the spikes or currents, and its output's mean over time counts; a perceptron is shown `x`, of
    spikes their mean over time. With `own`, only these samples are decided, on the spikes that they have among all.
    """
    place = place_of(learner)
    if isinstance(learner, Network):
        return learner(encode(x, generator)[:, own].to(place)).output.mean(0)
    return learner(still(x[own]).to(place))


def place_of(learner: Learner) -> torch.device:
    """The device that holds a learner. Draws are made on the processor wherever it is, so that they are the same."""
    return next(learner.parameters()).device


def still(x: Tensor) -> Tensor:
    """Intensities as they are, and spikes `(batch, time, inputs)` as their mean over time."""
    return x.to(torch.float32).mean(1) if x.dim() == 3 else x


@torch.no_grad()
def accuracy(learner: Learner, task: Task, encode: Code, seed: int, share: Share = ALONE) -> float:
    """Share of the task's test samples that the learner decides rightly; of real values, the share of variance explained.

    Where the task names its classes (task-incremental streams), only these are decided between. Of real values y it is
    `1 − Σ (said − y)² / Σ (y − mean y)²`, which is negative where saying the mean were better.

    Args:
        learner: a network or a perceptron.
        task: whose test samples are used.
        encode: intensities to what a network is shown.
        seed: of the spikes; the same seed gives the same spikes.
        share: of the samples that this process decides; default all.
    """
    generator = torch.Generator().manual_seed(seed)
    points, x, y = torch.zeros((), dtype=torch.float64), task.test_x, task.test_y
    whole = isinstance(learner, Perceptron) and learner.normalisation == "batch"  # over the whole test set
    size = len(x) if whole else TESTED
    for part, labels in zip(x.split(size), y.split(size), strict=True):
        own, weight = share.part(len(labels))
        said = allowed(logits(learner, part, encode, generator, own).cpu(), task)
        if weight:
            points += _points(said, labels[own]).sum()
    total = float(share.total(points))
    return 1 - total / float((y - y.mean(0)).double().square().sum()) if y.is_floating_point() else total / len(x)


def _points(said: Tensor, y: Tensor) -> Tensor:
    """Per sample: whether the class is right, or, of real values, the squared error, which counts against."""
    return (said - y).double().square().sum(-1) if y.is_floating_point() else (said.argmax(-1) == y).double()


def allowed(output: Tensor, task: Task) -> Tensor:
    """The outputs `(…, classes)` with −∞ at the classes that the task, where it may tell, rules out."""
    if task.classes is None:
        return output
    ruled_out = torch.ones(output.shape[-1], dtype=torch.bool)
    ruled_out[list(task.classes)] = False
    return output.masked_fill(ruled_out, float("-inf"))


def _among(stream: Stream) -> Tensor | None:
    """Where the task is told: for every label (row) the classes of its task, so that old samples keep theirs."""
    if stream.scenario != "task":
        return None
    among = torch.zeros(stream.classes, stream.classes)
    for task in stream.tasks:
        for label in task.classes or ():
            among[label, list(task.classes or ())] = 1
    return among


def refuse_leaks(stream: Stream, rule: Rule, learner: Learner, share: Share = ALONE) -> None:
    """Refuse a rule or a learner that wants to know what the stream, or another process, hides.

    Raises:
        InputError: it needs task identities or boundaries that the scenario does not give, or statistics of
            a batch that is shared out.
    """
    name = type(rule).__name__
    if isinstance(learner, Perceptron) and learner.normalisation == "batch" and share.world > 1:
        raise InputError(
            "Perceptron.normalisation", "'none' or 'layer' in several processes", "'batch', which needs the whole batch",
            "train in one process",
        )  # fmt: skip
    if isinstance(learner, Perceptron) and learner.private_tasks:
        if stream.scenario != "task":
            raise InputError(
                "Perceptron.private_tasks", "0 (a shared normalisation)",
                f"{learner.private_tasks} on a {stream.scenario}-incremental stream", "use scenario='task'",
            )  # fmt: skip
        learner.enter(len(stream) - 1)  # refused before anything is learned
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
    network: Learner,
    stream: Stream,
    rule: Rule,
    *,
    encode: Code,
    epochs: int = 5,
    batch_size: int = 32,
    seed: int = 0,
    test: Literal["all", "own"] = "all",
    matrix: np.ndarray | None = None,
    start: int = 0,
    moment: Moment | None = None,
    tally: Tally | None = None,
    gap: int = 0,
    share: Share = ALONE,
    on_batch: Callable[[Moment], None] = lambda moment: None,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
    on_task: Callable[[int, np.ndarray], None] = lambda task, matrix: None,
) -> Result:
    """Learn the tasks of a stream one after the other, and test after each.

    The loss is the cross-entropy of the output's mean over time, and of real values half the mean squared error. Every task draws its order of
    samples and its spikes from a seed of its own, so that a run that starts at a later task, or in the
    middle of one, with the network and the rule of that moment continues exactly as the run that was not
    stopped.

    A rule is told of boundaries and identities only what it declares to need, and is refused where the
    stream hides that; so is a perceptron with a private normalisation.

    Args:
        network: changed in place; a perceptron is shown intensities, whatever `encode` says.
        stream: the tasks.
        rule: over the network's parameters.
        encode: intensities to spikes or currents.
        epochs: passes over each task's training samples.
        batch_size: samples per step.
        seed: of the order of samples and of the spikes.
        test: after each task on `"all"` tasks, or on its `"own"` and on all only after the last, which long
            streams need; what is not measured is NaN.
        matrix: rows of the accuracy matrix that an earlier part of the run filled.
        start: the task to start with.
        moment: where in that task to start; default its beginning.
        tally: what was counted before; it goes on. Default: of a beginning.
        gap: test samples of the task before that are decided after every batch of a task's first epoch, for the stability
            gap; default 0, none.
        share: of every batch that this process takes; default all of it.
        on_batch, on_epoch, on_task: called after each; `on_batch` gets the moment, which goes on changing,
            and `on_task` the task's number and the matrix.

    Raises:
        InputError: the rule or the network needs what the stream hides.
    """
    refuse_leaks(stream, rule, network, share)
    tasks, scored = len(stream), _Scores(network, stream, encode, seed, share)
    among = _among(stream)
    among = among if among is None else among.to(place_of(network))
    if tally is None:
        tally = Tally()
    if test == "all" and not tally.untrained:
        tally.untrained = [scored(index) for index in range(tasks)]
    if not tally.positive:
        tally.look(network.hidden_state(), 0)
    found = np.full((tasks, tasks), np.nan) if matrix is None else matrix.copy()

    def after_step(moment: Moment, samples: int) -> None:
        tally.look(network.hidden_state(), samples)
        if np.isfinite(tally.before):
            tally.lowest = min(tally.lowest, scored(moment.task - 1, gap))
            enter(network, moment.task)
        on_batch(moment)

    for number in range(start, tasks):
        task = stream.tasks[number]
        if gap and number and (moment is None or moment.task != number):
            tally.before = tally.lowest = scored(number - 1, gap)
        enter(network, number)
        given, labels = task.train_x, task.train_y
        if moment is None or moment.task != number:
            moment = _begin(number, given, labels, rule, seed)
        x, y = moment.given or (given, labels)
        while moment.epoch < epochs:
            began = time.perf_counter()
            _epoch(network, x, y, among, rule, encode, batch_size, moment, share, stream.ordered, after_step)
            tally.close_gap()
            on_epoch(Epoch(number, moment.epoch, *moment.means, time.perf_counter() - began))
            moment.next_epoch()
        if rule.needs_task_boundaries:
            rule.end_task(_evidence(network, given, labels, encode, child_seed(seed, 3, number)))
        share.check(rule.parameters())
        wanted = range(tasks) if test == "all" or number == tasks - 1 else [number]
        for index in wanted:
            found[number, index] = scored(index)
        on_task(number, found)
    return Result(found, rule.state_bits_per_synapse, tally)


def _begin(number: int, given: Tensor, labels: Tensor, rule: Rule, seed: int) -> Moment:
    """The beginning of a task, told to the rule as far as it may know."""
    if rule.needs_task_boundaries:
        rule.begin_task(number if rule.needs_task_id else -1)
    x, y = rule.train_on(given, labels)
    own = x is given and y is labels
    return Moment(number, 0, torch.Generator().manual_seed(child_seed(seed, 1, number)), None if own else (x, y))


@dataclass(frozen=True)
class _Scores:
    """Scores of a learner on the tasks of a stream, each on the spikes of its own seed."""

    learner: Learner
    stream: Stream
    encode: Code
    seed: int
    share: Share

    def __call__(self, index: int, samples: int = 0) -> float:
        """On one task, or on so many of its first test samples."""
        enter(self.learner, index)
        task = self.stream.tasks[index]
        if samples:
            x, y = task.images.test_x[:samples], task.images.test_y[:samples]
            task = replace(task, images=task.images._replace(test_x=x, test_y=y))
        return accuracy(self.learner, task, self.encode, child_seed(self.seed, 2, index), self.share)


def enter(learner: Learner, task: int) -> None:
    """Take what a perceptron keeps for one task alone."""
    if isinstance(learner, Perceptron):
        learner.enter(task)


def _evidence(learner: Learner, x: Tensor, y: Tensor, encode: Code, seed: int) -> Evidence:
    """The samples of a task, as the learner was shown them."""
    place = place_of(learner)
    if isinstance(learner, Perceptron):
        return Evidence(learner, still(x).to(place), y.to(place), seed=seed)
    shown = encode(x, torch.Generator().manual_seed(seed)).to(place)
    return Evidence(learner, shown, y.to(place), lambda run: run.output.mean(0), batch_dim=1, seed=seed)


def _epoch(
    network: Learner,
    x: Tensor,
    y: Tensor,
    among: Tensor | None,
    rule: Rule,
    encode: Code,
    batch_size: int,
    moment: Moment,
    share: Share,
    ordered: bool,
    after_step: Callable[[Moment, int], None],
) -> None:
    """One pass over the training samples, or what is left of it; the moment gathers what it gave."""
    spiking, real, place = [], y.is_floating_point(), place_of(network)
    if isinstance(network, Network):
        spiking = [name for name, block in network.neurons().items() if block.spiking]
    if moment.order is None:
        moment.order = torch.arange(len(y)) if ordered else torch.randperm(len(y), generator=moment.generator)
    while moment.done < len(y):
        chosen = moment.order[moment.done : moment.done + batch_size]
        shown, labels = rule.rehearse(x[chosen], y[chosen])
        own, weight = share.part(len(labels))  # every process draws the spikes of all
        code = encode(shown, moment.generator)[:, own] if isinstance(network, Network) else still(shown[own])
        code, labels = code.to(place), labels[own].to(place)
        rule.zero_grad()
        for _ in range(rule.samples):
            with rule.sampling():
                fired = torch.zeros((), device=place)
                if isinstance(network, Network):
                    run = network(code, record=("spikes",))
                    output = run.output.mean(0)
                    if spiking:
                        fired = torch.stack([run.spikes[name].detach().sum(0).mean() for name in spiking]).mean()
                else:
                    output = network(code)
                if among is not None:
                    output = output.masked_fill(among[labels] == 0, float("-inf"))
                loss = (mse_loss(output, labels) / 2 if real else cross_entropy(output, labels)) * weight
                share.backward(loss, rule.parameters())
            with torch.no_grad():
                right = _points(output, labels).float().mean()
                right = (1 - right / labels.var(0, correction=0).sum() if real else right) * weight
                means = share.total(torch.stack([loss.detach(), right, fired * weight]).cpu())
                moment.totals += means * (len(chosen) / rule.samples)
        rule.step()
        moment.done += len(chosen)
        after_step(moment, len(chosen))
