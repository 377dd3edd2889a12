"""What a graph means: its interpreter, without building a network.

Forward Euler, strict threshold, reset in the same step; edges into one node add; a back edge carries
the previous step (see `neurospin.topology`). The executor, the numbers and the order of the operations
are those of `neurospin.network.Network`, so that a graph that a network wrote gives its very spikes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import nir
import numpy as np
import torch
from torch import Tensor

from neurospin.errors import GraphError, unknown_name
from neurospin.executor import Outcome, Part, execute
from neurospin.graph.check import shapes
from neurospin.graph.contract import check_inputs, check_record, neuron_settings, resolve_dt
from neurospin.graph.operators import Operator, operator
from neurospin.graph.order import STATEFUL, Order, order
from neurospin.graph.repair import repaired
from neurospin.graph.scheme import euler_time, scheme_of
from neurospin.scan import Dynamics, Scan, delay, membrane, scan
from neurospin.scan.recurrent import recurrent_scan
from neurospin.scan.reference import step
from neurospin.types import State

RESETS = ("value", "subtract")
DTYPES = {"float32": torch.float32, "float64": torch.float64}


@dataclass(frozen=True)
class Simulation:
    """What a graph gave.

    Attributes:
        outputs: of the graph's Output nodes by name, each `(time, batch, *output)`.
        records: output of every recorded node, `(time, batch, *neuron)`.
        voltages: voltage of every recorded node after the reset, same shape.
        before_reset: voltage of every spiking node asked for, as it met the threshold, same shape.
    """

    outputs: dict[str, np.ndarray]
    records: dict[str, np.ndarray]
    voltages: dict[str, np.ndarray]
    before_reset: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def output(self) -> np.ndarray:
        """Of the only Output node.

        Raises:
            GraphError: there are several; `outputs` has them by name.
        """
        if len(self.outputs) != 1:
            raise GraphError("graph", "one Output", ", ".join(self.outputs), "take outputs[NAME]")
        return next(iter(self.outputs.values()))


def simulate(
    graph: nir.NIRGraph,
    spikes: np.ndarray | Mapping[str, np.ndarray],
    *,
    dt: float | None = None,
    record: Iterable[str] = (),
    before_reset: Iterable[str] = (),
    dtype: str = "float32",
    scheme: str | None = None,
    reset: str | None = None,
    operators: Mapping[str, Operator] | None = None,
) -> Simulation:
    """Run a graph by its definition.

    Args:
        graph: a NIR graph; nested graphs and loops included.
        spikes: input of shape `(time, batch, *input)`; of several inputs, one such array by name.
        dt: step in seconds; default, the one that the graph records.
        record: names of neuron nodes whose output is wanted as well.
        before_reset: names of spiking nodes whose voltage before the reset is wanted as well.
        dtype: `"float32"` (default) or `"float64"`.
        scheme: `"euler"`, or `"exponential"`, which is exact for an input that is constant over a step:
            decays of `exp(−dt/τ)` in place of `1 − dt/τ`; default, what the graph records, else Euler.
        reset: `"value"` or `"subtract"`, for every spiking node; default, what the graph records, else
            to a value.
        operators: maps that take the place of nodes without state, by name; each takes
            `(samples, *input)`. A crossbar puts its arrays here.

    Raises:
        GraphError: the graph has no step, a loop without delay, or a node that NIR does not define.
        InputError: the input does not fit.
    """
    graph = repaired(graph)
    given = check_inputs(graph, spikes)
    wanted = check_record(graph, record)
    met = check_record(graph, before_reset)
    if dtype not in DTYPES:
        raise unknown_name("dtype", dtype, DTYPES, "dtype")
    machine = _Machine(graph, resolve_dt(graph, dt), DTYPES[dtype], operators, scheme, reset)
    with torch.no_grad():
        out = machine.run({name: torch.from_numpy(x).to(machine.dtype) for name, x in given.items()}, wanted, met)
        return Simulation(
            {name: out.outputs[name].numpy() for name in machine.plan.outputs},
            {name: out.outputs[name].numpy() for name in wanted},
            {name: out.voltages[name].numpy() for name in wanted if name in out.voltages},
            {name: _met(out.currents[name], out.voltages[name], machine.dynamics[name]).numpy() for name in met},
        )


class _Machine:
    """A graph with its coefficients, ready to be run."""

    def __init__(
        self,
        graph: nir.NIRGraph,
        dt: float,
        dtype: torch.dtype,
        operators: Mapping[str, Operator] | None = None,
        scheme: str | None = None,
        reset: str | None = None,
    ) -> None:
        self.plan: Order = order(graph)
        self.dtype = dtype
        scheme = scheme_of(graph, scheme)
        if reset is not None and reset not in RESETS:
            raise unknown_name("reset", str(reset), RESETS, "reset")
        settings, sizes = neuron_settings(graph), shapes(graph)
        self.parts: dict[str, Part] = {}
        self.dynamics: dict[str, Dynamics] = {}
        for name, node in self.plan.nodes.items():
            if isinstance(node, nir.Delay):
                self.parts[name] = delay_line(node, dt, dtype, sizes[name])
            elif isinstance(node, STATEFUL):
                about = settings.get(name, {})
                self.dynamics[name] = dynamics(
                    node, dt, dtype, subtract=(reset or about.get("reset")) == "subtract",
                    refractory=about.get("refractory"), exponential=scheme == "exponential", name=name,
                )  # fmt: skip
                self.parts[name] = neuron(self.dynamics[name], sizes[name], dtype)
            else:
                function = (operators or {}).get(name) or operator(name, node, dtype)
                known = None if name in (operators or {}) else matrix(node, dtype)
                self.parts[name] = Part.map(over_time(function), sizes[name], lambda function=function: function, known)

    def run(self, given: Mapping[str, Tensor], wanted: Iterable[str], met: Iterable[str] = ()) -> Outcome:
        """Output of the graph and of every wanted node; voltages of these, and of `met` with their inputs."""
        kept = {*wanted, *self.plan.outputs}
        return execute(self.plan, self.parts, given, keep=kept, voltages={*wanted, *met}, currents=met)


def _met(current: Tensor, voltage: Tensor, dynamics: Dynamics) -> Tensor:
    """The voltage that met the threshold, from the input and the voltage after the reset, by the scan's own sums."""
    if dynamics.synapse_decay is not None and dynamics.synapse_gain is not None:
        i, currents = torch.zeros_like(current[0]), []
        for x in current.unbind(0):
            i = dynamics.synapse_decay * i + dynamics.synapse_gain * x
            currents.append(i)
        current = torch.stack(currents)
    before = torch.cat([torch.zeros_like(voltage[:1]), voltage[:-1]])
    return dynamics.decay * before + (dynamics.gain * current + dynamics.leak)


