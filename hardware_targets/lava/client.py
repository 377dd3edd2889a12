"""The Lava target: the compiled program, run by lava-nc in a worker process.

lava-nc needs Python 3.10 and numpy 1, so it cannot share a process with neurospin. The client compiles
the graph (the worker could not: it has no neurospin), writes the integer program and the spikes to a
temporary folder, starts `worker.py`, and checks what it wrote. No pickles.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import tempfile
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import nir
import numpy as np

from hardware_targets.lava.setup import find_lava_python
from hardware_targets.loihi.compiler import compile_graph
from hardware_targets.loihi.program import Program
from hardware_targets.loihi.target import binary_lines, problems, report
from neurospin.errors import TargetError
from neurospin.target import Problem, Report

WORKER = Path(__file__).with_name("worker.py")
SYNAPSES_AT_ONCE = 2_000_000  # samples stand side by side while they have no more synapses than this
REMEDY = "neurospin doctor --setup-lava (needs a Python 3.10), or set NEUROSPIN_LAVA_PYTHON"


class Lava:
    """lava-nc 0.10 in fixed point.

    Args:
        seconds: the worker is stopped after this long.
        gigabytes: the worker may use this much memory.
    """

    name = "lava"

    def __init__(self, seconds: float = 600.0, gigabytes: float = 16.0) -> None:
        self.seconds, self.gigabytes = seconds, gigabytes

    def unavailable(self) -> str:
        """Why there is no Python with lava-nc, and what to do."""
        return "" if find_lava_python() else f"no Python 3.10 with lava-nc: {REMEDY}"

    def check(self, graph: nir.NIRGraph) -> list[Problem]:
        """What keeps the graph from being compiled."""
        return problems(graph)

    def run(
        self, graph: nir.NIRGraph, spikes: np.ndarray, *, dt: float, seed: int = 0, record: Iterable[str] = ()
    ) -> Report:
        """Compile, run in the worker, read back; `seed` changes nothing.

        Raises:
            InputError: the input is not 0 or 1.
            TargetError: the worker failed, took too long, or gave garbage.
        """
        wanted = tuple(record)
        program = compile_graph(graph, dt)
        lines = binary_lines(spikes)
        traced = [n for n in {*wanted, program.output} if not program.populations[n].spiking]
        ((fired, voltages),) = self.execute([(program, lines, list(program.populations), traced)])
        counts = {program.input: int(lines.sum()), **{name: int(array.sum()) for name, array in fired.items()}}
        return report(program, fired, voltages, counts, wanted, lines.shape[:2])

    def execute(
        self, jobs: Sequence[tuple[Program, np.ndarray, list[str], list[str]]]
    ) -> list[tuple[dict[str, np.ndarray], dict[str, np.ndarray]]]:
        """Run several programs in one worker.

        Args:
            jobs: each a program, its input `(time, batch, lines)`, and the populations whose spikes and
                whose voltages are wanted.

        Returns:
            Spikes and voltages by population, `(time, batch, size)`, for each job.
        """
        python = find_lava_python()
        if python is None:
            raise TargetError("target lava", "a Python 3.10 with lava-nc", "none", REMEDY)
        with tempfile.TemporaryDirectory(prefix="neurospin-lava-") as name:
            folders = [Path(name) / str(number) for number in range(len(jobs))]
            for folder, job in zip(folders, jobs, strict=True):
                _write(folder, *job)
            self._start(python, folders)
            return [_read(folder, *job) for folder, job in zip(folders, jobs, strict=True)]

    def _start(self, python: Path, folders: list[Path]) -> None:
        memory = int(self.gigabytes * 2**30)
        environment = {key: os.environ[key] for key in ("PATH", "HOME", "TMPDIR", "LANG") if key in os.environ}
        environment |= {"OMP_NUM_THREADS": "1", "PYTHONNOUSERSITE": "1"}
        try:
            done = subprocess.run(
                [str(python), str(WORKER), *map(str, folders)],
                capture_output=True,
                text=True,
                timeout=self.seconds,
                env=environment,
                stdin=subprocess.DEVNULL,
                preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (memory, memory)),
                start_new_session=True,
            )
        except subprocess.TimeoutExpired as error:
            limit = f"an answer within {self.seconds:g} s"
            raise TargetError("target lava", limit, "none", "run fewer samples or steps") from error
        if done.returncode or not (folders[-1] / "result.json").is_file():
            last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
            raise TargetError("target lava", "a worker that ends well", last, "neurospin doctor; then neurospin deploy")


def _write(folder: Path, program: Program, spikes: np.ndarray, fired: list[str], traced: list[str]) -> None:
    folder.mkdir()
    synapses = sum(c.weights.size for c in program.connections)
    content = {
        "input": program.input,
        "populations": {name: {"size": p.size} for name, p in program.populations.items()},
        "connections": [{"source": c.source, "target": c.target, "exponent": c.exponent} for c in program.connections],
        "spikes": fired,
        "voltages": traced,
        "chunk": max(1, SYNAPSES_AT_ONCE // max(1, synapses)),
    }
    arrays: dict[str, np.ndarray] = {"spikes": spikes.astype(np.int8)}
    for name, p in program.populations.items():
        fields = {"du": p.du, "dv": p.dv, "vth": p.vth, "u0": p.u0, "v0": p.v0}
        fields |= {"mantissa": p.bias_mantissa, "exponent": p.bias_exponent}
        arrays.update({f"{name}/{key}": value for key, value in fields.items()})
    arrays.update({f"weights/{number}": c.weights for number, c in enumerate(program.connections)})
    (folder / "program.json").write_text(json.dumps(content))
    np.savez_compressed(folder / "arrays.npz", allow_pickle=False, **arrays)


def _read(
    folder: Path, program: Program, spikes: np.ndarray, fired: list[str], traced: list[str]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    try:
        answer = json.loads((folder / "result.json").read_text())
        if answer["error"]:
            raise TargetError(
                "target lava", "a run without error", str(answer["error"]), "neurospin check, then doctor"
            )
        with np.load(folder / "result.npz", allow_pickle=False) as file:
            found = {name: file[name] for name in file.files}
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise TargetError("target lava", "a result", str(error), "neurospin doctor") from error
    results: list[dict[str, np.ndarray]] = []
    for kind, names in (("spikes", fired), ("voltages", traced)):
        arrays = {}
        for name in names:
            array = found.get(f"{kind}/{name}")
            shape = (*spikes.shape[:2], program.populations[name].size)
            if array is None or array.shape != shape or array.dtype.kind != "i":
                got = "nothing" if array is None else f"{array.dtype} {array.shape}"
                raise TargetError(f"target lava: {kind} of {name}", f"whole numbers {shape}", got, "neurospin doctor")
            arrays[name] = array
        results.append(arrays)
    return results[0], results[1]


target = Lava()
