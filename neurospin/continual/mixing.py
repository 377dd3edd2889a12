"""The same tasks, with fewer samples, or with ends that nobody can tell."""

from __future__ import annotations

from dataclasses import replace

import torch

from neurospin.continual.streams import Stream
from neurospin.data import Images
from neurospin.errors import InputError

CITATIONS = {
    "blurred": "Bang et al., CVPR 2021, doi:10.1109/CVPR46437.2021.00812",
    "drifting": "Zeno, Golan, Hoffer & Soudry, Neural Computation 33:3139, 2021, doi:10.1162/neco_a_01430",
}


def blurred(stream: Stream, share: float = 0.2, seed: int = 0) -> Stream:
    """The same tasks without sharp ends: neighbours swap a share of their training samples.

    Between every two neighbouring tasks, that share of each one's samples (of the smaller one) changes
    places. Boundaries are not told any more, nor task identities; a task-incremental stream is refused.

    Args:
        stream: whose ends are blurred.
        share: of the samples that are swapped over each end, at most 0.5; default 0.2.
        seed: of which.

    Source: Bang et al., CVPR 2021, doi:10.1109/CVPR46437.2021.00812.
    """
    _hidden("blurred", stream)
    if not 0 <= share <= 0.5:
        raise InputError("blurred.share", "0 to 0.5", str(share), "change the share")
    generator = torch.Generator().manual_seed(seed)
    orders = [torch.randperm(len(task.train_y), generator=generator) for task in stream.tasks]
    xs = [task.train_x[order].clone() for task, order in zip(stream.tasks, orders, strict=True)]
    ys = [task.train_y[order].clone() for task, order in zip(stream.tasks, orders, strict=True)]
    for number in range(len(xs) - 1):
        count = int(share * min(len(ys[number]), len(ys[number + 1])))
        if count:  # the last of one for the first of the next, so that no sample moves twice
            for parts in (xs, ys):
                last, first = parts[number][-count:].clone(), parts[number + 1][:count].clone()
                parts[number][-count:], parts[number + 1][:count] = first, last
    made = tuple(
        replace(task, images=Images(x, y, task.test_x, task.test_y), order=None)
        for task, x, y in zip(stream.tasks, xs, ys, strict=True)
    )
    return replace(stream, kind=f"blurred {stream.kind}", tasks=made, boundaries=False)


def drifting(stream: Stream, seed: int = 0) -> Stream:
    """The same tasks without any ends: each fades into the next over its whole length, and nobody is told where.

    At a place z of the stream, from 0 to `tasks − 1`, a sample is drawn of task `⌊z⌋` with probability `1 − (z − ⌊z⌋)`,
    else of the next one. The tasks of what comes back are windows of this sequence around the place where their own
    samples are most frequent, the first and the last half as long; each is tested on its own test samples. Samples come
    in this order, not shuffled; several epochs pass over every window several times.

    Args:
        stream: whose tasks fade into each other; a task-incremental one is refused.
        seed: of the draws.

    Source: Zeno, Golan, Hoffer & Soudry, Neural Computation 33:3139, 2021, doi:10.1162/neco_a_01430.
    """
    _hidden("drifting", stream)
    generator, last = torch.Generator().manual_seed(seed), len(stream) - 1
    orders = [torch.randperm(len(task.train_y), generator=generator) for task in stream.tasks]
    size = min(len(order) for order in orders)
    place = torch.linspace(0, last, max(1, last) * size + 1)[:-1]
    before = place.floor().long()
    source = before + (torch.rand(len(place), generator=generator) < place - before).long()
    window = (place + 0.5).floor().long()
    made = []
    taken = [0] * len(stream)
    for number, task in enumerate(stream.tasks):
        here = source[window == number]
        xs = torch.empty((len(here), *task.images.train_x.shape[1:]), dtype=task.images.train_x.dtype)
        ys = torch.empty((len(here), *task.train_y.shape[1:]), dtype=task.train_y.dtype)
        for other in here.unique().tolist():
            rows, order = here == other, orders[other]
            chosen = order[torch.arange(taken[other], taken[other] + int(rows.sum())) % len(order)]
            taken[other] += int(rows.sum())
            xs[rows], ys[rows] = stream.tasks[other].train_x[chosen], stream.tasks[other].train_y[chosen]
        images = Images(xs, ys, task.test_x, task.test_y)
        made.append(replace(task, images=images, order=None))
    return replace(stream, kind=f"drifting {stream.kind}", tasks=tuple(made), boundaries=False, ordered=True)


def shortened(stream: Stream, samples: int, seed: int = 0) -> Stream:
    """The same tasks with at most so many training samples each, drawn anew for every task; tests stay whole.

    Args:
        stream: whose tasks are shortened.
        samples: training samples per task, at least 1.
        seed: of which.
    """
    if samples < 1:
        raise InputError("shortened.samples", "at least 1", str(samples), "give a positive number")
    generator = torch.Generator().manual_seed(seed)
    made = []
    for task in stream.tasks:
        chosen = torch.randperm(len(task.train_y), generator=generator)[:samples]
        x, y = task.images.train_x[chosen], task.images.train_y[chosen]
        made.append(replace(task, images=task.images._replace(train_x=x, train_y=y)))
    return replace(stream, tasks=tuple(made))


def _hidden(where: str, stream: Stream) -> None:
    if stream.scenario == "task":
        raise InputError(where, "a stream that hides its tasks", "a task-incremental one", "use another scenario")
