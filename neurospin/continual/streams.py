"""Streams of tasks: the same learner meets them one after the other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from neurospin.data import Images, load
from neurospin.errors import InputError

CITATIONS = {
    "permuted": "Goodfellow et al., ICLR 2014, arXiv:1312.6211",
    "rotated": "Lopez-Paz & Ranzato, NeurIPS 2017, arXiv:1706.08840",
    "split": "van de Ven & Tolias, arXiv:1904.07734",
    "sequence": "Serra et al., ICML 2018, arXiv:1801.01423",
    "subsets": "Laborieux et al., Nature Communications 12:2549, 2021, doi:10.1038/s41467-021-22768-y",
    "linear": "Kalman, Journal of Basic Engineering 82:35, 1960, doi:10.1115/1.3662552",
}


@dataclass(frozen=True)
class Task:
    """One task: intensities `(samples, pixels)` in [0, 1], or spikes `(samples, time, inputs)`, and class indices `(samples,)`.

    In a stream of real values they are real inputs `(samples, inputs)` and values `(samples, outputs)`.

    Attributes:
        name: of the task.
        images: its samples, which tasks of one stream may share.
        classes: those that the learner may decide between, where the scenario tells it; else None.
        order: the order of pixels (the last axis) in which the task shows its images; None leaves them. The images are
            put in order when they are asked for, so that a hundred tasks take no more memory than one.
    """

    name: str
    images: Images
    classes: tuple[int, ...] | None = None
    order: Tensor | None = None

    @property
    def train_x(self) -> Tensor:
        """Intensities of the training samples."""
        return self._ordered(self.images.train_x)

    @property
    def train_y(self) -> Tensor:
        """Classes of the training samples."""
        return self.images.train_y

    @property
    def test_x(self) -> Tensor:
        """Intensities of the test samples."""
        return self._ordered(self.images.test_x)

    @property
    def test_y(self) -> Tensor:
        """Classes of the test samples."""
        return self.images.test_y

    def _ordered(self, x: Tensor) -> Tensor:
        return x if self.order is None else x[..., self.order]


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
        ordered: whether samples come in the order in which the tasks hold them; else every epoch shuffles them.
        optimum: the best score that can be reached on every task, where it is known; else empty.
    """

    kind: str
    dataset: str
    scenario: str
    tasks: tuple[Task, ...]
    citation: str
    boundaries: bool = True
    ordered: bool = False
    optimum: tuple[float, ...] = ()

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
        """Pixels or neurons of one sample."""
        return int(self.tasks[0].images.train_x.shape[-1])

    @property
    def real(self) -> bool:
        """Whether the tasks ask for real values, not for classes."""
        return self.tasks[0].train_y.is_floating_point()

    @property
    def classes(self) -> int:
        """Number of classes over all tasks, or of real values."""
        if self.real:
            return int(self.tasks[0].train_y.shape[1])
        return 1 + max(int(task.train_y.max()) for task in self.tasks)


def permuted(dataset: str = "digits", tasks: int = 5, seed: int = 0, scenario: str = "domain") -> Stream:
    """Permuted pixels: in every task the pixels stand in another order, the same for all its images.

    The first task keeps the order of the data set. One shared head.

    Args:
        dataset: name of the data set.
        tasks: how many.
        seed: of the permutations and of the split into training and test samples.
        scenario: `"domain"` (default): the task is not told; `"task"`: it is, at training and at test, so
            that a network may keep something for each task (see `Perceptron`).

    Source: Goodfellow et al., ICLR 2014, arXiv:1312.6211.

    Raises:
        InputError: no such scenario.
    """
    _positive("permuted", tasks)
    _hidden_or_told("permuted", scenario)
    images = load(dataset, seed)
    generator = torch.Generator().manual_seed(seed)
    classes = tuple(range(1 + int(images.train_y.max()))) if scenario == "task" else None
    made = []
    for number in range(tasks):
        order = torch.randperm(images.train_x.shape[-1], generator=generator) if number else None
        made.append(Task(f"task {number + 1}", images, classes, order))
    return Stream("permuted", dataset, scenario, tuple(made), CITATIONS["permuted"])


def rotated(dataset: str = "digits", tasks: int = 5, seed: int = 0, degrees: float = 90.0) -> Stream:
    """Rotated images: in task t all images are turned by `degrees · t / tasks`; the first is not turned.

    Domain-incremental. Pixels are interpolated linearly; what comes in from outside is 0.

    Args:
        dataset: name of the data set, of square images.
        tasks: how many.
        seed: of the split into training and test samples.
        degrees: of the turn after the last task, which is not reached.

    Source: Lopez-Paz & Ranzato, NeurIPS 2017, arXiv:1706.08840.
    """
    _positive("rotated", tasks)
    images = load(dataset, seed)
    made = []
    for number in range(tasks):
        angle = degrees * number / tasks
        turned = images._replace(train_x=_turn(images.train_x, angle), test_x=_turn(images.test_x, angle))
        made.append(Task(f"{angle:g} degrees", turned))
    return Stream("rotated", dataset, "domain", tuple(made), CITATIONS["rotated"])


