"""Cells in processes of this machine, which stay warm from one cell to the next."""

from __future__ import annotations

import multiprocessing
import os
import signal
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from neurospin.runs.sweep import Failure, Runner, carry_out
from neurospin.runs.sweep_file import Cell

SMALLEST = {
    "name": "warm", "stream": {"tasks": 1, "samples": 10}, "encode": {"steps": 1}, "network": {"hidden": [2]},
    "training": {"epochs": 1}, "learners": {"a": {"title": "a", "m": 1.0}}, "main": "a", "targets": [], "samples": 1,
}  # fmt: skip


@dataclass
class Worker:
    """A process, the pipe to it, and the cell that it is at."""

    process: BaseProcess
    pipe: Connection
    cell: Cell | None = None


class Local(Runner):
    """So many processes, forked from this one once all that they need is in memory; one that dies is replaced.

    Args:
        folder: `cells` of the sweep.
        workers: processes.
        every: seconds of training that a kill may cost.
    """

    def __init__(self, folder: Path, workers: int, every: float = 60.0) -> None:
        self.folder, self.workers, self.every = folder, workers, every
        self.context = multiprocessing.get_context("fork")
        self.crew: list[Worker] = []
        self.warm = False

    @property
    def free(self) -> int:
        """Workers without a cell, and those that may still be hired."""
        return self.workers - sum(worker.cell is not None for worker in self.crew)

    def start(self, cells: Sequence[Cell]) -> None:
        """One cell for each free worker."""
        for cell in cells:
            worker = next((w for w in self.crew if w.cell is None), None) or self._hire()
            worker.cell = cell
            worker.pipe.send(cell)

    def wait(self) -> list[tuple[Cell, Failure | None]]:
        """Until at least one worker is done, or dead."""
        busy = {worker.pipe: worker for worker in self.crew if worker.cell}
        ended = []
        for pipe in wait(list(busy)):
            worker = busy[pipe]  # type: ignore[index]
            assert worker.cell
            try:
                ended.append((worker.cell, worker.pipe.recv()))
                worker.cell = None
            except (EOFError, ConnectionError):
                worker.process.join()
                self.crew.remove(worker)
                ended.append((worker.cell, Failure(f"its process died ({_why(worker.process.exitcode)})")))
        return ended

    def close(self) -> None:
        """Stop every worker; what they were at can be gone on with."""
        for worker in self.crew:
            worker.process.kill()
            worker.process.join()
        self.crew.clear()

    def _hire(self) -> Worker:
        if not self.warm:
            warm_up()
            self.warm = True
        ours, theirs = self.context.Pipe()
        process = self.context.Process(target=_work, args=(theirs, str(self.folder), self.every), daemon=True)
        process.start()
        theirs.close()
        self.crew.append(Worker(process, ours))
        return self.crew[-1]


def _why(code: int | None) -> str:
    return signal.Signals(-code).name if code and code < 0 else f"exit status {code}"


def warm_up() -> None:
    """Import what cells need, and run the smallest experiment, so that compiled loops are loaded: once for all workers.

    A torch that is built for CUDA is not run here: it would forbid its use after a fork.
    """
    import torch
    import torch._dynamo  # which optimizers import at their first step

    from neurospin.runs.config import parse
    from neurospin.runs.experiment import run
    from neurospin.runs.train import Silent

    if not torch.backends.cuda.is_built():
        with tempfile.TemporaryDirectory() as folder:
            run(parse(SMALLEST, "warm_up"), Path(folder), Silent(), report=False)


def _work(pipe: Connection, folder: str, every: float) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the sweep itself tells its workers to stop
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    while True:
        try:
            cell = pipe.recv()
        except EOFError:
            return
        pipe.send(carry_out(cell, Path(folder), every))


def _end_with(parent: int) -> None:
    """A worker ends within a second of the sweep, however that ended."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)
