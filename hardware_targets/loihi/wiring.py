"""A graph as populations and the matrices between them.

Every chain of nodes without state is folded: from one population to the next there is one sparse matrix for
each number of steps that the signal is held back (1 for a back edge, d / dt for a Delay), and one
constant drive (the biases on the way).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import nir
import numpy as np
from scipy.sparse import csr_array, diags_array, eye_array

from hardware_targets.loihi.maps import linear
from hardware_targets.loihi.sparse import Matrix
from neurospin.errors import GraphError
from neurospin.graph.order import SPIKING, Order, order
from neurospin.graph.scheme import euler_time, scheme_of, with_times

READOUT = (nir.LI, nir.CubaLI)
POPULATION = (*SPIKING, *READOUT)


@dataclass(frozen=True)
class Wire:
    """All that one population gets from another with the same delay.

    Attributes:
        source: name of a population or of the input.
        target: name of a population.
        held: steps by which the graph holds the signal back; 0 in a feed-forward edge.
        back: whether the signal returns along a loop.
        matrix: `(target, source)`, float64; its entries are the synapses.
    """

    source: str
    target: str
    held: int
    back: bool
    matrix: Matrix


@dataclass(frozen=True)
class Wiring:
    """The folded graph.

    Attributes:
        input: name of the input.
        input_shape: its shape.
        nodes: neuron nodes by name, sources before targets (loops aside); their decays are Euler's.
        wires: everything between them.
        drive: constant input of each population, `(size,)`, float64.
        output: name of the population that the graph gives.
        output_shape: shape in which it gives it.
    """

    input: str
    input_shape: tuple[int, ...]
    nodes: dict[str, nir.NIRNode]
    wires: list[Wire]
    drive: dict[str, np.ndarray]
    output: str
    output_shape: tuple[int, ...]


Key = tuple[str, int, bool]


@dataclass
class _Signal:
    """What flows out of a node: linear in the spikes of populations, plus a constant; both flat."""

    shape: tuple[int, ...]
    parts: dict[Key, Matrix]
    constant: np.ndarray

    def __add__(self, other: _Signal) -> _Signal:
        parts = dict(self.parts)
        for key, matrix in other.parts.items():
            parts[key] = parts[key] + matrix if key in parts else matrix
        return _Signal(self.shape, parts, self.constant + other.constant)

    def held(self, steps: int, back: bool) -> _Signal:
        parts = {(source, k + steps, b or back): m for (source, k, b), m in self.parts.items()}
        return _Signal(self.shape, parts, self.constant)


@dataclass
class _Folder:
    plan: Order
    dt: float
    memo: dict[str, _Signal] = field(default_factory=dict)
    open: set[str] = field(default_factory=set)

    def into(self, name: str) -> _Signal:
        """The sum of everything that arrives at a node."""
        terms = [self.out_of(s) for s in self.plan.sources[name]]
        terms += [self.out_of(s).held(1, back=True) for s in self.plan.delayed[name]]
        if not terms:
            raise GraphError(name, "an edge into the node", "none", "connect the node or remove it")
        total = terms[0]
        for term in terms[1:]:
            if term.shape != total.shape:
                raise GraphError(
                    name, "inputs of one shape", f"{total.shape} and {term.shape}", "make the shapes equal"
                )
            total = total + term
        return total

    def out_of(self, name: str) -> _Signal:
        if name not in self.memo:
            if name in self.open:
                raise GraphError(name, "a neuron in every loop", "only nodes without one", "put a neuron into the loop")
            self.open.add(name)
            self.memo[name] = self._out_of(name)
            self.open.remove(name)
        return self.memo[name]

    def _out_of(self, name: str) -> _Signal:
        node = self.plan.nodes[name]
        if name in self.plan.inputs or isinstance(node, POPULATION):
            size = int(np.prod(node_shape(node)))
            unit = csr_array(eye_array(size))
            return _Signal(node_shape(node), {(name, 0, False): unit}, np.zeros(size))
        arriving = self.into(name)
        if isinstance(node, nir.Delay):
            return self._delay(name, node, arriving)
        matrix, constant, shape = linear(name, node, arriving.shape)
        parts = {key: matrix @ part for key, part in arriving.parts.items()}
        return _Signal(shape, parts, matrix @ arriving.constant + constant)

    def _delay(self, name: str, node: nir.Delay, arriving: _Signal) -> _Signal:
        if arriving.constant.any():
            raise GraphError(name, "a delay of spikes only", "a delayed bias", "put the bias after the delay")
        steps = np.rint(np.broadcast_to(np.asarray(node.delay), arriving.shape).reshape(-1) / self.dt).astype(int)
        total = _Signal(arriving.shape, {}, arriving.constant)
        for d in np.unique(steps):
            chosen = diags_array((steps == d).astype(np.float64))
            parts = {key: csr_array(chosen @ matrix) for key, matrix in arriving.parts.items()}
            total = total + _Signal(arriving.shape, parts, arriving.constant).held(int(d), back=False)
        return total


def node_shape(node: nir.NIRNode) -> tuple[int, ...]:
    """Shape of a node's output, without time and batch."""
    return tuple(int(n) for n in np.atleast_1d(node.output_type["output"]))


