"""From a NIR graph to a chip's integers, with a list of everything that was approximated."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import nir
import numpy as np

from hardware_targets.loihi import limits, quantise
from hardware_targets.loihi.program import Population, Program, Projection
from hardware_targets.loihi.rewind import rewind
from hardware_targets.loihi.wiring import Wire, Wiring, fold, node_shape
from neurospin.errors import TargetError
from neurospin.graph.contract import metadata
from neurospin.graph.order import SPIKING

Approximation = dict[str, Any]
CAUSES = ("weights", "decays", "thresholds", "biases", "start", "arithmetic")
"""What makes the program differ from the graph: weights of 8 bits, decays of 12, thresholds of 17, biases of 13; the
start, which is wound back by the latency; and the state in whole numbers, which are cut, wrapped and clipped."""


def compile(graph: nir.NIRGraph, dt: float, causes: Iterable[str] = CAUSES) -> Program:
    """Compile a graph for the chip.

    Chains of linear nodes become one matrix of synapses; each synapse takes one step, so that a
    population at depth k runs k steps late, starts from a state that was wound back by k steps, and
    shorter paths get a delay. A loop over several populations has a synapse too many: it takes longer
    than in the graph, which `approximations` states.

    Args:
        graph: a NIR graph of linear nodes and IF, LIF, CubaLIF, LI, CubaLI; nested graphs and loops included.
        dt: step in seconds.
        causes: what is rounded, of `CAUSES`. For one left out, the program holds exact fractions at the same
            scales, and waits for its input instead of winding back; a certificate tells causes apart so.

    Raises:
        TargetError: the graph does not fit the chip; `check` lists every reason.
    """
    problems = limits.check(graph, dt)
    if problems:
        first = problems[0]
        raise TargetError(f"loihi: {first.node or 'graph'}", first.limit, first.value, first.fix)
    acting = frozenset(causes)
    wiring = fold(graph, dt)
    depth = _depths(wiring)
    recorded = _recorded(graph)
    populations, projections = [], []
    approximations: list[Approximation] = []
    for name, node in wiring.nodes.items():
        wires = [wire for wire in wiring.wires if wire.target == name]
        grid = recorded.get(name)
        population, synapses, notes = _population(name, node, wires, wiring.drive[name], depth, dt, acting, grid)
        populations.append(population)
        projections += synapses
        approximations += notes
    return Program(
        dt, wiring.input, wiring.input_shape, wiring.output, wiring.output_shape,
        tuple(populations), tuple(projections), tuple(approximations),
        whole="arithmetic" in acting, wound_back="start" in acting,
    )  # fmt: skip


def rounding(graph: nir.NIRGraph, dt: float) -> dict[str, Any]:
    """On what the weights of every population are rounded, as metadata; `compile` keeps to it where it finds it."""
    wiring = fold(graph, dt)
    depth, found, recorded = _depths(wiring), {}, _recorded(graph)
    for name, node in wiring.nodes.items():
        neuron = quantise.model(node, wiring.drive[name], dt)
        matrices = [neuron.gain[:, None] * wire.matrix for wire in wiring.wires if wire.target == name]
        given = recorded.get(name)
        kept = given if given is not None and quantise.fits(neuron, matrices, depth[name], given) else None
        grid = quantise.weights(neuron, matrices, depth[name], kept)[2]
        found[name] = {"scale": grid.scale.copy(), "exponents": list(grid.exponents)}
    return {"neurons": found}


def _recorded(graph: nir.NIRGraph) -> dict[str, quantise.Grid]:
    """The grids that the metadata tell for this chip; an entry that is none is left out."""
    about = metadata(graph).get("quantisation")
    found: dict[str, quantise.Grid] = {}
    if not isinstance(about, dict) or about.get("target") not in ("loihi", "lava"):
        return found
    entries = about.get("neurons")
    for name, told in entries.items() if isinstance(entries, dict) else ():
        try:
            scale = np.asarray(told["scale"], np.float64)
            found[name] = quantise.Grid(scale, tuple(int(exponent) for exponent in told["exponents"]))
        except (TypeError, ValueError, LookupError):
            found[name] = quantise.Grid(np.zeros(0), ())  # fits nothing, which is told
    return found


def _depths(wiring: Wiring) -> dict[str, int]:
    """How many steps each population runs late; the fewest that let every synapse take its step.

    A back edge that would make some loop run ahead of itself is left out; `_projection` says so.
    """
    kept = [wire for wire in wiring.wires if not wire.back]
    depth = _relax(wiring, kept)
    assert depth is not None  # without back edges there is no loop
    for wire in (w for w in wiring.wires if w.back):
        tried = _relax(wiring, [*kept, wire])
        if tried is not None:
            kept, depth = [*kept, wire], tried
    return depth


def _relax(wiring: Wiring, wires: list[Wire]) -> dict[str, int] | None:
    """Longest paths from the input; `None` where a loop has no end."""
    depth = dict.fromkeys([wiring.input, *wiring.nodes], 0)
    for _ in range(len(depth) + 1):
        late = [w for w in wires if depth[w.source] + 1 - w.held > depth[w.target]]
        if not late:
            return depth
        for w in late:
            depth[w.target] = max(depth[w.target], depth[w.source] + 1 - w.held)
    return None


def _population(
    name: str,
    node: nir.NIRNode,
    wires: list[Wire],
    drive: np.ndarray,
    depth: dict[str, int],
    dt: float,
    acting: frozenset[str],
    grid: quantise.Grid | None,
) -> tuple[Population, list[Projection], list[Approximation]]:
    neuron = quantise.model(node, drive, dt)
    matrices = [neuron.gain[:, None] * wire.matrix for wire in wires]
    stale = grid is not None and not quantise.fits(neuron, matrices, depth[name], grid)
    scale, found, _ = quantise.weights(neuron, matrices, depth[name], None if stale else grid)
    if "decays" in acting:
        du, dv = quantise.decays(neuron)
    else:
        du, dv = limits.DECAY_ONE * neuron.decay_u - 1, limits.DECAY_ONE * neuron.decay_v
    spiking = isinstance(node, SPIKING)
    vth = np.full(drive.shape, limits.THRESHOLD)
    if spiking and "thresholds" in acting:
        vth = quantise.threshold_register(neuron.threshold, scale).astype(np.int64)
    elif spiking:
        vth = neuron.threshold * scale / (1 << limits.SHIFT)
    mantissa, exponent = neuron.bias * scale, np.zeros(drive.shape, np.int64)
    if "biases" in acting:
        mantissa, exponent = _bias(mantissa)
    whole = "arithmetic" in acting
    start_u = np.where(du + 1 < limits.DECAY_ONE, neuron.u0 * scale, 0)
    start_v = neuron.v0 * scale
    if whole:
        start_u, start_v = (np.rint(start).astype(np.int64) for start in (start_u, start_v))
    u0, v0 = start_u, start_v
    if "start" in acting:
        ceiling = vth * (1 << limits.SHIFT)
        u0, v0 = rewind(u0, v0, du, dv, mantissa * 2**exponent, ceiling, depth[name], whole=whole)
    population = Population(
        name,
        node_shape(node),
        spiking,
        depth[name],
        du,
        dv,
        vth,
        mantissa,
        exponent,
        u0,
        v0,
        scale,
        neuron.zero,
    )
    projections, notes = [], []
    for wire, matrix, weights in zip(wires, matrices, found, strict=True):
        delay, late = _delay(wire, depth)
        integers: np.ndarray = weights.mantissas
        if "weights" not in acting:
            integers = matrix * scale[:, None] / 2.0 ** (weights.exponent + limits.SHIFT)
        projections.append(Projection(wire.source, name, integers, weights.exponent, delay))
        if late:
            what = f"the loop from {wire.source} back to {name} takes more steps than in the graph"
            notes.append({"node": name, "what": what, "size": late})
        notes += _weight_notes(wire, matrix, weights, scale)
    if acting != frozenset(CAUSES):
        return population, projections, []  # part of a certificate, which tells sizes of its own
    notes += _neuron_notes(neuron, population, start_u, start_v)
    if stale:
        notes.append({"node": name, "what": "the recorded quantisation does not fit and was chosen anew", "size": 1})
    clips = quantise.reach(neuron, matrices).low * scale > limits.STATE
    if spiking and clips.any():
        what = "voltage stops where inhibition goes on, this many thresholds below the reset"
        notes.append(
            {"node": name, "what": what, "size": float((limits.STATE / (vth * (1 << limits.SHIFT)))[clips].min())}
        )
    return population, projections, notes


def _bias(value: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mantissa and the smallest exponent that holds each bias."""
    size = np.maximum(np.abs(value) / limits.BIAS_MANTISSA, 1.0)
    exponent = np.clip(np.ceil(np.log2(size)), 0, limits.BIAS_EXPONENT).astype(np.int64)
    mantissa = np.clip(np.rint(value / 2.0**exponent), -limits.BIAS_MANTISSA, limits.BIAS_MANTISSA)
    return mantissa.astype(np.int64), exponent


