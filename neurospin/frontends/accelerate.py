"""`accelerate`: a model of snnTorch or Norse, run over whole sequences by our time loops."""

from __future__ import annotations

from dataclasses import replace
from functools import reduce
from operator import add
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_unflatten

from neurospin.errors import InputError
from neurospin.frontends import norse, snntorch
from neurospin.frontends.recorder import INPUT, Kinds, Value
from neurospin.frontends.surrogates import from_snntorch_surrogate
from neurospin.frontends.trace import Node, Plan, trace
from neurospin.network import Network, Recurrent
from neurospin.neurons.discrete import discrete_dynamics, discrete_scan
from neurospin.scan.recurrent import recurrent_scan
from neurospin.synapses import Dense
from neurospin.synapses.product import product

MAPS = (
    nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.AvgPool1d, nn.AvgPool2d, nn.MaxPool1d, nn.MaxPool2d,
    nn.AdaptiveAvgPool2d, nn.Flatten, nn.ReLU, nn.LeakyReLU, nn.GELU, nn.Tanh, nn.Sigmoid, nn.LayerNorm,
    nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Identity,
)  # fmt: skip
WEIGHTS = ("input_weights", "recurrent_weights")
"""What a recurrent neuron of Norse calls its synapses."""


def accelerate(model: nn.Module, sample_input: Tensor | tuple[Any, ...] | None = None) -> Accelerated:
    """A model of snnTorch or Norse that takes whole sequences: same spikes, same gradients, same parameters.

    Those libraries run every layer once per step. Here every layer runs once per sequence: the model's own
    Linear, convolutions and pooling on time × batch, its neurons in one fused loop over time. The model stays
    what it is: it may be trained, saved and called through either form, and its parameters are shared. What
    cannot be fused is left alone, called step by step as before, and named in `report` with the reason.

    Spikes are snnTorch's to the bit where the matrix products are: a Linear may add in another order, on sparse
    spikes by events (see `neurospin.synapses.product`), and a recurrent neuron adds what it feeds back to its
    input first. Norse's are equal in real arithmetic (see `from_norse`). Dropout draws new masks in every step, as in a loop.

    Args:
        model: an `nn.Sequential`, a module that takes one step, or one that loops over time itself.
        sample_input: one input of the model, as in `from_snntorch` and `from_norse`.

    Returns:
        A module. Where `model` takes one step, it takes `(time, batch, *input)` from silence, and gives what
        `model` returns, stacked over time. Where `model` takes a sequence, it takes and gives the same; the
        last states that a Norse model returns are `None`.

    Raises:
        InputError: the model does something that cannot be followed, by name: a BatchNorm, whose statistics
            would change, or a loop over several layers.
        MissingDependency: the model's library is not installed.
    """
    owners = {type(m).__module__.split(".")[0] for m in model.modules()} & {"snntorch", "norse"}
    if len(owners) != 1:
        got = " and ".join(sorted(owners)) or type(model).__name__
        raise InputError("accelerate", "a model with neurons of snnTorch or of Norse", got, "give one of the two")
    front = snntorch if owners == {"snntorch"} else norse
    known = replace(front.kinds(), stateless=MAPS, identity=())
    sample = front.sample_of(model, sample_input, known)
    plan = trace(model, sample, known)
    for name, node in plan.nodes.items():
        for source, delay in node.sources:
            if delay:
                got = f"one from {source} into {name}, one step late"
                raise InputError("accelerate", "no loop over several layers", got, "use RLeaky or LIFRecurrent")
    return Accelerated(model, plan, known, front is norse)


