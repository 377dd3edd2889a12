"""What one learner keeps in the run folder, so that a kill at any moment costs time and nothing else."""

from __future__ import annotations

import io
import json
import pickle
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from neurospin.continual import Epoch
from neurospin.continual.learner import Learner
from neurospin.continual.moment import Moment
from neurospin.continual.tally import Tally
from neurospin.errors import ConfigError, InputError, OutputError
from neurospin.files import existing, replacing, write_text
from neurospin.plasticity import Metaplastic, Rule
from neurospin.runs import checkpoint

SHOWN = 20_000  # hidden values kept per layer and task for the histograms


@dataclass(frozen=True)
class Reached:
    """How far a learner came: tasks done, the accuracy matrix, seconds of training, states of the rule and of the tally."""

    tasks: int
    matrix: np.ndarray | None
    seconds: float
    rule: dict[str, Any] | None = None
    moment: Moment | None = None
    tally: dict[str, Any] | None = None


class Folder:
    """The files of one learner. After every task the JSON file, written last, says what counts.

    Within a task a single file holds network, rule and moment together. Of finished tasks the last two are kept.

    Args:
        folder: the run folder.
        learner: its name.
        every: seconds between two states within a task.
        writes: whether this process is the one that writes.
    """

    def __init__(self, folder: Path, learner: str, every: float = 60.0, writes: bool = True) -> None:
        self.learner, self.every, self.writes = learner, every, writes
        self.folder = folder / "checkpoints"
        self.metrics = folder / "metrics.jsonl"
        self.index = self.folder / f"{learner}.json"
        self.midway = self.folder / f"{learner}-midway.pt"
        self.folder.mkdir(exist_ok=True)
        self.seconds = 0.0
        self.kept_at = self.began = time.perf_counter()

    def network(self, tasks: int) -> Path:
        """The network after so many tasks."""
        return self.folder / f"{self.learner}-{tasks}.safetensors"

    def rule(self, tasks: int) -> Path:
        """What the rule knows after so many tasks."""
        return self.folder / f"{self.learner}-{tasks}.rule.pt"

    def tally(self, tasks: int) -> Path:
        """What was counted up to the end of so many tasks."""
        return self.folder / f"{self.learner}-{tasks}.tally.pt"

    def hidden(self, task: int) -> Path:
        """Hidden values after a task, for the histograms."""
        return self.folder / f"{self.learner}-hidden-{task + 1}.npz"

    def reached(self, network: Learner) -> Reached:
        """Fill a fresh network with the latest state that can be read, and tell the rest of it.

        Where the latest is spoilt, an older one is taken, with a warning.

        Raises:
            ConfigError: none can be read although the run has come further than its beginning.
        """
        if not self.index.is_file():
            return self._with_midway(network, Reached(0, None, 0.0))
        try:
            found = json.loads(self.index.read_text(encoding="utf-8"))
            tasks, matrix, seconds = found["tasks"], np.array(found["matrix"], dtype=np.float64), found["seconds"]
        except (ValueError, KeyError, TypeError) as error:
            raise self._spoilt(self.index, error) from error
        first: Exception | None = None
        for done in (tasks, tasks - 1):
            if done < 1 or not self.network(done).is_file():
                continue
            try:
                rule = _read(self.rule(done)) if self.rule(done).is_file() else None
                tally = _read(self.tally(done))["tally"] if self.tally(done).is_file() else None
                checkpoint.load_into(network, self.network(done))
            except InputError as error:
                first = first or error
                warnings.warn(f"{error} The task before is taken instead", stacklevel=2)
                continue
            matrix[done:] = np.nan
            return self._with_midway(network, Reached(done, matrix, seconds, rule, tally=tally))
        raise self._spoilt(self.network(tasks), first or "nothing there")

    def _spoilt(self, place: Path, got: object) -> ConfigError:
        fix = f"remove {self.folder} to begin again"
        return ConfigError(str(place), "a state to go on from", str(got), fix)

    def _with_midway(self, network: Learner, reached: Reached) -> Reached:
        """The state within the next task, where there is one."""
        if not self.midway.is_file():
            return reached
        try:
            state = _read(self.midway)
            if state["moment"]["task"] != reached.tasks:  # killed between the end of a task and tidying up
                self._tidy(reached.tasks)
                return reached
            moment = Moment.from_state_dict(state["moment"])
            network.load_state_dict(state["network"])
            return Reached(reached.tasks, reached.matrix, state["seconds"], state["rule"], moment, state["tally"])
        except (InputError, KeyError, TypeError, RuntimeError) as error:
            warnings.warn(f"{self.midway}: {error} The beginning of the task is taken instead", stacklevel=2)
            return reached

    def start(self, seconds: float) -> None:
        """Begin to count time, after so many seconds of earlier parts."""
        self.seconds, self.began, self.kept_at = seconds, time.perf_counter() - seconds, time.perf_counter()

    def keep(self, network: Learner, rule: Rule, moment: Moment, tally: Tally) -> None:
        """Keep the state within a task, if it is time."""
        if not self.writes or time.perf_counter() - self.kept_at < self.every:
            return
        state = {
            "network": network.state_dict(), "rule": rule.state_dict(), "moment": moment.state_dict(),
            "seconds": time.perf_counter() - self.began, "tally": tally.state_dict(),
        }  # fmt: skip
        _write(self.midway, state)
        self.kept_at = time.perf_counter()

    def commit(self, network: Learner, rule: Rule, task: int, matrix: np.ndarray, tally: Tally) -> None:
        """Keep the state after a task."""
        self.seconds = time.perf_counter() - self.began
        if not self.writes:
            return
        values = {
            name: stored.flatten()[:: max(1, stored.numel() // SHOWN)].cpu().numpy()
            for name, stored in network.hidden_state().items()
        }
        if values:
            with replacing(self.hidden(task)) as temporary, temporary.open("wb") as file:
                np.savez_compressed(file, allow_pickle=False, **values)
        checkpoint.save(network, self.network(task + 1))
        if type(rule) is not Metaplastic:  # its moments start afresh with every task
            _write(self.rule(task + 1), rule.state_dict())
        _write(self.tally(task + 1), {"tally": tally.state_dict()})
        rows = [[None if np.isnan(value) else float(value) for value in row] for row in matrix]
        write_text(self.index, json.dumps({"tasks": task + 1, "matrix": rows, "seconds": self.seconds}))
        self._tidy(task + 1)
        self.kept_at = time.perf_counter()

    def _tidy(self, tasks: int) -> None:
        """Remove what is older than the last two tasks, and the state within a task that is done."""
        if not self.writes:
            return
        self.midway.unlink(missing_ok=True)
        for number in range(tasks - 1):
            self.network(number).unlink(missing_ok=True)
            self.rule(number).unlink(missing_ok=True)
            self.tally(number).unlink(missing_ok=True)

    def log(self, epoch: Epoch) -> None:
        """Append one line to the run's metrics."""
        if not self.writes:
            return
        try:
            with self.metrics.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"learner": self.learner, **vars(epoch)}) + "\n")
        except OSError as error:
            raise OutputError(
                str(self.metrics), "room to write", str(error.strerror), "make room, then resume"
            ) from error

    def forget_after(self, task: int, epoch: int) -> None:
        """Drop metrics of epochs that are going to be run again, and a line that was cut."""
        if not self.writes or not self.metrics.is_file():
            return
        kept = []
        for line in self.metrics.read_text(encoding="utf-8").splitlines():
            try:
                row = json.loads(line)
            except json.JSONDecodeError:
                continue
            if row["learner"] != self.learner or (row["task"], row["epoch"]) < (task, epoch):
                kept.append(line)
        write_text(self.metrics, "".join(f"{line}\n" for line in kept))


def _write(path: Path, state: dict[str, Any]) -> None:
    """Tensors and numbers as one file, whole or not at all."""
    content = io.BytesIO()
    torch.save(state, content)  # in memory first: torch does not tell a full disk as what it is
    with replacing(path) as temporary:
        temporary.write_bytes(content.getbuffer())


def _read(path: Path) -> dict[str, Any]:
    try:
        return torch.load(existing(path), map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, ValueError, OSError, KeyError, pickle.UnpicklingError) as error:
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(str(path), "a state that neurospin wrote", text, "remove it, then resume") from error
