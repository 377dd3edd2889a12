"""Streams of tasks: the same learner meets them one after the other."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from neurospin.data import load
from neurospin.errors import InputError


@dataclass(frozen=True)
class Task:
    """One task: intensities `(samples, pixels)` in [0, 1] and class indices `(samples,)`.

    `classes` are those that the learner may decide between, where the scenario tells it; else None.
    """

    name: str
    train_x: Tensor
    train_y: Tensor
    test_x: Tensor
    test_y: Tensor
    classes: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Stream:
    """Tasks in order.

    Attributes:
        kind: how the tasks were made.
        dataset: what they were made of.
        scenario: what the learner is told (van de Ven & Tolias, arXiv:1904.07734): `"task"`: which task
            it is, so that it decides between that task's classes; `"domain"`: not, the same classes in
            every task; `"class"`: not, new classes in every task, and it decides between all.
        tasks: the tasks.
        citation: source of the protocol.
        boundaries: whether the learner is told when a task ends.
    """

    kind: str
    dataset: str
    scenario: str
    tasks: tuple[Task, ...]
    citation: str
    boundaries: bool = True

    def __post_init__(self) -> None:
        if self.scenario != "task" and any(task.classes is not None for task in self.tasks):
            raise InputError(
                "Stream.tasks", "tasks that do not tell their classes", f"scenario {self.scenario!r} and tasks that do",
                "use scenario='task'",
            )  # fmt: skip

    def __len__(self) -> int:
        return len(self.tasks)

    @property
    def inputs(self) -> int:
        """Pixels of one sample."""
        return int(self.tasks[0].train_x.shape[1])

    @property
    def classes(self) -> int:
        """Number of classes over all tasks."""
        return 1 + max(int(task.train_y.max()) for task in self.tasks)


def permuted(dataset: str = "digits", tasks: int = 5, seed: int = 0) -> Stream:
    """Permuted pixels: in every task the pixels stand in another order, the same for all its images.

    The first task keeps the order of the data set. Domain-incremental: one shared head.

    Args:
        dataset: name of the data set.
        tasks: how many.
        seed: of the permutations and of the split into training and test samples.

    Source: Goodfellow et al., ICLR 2014, arXiv:1312.6211.
    """
    if tasks < 1:
        raise InputError("permuted.tasks", "at least 1", str(tasks), "give a positive number")
    images = load(dataset, seed)
    generator = torch.Generator().manual_seed(seed)
    made = []
    for number in range(tasks):
        pixels = images.train_x.shape[1]
        order = torch.arange(pixels) if number == 0 else torch.randperm(pixels, generator=generator)
        made.append(
            Task(f"task {number + 1}", images.train_x[:, order], images.train_y, images.test_x[:, order], images.test_y)
        )
    return Stream("permuted", dataset, "domain", tuple(made), "Goodfellow et al., ICLR 2014, arXiv:1312.6211")