class Accelerated(nn.Module):
    """What `accelerate` gives.

    Attributes:
        model: the user's model; its parameters are shared.
        report: for every neuron, whether its loop is fused, or why it is left alone.
    """

    def __init__(self, model: nn.Module, plan: Plan, known: Kinds, is_norse: bool) -> None:
        super().__init__()
        self.model = model
        self.report: dict[str, str] = {}
        self._plan, self._known, self._norse = plan, known, is_norse
        self._blocks: dict[str, Network] = {}
        self._wanted = {v.node: max(v.part, 0) for tag in plan.outputs for v in tag if v.part}
        for tag in plan.outputs:
            for value in tag:
                if value.opaque and not is_norse:
                    fix = "return spikes and membranes, and compute the rest outside"
                    raise InputError("output", "the output or a state of a layer", f"the result of {value.node}", fix)
        for name, node in plan.nodes.items():
            if isinstance(node.module, (*known.step, *known.sequence)):
                self.report[name] = self._why_not(name, node) or "fused"

    def _why_not(self, name: str, node: Node) -> str:
        """Why a neuron is left alone; empty where it is fused."""
        module: Any = node.module
        kind = type(module).__name__
        if self._norse:
            if not all(isinstance(getattr(module, key), nn.Parameter) for key in WEIGHTS if hasattr(module, key)):
                return f"left alone: {kind} holds weights that are no parameters"
            if any(isinstance(v, nn.Parameter) for v in module.p):
                return f"left alone: {kind} learns its constants"
            try:
                carried = norse.carry(name, module, node.output_shape)
            except InputError as error:
                return f"left alone: {error}"
            if carried.into:
                return f"left alone: {kind} feeds a filter before its adaptive neurons"
            *before, neuron = carried.chain.values()
            last = neuron if carried.loop is None else Recurrent(neuron, carried.loop)  # type: ignore[arg-type]
            self._blocks[name] = Network([*before, last], float(module.dt))
            return ""
        try:
            reset = snntorch.reset_of(name, module)
        except InputError as error:
            return f"left alone: {error}"
        if hasattr(module, "recurrent"):
            if not isinstance(module.recurrent, nn.Linear):
                return f"left alone: {kind} feeds itself through {type(module.recurrent).__name__}, not a Linear"
            if reset in ("none", "blank next"):
                told = "never resets" if reset == "none" else "blanks the whole step after a spike"
                return f"left alone: {kind} feeds itself and {told}"
            if module.graded_spikes_factor.requires_grad or bool((module.graded_spikes_factor != 1).any()):
                return f"left alone: {kind} feeds graded spikes to itself"
        if not snntorch.decays_simply(module):
            return f"left alone: {kind} has two currents"
        if reset == "subtract":
            return "left alone: reset_mechanism='subtract' with reset_delay=False subtracts twice above the threshold"
        if reset == "blank next" and module.threshold.requires_grad:
            return f"left alone: a learned threshold of {kind} also learns in the step after a spike"
        parts = snntorch.parts(module)
        part = self._wanted.get(name, 0)
        if part not in (0, parts) or (part and reset == "blank next"):
            return f"left alone: the model returns state {part} of {kind}"
        return ""

    def forward(self, x: Tensor, *states: Any) -> Any:
        """See `accelerate`; further arguments (fresh states) are taken and not used."""
        plan = self._plan
        timed = plan.mode != "loop" or plan.axis is not None
        if plan.axis:
            x = x.movedim(plan.axis, 0)
        steps = x.shape[0] if timed else plan.steps
        found: dict[tuple[str, int], Tensor] = {(INPUT, 0): x}
        has_time = {INPUT: timed}
        for name, node in plan.nodes.items():
            if name == INPUT:
                continue
            current = reduce(add, [found[source, 0] for source, _ in node.sources])
            has_time[name] = any(has_time[source] for source, _ in node.sources)
            if name in self.report:
                if not has_time[name]:
                    current, has_time[name] = current.expand(steps, *current.shape), True
                found.update(self._neuron(name, node.module, current))
            else:
                found[name, 0] = self._map(node, current, has_time[name])
        leaves = [self._leaf(tag, found, steps) for tag in plan.outputs]
        return tree_unflatten(leaves, plan.structure)

    def _map(self, node: Node, x: Tensor, timed: bool) -> Tensor:
        """A layer without state, on time × batch at once."""
        if node.module is None:
            return x.flatten(2 if timed else 1)
        if type(node.module) is nn.Linear and timed and x.ndim == 3 and not node.module._forward_hooks:
            return product(x, node.module.weight, node.module.bias)
        if node.whole or not timed or isinstance(node.module, nn.Linear):
            return node.module(x)
        y = node.module(x.flatten(0, 1))
        return y.unflatten(0, x.shape[:2])

    def _neuron(self, name: str, module: Any, x: Tensor) -> dict[tuple[str, int], Tensor]:
        """The outputs, and where they are wanted the membranes, of one block of neurons."""
        if self.report[name] != "fused":
            return {(name, part): value for part, value in enumerate(self._stepped(module, x))}
        if self._norse:
            block = self._blocks[name]
            synapses = [synapse for synapse in block.blocks.values() if isinstance(synapse, Dense)]
            for synapse, key in zip(synapses, WEIGHTS, strict=False):
                synapse.stored = getattr(module, key)  # the user's own, which learns
            return {(name, 0): block(x).output}
        wanted = self._wanted.get(name, 0)
        size = tuple(x.shape[2:])
        constants = {key: _fit(value, size) for key, value in snntorch.decays(module).items()}
        reset = snntorch.reset_of(name, module)
        dynamics = discrete_dynamics(
            constants.pop("decay"), _fit(module.threshold, size), reset, **constants,
            reset_gradient=not getattr(module, "reset_delay", True),
            surrogate=from_snntorch_surrogate(module.spike_grad),
        )  # fmt: skip
        fresh = (x.new_zeros(x.shape[1:]),) * dynamics.states
        if hasattr(module, "recurrent"):
            weight, bias = module.recurrent.weight, module.recurrent.bias
            result = recurrent_scan(x, fresh, dynamics, weight, bias, voltage=bool(wanted))
        else:
            result = discrete_scan(x, fresh, dynamics, reset, voltage=bool(wanted))
        factor = module.graded_spikes_factor
        spikes = result.output if not factor.requires_grad and bool((factor == 1).all()) else result.output * factor
        return {(name, 0): spikes} | ({(name, wanted): result.voltage} if result.voltage is not None and wanted else {})

    def _stepped(self, module: Any, x: Tensor) -> list[Tensor]:
        """A module that is left alone: its own loop over time."""
        if isinstance(module, self._known.sequence):
            return [module(x)[0]]
        records: list[list[Tensor]] = []
        state = None
        if not self._norse:
            module.reset_mem()
        for current in x.unbind(0):
            out = module(current, state) if self._norse else module(current)
            if self._norse:
                out, state = (out[0],), out[1]
            records.append(list(out) if isinstance(out, tuple) else [out])
        return [torch.stack(part) for part in zip(*records, strict=True)]

    def _leaf(self, tag: tuple[Value, ...], found: dict[tuple[str, int], Tensor], steps: int) -> Tensor | None:
        """One of the tensors that the model returns."""
        if self._norse and any(v.part or v.opaque for v in tag):
            return None
        times = [v.time for v in tag]
        if len(tag) > 1 and len({(v.node, v.part) for v in tag}) == 1 and times == list(range(self._plan.steps)):
            return found[tag[0].node, tag[0].part].sum(0)  # added up over time
        total = reduce(add, [found[v.node, v.part] for v in tag])
        if self._plan.mode != "loop" or times[0] is None:
            return total
        last = times[0] == self._plan.steps - 1
        if not last and steps != self._plan.steps:
            got = f"{steps} steps after a sample of {self._plan.steps}"
            raise InputError("Accelerated", "as many steps as the sample, for a list of steps", got, "stack the list")
        return total[-1 if last else times[0]]

    def extra_repr(self) -> str:
        """What is fused and what is left alone."""
        return "\n".join(f"{name}: {told}" for name, told in self.report.items())


def _fit(value: Tensor, size: tuple[int, ...]) -> Tensor:
    """A constant as one number or an array of the block's shape; its gradient goes on."""
    return value.reshape(()) if value.numel() == 1 else value if tuple(value.shape) == size else value.expand(size)
