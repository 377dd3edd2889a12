"""What a network costs: operations counted, joules and seconds from cited tables, always as a range.

A count is exact. A joule is an estimate: a published energy of one operation times how many there were. The tables
say nothing about what they do not list (host, input, idle chips), so that a ratio of two networks on one table is
sounder than either number.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import nir
import numpy as np
import torch
from torch import Tensor

from neurospin.graph.build import to_graph
from neurospin.graph.check import shapes
from neurospin.graph.operators import Operator, operator
from neurospin.graph.order import SPIKING, STATEFUL, Order, order
from neurospin.graph.simulate import simulate
from neurospin.network import Network

Range = tuple[float, float]
WEIGHTS = (nir.Affine, nir.Linear, nir.Conv1d, nir.Conv2d)


@dataclass(frozen=True)
class Table:
    """Published costs of one operation.

    Attributes:
        name: of the hardware.
        source: paper with DOI.
        joules: lowest and highest joules of one operation, by its name in the counts.
        seconds: lowest and highest seconds of one operation; empty where none are published.
        step: seconds that one step takes whatever happens in it.
    """

    name: str
    source: str
    joules: Mapping[str, Range]
    seconds: Mapping[str, Range]
    step: Range = (0.0, 0.0)


LOIHI = Table(
    "Loihi, 14 nm",
    "Davies et al. 2018, Loihi: a neuromorphic manycore processor with on-chip learning, doi:10.1109/MM.2018.112130359",
    {"synaptic": (23.6e-12, 23.6e-12), "neuron_updates": (52e-12, 81e-12), "spikes": (1.7e-12, 1.7e-12)},
    {"synaptic": (3.5e-9, 3.5e-9), "neuron_updates": (5.3e-9, 8.4e-9)},
    (113e-9, 465e-9),
)
"""Synaptic operation 23.6 pJ (their minimum) and 3.5 ns; neuron update 52 pJ and 5.3 ns when inactive, 81 pJ and 8.4 ns
when active; spike within its tile 1.7 pJ, hops to other tiles not counted; barrier of a step 113 ns for one tile to
465 ns for 32: table 2 of the paper, from simulations of the circuit. SANA-FE 2.2.9 takes 35.5 pJ for a dense synapse
(target `sanafe`). For Loihi 2 no energies of single operations were found (November 2026)."""

DIGITAL = Table(
    "45 nm digital, arithmetic and weight reads",
    "Horowitz 2014, Computing's energy problem (and what we can do about it), doi:10.1109/ISSCC.2014.6757323",
    {
        "synaptic": (0.1e-12, 0.9e-12),
        "macs": (0.3e-12, 4.6e-12),
        "input_macs": (0.3e-12, 4.6e-12),
        "neuron_updates": (0.3e-12, 4.6e-12),
        "weight_reads": (1.25e-12, 50e-12),
    },
    {},
)
"""Low: 8-bit products 0.2 pJ summed in 32 bits at 0.1 pJ, weights of one byte from 8 KB at 10 pJ for eight. High:
float32 product 3.7 pJ and sum 0.9 pJ, weights of four bytes from 1 MB at 100 pJ for eight. A neuron update is taken as
one product and one sum."""


@dataclass(frozen=True)
class Estimate:
    """Joules and seconds as ranges.

    Attributes:
        joules: by part, `(low, high)`.
        seconds: of all steps, one after the other, `(low, high)`; `None` where none are published.
        source: where the numbers of one operation come from.
    """

    joules: dict[str, Range]
    seconds: Range | None
    source: str

    @property
    def total(self) -> Range:
        """Joules of all parts, `(low, high)`."""
        low, high = (sum(part[k] for part in self.joules.values()) for k in (0, 1))
        return low, high


def estimate(operations: Mapping[str, float], table: Table, *, steps: int = 0, cores: int = 1) -> Estimate:
    """Joules and seconds of counted operations.

    Args:
        operations: counts by name; those that the table does not list cost nothing here.
        table: `LOIHI`, `DIGITAL`, or your own.
        steps: steps of all samples together, for the seconds.
        cores: cores at work: the fewest seconds spread the work evenly over them, the most do it on one.
    """
    joules = {
        part: (operations[part] * low, operations[part] * high)
        for part, (low, high) in table.joules.items()
        if part in operations
    }
    seconds = None
    if table.seconds:
        low, high = (
            sum(operations[part] * cost[k] for part, cost in table.seconds.items() if part in operations)
            for k in (0, 1)
        )
        seconds = (steps * table.step[0] + low / cores, steps * table.step[1] + high)
    return Estimate(joules, seconds, table.source)


def operations(
    model: Network | nir.NIRGraph, spikes: np.ndarray | Tensor, *, dt: float | None = None
) -> dict[str, float]:
    """Work of a spiking network on an input, counted where it happens.

    A synapse costs an addition (`synaptic`) when a spike, a 1, reaches it and its weight is not zero; a product when any
    other value does: `input_macs` where it comes from the input, `macs` behind pooling and the like. `weight_reads` are
    their sum; `state_accesses` count a read and a write of every state variable in every step.

    Args:
        model: a network, or a NIR graph.
        spikes: `(time, batch, *input)`; analog values are allowed.
        dt: step in seconds; default, the one that the graph records.

    Returns:
        Counts over all steps and samples: `synaptic`, `input_macs`, `macs`, `neuron_updates`, `spikes`,
        `weight_reads`, `state_accesses`.
    """
    graph = to_graph(model) if isinstance(model, Network) else model
    array = spikes.detach().cpu().numpy() if isinstance(spikes, Tensor) else np.asarray(spikes)
    plan = order(graph)
    first = _fed_by_input(plan)
    counts: dict[str, float] = dict.fromkeys(("synaptic", "input_macs", "macs"), 0.0)
    counting: dict[str, Operator] = {
        name: _Counting(name, plan.nodes[name], fan, "input_macs" if name in first else "macs", counts)
        for name, fan in _fans(graph, plan).items()
    }
    spiking = [name for name, node in plan.nodes.items() if isinstance(node, SPIKING)]
    run = simulate(graph, array, dt=dt, record=spiking, operators=counting)
    updates, states = _neurons(graph, plan)
    ticks = float(array.shape[0] * array.shape[1])
    return {
        **counts,
        "neuron_updates": ticks * updates,
        "spikes": float(sum(run.records[name].sum() for name in spiking)),
        "weight_reads": sum(counts.values()),
        "state_accesses": 2 * ticks * states,
    }


def rate_operations(model: Network | nir.NIRGraph, *, steps: int, samples: int) -> dict[str, float]:
    """Work of the rate twin of a network: the same synapses, each a product in every step, whatever the input.

    Args:
        model: the spiking network, or its NIR graph.
        steps: steps of a sample; the same number as for the spiking network makes a fair comparison.
        samples: how many samples.

    Returns:
        Counts over all steps and samples: `input_macs` (synapses from the input), `macs` (all others),
        `neuron_updates`, `weight_reads`, `state_accesses`.
    """
    graph = to_graph(model) if isinstance(model, Network) else model
    plan = order(graph)
    first, fans, ticks = _fed_by_input(plan), _fans(graph, plan), float(steps * samples)
    of_input = sum(float(fan.sum()) for name, fan in fans.items() if name in first)
    others = sum(float(fan.sum()) for name, fan in fans.items() if name not in first)
    updates, states = _neurons(graph, plan)
    return {
        "input_macs": ticks * of_input,
        "macs": ticks * others,
        "neuron_updates": ticks * updates,
        "weight_reads": ticks * (of_input + others),
        "state_accesses": 2 * ticks * states,
    }


class _Counting:
    """The map of a node, which counts what reaches it."""

    def __init__(self, name: str, node: nir.NIRNode, fan: Tensor, analog: str, counts: dict[str, float]) -> None:
        self.apply, self.fan, self.analog, self.counts = operator(name, node, torch.float32), fan, analog, counts

    def __call__(self, x: Tensor) -> Tensor:
        ones = (x == 1).sum(dim=0).double()
        others = ((x != 0) & (x != 1)).sum(dim=0).double()
        self.counts["synaptic"] += float((ones * self.fan).sum())
        self.counts[self.analog] += float((others * self.fan).sum())
        return self.apply(x)


def _fans(graph: nir.NIRGraph, plan: Order) -> dict[str, Tensor]:
    """Of every node with weights, how many synapses each of its inputs has, in the shape of its input."""
    given = shapes(graph)
    found = {}
    for name, node in plan.nodes.items():
        if not isinstance(node, WEIGHTS):
            continue
        source = next(s for s in (*plan.sources[name], *plan.delayed[name]) if s in given)
        present = copy.copy(node)
        present.weight = (np.asarray(node.weight) != 0).astype(np.float64)
        with torch.enable_grad():
            x = torch.ones((1, *given[source]), dtype=torch.float64, requires_grad=True)
            operator(name, present, torch.float64)(x).sum().backward()
        assert x.grad is not None
        found[name] = x.grad[0].round()
    return found


def _fed_by_input(plan: Order) -> set[str]:
    """Nodes that the input reaches without passing a neuron."""
    reached, waiting = set(plan.inputs), list(plan.inputs)
    while waiting:
        here = waiting.pop()
        for name, node in plan.nodes.items():
            fed = here in (*plan.sources[name], *plan.delayed[name])
            if fed and name not in reached and not isinstance(node, STATEFUL):
                reached.add(name)
                waiting.append(name)
    return reached


def _neurons(graph: nir.NIRGraph, plan: Order) -> tuple[int, int]:
    """How many neurons, and how many state variables they have together."""
    given, neurons, states = shapes(graph), 0, 0
    for name, node in plan.nodes.items():
        if isinstance(node, STATEFUL) and not isinstance(node, nir.Delay):
            size = int(np.prod(given[name]))
            neurons += size
            states += size * (2 if isinstance(node, nir.CubaLIF | nir.CubaLI) else 1)
    return neurons, states
