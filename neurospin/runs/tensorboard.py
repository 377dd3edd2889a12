"""Losses, accuracies and spikes for TensorBoard, beside `metrics.jsonl`."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

from neurospin.continual import Epoch
from neurospin.continual.moment import Moment
from neurospin.errors import MissingDependency
from neurospin.runs.train import Observer


class TensorBoard:
    """An observer that writes events, one folder a learner, and tells another observer everything.

    Epochs that are run again after a kill take the place of what was written of them.

    Args:
        folder: of the run; events go to `tensorboard/LEARNER` in it.
        epochs: per task, which count the steps.
        other: the observer that is told.

    Raises:
        MissingDependency: tensorboard is not installed.
    """

    def __init__(self, folder: Path, epochs: int, other: Observer) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise MissingDependency(
                "--tensorboard", "tensorboard", "a Python without it", "pip install 'neurospin[tensorboard]'"
            ) from error
        self.make, self.folder, self.epochs, self.other = SummaryWriter, folder / "tensorboard", epochs, other
        self.writers: dict[str, Any] = {}

    def __enter__(self) -> TensorBoard:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with ExitStack() as all_of_them:
            for writer in self.writers.values():
                all_of_them.callback(writer.close)

    def begin(self, learner: str, batches: int, done: int) -> None:
        """Passed on."""
        self.other.begin(learner, batches, done)

    def batch(self, moment: Moment) -> None:
        """Passed on."""
        self.other.batch(moment)

    def epoch(self, learner: str, epoch: Epoch) -> None:
        """Written, and passed on."""
        step = epoch.task * self.epochs + epoch.epoch
        if learner not in self.writers:  # only now is the run folder known to be ours
            self.writers[learner] = self.make(str(self.folder / learner), purge_step=step)
        for name in ("loss", "accuracy", "spikes_per_neuron"):
            self.writers[learner].add_scalar(name, getattr(epoch, name), step)
        self.other.epoch(learner, epoch)

    def say(self, text: str) -> None:
        """Passed on."""
        self.other.say(text)

    def stage(self, text: str) -> None:
        """Passed on."""
        self.other.stage(text)
