"""The target "loihi": a graph compiled to the chip's integers and run by the emulator."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import nir
import numpy as np

from hardware_targets.loihi import cores, limits
from hardware_targets.loihi.calibrate import calibrate
from hardware_targets.loihi.compiler import CAUSES, compile, rounding
from hardware_targets.loihi.emulator import Emulation
from hardware_targets.loihi.emulator import run as emulate
from hardware_targets.loihi.program import Program
from hardware_targets.loihi.quantise import NEAREST, Scheme
from neurospin.energy import LOIHI, estimate
from neurospin.errors import InputError, unknown_name
from neurospin.graph.contract import check_input, check_record
from neurospin.target import Problem, Report


class Loihi:
    """Runs a graph in Loihi's integer arithmetic, on this machine; equal to lava-nc 0.10 `fixed_pt`.

    Args:
        causes: what is rounded; the chip rounds everything (default).
        scaling: integer steps per volt of each `"neuron"` (default), or one number for each `"layer"`, whose neurons then
            share thresholds as far as the graph's do.
        rounding: of weights, to the `"nearest"` (default) or `"stochastic"`, with the seed of the run.

    Raises:
        UnknownName: a scaling or rounding that is none.
    """

    name = "loihi"
    causes = CAUSES
    settings = ("scaling", "rounding")

    def __init__(self, causes: Iterable[str] = CAUSES, *, scaling: str = "neuron", rounding: str = "nearest") -> None:
        self.acting = tuple(causes)
        self.scheme = Scheme(scaling, rounding)

    def only(self, causes: Iterable[str]) -> Loihi:
        """The same arithmetic with just these roundings."""
        return Loihi(causes, scaling=self.scheme.scaling, rounding=self.scheme.rounding)

    def adjusted(self, **settings: Any) -> Loihi:
        """The same target with other settings."""
        return Loihi(self.acting, **{**self.scheme.settings(), **settings})

    def unavailable(self) -> str:
        """Always there."""
        return ""

    def check(self, graph: nir.NIRGraph) -> list[Problem]:
        """Every node, loop, reset and value that the chip cannot hold."""
        return limits.check(graph)

    def rounding(
        self, graph: nir.NIRGraph, dt: float, *, spikes: np.ndarray | None = None, seed: int = 0
    ) -> dict[str, Any]:
        """Scale of every neuron and exponents of its synapses; a graph whose metadata hold them is rounded so.

        Args:
            graph: a NIR graph.
            dt: step in seconds.
            spikes: zeros and ones, `(time, batch, *input)`, on which the best is searched for (`calibrate`).
            seed: of stochastic rounding.
        """
        return settled(graph, dt, spikes, self.scheme.with_seed(seed))

    def run(
        self, graph: nir.NIRGraph, spikes: np.ndarray, *, dt: float, seed: int = 0, record: Iterable[str] = ()
    ) -> Report:
        """Compile and run a graph on spikes of shape `(time, batch, *input)`.

        Args:
            graph: a NIR graph.
            spikes: zeros and ones.
            dt: step in seconds.
            seed: of stochastic rounding; the chip's arithmetic is deterministic.
            record: names of neuron nodes whose output is wanted as well.

        Raises:
            InputError: the input has the wrong shape or other values than 0 and 1.
            TargetError: the graph does not fit the chip.
            UnknownName: a recorded name is no neuron of the graph.
        """

        def engine(
            program: Program, array: np.ndarray, spiking: tuple[str, ...], readouts: tuple[str, ...]
        ) -> Emulation:
            return emulate(program, array, spiking, readouts, spiking)

        return execute(graph, spikes, dt, record, engine, self.scheme.with_seed(seed), self.acting)


def settled(graph: nir.NIRGraph, dt: float, spikes: np.ndarray | None, scheme: Scheme) -> dict[str, Any]:
    """How a graph is rounded, as metadata: as it is without spikes, as is best for them with spikes."""
    return rounding(graph, dt, scheme) if spikes is None else calibrate(graph, _binary(graph, spikes), dt, scheme)


Engine = Callable[[Program, np.ndarray, tuple[str, ...], tuple[str, ...]], Emulation]


def execute(
    graph: nir.NIRGraph,
    spikes: np.ndarray,
    dt: float,
    record: Iterable[str],
    engine: Engine,
    scheme: Scheme = NEAREST,
    causes: Iterable[str] = CAUSES,
) -> Report:
    """Compile a graph, run it on an engine of integer programs, and report in model units.

    Args:
        graph: a NIR graph.
        spikes: zeros and ones, `(time, batch, *input)`.
        dt: step in seconds.
        record: names of neuron nodes whose output is wanted as well.
        engine: what runs the program on `(time, batch, size of the input)`: the emulator, or Lava.
        scheme: how it is rounded where the graph's metadata do not say it.
        causes: what is rounded.
    """
    array = _binary(graph, spikes)
    wanted = check_record(graph, record)
    program = compile(graph, dt, causes, scheme)
    known = [population.name for population in program.populations]
    for name in wanted:
        if name not in known:  # a Delay is folded into synapses
            raise unknown_name("record", name, known, "neuron")
    names = tuple(dict.fromkeys((program.output, *wanted)))
    spiking = tuple(n for n in names if program.population(n).spiking)
    readouts = tuple(n for n in names if not program.population(n).spiking)
    steps, batch = array.shape[:2]
    result = engine(program, array.reshape(steps, batch, -1), spiking, readouts)
    outputs: dict[str, np.ndarray] = {}
    for name in names:
        population = program.population(name)
        flat = result.spikes[name] if population.spiking else population.voltage(result.voltages[name])
        outputs[name] = flat.astype(np.float32).reshape(steps, batch, *population.shape)
    links = [cores.Link(p.source, p.target, p.weights, p.delay > 0) for p in program.projections]
    placed = cores.partition({p.name: p.size for p in program.populations}, links)
    info: dict[str, Any] = {
        "latency": {name: program.population(name).depth for name in wanted},
        "approximations": [dict(note) for note in program.approximations],
        "populations": {p.name: p.size for p in program.populations},
        "cores": len(placed),
        "partition": cores.summary(placed),
        "synapses": sum(p.weights.nnz for p in program.projections),
    }
    output = outputs[program.output].reshape(steps, batch, *program.output_shape)
    records = {name: outputs[name] for name in wanted}
    volts = {}
    for name in (n for n in wanted if n in result.before_reset):
        population = program.population(name)
        volts[name] = population.voltage(result.before_reset[name]).reshape(steps, batch, *population.shape)
    energy: dict[str, list[float]] = {}
    if "synaptic" in result.operations:  # what an outside engine cannot count is not priced
        cost = estimate(result.operations, LOIHI, steps=steps * batch, cores=info["cores"])
        energy = {part: list(joules) for part, joules in cost.joules.items()}
        info |= {"energy_source": cost.source, "seconds": list(cost.seconds or ())}
    return Report(output, program.latency, result.operations, energy, info, records, volts)


def _binary(graph: nir.NIRGraph, spikes: np.ndarray) -> np.ndarray:
    """The input, after it is found to be spikes."""
    array = check_input(graph, spikes)
    odd = int(((array != 0) & (array != 1)).sum())
    if odd:
        raise InputError("spikes", "zeros and ones", f"{odd} other values", "encode the input as spikes")
    return array


target = Loihi()
