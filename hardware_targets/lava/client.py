"""The target "lava": the compiled program run by lava-nc itself, in a Python 3.10 of its own.

lava-nc 0.10 needs Python 3.10 and numpy 1, so that a worker process runs it. The worker gets the very
integers that the emulator runs (it cannot compile a graph: it imports nothing of neurospin), as npz
and JSON files in a temporary folder, and gives npz and JSON back. No pickles.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import nir
import numpy as np

from hardware_targets.environment import default_folder, interpreter
from hardware_targets.loihi import limits
from hardware_targets.loihi.compiler import CAUSES
from hardware_targets.loihi.emulator import Emulation
from hardware_targets.loihi.program import Program, save
from hardware_targets.loihi.quantise import NEAREST, Scheme
from hardware_targets.loihi.target import Loihi, execute, settled
from hardware_targets.process import work
from neurospin.errors import TargetError
from neurospin.target import Problem, Report

PYTHON = "NEUROSPIN_LAVA_PYTHON"
REMEDY = f"neurospin doctor --setup-lava, or set {PYTHON} to a Python 3.10 that has lava-nc"
WORKER = Path(__file__).with_name("worker.py")
SYNAPSES = 1_000_000
"""Synapses of one run: more samples than fit run in parts."""
CELLS = 4_000_000
"""Entries of one block-diagonal matrix that Lava must hold densely (projections with a delay)."""


def find_python() -> tuple[str, str]:
    """The interpreter that runs the worker, or why there is none: `(path, reason)`, one of them empty.

    Looked for in this order: the environment variable NEUROSPIN_LAVA_PYTHON, `.lava` in the current
    folder, `.lava` in the project's folder, the folder in which `setup_lava` builds by default.
    """
    named = os.environ.get(PYTHON, "")
    if named:
        there = os.access(named, os.X_OK) and Path(named).is_file()
        return (named, "") if there else ("", f"{PYTHON} is {named}, which is no program")
    project = Path(__file__).resolve().parents[2]
    for folder in (Path.cwd() / ".lava", project / ".lava", default_folder("lava")):
        python = interpreter(folder)
        if python.is_file():
            return str(python), ""
    return "", "no Python 3.10 with lava-nc found"


@dataclass(frozen=True)
class Job:
    """One program and its input.

    Attributes:
        program: the compiled graph.
        spikes: zeros and ones, `(time, batch, size of the input)`.
        record: populations whose spikes are wanted.
        voltages: populations whose voltages are wanted.
    """

    program: Program
    spikes: np.ndarray
    record: tuple[str, ...] = ()
    voltages: tuple[str, ...] = ()


@dataclass
class Lava:
    """Runs a graph with lava-nc 0.10 `fixed_pt`.

    Attributes:
        timeout: seconds after which a run is ended (default 1800).
        memory: bytes of address space that each of Lava's processes may take (default 16 GiB).
        scheme: scaling and rounding, as of the target "loihi".
    """

    name: str = field(default="lava", init=False)
    causes: tuple[str, ...] = field(default=CAUSES, init=False)
    timeout: float = 1800.0
    memory: int = 16 << 30
    scheme: Scheme = NEAREST
    settings: tuple[str, ...] = field(default=("scaling", "rounding"), init=False)

    def adjusted(self, **settings: Any) -> Lava:
        """The same target with other settings."""
        return replace(self, scheme=Scheme(**{**self.scheme.settings(), **settings}))

    def unavailable(self) -> str:
        """Why Lava cannot run here, with the remedy; empty where it can."""
        reason = find_python()[1]
        return f"{reason}: {REMEDY}" if reason else ""

    def only(self, causes: Iterable[str]) -> Loihi:
        """The same program with just these roundings, on the emulator: lava-nc has no fractions."""
        return Loihi(causes, **self.scheme.settings())

    def rounding(
        self, graph: nir.NIRGraph, dt: float, *, spikes: np.ndarray | None = None, seed: int = 0
    ) -> dict[str, Any]:
        """As the target "loihi" rounds."""
        return settled(graph, dt, spikes, self.scheme.with_seed(seed))

    def check(self, graph: nir.NIRGraph) -> list[Problem]:
        """Every node, loop, reset and value that the chip cannot hold."""
        return limits.check(graph)

    def run(
        self, graph: nir.NIRGraph, spikes: np.ndarray, *, dt: float, seed: int = 0, record: Iterable[str] = ()
    ) -> Report:
        """Compile a graph and run it with Lava on spikes of shape `(time, batch, *input)`.

        Args:
            graph: a NIR graph.
            spikes: zeros and ones.
            dt: step in seconds.
            seed: of stochastic rounding; the chip's arithmetic is deterministic.
            record: names of neuron nodes whose output is wanted as well.

        Raises:
            InputError: the input has the wrong shape or other values than 0 and 1.
            TargetError: the graph does not fit the chip, or Lava failed, took too long or too much memory.
            UnknownName: a recorded name is no neuron of the graph.
        """

        def engine(
            program: Program, array: np.ndarray, spiking: tuple[str, ...], readouts: tuple[str, ...]
        ) -> Emulation:
            return self.execute([Job(program, array, spiking, readouts)])[0]

        return execute(graph, spikes, dt, record, engine, self.scheme.with_seed(seed))

    def execute(self, jobs: Sequence[Job]) -> list[Emulation]:
        """Run compiled programs, one after the other, in one worker process.

        Raises:
            TargetError: Lava is not there, failed, took too long or too much memory.
        """
        python, reason = find_python()
        if not python:
            raise TargetError("lava", "a Python 3.10 with lava-nc", reason, REMEDY)
        with (
            tempfile.TemporaryDirectory(prefix="neurospin-lava-") as name,
            tempfile.TemporaryDirectory(prefix="ns-", dir=_short_folder()) as sockets,
        ):
            folder = Path(name)
            for i, job in enumerate(jobs):
                _write(folder / str(i), job)
            (folder / "jobs.json").write_text(json.dumps([str(i) for i in range(len(jobs))]), encoding="utf-8")
            command = [python, "-I", str(WORKER), str(folder), "--memory", str(self.memory)]
            # one thread each: Lava starts a process for every population and every projection
            threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "TMPDIR": sockets}
            work("lava", command, folder, timeout=self.timeout, environment={**os.environ, **threads}, remedy=REMEDY)
            return [_read(folder / str(i) / "output.npz", job) for i, job in enumerate(jobs)]


def _short_folder() -> str:
    """Where Lava may put its sockets: their paths must stay below 108 characters."""
    place = tempfile.gettempdir()
    return place if len(place) <= 60 else "/tmp"


def _write(folder: Path, job: Job) -> None:
    folder.mkdir()
    save(job.program, folder)
    batch = job.spikes.shape[1]
    synapses = max([1, *(p.weights.nnz for p in job.program.projections)])
    cells = max([1, *(int(np.prod(p.weights.shape)) for p in job.program.projections if p.delay)])
    part = max(1, min(batch, SYNAPSES // synapses, int((CELLS // cells) ** 0.5)))
    content = {"record": list(job.record), "voltages": list(job.voltages), "part": part}
    (folder / "job.json").write_text(json.dumps(content), encoding="utf-8")
    np.savez(folder / "input.npz", spikes=job.spikes.astype(np.uint8))


def _read(path: Path, job: Job) -> Emulation:
    """The worker's arrays, after their names, shapes and types are found right."""
    steps, batch = job.spikes.shape[:2]
    found: dict[str, dict[str, np.ndarray]] = {"spikes": {}, "voltages": {}}
    try:
        with np.load(path, allow_pickle=False) as file:
            for kind, names, dtype in (
                ("spikes", job.record, np.uint8),
                ("voltages", job.voltages, np.int32 if job.program.whole else np.float64),
            ):
                for name in names:
                    array = file[f"{kind}/{name}"]
                    shape = (steps, batch, job.program.population(name).size)
                    if array.shape != shape or array.dtype != dtype:
                        raise ValueError(f"{name} has shape {array.shape} and type {array.dtype}")
                    found[kind][name] = array
    except (OSError, KeyError, ValueError) as error:
        got = " ".join(str(error).split())
        raise TargetError("lava", "the worker's output", got, "run again; report it if it stays") from error
    return Emulation(found["spikes"], found["voltages"], _operations(job, found["spikes"]))


def _operations(job: Job, spikes: dict[str, np.ndarray]) -> dict[str, float]:
    """What can be counted from outside: updates always, spikes of recorded populations."""
    steps, batch = job.spikes.shape[:2]
    updates = steps * batch * sum(p.size for p in job.program.populations)
    return {
        "neuron_updates": float(updates),
        "recorded_spikes": float(sum(int(s.sum()) for s in spikes.values())),
    }


target = Lava()
