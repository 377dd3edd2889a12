"""From a graph's linear nodes to synapses: one matrix per pair of populations, and the delay it needs."""

from __future__ import annotations

from dataclasses import dataclass

import nir
import numpy as np
import torch

from hardware_targets.loihi.limits import NEURONS
from neurospin.errors import TargetError
from neurospin.graph.check import shapes
from neurospin.graph.operators import operator
from neurospin.graph.order import Order, order


@dataclass(frozen=True)
class Synapses:
    """The linear map from one source to one population; `late` counts the steps that the graph delays it."""

    source: str
    target: str
    matrix: np.ndarray
    late: int


@dataclass(frozen=True)
class Wiring:
    """A graph as populations and synapses.

    Attributes:
        plan: the graph's order.
        shapes: shape of every flat node.
        neurons: names of the populations.
        synapses: one per source, population and delay.
        constants: sum of the biases that reach each population, `(size,)`.
        depth: chip steps by which each source lags behind the input; one per connection on the way.
        output: the population that the graph's Output shows.
    """

    plan: Order
    shapes: dict[str, tuple[int, ...]]
    neurons: list[str]
    synapses: list[Synapses]
    constants: dict[str, np.ndarray]
    depth: dict[str, int]
    output: str


Key = tuple[str, int]


def wire(graph: nir.NIRGraph, dt: float) -> Wiring:
    """Fold the linear nodes between populations.

    Raises:
        TargetError: the output is no population, or a loop is longer than its connections can carry.
    """
    plan = order(graph)
    forms = shapes(graph)
    neurons = [n for c in plan.components for n in c if isinstance(plan.nodes[n], NEURONS)]
    folded: dict[str, tuple[dict[Key, np.ndarray], np.ndarray]] = {}
    synapses, constants = [], {}
    for name in neurons:
        terms, constant = _incoming(name, plan, forms, dt, folded)
        synapses += [Synapses(source, name, matrix, late) for (source, late), matrix in terms.items()]
        constants[name] = constant
    (end,) = plan.outputs
    shown = plan.sources[end] + plan.delayed[end]
    if len(shown) != 1 or shown[0] not in neurons:
        raise TargetError(f"node {end}", "one population before the Output", ", ".join(shown), "end with neurons")
    return Wiring(plan, forms, neurons, synapses, constants, _depths(plan, neurons, synapses), shown[0])


def _incoming(
    name: str,
    plan: Order,
    forms: dict[str, tuple[int, ...]],
    dt: float,
    folded: dict[str, tuple[dict[Key, np.ndarray], np.ndarray]],
) -> tuple[dict[Key, np.ndarray], np.ndarray]:
    """What reaches a node: a matrix per source and delay, and a constant."""
    total: dict[Key, np.ndarray] = {}
    constant: np.ndarray | None = None
    edges = [(s, 0) for s in plan.sources[name]] + [(s, 1) for s in plan.delayed[name]]
    for source, late in edges:
        terms, offset = _through(source, plan, forms, dt, folded)
        for (origin, before), matrix in terms.items():
            key = (origin, before + late)
            total[key] = total[key] + matrix if key in total else matrix
        constant = offset if constant is None else constant + offset
    assert constant is not None
    return total, constant


def _through(
    name: str,
    plan: Order,
    forms: dict[str, tuple[int, ...]],
    dt: float,
    folded: dict[str, tuple[dict[Key, np.ndarray], np.ndarray]],
) -> tuple[dict[Key, np.ndarray], np.ndarray]:
    """What a node gives, in terms of populations and inputs."""
    if name in folded:
        return folded[name]
    node, size = plan.nodes[name], int(np.prod(forms[name]))
    if isinstance(node, NEURONS) or name in plan.inputs:
        result = ({(name, 0): np.eye(size)}, np.zeros(size))
    else:
        terms, constant = _incoming(name, plan, forms, dt, folded)
        if isinstance(node, nir.Delay):
            steps = int(np.rint(float(np.ravel(node.delay)[0]) / dt))
            result = ({(origin, late + steps): m for (origin, late), m in terms.items()}, constant)
        else:
            before = (plan.sources[name] + plan.delayed[name])[0]
            apply = operator(name, node, torch.float64)

            def image(columns: np.ndarray) -> np.ndarray:
                rows = torch.from_numpy(np.ascontiguousarray(columns.T)).reshape(-1, *forms[before])
                return apply(rows).reshape(columns.shape[1], -1).numpy().T

            origin_ = image(np.zeros((int(np.prod(forms[before])), 1)))
            result = (
                {key: image(matrix) - origin_ for key, matrix in terms.items()},
                image(constant[:, None])[:, 0],
            )
    folded[name] = result
    return result


def _depths(plan: Order, neurons: list[str], synapses: list[Synapses]) -> dict[str, int]:
    """The longest way from the input, in connections that carry the present step."""
    depth = {**dict.fromkeys(plan.inputs, 0), **dict.fromkeys(neurons, 1)}
    for _ in range(len(neurons) + 1):
        changed = False
        for s in synapses:
            wanted = depth[s.source] + 1 - s.late
            if depth[s.target] < wanted:
                depth[s.target], changed = wanted, True
        if not changed:
            return depth
    raise TargetError(
        "graph", "loops that carry the previous step", "a loop over several layers",
        "let the loop return to the layer that it leaves, or put a Delay of one step per layer into it",
    )  # fmt: skip
