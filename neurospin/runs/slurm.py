"""Cells as job arrays of SLURM, through submitit."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from neurospin.errors import ConfigError, MissingDependency
from neurospin.runs.sweep import ERROR, Failure, Runner, carry_out, is_done
from neurospin.runs.sweep_file import Cell, SlurmConfig

LARGEST_ARRAY = 1000


class Job:
    """What a job does; when its time is out it is put back into the queue, and goes on from its run folder."""

    def __init__(self, cell: Cell, folder: Path, every: float) -> None:
        self.cell, self.folder, self.every = cell, folder, every

    def __call__(self) -> str | None:
        """Run the cell."""
        failure = carry_out(self.cell, self.folder, self.every)
        return failure.text if failure else None

    def checkpoint(self) -> Any:
        """Told by submitit when the time is out or the job is in the way of another."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


class Slurm(Runner):
    """Job arrays. What is in the queue is known from `jobs.jsonl`, so that another start of the sweep adopts it.

    A cell is done when its run folder says so, and has failed when its job has left the queue without that.

    Args:
        folder: of the sweep, on a disk that all nodes see.
        config: what SLURM is asked for.
        every: seconds of training that a kill may cost.
        poll: seconds between two looks at the queue.

    Raises:
        MissingDependency: submitit is not installed.
        ConfigError: no SLURM here, or an option that submitit refuses.
    """

    def __init__(self, folder: Path, config: SlurmConfig, every: float = 60.0, poll: float = 10.0) -> None:
        try:
            import submitit
        except ImportError as error:
            raise MissingDependency(
                "neurospin sweep --on slurm", "submitit", "a Python without it", "pip install 'neurospin[sweeps]'"
            ) from error
        self.folder, self.every, self.poll = folder.resolve(), every, poll
        self.limit = config.array_parallelism
        logs = self.folder / "slurm"
        logs.mkdir(exist_ok=True)
        self.journal = logs / "jobs.jsonl"
        given = config.model_dump(exclude={"max_num_timeout", "additional"}, exclude_none=True)
        renamed = {"timeout_min": "time", "mem_gb": "mem"}
        options = {renamed.get(name, name): value for name, value in given.items() if value != []}
        if "mem" in options:
            options["mem"] = f"{round(1024 * options['mem'])}MB"
        try:
            self.executor = submitit.SlurmExecutor(logs, max_num_timeout=config.max_num_timeout)
            self.executor.update_parameters(**options, additional_parameters=dict(config.additional), use_srun=True)
        except (RuntimeError, ValueError) as error:
            text = str(error).splitlines()[0]
            raise ConfigError("--on slurm", "a SLURM cluster", text, "run it on a login node, or --on local") from error
        self.jobs = self._known()
        self.running: dict[str, Cell] = {}
        self.gone: set[str] = set()

    @property
    def free(self) -> int:
        """A whole grid may wait in the queue at once; a search asks for as many as run together."""
        return LARGEST_ARRAY if not self.running else max(0, self.limit - len(self.running))

    def start(self, cells: Sequence[Cell]) -> None:
        """Submit one array, of the cells that are not in the queue already."""
        from submitit.core.utils import FailedJobError

        alive = self._alive()
        self.running |= {cell.name: cell for cell in cells}
        fresh = [cell for cell in cells if self.jobs.get(cell.name) not in (alive or ())]
        if not fresh:
            return
        try:
            jobs = self.executor.map_array(_call, [Job(cell, self.folder / "cells", self.every) for cell in fresh])
        except FailedJobError as error:
            text = " ".join(str(error).split())[:300]
            raise ConfigError(
                "--on slurm", "a job array that sbatch takes", text, "mend `slurm:` in the file"
            ) from error
        with self.journal.open("a", encoding="utf-8") as file:
            for cell, job in zip(fresh, jobs, strict=True):
                self.jobs[cell.name] = job.job_id
                self.gone.discard(cell.name)
                file.write(json.dumps({"cell": cell.name, "job": job.job_id}) + "\n")

    def wait(self) -> list[tuple[Cell, Failure | None]]:
        """One look at the queue."""
        time.sleep(self.poll)
        alive = self._alive()
        ended: list[tuple[Cell, Failure | None]] = []
        for name in list(self.running):
            place = self.folder / "cells" / name
            if is_done(place):
                ended.append((self.running.pop(name), None))
            elif alive is not None and self.jobs[name] not in alive:
                if name not in self.gone:  # its files may take a moment to be seen from here
                    self.gone.add(name)
                    continue
                told = (place / ERROR).read_text().splitlines()[0] if (place / ERROR).is_file() else "it was killed"
                ended.append((self.running.pop(name), Failure(f"job {self.jobs[name]}: {told}")))
        return ended

    def close(self) -> None:
        """Jobs go on."""

    def _known(self) -> dict[str, str]:
        found = {}
        if self.journal.is_file():
            for line in self.journal.read_text(encoding="utf-8").splitlines():
                try:
                    row = json.loads(line)
                except json.JSONDecodeError:  # the last line, cut by a kill
                    continue
                found[row["cell"]] = row["job"]
        return found

    def _alive(self) -> set[str] | None:
        """Jobs that wait, run, or are being put back; None where the queue cannot be seen now."""
        try:
            done = subprocess.run(
                ["squeue", "--noheader", "--array", "--me", "--format", "%i"],
                capture_output=True,
                text=True,
                timeout=60,
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return set(done.stdout.split()) if done.returncode == 0 else None


def _call(job: Job) -> str | None:
    return job()
