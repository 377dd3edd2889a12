"""What a graph means: its interpreter, without building a network.

Forward Euler, strict threshold, reset in the same step; edges into one node add; a back edge carries
the previous step (see `neurospin.graph.order`). The numbers and the order of the operations are those
of `neurospin.network.Network`, so that a graph that a network wrote gives the network's own spikes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import reduce
from operator import add

import nir
import numpy as np
import torch
from torch import Tensor

from neurospin.errors import GraphError
from neurospin.graph.contract import check_input, check_record, metadata, resolve_dt
from neurospin.graph.operators import Operator, operator
from neurospin.graph.order import STATEFUL, Order, order
from neurospin.scan import Dynamics, membrane, scan
from neurospin.scan.reference import step
from neurospin.types import State


@dataclass(frozen=True)
class Simulation:
    """What a graph gave.

    Attributes:
        output: of the graph's output node, `(time, batch, *output)`.
        records: output of every recorded node, `(time, batch, *neuron)`.
    """

    output: np.ndarray
    records: dict[str, np.ndarray]


@torch.no_grad()
def simulate(
    graph: nir.NIRGraph,
    spikes: np.ndarray,
    *,
    dt: float | None = None,
    record: Iterable[str] = (),
    dtype: str = "float32",
    operators: Mapping[str, Operator] | None = None,
) -> Simulation:
    """Run a graph by its definition.

    Args:
        graph: a NIR graph; nested graphs and loops included.
        spikes: input of shape `(time, batch, *input)`.
        dt: step in seconds; default, the one that the graph records.
        record: names of neuron nodes whose output is wanted as well.
        dtype: `"float32"` (default) or `"float64"`.
        operators: maps that take the place of nodes without state, by name; each takes
            `(samples, *input)`. A crossbar puts its arrays here.

    Raises:
        GraphError: the graph has no step, a loop without delay, or a node that NIR does not define.
        InputError: the input does not fit.
    """
    values = torch.from_numpy(check_input(graph, spikes))
    wanted = check_record(graph, record)
    machine = _Machine(graph, resolve_dt(graph, dt), {"float32": torch.float32, "float64": torch.float64}[dtype])
    machine.operators.update(operators or {})
    outputs = machine.run(values.to(machine.dtype), wanted)
    plan = machine.plan
    return Simulation(outputs[plan.outputs[0]].numpy(), {name: outputs[name].numpy() for name in wanted})


class _Machine:
    """A graph with its coefficients, ready to be stepped."""

    def __init__(self, graph: nir.NIRGraph, dt: float, dtype: torch.dtype) -> None:
        self.dt, self.dtype = dt, dtype
        self.plan: Order = order(graph)
        if len(self.plan.outputs) != 1:
            raise GraphError("graph", "one Output", f"{len(self.plan.outputs)}", "give the graph one Output node")
        subtract = metadata(graph).get("reset") == "subtract"
        self.dynamics: dict[str, Dynamics] = {}
        self.delays: dict[str, Tensor] = {}
        self.operators: dict[str, Operator] = {}
        for name, node in self.plan.nodes.items():
            if isinstance(node, nir.Delay):
                self.delays[name] = torch.as_tensor(np.rint(np.asarray(node.delay) / dt).astype(np.int64))
            elif isinstance(node, STATEFUL):
                self.dynamics[name] = dynamics(node, dt, dtype, subtract=subtract)
            else:
                self.operators[name] = operator(name, node, dtype)

    def run(self, x: Tensor, wanted: Iterable[str]) -> dict[str, Tensor]:
        """Output of every node that another group or the user needs, `(time, batch, *shape)`."""
        plan = self.plan
        kept = {*wanted, *plan.outputs}
        users: dict[str, int] = {}
        for sources in (*plan.sources.values(), *plan.delayed.values()):
            for source in sources:
                users[source] = users.get(source, 0) + 1
        done: dict[str, Tensor] = {}
        for component, loop in zip(plan.components, plan.looped, strict=True):
            if loop:
                self._loop(component, done, x)
            else:
                (name,) = component
                done[name] = self._whole(name, self._gather(name, done, x))
            for name in component:
                for source in (*plan.sources[name], *plan.delayed[name]):
                    users[source] -= 1
                    if users[source] == 0 and source not in kept:
                        done.pop(source, None)
        return done

    def _gather(self, name: str, done: Mapping[str, Tensor], x: Tensor) -> Tensor:
        if name in self.plan.inputs:
            return x
        terms = [done[source] for source in self.plan.sources[name]]
        if not terms:
            raise GraphError(name, "an edge into the node", "none", "connect the node or remove it")
        return reduce(add, terms)

    def _whole(self, name: str, x: Tensor) -> Tensor:
        """A node outside every loop: the whole sequence at once."""
        if name in self.dynamics:
            return scan(x, _fresh(x[0], self.dynamics[name]), self.dynamics[name]).output
        if name in self.delays:
            return _delayed(x, self.delays[name])
        y = self.operators[name](x.reshape(-1, *x.shape[2:]))
        return y.reshape(*x.shape[:2], *y.shape[1:])

    def _loop(self, component: list[str], done: dict[str, Tensor], x: Tensor) -> None:
        """A group of nodes with a loop: one step after the other."""
        plan, inside = self.plan, set(component)
        silent: dict[str, Tensor] = {}
        for name in component:
            self._silence(name, x.shape[1], silent, done)
        previous = {name: silent[name] for name in component}
        states: dict[str, State] = {n: _fresh(silent[n], self.dynamics[n]) for n in component if n in self.dynamics}
        histories: dict[str, list[Tensor]] = {name: [] for name in component}
        given: dict[str, list[Tensor]] = {name: [] for name in component if name in self.delays}
        for t in range(x.shape[0]):
            now: dict[str, Tensor] = {}
            for name in component:
                terms = [now[s] if s in inside else done[s][t] for s in plan.sources[name]]
                terms += [previous[s] for s in plan.delayed[name]]
                total = reduce(add, terms)
                if name in self.dynamics:
                    now[name], states[name] = step(total, states[name], self.dynamics[name])
                elif name in self.delays:
                    given[name].append(total)
                    now[name] = _delayed_now(given[name], self.delays[name])
                else:
                    now[name] = self.operators[name](total)
                histories[name].append(now[name])
            previous = now
        done.update({name: torch.stack(history) for name, history in histories.items()})

    def _silence(self, name: str, batch: int, silent: dict[str, Tensor], done: Mapping[str, Tensor]) -> Tensor:
        """What a node gives while every input and every neuron is silent, `(batch, *shape)`."""
        if name in silent:
            return silent[name]
        node = self.plan.nodes[name]
        if name in self.dynamics or name in self.delays or name in self.plan.inputs:
            kind = node.output_type["output"]
            silent[name] = torch.zeros((batch, *(int(n) for n in np.atleast_1d(kind))), dtype=self.dtype)
        else:
            sources = (*self.plan.sources[name], *self.plan.delayed[name])
            silent[name] = self.operators[name](reduce(add, [self._silence(s, batch, silent, done) for s in sources]))
        return silent[name]


def dynamics(node: nir.NIRNode, dt: float, dtype: torch.dtype, *, subtract: bool = False) -> Dynamics:
    """Coefficients of a NIR neuron node.

    Args:
        node: I, IF, LI, LIF, CubaLI or CubaLIF.
        dt: step in seconds.
        dtype: of the computation.
        subtract: reset by subtraction, which only metadata can say.
    """

    def get(name: str) -> Tensor | None:
        value = getattr(node, name, None)
        return None if value is None else torch.as_tensor(np.asarray(value)).to(dtype)

    tau = get("tau") if get("tau") is not None else get("tau_mem")
    r = get("r")
    assert r is not None
    spiking = get("v_threshold") is not None
    return membrane(
        dt, tau, r, get("v_leak"), v_threshold=get("v_threshold"),
        v_reset=get("v_reset") if spiking and not subtract else None,
        tau_syn=get("tau_syn"), w_in=get("w_in"),
    )  # fmt: skip


def _fresh(like: Tensor, dynamics: Dynamics) -> State:
    return (torch.zeros_like(like),) * dynamics.states


def _delayed(x: Tensor, steps: Tensor) -> Tensor:
    """`y[t] = x[t − steps]` per neuron, silence before the start."""
    index = torch.arange(x.shape[0]).reshape(-1, *([1] * (x.ndim - 1))) - steps
    y = torch.gather(x, 0, index.clamp(min=0).expand(x.shape))
    return torch.where(index >= 0, y, torch.zeros((), dtype=x.dtype))


def _delayed_now(given: list[Tensor], steps: Tensor) -> Tensor:
    """The last row of `_delayed`, for a delay inside a loop."""
    present = len(given) - 1
    total = torch.zeros_like(given[-1])
    for delay in torch.unique(steps).tolist():
        if present >= delay:
            total = torch.where(steps == delay, given[present - delay], total)
    return total