def over_time(function: Operator) -> Operator:
    """From a map of `(samples, *input)` to one of `(time, batch, *input)`."""

    def whole(x: Tensor) -> Tensor:
        y = function(x.reshape(-1, *x.shape[2:]))
        return y.reshape(*x.shape[:2], *y.shape[1:])

    return whole


def neuron(dynamics: Dynamics, size: tuple[int, ...], dtype: torch.dtype) -> Part:
    """A block of neurons as a part of an execution."""

    def start(batch: int) -> State:
        return (torch.zeros((batch, *size), dtype=dtype),) * dynamics.states

    return Part(
        lambda x, state, voltage: scan(x, state, dynamics, voltage=voltage), size, start,
        lambda: lambda x, state: step(x, state, dynamics),
        lambda x, state, *loop: recurrent_scan(x, state, dynamics, *loop[:-1], voltage=loop[-1]),
    )  # fmt: skip


def matrix(node: nir.NIRNode, dtype: torch.dtype) -> Callable[[], tuple[Tensor, Tensor | None]] | None:
    """Weight and bias of a Linear or Affine node between vectors; `None` for any other node."""
    if not isinstance(node, nir.Linear | nir.Affine) or np.ndim(node.weight) != 2:
        return None
    weight = torch.as_tensor(np.asarray(node.weight)).to(dtype)
    bias = torch.as_tensor(np.asarray(node.bias)).to(dtype) if isinstance(node, nir.Affine) else None
    return lambda: (weight, bias)


def delay_line(node: nir.Delay, dt: float, dtype: torch.dtype, size: tuple[int, ...]) -> Part:
    """A delay as a part of an execution; its state holds the inputs on their way."""
    steps = (torch.as_tensor(np.asarray(node.delay), dtype=torch.float32) / dt).round().long().expand(size)

    def run(x: Tensor, state: State, voltage: bool) -> Scan:
        y, after = delay(x, steps, state[0])
        return Scan(y, None, (after,))

    return Part(run, size, lambda batch: (torch.zeros((int(steps.max()), batch, *size), dtype=dtype),))


def dynamics(
    node: nir.NIRNode,
    dt: float,
    dtype: torch.dtype,
    *,
    subtract: bool = False,
    refractory: Any = None,
    exponential: bool = False,
    name: str = "neuron",
) -> Dynamics:
    """Coefficients of a NIR neuron node.

    They are computed in the wider of `dtype` and the node's own arrays, and then rounded to `dtype`:
    arrays of float64 can say a step's decay exactly, which float32 time constants often cannot.

    Args:
        node: I, IF, LI, LIF, CubaLI or CubaLIF.
        dt: step in seconds.
        dtype: of the computation.
        subtract: reset by subtraction, which only metadata can say.
        refractory: period in seconds, which only metadata can say.
        exponential: decays of `exp(−dt/τ)` in place of `1 − dt/τ`.
        name: of the node, for errors.

    Raises:
        GraphError: by Euler's method, a time constant below the step.
    """
    names = ("tau", "tau_mem", "tau_syn", "r", "w_in", "v_leak", "v_threshold", "v_reset")
    arrays = {name: np.asarray(getattr(node, name)) for name in names if getattr(node, name, None) is not None}
    wide = torch.float64 if any(array.dtype == np.float64 for array in arrays.values()) else dtype
    get = {name: torch.as_tensor(array).to(wide) for name, array in arrays.items()}.get

    def time(field: str) -> Tensor | None:
        tau = get(field)
        if tau is None:
            return None
        if exponential:
            return euler_time(tau, dt)
        if float(tau.min()) < dt * (1 - 1e-6):
            fix = 'take a smaller dt, or scheme="exponential"'
            raise GraphError(f"{name}.{field}", f"at least dt = {dt:g} s", f"{float(tau.min()):g} s", fix)
        return tau

    tau = time("tau") if "tau" in arrays else time("tau_mem")
    r = get("r")
    assert r is not None
    spiking = get("v_threshold") is not None
    pause = None if refractory is None else torch.as_tensor(refractory).to(dtype)
    found = membrane(
        dt, tau, r, get("v_leak"), v_threshold=get("v_threshold"),
        v_reset=get("v_reset") if spiking and not subtract else None,
        tau_syn=time("tau_syn"), w_in=get("w_in"),
        refractory=pause if pause is not None and bool((pause > 0).any()) else None,
    )  # fmt: skip
    if wide is dtype:
        return found
    rounded = {f.name: v.to(dtype) for f in fields(found) if isinstance(v := getattr(found, f.name), Tensor)}
    return replace(found, **rounded)
