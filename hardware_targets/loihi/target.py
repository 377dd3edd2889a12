"""The Loihi target: the compiled program on the bit-exact emulator."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import nir
import numpy as np

from hardware_targets.loihi import limits
from hardware_targets.loihi.compiler import compile_graph
from hardware_targets.loihi.emulator import emulate
from hardware_targets.loihi.program import Population, Program
from hardware_targets.loihi.wiring import wire
from neurospin.errors import InputError, NeurospinError
from neurospin.graph.contract import metadata
from neurospin.target import Problem, Report


class Loihi:
    """Fixed-point arithmetic of Loihi, equal to lava-nc 0.10 in every spike. No chip was used."""

    name = "loihi"

    def unavailable(self) -> str:
        """Always there."""
        return ""

    def check(self, graph: nir.NIRGraph) -> list[Problem]:
        """What keeps the graph from being compiled; see `hardware_targets.loihi.limits`."""
        return problems(graph)

    def run(
        self, graph: nir.NIRGraph, spikes: np.ndarray, *, dt: float, seed: int = 0, record: Iterable[str] = ()
    ) -> Report:
        """Compile and emulate; `seed` changes nothing.

        Raises:
            InputError: the input is not 0 or 1.
        """
        wanted = tuple(record)
        program = compile_graph(graph, dt)
        lines = binary_lines(spikes)
        spiking = [n for n in {*wanted, program.output} if program.populations[n].spiking]
        silent = [n for n in {*wanted, program.output} if not program.populations[n].spiking]
        result = emulate(program, lines, spiking, silent)
        return report(program, result.spikes, result.voltages, result.fired, wanted, lines.shape[:2])


def problems(graph: nir.NIRGraph) -> list[Problem]:
    """What keeps a graph from being compiled, its loops included."""
    found = limits.check(graph)
    if found:
        return found
    try:
        wire(graph, float(metadata(graph).get("dt", 1e-3)))
    except NeurospinError as error:
        return [Problem(error.where, error.expected, error.got, error.fix)]
    except (ValueError, TypeError, RuntimeError) as error:  # a malformed graph is a problem, not a crash
        return [Problem("", "a well-formed graph", str(error), "read it with neurospin.read")]
    return []


def binary_lines(spikes: np.ndarray) -> np.ndarray:
    """The input as `(time, batch, lines)`, after every value is found to be 0 or 1."""
    odd = int(((spikes != 0) & (spikes != 1)).sum())
    if odd:
        raise InputError("spikes", "0 or 1, which is what the chip receives", f"{odd} other values", "encode as spikes")
    return spikes.reshape(*spikes.shape[:2], -1)


def model_voltage(population: Population, counts: np.ndarray) -> np.ndarray:
    """Voltages in model units."""
    return (counts / population.scale + population.offset).astype(np.float32)


def report(
    program: Program,
    spikes: Mapping[str, np.ndarray],
    voltages: Mapping[str, np.ndarray],
    fired: Mapping[str, int],
    wanted: tuple[str, ...],
    shape: tuple[int, ...],
) -> Report:
    """What a run of the program gave, in the terms of the graph."""

    def shown(name: str) -> np.ndarray:
        population = program.populations[name]
        values = spikes[name].astype(np.float32) if population.spiking else model_voltage(population, voltages[name])
        return values.reshape(*shape, *program.shapes[name])

    info: dict[str, Any] = {
        "latency": {name: program.populations[name].depth for name in wanted},
        "approximations": program.approximations,
        "arithmetic": "lava-nc 0.10 fixed point",
    }
    return Report(
        shown(program.output),
        program.populations[program.output].depth,
        operations(program, fired, shape),
        {},
        info,
        {name: shown(name) for name in wanted},
    )


def operations(program: Program, fired: Mapping[str, int], shape: tuple[int, ...]) -> dict[str, float]:
    """Work of a run: a synaptic operation per spike and synapse row, an update per neuron and step."""
    steps = shape[0] * shape[1]
    synaptic = sum(
        fired.get(c.source, 0) * float((c.weights != 0).sum()) / max(1, c.weights.shape[1]) for c in program.connections
    )
    neurons = sum(p.size for p in program.populations.values())
    total = sum(count for name, count in fired.items() if name != program.input)
    return {"synaptic": synaptic, "neuron_updates": float(steps * neurons), "spikes": float(total)}


target = Loihi()
