"""In which order the nodes of a graph are evaluated, and which edges carry the previous step.

A depth-first walk from the inputs, along the edges in their order, finds the back edges: those that
return to a node from which the walk came. A back edge carries what its source gave in the previous
step; every other edge carries the present step. So every loop costs exactly one step, and a loop that
is entered at one node is cut at the edge that returns to that node, whatever the order of the edges.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass

from neurospin.errors import GraphError

Edge = tuple[str, str]


@dataclass(frozen=True)
class Topology:
    """The order of evaluation of named nodes.

    Attributes:
        sources: for each node, the nodes that feed it in the present step, in the order of the edges.
        delayed: for each node, the nodes that feed it with their previous step.
        components: groups of names in order; a group with a loop must be stepped through time
            together, any other group is a single node that can take the whole sequence at once.
        looped: for each group, whether it holds a loop.
    """

    sources: dict[str, list[str]]
    delayed: dict[str, list[str]]
    components: list[list[str]]
    looped: list[bool]


def topology(
    names: Sequence[str], edges: Iterable[Edge], inputs: Iterable[str], remembering: Container[str]
) -> Topology:
    """The order of evaluation.

    Args:
        names: of all nodes.
        edges: pairs (from, to).
        inputs: names at which the walk starts.
        remembering: nodes whose output depends on earlier steps; every loop needs one.

    Raises:
        GraphError: an edge leads nowhere or is there twice, or a loop remembers nothing.
    """
    follow: dict[str, list[str]] = {name: [] for name in names}
    enter: dict[str, list[str]] = {name: [] for name in names}
    pairs = list(edges)
    for a, b in pairs:
        for end in (a, b):
            if end not in follow:
                raise GraphError(f"edge {a} -> {b}", "two nodes of the graph", f"no node {end!r}", "remove the edge")
        follow[a].append(b)
        enter[b].append(a)
    for a, onward in follow.items():
        for b in {b for b in onward if onward.count(b) > 1} if len(set(onward)) < len(onward) else ():
            raise GraphError(f"edge {a} -> {b}", "each edge once", "the same edge twice", "remove one")
    finished, back = _walk(follow, [*inputs, *names])
    ahead = finished[::-1]
    rank = {name: i for i, name in enumerate(ahead)}
    sources: dict[str, list[str]] = {name: [] for name in names}
    delayed: dict[str, list[str]] = {name: [] for name in names}
    for a, b in pairs:
        (delayed if (a, b) in back else sources)[b].append(a)
    components = [sorted(group, key=rank.__getitem__) for group in _groups(enter, ahead)]
    looped = [len(group) > 1 or group[0] in follow[group[0]] for group in components]
    for group, loop in zip(components, looped, strict=True):
        if loop:
            _require_memory(group, remembering, follow)
    return Topology(sources, delayed, components, looped)


def _walk(follow: dict[str, list[str]], starts: Iterable[str]) -> tuple[list[str], set[Edge]]:
    """Nodes in the order in which a depth-first walk leaves them, and the back edges."""
    finished: list[str] = []
    back: set[Edge] = set()
    left: dict[str, bool] = {}
    for start in starts:
        if start in left:
            continue
        left[start] = False
        stack = [(start, iter(follow[start]))]
        while stack:
            here, onward = stack[-1]
            for there in onward:
                if there not in left:
                    left[there] = False
                    stack.append((there, iter(follow[there])))
                    break
                if not left[there]:
                    back.add((here, there))
            else:
                stack.pop()
                left[here] = True
                finished.append(here)
    return finished, back


def _groups(enter: dict[str, list[str]], ahead: list[str]) -> list[list[str]]:
    """Strongly connected groups, sources first: walk the edges backwards in the order of leaving (Kosaraju)."""
    seen: set[str] = set()
    groups = []
    for start in ahead:
        if start in seen:
            continue
        seen.add(start)
        group, stack = [], [start]
        while stack:
            here = stack.pop()
            group.append(here)
            for there in enter[here]:
                if there not in seen:
                    seen.add(there)
                    stack.append(there)
        groups.append(group)
    return groups


def _require_memory(group: list[str], remembering: Container[str], follow: dict[str, list[str]]) -> None:
    """Refuse a loop that passes through no node with a memory."""
    bare = [name for name in group if name not in remembering]
    inside = {name: [other for other in follow[name] if other in set(bare)] for name in bare}
    _, back = _walk(inside, bare)
    if back:
        a, b = min(back)
        raise GraphError(
            f"loop {b} -> … -> {a} -> {b}",
            "a neuron or a Delay in every loop",
            "only nodes without state",
            "put a neuron or a Delay into the loop",
        )