def fold(graph: nir.NIRGraph, dt: float) -> Wiring:
    """The populations of a graph and the matrices between them.

    Args:
        graph: a NIR graph; nested graphs and loops included.
        dt: step in seconds, which turns delays into steps.

    Raises:
        GraphError: the graph is malformed, or is not made of spiking populations and linear maps.
    """
    plan = order(graph)
    for kind, names in (("Input", plan.inputs), ("Output", plan.outputs)):
        if len(names) != 1:
            raise GraphError("graph", f"one {kind}", f"{len(names)}", f"give the graph one {kind} node")
    folder = _Folder(plan, dt)
    names = [name for component in plan.components for name in component]
    nodes = {name: plan.nodes[name] for name in names if isinstance(plan.nodes[name], POPULATION)}
    if scheme_of(graph) == "exponential":
        nodes = {name: with_times(node, lambda tau: euler_time(tau.double(), dt)) for name, node in nodes.items()}
    wires: list[Wire] = []
    drive: dict[str, np.ndarray] = {}
    for name, node in nodes.items():
        arriving = folder.into(name)
        if arriving.shape != node_shape(node):
            got = f"an input of shape {arriving.shape}"
            raise GraphError(name, f"an input of shape {node_shape(node)}", got, "make the shapes equal")
        drive[name] = arriving.constant
        for (source, held, back), matrix in arriving.parts.items():
            if isinstance(plan.nodes[source], READOUT):
                raise GraphError(source, "a readout that feeds the output only", f"an edge to {name}", "use LIF")
            matrix.eliminate_zeros()
            matrix.sort_indices()
            if matrix.nnz:
                wires.append(Wire(source, name, held, back, matrix))
    output, output_shape = _output(plan, folder)
    return Wiring(plan.inputs[0], node_shape(plan.nodes[plan.inputs[0]]), nodes, wires, drive, output, output_shape)


def _output(plan: Order, folder: _Folder) -> tuple[str, tuple[int, ...]]:
    """The population behind the graph's output."""
    name = plan.outputs[0]
    arriving = folder.into(name)
    keys = list(arriving.parts)
    if len(keys) != 1:
        got = ", ".join(sorted({k[0] for k in keys})) or "nothing"
        raise GraphError(name, "the output of one population", got, "give one population to the output")
    source, held, _ = keys[0]
    if source in plan.inputs or held:
        raise GraphError(name, "the present output of a population", source, "end the graph with LIF or LI")
    matrix = arriving.parts[keys[0]]
    if matrix.shape[0] != matrix.shape[1] or (matrix != eye_array(matrix.shape[0])).nnz:
        got = f"a weighted sum of the output of {source}"
        raise GraphError(name, "a population as it is", got, "end the graph with LI (a readout) or LIF")
    if arriving.constant.any():
        raise GraphError(name, "a population as it is", "a bias after it", "end the graph with LI or LIF")
    return source, arriving.shape