def split(dataset: str = "digits", tasks: int = 5, scenario: str = "class", seed: int = 0) -> Stream:
    """The classes in groups, one after the other.

    Args:
        dataset: name of the data set.
        tasks: how many groups; the number of classes must be a multiple.
        scenario: `"class"` (default): decide between all classes; `"task"`: told the task, decide between
            its classes; `"domain"`: labels within the group, the task not told.
        seed: of the split into training and test samples.

    Source: van de Ven & Tolias, arXiv:1904.07734.

    Raises:
        InputError: no such scenario, or classes that cannot be shared out.
    """
    _positive("split", tasks)
    if scenario not in ("task", "domain", "class"):
        raise InputError("split.scenario", "'task', 'domain' or 'class'", repr(scenario), "choose one of the three")
    images = load(dataset, seed)
    classes = 1 + int(images.train_y.max())
    if classes % tasks:
        raise InputError("split.tasks", f"a divisor of {classes} classes", str(tasks), "choose another number")
    size = classes // tasks
    made = []
    for number in range(tasks):
        own = tuple(range(number * size, (number + 1) * size))
        parts = []
        for x, y in ((images.train_x, images.train_y), (images.test_x, images.test_y)):
            chosen = (y >= own[0]) & (y <= own[-1])
            parts += [x[chosen], y[chosen] - (own[0] if scenario == "domain" else 0)]
        name = f"classes {own[0]} to {own[-1]}"
        made.append(Task(name, Images(*parts), own if scenario == "task" else None))
    return Stream("split", dataset, scenario, tuple(made), CITATIONS["split"])


def sequence(datasets: Sequence[str], seed: int = 0, scenario: str = "domain") -> Stream:
    """One data set after the other, all with as many pixels, on one shared head.

    Args:
        datasets: their names.
        seed: of the splits into training and test samples.
        scenario: `"domain"` (default): the task is not told; `"task"`: it is, as in `permuted`.

    Raises:
        InputError: none, images of different sizes, or no such scenario.
    """
    _hidden_or_told("sequence", scenario)
    loaded = [load(name, seed) for name in datasets]
    sizes = sorted({tuple(images.train_x.shape[1:]) for images in loaded})
    if len(sizes) != 1:
        raise InputError("sequence.datasets", "images of one size", f"shapes {sizes}", "choose other data sets")
    made = []
    for name, images in zip(datasets, loaded, strict=True):
        classes = tuple(range(1 + int(images.train_y.max()))) if scenario == "task" else None
        made.append(Task(name, images, classes))
    return Stream("sequence", ", ".join(datasets), scenario, tuple(made), CITATIONS["sequence"])


def subsets(dataset: str = "digits", tasks: int = 10, seed: int = 0) -> Stream:
    """Stream learning: the training samples in so many parts, one after the other; every part is tested on all test samples.

    Domain-incremental: nothing changes but the samples, and what came before does not come again.

    Args:
        dataset: name of the data set.
        tasks: how many parts of equal size; what is left over is not used.
        seed: of the parts, and of the split into training and test samples.

    Source: Laborieux et al., Nature Communications 12:2549, 2021, doi:10.1038/s41467-021-22768-y.
    """
    _positive("subsets", tasks)
    images = load(dataset, seed)
    size = len(images.train_y) // tasks
    if not size:
        raise InputError("subsets.tasks", f"at most {len(images.train_y)}", str(tasks), "choose fewer")
    order = torch.randperm(len(images.train_y), generator=torch.Generator().manual_seed(seed))
    made = []
    for number in range(tasks):
        part = order[number * size : (number + 1) * size]
        made.append(
            Task(f"part {number + 1}", images._replace(train_x=images.train_x[part], train_y=images.train_y[part]))
        )
    return Stream("subsets", dataset, "domain", tuple(made), CITATIONS["subsets"])


def _turn(x: Tensor, degrees: float) -> Tensor:
    """Square images `(samples, pixels)`, turned about their middle."""
    side = math.isqrt(x.shape[1])
    if x.dim() != 2 or side * side != x.shape[1]:
        raise InputError(
            "rotated.dataset", "square images", f"samples of shape {tuple(x.shape[1:])}", "choose another data set"
        )
    if degrees == 0:
        return x
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    turn = torch.tensor([[c, -s, 0.0], [s, c, 0.0]]).expand(len(x), 2, 3)
    grid = affine_grid(turn, [len(x), 1, side, side], align_corners=False)
    return grid_sample(x.view(-1, 1, side, side), grid, align_corners=False).reshape(len(x), -1).clamp(0, 1)


def _hidden_or_told(stream: str, scenario: str) -> None:
    if scenario not in ("task", "domain"):
        raise InputError(f"{stream}.scenario", "'task' or 'domain'", repr(scenario), "choose one of the two")


def _positive(stream: str, tasks: int) -> None:
    if tasks < 1:
        raise InputError(f"{stream}.tasks", "at least 1", str(tasks), "give a positive number")
