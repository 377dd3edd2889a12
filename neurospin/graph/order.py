"""In which order a graph's nodes are evaluated, and which edges carry the previous step.

Nested graphs are laid flat (`outer.inner` names). A depth-first walk from the inputs, along the
edges in the order in which the file lists them, finds the back edges: those that return to a node
from which the walk came. A back edge carries what its source gave in the previous step; before step
0 every input and every neuron was silent. Every other edge carries the present step. (This is the
order of NIR's own examples: one step of delay per loop.)
"""

from __future__ import annotations

from dataclasses import dataclass

import nir
import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from neurospin.errors import GraphError

SPIKING = (nir.IF, nir.LIF, nir.CubaLIF)
STATEFUL = (*SPIKING, nir.I, nir.LI, nir.CubaLI, nir.Delay)


@dataclass(frozen=True)
class Order:
    """A flat graph, ready to be evaluated.

    Attributes:
        nodes: name to node, nested graphs laid flat.
        sources: for each node, the nodes that feed it in the present step.
        delayed: for each node, the nodes that feed it with their previous step.
        components: groups of names in order; a group with a loop must be stepped through time
            together, any other group is a single node that can take the whole sequence at once.
        looped: for each group, whether it holds a loop.
    """

    nodes: dict[str, nir.NIRNode]
    sources: dict[str, list[str]]
    delayed: dict[str, list[str]]
    components: list[list[str]]
    looped: list[bool]

    @property
    def inputs(self) -> list[str]:
        """Names of the graph's own Input nodes."""
        return [n for n, node in self.nodes.items() if isinstance(node, nir.Input) and "." not in n]

    @property
    def outputs(self) -> list[str]:
        """Names of the graph's own Output nodes."""
        return [n for n, node in self.nodes.items() if isinstance(node, nir.Output) and "." not in n]


def flatten(graph: nir.NIRGraph) -> tuple[dict[str, nir.NIRNode], list[tuple[str, str]]]:
    """Nodes and edges with nested graphs laid flat; inner names become `outer.inner`."""
    nodes: dict[str, nir.NIRNode] = {}
    edges: list[tuple[str, str]] = []
    entry: dict[str, str] = {}
    leave: dict[str, str] = {}
    for name, node in graph.nodes.items():
        if not isinstance(node, nir.NIRGraph):
            nodes[name] = node
            continue
        inner, inner_edges = flatten(node)
        nodes.update({f"{name}.{k}": v for k, v in inner.items()})
        edges.extend((f"{name}.{a}", f"{name}.{b}") for a, b in inner_edges)
        entry[name] = f"{name}.{_only(node, nir.Input, name)}"
        leave[name] = f"{name}.{_only(node, nir.Output, name)}"
    edges.extend((leave.get(a, a), entry.get(b, b)) for a, b in graph.edges)
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
        GraphError: an edge leads nowhere, or a loop holds no neuron and no delay.
    """
    nodes, edges = flatten(graph)
    for a, b in edges:
        for end in (a, b):
            if end not in nodes:
                raise GraphError(f"edge {a} -> {b}", "two nodes of the graph", f"no node {end!r}", "remove the edge")
    follow: dict[str, list[str]] = {name: [] for name in nodes}
    for a, b in edges:
        follow[a].append(b)
    starts = [n for n, node in nodes.items() if isinstance(node, nir.Input)]
    finished, back = _walk(follow, [*starts, *nodes])
    rank = {name: i for i, name in enumerate(reversed(finished))}
    sources: dict[str, list[str]] = {name: [] for name in nodes}
    delayed: dict[str, list[str]] = {name: [] for name in nodes}
    for a, b in edges:
        (delayed if (a, b) in back else sources)[b].append(a)
    components = _components(list(nodes), edges, rank)
    looped = [len(c) > 1 or c[0] in follow[c[0]] for c in components]
    for component, loop in zip(components, looped, strict=True):
        if loop:
            _require_delay(component, nodes, follow)
    return Order(nodes, sources, delayed, components, looped)


def _walk(follow: dict[str, list[str]], starts: list[str]) -> tuple[list[str], set[tuple[str, str]]]:
    """Nodes in the order in which a depth-first walk leaves them, and the back edges."""
    finished: list[str] = []
    back: set[tuple[str, str]] = set()
    state: dict[str, int] = {}
    for start in starts:
        if start in state:
            continue
        state[start] = 1
        stack = [(start, iter(follow[start]))]
        while stack:
            here, onward = stack[-1]
            for there in onward:
                if there not in state:
                    state[there] = 1
                    stack.append((there, iter(follow[there])))
                    break
                if state[there] == 1:
                    back.add((here, there))
            else:
                stack.pop()
                state[here] = 2
                finished.append(here)
    return finished, back


def _components(names: list[str], edges: list[tuple[str, str]], rank: dict[str, int]) -> list[list[str]]:
    index = {name: i for i, name in enumerate(names)}
    rows = [index[a] for a, _ in edges]
    columns = [index[b] for _, b in edges]
    links = coo_matrix((np.ones(len(edges)), (rows, columns)), shape=(len(names), len(names)))
    _, label = connected_components(links, directed=True, connection="strong")
    groups: dict[int, list[str]] = {}
    for name in sorted(names, key=rank.__getitem__):
        groups.setdefault(int(label[index[name]]), []).append(name)
    return list(groups.values())


def _require_delay(component: list[str], nodes: dict[str, nir.NIRNode], follow: dict[str, list[str]]) -> None:
    """Refuse a loop that passes through no neuron and no delay."""
    bare = [n for n in component if not isinstance(nodes[n], STATEFUL)]
    inside = {n: [m for m in follow[n] if m in set(bare)] for n in bare}
    _, back = _walk(inside, bare)
    if back:
        a, b = sorted(back)[0]
        raise GraphError(
            f"loop {b} -> … -> {a} -> {b}",
            "a neuron or a Delay in every loop",
            "only nodes without state",
            "put a neuron or a Delay into the loop",
        )