def _delay(wire: Wire, depth: dict[str, int]) -> tuple[int, int]:
    """Extra steps of a projection, and by how many steps it arrives late all the same."""
    lag = depth[wire.target] + wire.held - depth[wire.source]
    if lag - 1 > limits.DELAY:
        raise TargetError(
            f"loihi: {wire.target}", f"delays of at most {limits.DELAY} steps", f"{lag - 1} from {wire.source}",
            "shorten the delay or the path around it",
        )  # fmt: skip
    return max(lag - 1, 0), max(1 - lag, 0)


def _weight_notes(wire: Wire, matrix: np.ndarray, weights: quantise.Weights, scale: np.ndarray) -> list[Approximation]:
    notes: list[Approximation] = []
    unit = 2.0 ** (weights.exponent + limits.SHIFT)
    off = np.abs(weights.mantissas * unit / scale[:, None] - matrix)
    largest = np.abs(matrix).max(axis=1, keepdims=True)
    relative = float(np.divide(off, largest, out=np.zeros_like(off), where=largest > 0).max())
    source = f"from {wire.source}"
    if relative > quantise.EXACT:
        what = f"weights {source} rounded to 8 bits: largest error, of the neuron's largest weight"
        notes.append({"node": wire.target, "what": what, "size": relative})
    zeroed = int(((weights.mantissas == 0) & (matrix != 0)).sum())
    if zeroed:
        notes.append({"node": wire.target, "what": f"weights {source} rounded to zero: count", "size": zeroed})
    if weights.exponent < 0:
        what = f"summed weights {source} shifted right: bits cut"
        notes.append({"node": wire.target, "what": what, "size": -weights.exponent})
    return notes


