"""The target "sanafe": the compiled program on SANA-FE's model of Loihi, which adds up energy and time event by event.

SANA-FE (Boyle et al. 2025, doi:10.1109/TCAD.2025.3537971) knows tiles, cores, their network and what each event costs
there. It is GPL: it runs in a worker process, in a Python of its own, with files in and out, and is never imported. It
computes with fractions of 1/64 where the chip cuts, and starts every neuron at rest, so that its spikes need not be the
emulator's: `info["differ"]` says how many are not.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import nir
import numpy as np

from hardware_targets.environment import default_folder, interpreter
from hardware_targets.loihi import cores, emulator, limits
from hardware_targets.loihi.compiler import compile
from hardware_targets.loihi.emulator import Emulation
from hardware_targets.loihi.program import Program, save
from hardware_targets.loihi.target import execute
from hardware_targets.process import work
from neurospin.errors import TargetError
from neurospin.graph.contract import metadata
from neurospin.target import Problem, Report

PYTHON = "NEUROSPIN_SANAFE_PYTHON"
REMEDY = f"neurospin doctor --setup-sanafe, or set {PYTHON} to a Python that has sanafe"
WORKER = Path(__file__).with_name("worker.py")
INPUTS = 1024
"""Inputs of one core."""
SOURCE = "SANA-FE 2.2.9, its Loihi after Davies et al. 2018; Boyle et al. 2025, doi:10.1109/TCAD.2025.3537971"
PARTS = {"synapse": "synaptic", "dendrite": "dendrites", "soma": "neuron_updates", "network": "messages"}


def find_python() -> tuple[str, str]:
    """The interpreter that runs the worker, or why there is none: `(path, reason)`, one of them empty."""
    named = os.environ.get(PYTHON, "")
    if named:
        there = os.access(named, os.X_OK) and Path(named).is_file()
        return (named, "") if there else ("", f"{PYTHON} is {named}, which is no program")
    python = interpreter(default_folder("sanafe"))
    return (str(python), "") if python.is_file() else ("", "no Python with sanafe found")


@dataclass
class SanaFe:
    """Runs a graph on SANA-FE's Loihi, sample by sample: energy, seconds, and spikes close to the chip's.

    Attributes:
        timeout: seconds after which a run is ended (default 1800).
    """

    name: str = field(default="sanafe", init=False)
    timeout: float = 1800.0

    def unavailable(self) -> str:
        """Why SANA-FE cannot run here, with the remedy; empty where it can."""
        reason = find_python()[1]
        return f"{reason}: {REMEDY}" if reason else ""

    def check(self, graph: nir.NIRGraph) -> list[Problem]:
        """What the chip cannot hold, and delays, which SANA-FE's Loihi counts in another way."""
        problems, dt = limits.check(graph), metadata(graph).get("dt")
        if problems or dt is None:
            return problems
        try:
            return _delays(compile(graph, dt))
        except TargetError as error:
            return [Problem(error.where, error.expected, error.got, error.fix)]

    def run(
        self, graph: nir.NIRGraph, spikes: np.ndarray, *, dt: float, seed: int = 0, record: Iterable[str] = ()
    ) -> Report:
        """Compile a graph and run it on spikes of shape `(time, batch, *input)`.

        The report's energy is SANA-FE's, in joules of all samples. Its `info` has `seconds`, of all samples one after
        the other; `each`, joules and seconds of every sample; `table`, the joules that `neurospin.energy.LOIHI` gives for
        the same run on the emulator; `differ`, the share of spikes of all populations that are not the emulator's; and
        `counts`, synaptic operations of both.

        Args:
            graph: a NIR graph without delay lines.
            spikes: zeros and ones.
            dt: step in seconds.
            seed: changes nothing.
            record: names of neuron nodes whose output is wanted as well.

        Raises:
            InputError: the input has the wrong shape or other values than 0 and 1.
            TargetError: the graph does not fit, or SANA-FE is not there, failed or took too long.
            UnknownName: a recorded name is no neuron of the graph.
        """
        found: dict[str, np.ndarray] = {}
        truth: list[Emulation] = []

        def engine(
            program: Program, array: np.ndarray, spiking: tuple[str, ...], readouts: tuple[str, ...]
        ) -> Emulation:
            problems = _delays(program)
            if problems:
                first = problems[0]
                raise TargetError(f"sanafe: {first.node}", first.limit, first.value, first.fix)
            found.update(self.execute(program, array, readouts))
            truth.append(emulator.run(program, array, [p.name for p in program.populations if p.spiking]))
            ours = {kind: {n: found[f"{kind}/{n}"] for n in names} for kind, names in
                    (("spikes", spiking), ("voltages", readouts))}  # fmt: skip
            return Emulation(ours["spikes"], ours["voltages"], truth[0].operations)

        report = execute(graph, spikes, dt, record, engine)
        pairs = [(found[f"spikes/{name}"], fired) for name, fired in truth[0].spikes.items()]
        info = {
            **report.info,
            "energy_source": SOURCE,
            "seconds": [float(found["seconds"].sum())] * 2,
            "each": {"joules": found["energy/total"].tolist(), "seconds": found["seconds"].tolist()},
            "table": report.energy,
            "differ": sum(int((a != b).sum()) for a, b in pairs) / max(sum(a.size for a, _ in pairs), 1),
            "counts": {"sanafe": float(found["synaptic"].sum()), "emulator": report.operations["synaptic"]},
        }
        energy = {ours: [float(found[f"energy/{theirs}"].sum())] * 2 for theirs, ours in PARTS.items()}
        return replace(report, energy=energy, info=info)

    def execute(self, program: Program, spikes: np.ndarray, voltages: tuple[str, ...]) -> dict[str, np.ndarray]:
        """Run a compiled program; gives the arrays that the worker writes.

        Raises:
            TargetError: SANA-FE is not there, failed or took too long.
        """
        python, reason = find_python()
        if not python:
            raise TargetError("sanafe", "a Python with sanafe", reason, REMEDY)
        links = [cores.Link(p.source, p.target, p.weights, p.delay > 0) for p in program.projections]
        placed = cores.partition({p.name: p.size for p in program.populations}, links)
        used = len(placed) + -(-spikes.shape[2] // INPUTS)
        if used > cores.CORES:
            fix = "make the network smaller"
            raise TargetError("sanafe", f"{cores.CORES} cores, inputs included", str(used), fix)
        job = {"cores": [[c.population, c.first, c.neurons] for c in placed], "voltages": list(voltages)}
        with tempfile.TemporaryDirectory(prefix="neurospin-sanafe-") as name:
            folder = Path(name)
            save(program, folder)
            np.savez(folder / "input.npz", spikes=spikes.astype(np.uint8))
            (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
            command = [python, "-I", str(WORKER), str(folder)]
            environment = {**os.environ, "OMP_NUM_THREADS": "1"}
            work("sanafe", command, folder, timeout=self.timeout, environment=environment, remedy=REMEDY)
            with np.load(folder / "output.npz", allow_pickle=False) as file:
                return {key: file[key] for key in file.files}


def _delays(program: Program) -> list[Problem]:
    late = next((p.target for p in program.projections if p.delay), None)
    fix = "make the paths equally long"
    return [] if late is None else [Problem(late, "synapses of one step", "a delay line", fix)]


target = SanaFe()
