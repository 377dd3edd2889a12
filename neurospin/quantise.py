"""`calibrate`: rounding that suits typical spikes. `quantise`: train what runs.

Of `quantise`, the forward pass is the target's own, the backward pass is the network's.

In the forward pass the network's graph runs on the target as it is rounded at this moment; every spike and
every voltage before the reset is the target's. In the backward pass rounding counts as the identity
(straight-through, Bengio et al. 2013, arXiv:1308.3432), and spikes have the network's surrogate, at the
target's voltages.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import nir
import numpy as np
import torch
from torch import Tensor, nn

from neurospin.errors import InputError, TargetError
from neurospin.executor import Part, Step, execute
from neurospin.graph.build import to_graph
from neurospin.graph.contract import KEY, check_inputs, metadata, resolve_dt
from neurospin.graph.repair import repaired
from neurospin.network import Network, Run, part
from neurospin.neurons import Neuron
from neurospin.scan import Scan
from neurospin.surrogate import spike
from neurospin.target import Problem, Rounding, Target, adjusted, check, get_target
from neurospin.types import Spikes, State


class Quantised(nn.Module):
    """A network whose forward pass runs on a target; `quantise` makes it.

    Attributes:
        network: what is trained; the parameters are its own.
        target: what the forward pass runs on.
    """

    def __init__(self, network: Network, target: Target) -> None:
        super().__init__()
        self.network = network
        self.target = target
        if len(network.inputs) != 1 or len(network.outputs) != 1:
            got = f"{len(network.inputs)} inputs and {len(network.outputs)} outputs"
            raise InputError("quantise", "one input and one output", got, "quantise a network with one of each")
        graph = to_graph(network)
        _refuse(target, target.check(graph))
        silence = torch.zeros((1, 1, *network.input_size)).numpy()
        probe = target.run(graph, silence, dt=network.dt, record=list(network.neurons()))
        self._tail = max([probe.latency_steps, *probe.info.get("latency", {}).values()])

    def forward(self, x: Spikes, seed: int = 0, record: Iterable[str] = ()) -> Run:
        """Run a sequence of zeros and ones, `(time, batch, *input)`, from a fresh state.

        Args:
            x: input.
            seed: of everything random on the target.
            record: `"spikes"`, for the spikes of every neuron block.
        """
        net, neurons = self.network, self.network.neurons()
        steps = x.shape[0]
        padded = torch.cat([x, x.new_zeros((self._tail, *x.shape[1:]))]).detach().cpu().numpy()
        report = self.target.run(to_graph(net), padded, dt=net.dt, seed=seed, record=list(neurons))
        parts: dict[str, Part] = {name: part(block) for name, block in net.named_blocks()}
        for name, block in neurons.items():
            late = report.info.get("latency", {}).get(name, 0)

            def aligned(values: Mapping[str, object], name: str = name, late: int = late) -> Tensor | None:
                found = values.get(name)
                return None if found is None else torch.as_tensor(found)[late : late + steps].to(x)

            output = aligned(report.records)
            assert output is not None
            parts[name] = _Forced(block, output, aligned(report.voltages) if block.spiking else output).part()
        parts[net.outputs[0]] = Part.map(lambda value: value, net.output_size)
        wanted = list(neurons) if "spikes" in set(record) else []
        out = execute(net.plan, parts, {net.inputs[0]: x}, keep=[*net.outputs, *wanted])
        outputs = {name: out.outputs[name] for name in net.outputs}
        return Run(outputs, {}, {name: out.outputs[name] for name in wanted})

    def to_graph(self) -> nir.NIRGraph:
        """The network's graph, with the rounding that it has now under `"quantisation"` in the metadata.

        The target rounds that graph so again, wherever it is read; others need not know. A target that does not
        say how it rounds (`neurospin.target.Rounding`) leaves only its name.
        """
        graph = to_graph(self.network)
        told = self.target.rounding(graph, self.network.dt) if isinstance(self.target, Rounding) else {}
        return _told(graph, self.target, told)


@dataclass(frozen=True)
class _Forced:
    """A neuron block whose outputs and voltages before the reset are known, each `(time, batch, *neuron)`."""

    neuron: Neuron
    output: Tensor
    voltage: Tensor | None

    def part(self) -> Part:
        return Part(lambda x, state, _: self._scan(x, state), self.neuron.size, self.neuron.initial, self._steps)

    def _steps(self) -> Step:
        d, at = self.neuron.dynamics(), iter(range(len(self.output)))

        def step(x: Tensor, state: State) -> tuple[Tensor, State]:
            t = next(at)
            before, after = list(state), []
            if d.synapse_decay is not None and d.synapse_gain is not None:
                x = d.synapse_decay * before.pop(0) + d.synapse_gain * x
                after.append(x)
            v = d.decay * before[-1] + d.gain * x + d.leak
            if self.voltage is not None:
                v = _through(v, self.voltage[t])
            if d.threshold is None:
                return v, (*after, v)
            fired = self.output[t]
            out = _through(spike(v - d.threshold, d.surrogate), fired)
            cause = out if d.reset_gradient else fired
            new = v - d.threshold * cause if d.reset is None else torch.where(fired > 0, d.reset, v)
            if d.reset is not None and d.reset_gradient:
                new = new + (out - out.detach()) * (d.reset - v)
            return out, (*after, new)

        return step

    def _scan(self, x: Tensor, state: State) -> Scan:
        step, outputs = self._steps(), []
        for one in x.unbind(0):
            out, state = step(one, state)
            outputs.append(out)
        return Scan(torch.stack(outputs), None, state)


def _through(value: Tensor, given: Tensor) -> Tensor:
    """`given`, with the gradient of `value`; exact, where `value + (given − value)` would round."""
    return _Through.apply(value, given)  # type: ignore[return-value]


class _Through(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, value: Tensor, given: Tensor) -> Tensor:
        return given.clone()

    @staticmethod
    def backward(ctx: object, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None


def quantise(network: Network, target: str | Target) -> Quantised:
    """A network that computes with a target's rounding and still learns; for fine-tuning before export.

    Every spike of `quantise(net, "loihi")(x)` is the one that `deploy` gives for its `to_graph()`. The parameters
    are those of `network`, which is trained in place. A target without voltages (`Report.voltages`) still
    gives its spikes; surrogates then look at the network's own voltages.

    Args:
        network: one input, one output, neurons that the target knows.
        target: name of a registered target, or a target; one that is deterministic, or `seed` differs by call.

    Raises:
        TargetError: the network does not fit the target; GraphError where it cannot be exported.
        InputError: several inputs or outputs.
    """
    return Quantised(network, get_target(target))


def calibrate(
    graph: nir.NIRGraph,
    spikes: np.ndarray | Mapping[str, np.ndarray],
    target: str | Target,
    *,
    dt: float | None = None,
    seed: int = 0,
    **settings: Any,
) -> nir.NIRGraph:
    """A copy of a graph whose metadata hold the rounding with which the target follows it best on these spikes.

    On `loihi` and `lava`: for every population the scale, of each neuron or of all, and the rounding of the weights
    that minimise the mean square error of the membrane voltage, each neuron getting the spikes that it would get
    without rounding. `deploy`, `certify` and `export` then round so.

    Args:
        graph: a NIR graph.
        spikes: some typical input, `(time, batch, *input)`; a hundred samples do.
        target: name of a registered target, or a target.
        dt: step in seconds; default, the one that the graph records.
        seed: of stochastic rounding (default 0).
        settings: of the target: `scaling="layer"` searches one scale for each population (default `"neuron"`);
            `rounding="stochastic"` lets every neuron choose between the nearest and eight random draws.

    Returns:
        The graph; under `"quantisation"` in its metadata each population also has `error`, the root of the mean square in
        thresholds.

    Raises:
        InputError: the input does not fit the graph.
        TargetError: the graph does not fit the target, or the target does not say how it rounds.
    """
    chosen = adjusted(target, settings)
    if not isinstance(chosen, Rounding):
        raise TargetError(chosen.name, "a target that says how it rounds", "one that does not", 'use "loihi"')
    graph = repaired(graph)
    step = resolve_dt(graph, dt)
    _refuse(chosen, check(graph, chosen, dt=step))
    (given,) = check_inputs(graph, spikes).values()
    return _told(graph, chosen, chosen.rounding(graph, step, spikes=given, seed=seed))


def _told(graph: nir.NIRGraph, target: Target, rounding: Mapping[str, Any]) -> nir.NIRGraph:
    """A copy whose metadata say how the target rounds it."""
    graph = copy.copy(graph)
    about = {**metadata(graph), "quantisation": {"target": target.name, **rounding}}
    graph.metadata = {**(graph.metadata or {}), KEY: about}
    return graph


def _refuse(target: Target, problems: list[Problem]) -> None:
    if problems:
        first = problems[0]
        raise TargetError(f"{target.name}: {first.node or 'graph'}", first.limit, first.value, first.fix)