def _neuron_notes(
    neuron: quantise.Model, population: Population, start_u: np.ndarray, start_v: np.ndarray
) -> list[Approximation]:
    notes: list[Approximation] = []

    def note(what: str, off: np.ndarray, scale: np.ndarray) -> None:
        size = np.divide(np.abs(off), np.abs(scale), out=np.abs(off).astype(float), where=scale != 0)
        if size.size and float(size.max()) > 1e-6:
            notes.append({"node": population.name, "what": what, "size": float(size.max())})

    one = limits.DECAY_ONE
    note(
        "current decay rounded to 12 bits: relative error",
        (population.du + 1) / one - neuron.decay_u,
        neuron.decay_u,
    )
    note(
        "voltage decay rounded to 12 bits: relative error",
        population.dv / one - neuron.decay_v,
        neuron.decay_v,
    )
    reach = neuron.threshold if population.spiking else limits.STATE / population.scale
    note(
        "bias rounded to 13 bits: error, of the voltage range",
        population.bias / population.scale - neuron.bias,
        reach,
    )
    if population.spiking:
        threshold = (population.vth << limits.SHIFT) / population.scale
        note("threshold rounded to 17 bits: relative error", threshold - neuron.threshold, neuron.threshold)
    u, v, fired = _forward(population)
    off = np.where(population.du + 1 < limits.DECAY_ONE, u - start_u, 0) + v - start_v
    note("start not wound back exactly: error, of the voltage range", off / population.scale, reach)
    if fired:
        what = "neurons spike before their input starts: count"
        notes.append({"node": population.name, "what": what, "size": fired})
    return notes


def _forward(population: Population) -> tuple[np.ndarray, np.ndarray, int]:
    """The state after `depth` steps without input, and how many neurons spiked on the way."""
    one = limits.DECAY_ONE
    u, v, fired = population.u0, population.v0, np.zeros(population.size, bool)
    for _ in range(population.depth):
        u = np.sign(u) * (np.abs(u) * (one - population.du - 1) // one)
        v = np.sign(v) * (np.abs(v) * (one - population.dv) // one) + u + population.bias
        v = np.clip(v, -limits.STATE, limits.STATE)
        spike = (v > population.vth << limits.SHIFT) & population.spiking
        fired |= spike
        v = np.where(spike, 0, v)
    return u, v, int(fired.sum())
