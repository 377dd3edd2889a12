"""From a NIR graph to a chip's integers, with a list of everything that was approximated."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import nir
import numpy as np

from hardware_targets.loihi import limits, quantise
from hardware_targets.loihi.neuron import Model, decays, model, threshold_register
from hardware_targets.loihi.notes import Approximation, neuron_notes, weight_notes
from hardware_targets.loihi.program import Population, Program, Projection
from hardware_targets.loihi.quantise import NEAREST, Grid, Laid, Scheme
from hardware_targets.loihi.rewind import rewind
from hardware_targets.loihi.sparse import Matrix, row_of, with_values
from hardware_targets.loihi.wiring import Wire, Wiring, node_shape
from neurospin.errors import TargetError
from neurospin.graph.contract import metadata
from neurospin.graph.order import SPIKING

CAUSES = ("weights", "decays", "thresholds", "biases", "start", "arithmetic")
"""What makes the program differ from the graph: weights of 8 bits, decays of 12, thresholds of 17, biases of 13; the
start, which is wound back by the latency; and the state in whole numbers, which are cut, wrapped and clipped."""


def compile(graph: nir.NIRGraph, dt: float, causes: Iterable[str] = CAUSES, scheme: Scheme = NEAREST) -> Program:
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
        scheme: how scales and weights are rounded where the graph's metadata do not settle it.

    Raises:
        TargetError: the graph does not fit the chip; `check` lists every reason.
    """
    wiring, found = layers(graph, dt, scheme)
    return program(wiring, found, dt, causes)


def program(wiring: Wiring, layers: list[Layer], dt: float, causes: Iterable[str]) -> Program:
    """The populations of a graph, as they are laid, with just these causes."""
    acting = frozenset(causes)
    populations, projections = [], []
    notes: list[Approximation] = []
    for layer in layers:
        population, start = layer.population(layer.laid, acting)
        synapses = layer.projections(layer.laid, acting)
        populations.append(population)
        projections += synapses
        if acting == frozenset(CAUSES):  # what a part of them does, a certificate measures
            notes += layer.notes(population, synapses, start)
    return Program(
        dt, wiring.input, wiring.input_shape, wiring.output, wiring.output_shape,
        tuple(populations), tuple(projections), tuple(notes),
        whole="arithmetic" in acting, wound_back="start" in acting,
    )  # fmt: skip


def rounding(graph: nir.NIRGraph, dt: float, scheme: Scheme = NEAREST) -> dict[str, Any]:
    """On what the weights of every population are rounded, as metadata; `compile` keeps to it where it finds it."""
    return {"neurons": {layer.name: layer.laid.grid.to_dict() for layer in layers(graph, dt, scheme)[1]}}


