"""Carry out a sweep: cells from a grid or a search, to workers here or on a cluster, until all are done."""

from __future__ import annotations

import json
import time
import traceback
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from neurospin.errors import ConfigError, InputError, UnknownName
from neurospin.files import write_text
from neurospin.runs.lock import Busy, make_folder, need_empty, only_one
from neurospin.runs.sweep_file import Cell, Plan, stored

ERROR = "error.txt"


@dataclass(frozen=True)
class Failure:
    """Why a cell is not done.

    Attributes:
        text: in one line.
        final: whether another try would end the same.
    """

    text: str
    final: bool = False


def carry_out(cell: Cell, folder: Path, every: float = 60.0) -> Failure | None:
    """Run one cell in the sweep's folder `cells`, from where it was left; its traceback goes to `error.txt`."""
    from neurospin.runs.experiment import run
    from neurospin.runs.train import Silent

    place = folder / cell.name
    try:
        run(cell.experiment, place, Silent(), every=every, report=False)
        (place / ERROR).unlink(missing_ok=True)
        return None
    except Exception as error:
        text = f"{type(error).__name__}: {error}".splitlines()[0]
        with suppress(OSError):
            (place / ERROR).write_text(f"{text}\n\n{traceback.format_exc()}", encoding="utf-8")
        final = isinstance(error, ConfigError | InputError | UnknownName) and not isinstance(error, Busy)
        return Failure(text, final)


class Source(ABC):
    """Where cells come from."""

    total: int

    @abstractmethod
    def take(self) -> Cell | None:
        """The next cell; None where there is none now."""

    @abstractmethod
    def told(self, cell: Cell, failure: Failure | None) -> None:
        """What became of a cell."""


class Grid(Source):
    """All cells of a grid, in order."""

    def __init__(self, cells: Sequence[Cell]) -> None:
        self.total, self.left = len(cells), deque(cells)

    def take(self) -> Cell | None:
        """The next one."""
        return self.left.popleft() if self.left else None

    def told(self, cell: Cell, failure: Failure | None) -> None:
        """Nothing follows from it."""


class Runner(ABC):
    """Where cells run."""

    @property
    @abstractmethod
    def free(self) -> int:
        """How many more cells can be taken now."""

    @abstractmethod
    def start(self, cells: Sequence[Cell]) -> None:
        """Begin with cells."""

    @abstractmethod
    def wait(self) -> list[tuple[Cell, Failure | None]]:
        """Wait a while; the cells that have ended since, each with its failure or None."""

    @abstractmethod
    def close(self) -> None:
        """Stop what is still running here; jobs on a cluster go on."""


class Watcher(Protocol):
    """Who is told how a sweep goes on."""

    def cells(self, done: int, failed: int, running: int, total: int) -> None:
        """So many of `total` cells are done, have failed for good, or run now."""

    def say(self, text: str) -> None:
        """Something that a person wants to know."""


@dataclass
class Outcome:
    """What became of a sweep: names of cells done now, of those that were done before, and failures by name."""

    done: list[str] = field(default_factory=list)
    before: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


def is_done(folder: Path) -> bool:
    """Whether a run folder holds a finished run."""
    return (folder / "results.json").is_file()


def prepare(plan: Plan, folder: Path) -> None:
    """Make the sweep's folder, or find that it is this sweep's; call it while holding the folder.

    Raises:
        ConfigError: it holds another sweep.
    """
    config, kept = folder / "sweep.json", stored(plan.sweep)
    if config.is_file():
        if config.read_text(encoding="utf-8") != kept:
            raise ConfigError(
                str(folder), "the folder of this sweep", "that of a sweep of another name or search",
                "choose another --output",
            )  # fmt: skip
    else:
        need_empty(folder)
    (folder / "cells").mkdir(exist_ok=True)
    write_text(config, kept)


def sweep(plan: Plan, folder: Path, source: Source, runner: Runner, watcher: Watcher) -> Outcome:
    """Run every cell that is not yet done; one that fails is tried again, as often as the sweep says.

    A cell is known by its whole configuration: a larger grid in the same folder repeats nothing.
    """
    outcome, tries, again = Outcome(), {}, deque[Cell]()
    running = 0

    def settle(cell: Cell, failure: Failure | None) -> None:
        if failure and not failure.final and tries[cell.name] <= plan.sweep.retries:
            watcher.say(f"{cell.name}: {failure.text}; tried again")
            again.append(cell)
            return
        if failure:
            outcome.failed[cell.name] = failure.text
        else:
            outcome.done.append(cell.name)
        source.told(cell, failure)

    try:
        while True:
            batch: list[Cell] = []
            while len(batch) < runner.free:
                cell = again.popleft() if again else source.take()
                if cell is None:
                    break
                if is_done(folder / "cells" / cell.name):
                    outcome.before.append(cell.name)
                    source.told(cell, None)
                    continue
                tries[cell.name] = tries.get(cell.name, 0) + 1
                batch.append(cell)
            if batch:
                runner.start(batch)
                running += len(batch)
            done = len(outcome.done) + len(outcome.before)
            watcher.cells(done, len(outcome.failed), running, source.total)
            if not running and not batch:
                break
            for cell, failure in runner.wait():
                running -= 1
                settle(cell, failure)
    finally:
        runner.close()
    told = {"done": sorted(outcome.done + outcome.before), "failed": outcome.failed, "at": time.strftime("%FT%T%z")}
    write_text(folder / "outcome.json", json.dumps(told, indent=2))
    return outcome


def hold(folder: Path):
    """Make the sweep's folder and hold it against other processes; see `only_one`."""
    make_folder(folder)
    return only_one(folder)
