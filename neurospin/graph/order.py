"""The order in which a graph's nodes are evaluated: `neurospin.topology`, with nested graphs laid flat."""

from __future__ import annotations

from dataclasses import dataclass

import nir
import numpy as np

from neurospin.errors import GraphError
from neurospin.topology import Edge, Topology, topology

SPIKING = (nir.IF, nir.LIF, nir.CubaLIF)
STATEFUL = (*SPIKING, nir.I, nir.LI, nir.CubaLI, nir.Delay)


@dataclass(frozen=True)
class Order(Topology):
    """A flat graph, ready to be evaluated.

    Attributes:
        nodes: name to node, nested graphs laid flat.
        inputs: names of the graph's own Input nodes, in the order in which the edges name them.
        outputs: names of the graph's own Output nodes, in their order.
    """

    nodes: dict[str, nir.NIRNode]
    inputs: list[str]
    outputs: list[str]


def flatten(graph: nir.NIRGraph) -> tuple[dict[str, nir.NIRNode], list[Edge]]:
    """Nodes and edges with nested graphs laid flat; inner names become `outer.inner`."""
    nodes: dict[str, nir.NIRNode] = {}
    edges: list[Edge] = []
    entry: dict[str, str] = {}
    leave: dict[str, str] = {}
    count = 0
    for name, node in graph.nodes.items():
        if not isinstance(node, nir.NIRGraph):
            nodes[name] = node
            count += 1
            continue
        inner, inner_edges = flatten(node)
        count += len(inner)
        nodes.update({f"{name}.{k}": v for k, v in inner.items()})
        edges.extend((f"{name}.{a}", f"{name}.{b}") for a, b in inner_edges)
        entry[name] = f"{name}.{_only(node, nir.Input, name)}"
        leave[name] = f"{name}.{_only(node, nir.Output, name)}"
    edges.extend((leave.get(a, a), entry.get(b, b)) for a, b in graph.edges)
    if len(nodes) < count:
        raise GraphError("graph", "different names", "a nested node with the name of another", "rename a node")
    return nodes, edges


def _only(graph: nir.NIRGraph, kind: type[nir.NIRNode], name: str) -> str:
    found = [n for n, node in graph.nodes.items() if isinstance(node, kind)]
    if len(found) != 1:
        raise GraphError(
            name, f"a nested graph with one {kind.__name__}", f"{len(found)} of them", "split the nested graph"
        )
    return found[0]


def order(graph: nir.NIRGraph) -> Order:
    """The order of evaluation of a graph.

    Raises:
        GraphError: an edge leads nowhere or is there twice, or a loop holds no neuron and no delay.
    """
    nodes, edges = flatten(graph)
    named = {a: i for i, (a, _) in reversed(list(enumerate(edges)))}
    own = [name for name, node in graph.nodes.items() if isinstance(node, nir.Input)]
    inputs = sorted(own, key=lambda name: named.get(name, len(edges)))
    outputs = [name for name, node in graph.nodes.items() if isinstance(node, nir.Output)]
    remembering = {name for name, node in nodes.items() if remembers(node)}
    plan = topology(list(nodes), edges, inputs, remembering)
    return Order(plan.sources, plan.delayed, plan.components, plan.looped, nodes, inputs, outputs)


def remembers(node: nir.NIRNode) -> bool:
    """Whether what a node gives depends on earlier steps: neurons, and delays above zero."""
    if isinstance(node, nir.Delay):
        return bool(np.all(np.asarray(node.delay) > 0))
    return isinstance(node, STATEFUL)


def nest(nodes: dict[str, nir.NIRNode], edges: list[Edge], groups: dict[str, dict], prefix: str = "") -> nir.NIRGraph:
    """The inverse of `flatten`: all nodes whose names start with `GROUP.` become a nested graph.

    Args:
        nodes: name to node, flat, the Input and Output of every nested graph included.
        edges: pairs of names, flat.
        groups: metadata of every nested graph, by its flat name.
        prefix: of the names of this graph; `""` for the outermost.

    Raises:
        GraphError: an edge crosses the border of a group beside its ports.
    """
    children = [g for g in groups if not any(g.startswith(f"{h}.") for h in groups)]

    def child(name: str) -> str | None:
        return next((group for group in children if name.startswith(f"{group}.")), None)

    made: dict[str, nir.NIRNode] = {}
    for name, node in nodes.items():
        group = child(name)
        if group is None:
            made[name.removeprefix(prefix)] = node
        elif group.removeprefix(prefix) not in made:
            inside = {n: m for n, m in nodes.items() if child(n) == group}
            within = [(a, b) for a, b in edges if child(a) == group == child(b)]
            deeper = {g: about for g, about in groups.items() if g.startswith(f"{group}.")}
            nested = nest(inside, within, deeper, f"{group}.")
            nested.metadata = groups[group]
            made[group.removeprefix(prefix)] = nested
    outer = []
    for a, b in edges:
        start, end = child(a), child(b)
        if start is not None and start == end:
            continue
        if (start and not isinstance(nodes[a], nir.Output)) or (end and not isinstance(nodes[b], nir.Input)):
            raise GraphError(f"edge {a} -> {b}", "an edge through the ports of a group", "one beside them", "rename it")
        outer.append(((start or a).removeprefix(prefix), (end or b).removeprefix(prefix)))
    return nir.NIRGraph(made, outer, metadata={}, type_check=False)