@dataclass(frozen=True)
class Layer:
    """One population of a graph, ready to be laid on a grid.

    Attributes:
        name: of its node.
        node: the neurons.
        neuron: their constants.
        wires: what arrives.
        matrices: of each wire, the weights in volts a step.
        depths: steps by which every population runs late, by name.
        laid: the weights as they are rounded.
        stale: whether the metadata tell a grid that does not fit.
    """

    name: str
    node: nir.NIRNode
    neuron: Model
    wires: list[Wire]
    matrices: list[Matrix]
    depths: dict[str, int]
    laid: Laid
    stale: bool

    @property
    def depth(self) -> int:
        """Steps by which this population runs late."""
        return self.depths[self.name]

    @property
    def spiking(self) -> bool:
        """False for a readout."""
        return isinstance(self.node, SPIKING)

    def delay(self, wire: Wire) -> tuple[int, int]:
        """Extra steps of a projection, and by how many steps it arrives late all the same."""
        lag = self.depth + wire.held - self.depths[wire.source]
        if lag - 1 > limits.DELAY:
            got = f"{lag - 1} from {wire.source}"
            fix = "shorten the delay or the path around it"
            raise TargetError(f"loihi: {self.name}", f"delays of at most {limits.DELAY} steps", got, fix)
        return max(lag - 1, 0), max(1 - lag, 0)

    def population(self, laid: Laid, acting: frozenset[str]) -> tuple[Population, tuple[np.ndarray, np.ndarray]]:
        """The registers, and the current and voltage from which they should start after the latency."""
        neuron, scale = self.neuron, laid.scale
        if "decays" in acting:
            du, dv = decays(neuron)
        else:
            du, dv = limits.DECAY_ONE * neuron.decay_u - 1, limits.DECAY_ONE * neuron.decay_v
        vth = np.full(scale.shape, limits.THRESHOLD)
        if self.spiking and "thresholds" in acting:
            vth = threshold_register(neuron.threshold, scale).astype(np.int64)
        elif self.spiking:
            vth = neuron.threshold * scale / (1 << limits.SHIFT)
        mantissa, exponent = neuron.bias * scale, np.zeros(scale.shape, np.int64)
        if "biases" in acting:
            mantissa, exponent = _bias(mantissa)
        whole = "arithmetic" in acting
        u0, v0 = np.where(du + 1 < limits.DECAY_ONE, neuron.u0 * scale, 0), neuron.v0 * scale
        if whole:
            u0, v0 = (np.rint(start).astype(np.int64) for start in (u0, v0))
        start = u0, v0
        if "start" in acting:
            ceiling = vth * (1 << limits.SHIFT)
            u0, v0 = rewind(u0, v0, du, dv, mantissa * 2**exponent, ceiling, self.depth, whole=whole)
        made = Population(
            self.name, node_shape(self.node), self.spiking, self.depth,
            du, dv, vth, mantissa, exponent, u0, v0, scale, neuron.zero,
        )  # fmt: skip
        return made, start

    def projections(self, laid: Laid, acting: frozenset[str]) -> list[Projection]:
        """The synapses."""
        made = []
        for wire, matrix, weights in zip(self.wires, self.matrices, laid.weights, strict=True):
            values = weights.mantissas
            if "weights" not in acting:
                unit = 2.0 ** (weights.exponent + limits.SHIFT)
                values = with_values(matrix, matrix.data * laid.scale[row_of(matrix)] / unit)
            made.append(Projection(wire.source, self.name, values, weights.exponent, self.delay(wire)[0]))
        return made

    def notes(
        self, population: Population, projections: list[Projection], start: tuple[np.ndarray, np.ndarray]
    ) -> list[Approximation]:
        """What was approximated, and how much."""
        notes: list[Approximation] = []
        for wire, matrix, projection in zip(self.wires, self.matrices, projections, strict=True):
            late = self.delay(wire)[1]
            if late:
                what = f"the loop from {wire.source} back to {self.name} takes more steps than in the graph"
                notes.append({"node": self.name, "what": what, "size": late})
            notes += weight_notes(matrix, projection, population.scale)
        notes += neuron_notes(self.neuron, self.matrices, population, *start)
        if self.stale:
            what = "the recorded quantisation does not fit and was chosen anew"
            notes.append({"node": self.name, "what": what, "size": 1})
        return notes


def layers(graph: nir.NIRGraph, dt: float, scheme: Scheme = NEAREST) -> tuple[Wiring, list[Layer]]:
    """The folded graph and its populations, each laid as the metadata tell or as the scheme allows.

    Raises:
        TargetError: the graph does not fit the chip.
    """
    problems, wiring = limits.examined(graph, dt)
    if wiring is None or problems:
        first = problems[0]
        raise TargetError(f"loihi: {first.node or 'graph'}", first.limit, first.value, first.fix)
    depths, recorded, found = _depths(wiring), _recorded(graph), []
    for name, node in wiring.nodes.items():
        neuron = model(node, wiring.drive[name], dt)
        wires = [wire for wire in wiring.wires if wire.target == name]
        matrices = [with_values(w.matrix, w.matrix.data * neuron.gain[row_of(w.matrix)]) for w in wires]
        grid = recorded.get(name)
        kept = grid if grid is not None and quantise.fits(neuron, matrices, depths[name], grid) else None
        laid = (
            quantise.laid(neuron, matrices, kept) if kept else quantise.chosen(neuron, matrices, depths[name], scheme)
        )
        stale = grid is not None and kept is None
        found.append(Layer(name, node, neuron, wires, matrices, depths, laid, stale))
    return wiring, found


def _recorded(graph: nir.NIRGraph) -> dict[str, Grid]:
    """The grids that the metadata tell for this chip."""
    about = metadata(graph).get("quantisation")
    if not isinstance(about, dict) or about.get("target") not in ("loihi", "lava"):
        return {}
    entries = about.get("neurons")
    return {name: Grid.from_dict(told) for name, told in entries.items()} if isinstance(entries, dict) else {}


def _depths(wiring: Wiring) -> dict[str, int]:
    """How many steps each population runs late; the fewest that let every synapse take its step.

    A back edge that would make some loop run ahead of itself is left out; `compile` says so.
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


def _bias(value: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mantissa and the smallest exponent that holds each bias."""
    size = np.maximum(np.abs(value) / limits.BIAS_MANTISSA, 1.0)
    exponent = np.clip(np.ceil(np.log2(size)), 0, limits.BIAS_EXPONENT).astype(np.int64)
    mantissa = np.clip(np.rint(value / 2.0**exponent), -limits.BIAS_MANTISSA, limits.BIAS_MANTISSA)
    return mantissa.astype(np.int64), exponent
