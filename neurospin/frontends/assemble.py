"""From the plan of a model to a `Network`: what both front ends share."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from neurospin import synapses
from neurospin.errors import InputError, MissingDependency
from neurospin.frontends.recorder import INPUT, Value
from neurospin.frontends.trace import Plan
from neurospin.network import Network
from neurospin.neurons import Neuron
from neurospin.synapses import Dense, Synapse
from neurospin.topology import topology

Block = Neuron | Synapse


@dataclass
class Carried:
    """What one module becomes.

    Attributes:
        chain: blocks in a row, by suffix; the one without a suffix bears the module's name.
        loop: synapse by which the last block feeds the chain, one step late.
        into: suffix of the block that the loop enters.
    """

    chain: dict[str, Block]
    loop: Synapse | None = None
    into: str = ""


def missing(package: str, error: ImportError, line: str) -> MissingDependency:
    """The error for a library that is not installed."""
    return MissingDependency(package, f"{package} to be installed", str(error), line)


def network_of(plan: Plan, carry: Callable[[str, nn.Module, tuple[int, ...]], Carried], dt: float) -> Network:
    """The network of a plan.

    Args:
        plan: of the model.
        carry: what a module with a state becomes: its name, the module, and its shape.
        dt: step in seconds.
    """
    names, out = _names(plan), output(plan)
    blocks: dict[str, Block] = {}
    edges: list[tuple[str, str]] = []
    enter: dict[str, str] = {INPUT: "input"}
    leave: dict[str, str] = {INPUT: "input"}
    for node, place in plan.nodes.items():
        if node == INPUT:
            continue
        made = None if place.module is None else stateless(node, place.module, place.input_shape, place.output_shape)
        if made is None and place.module is None:
            made = flatten(place.input_shape)
        if made is not None and made.output_size != place.output_shape:
            got = f"{made.output_size} where the model gives {place.output_shape}"
            raise InputError(node, "the model's own shapes", got, "flatten from the axis after the batch on")
        carried = Carried({"": made}) if made is not None else carry(node, place.module, place.output_shape)  # type: ignore[arg-type]
        chain = [f"{names[node]}_{suffix}" if suffix else names[node] for suffix in carried.chain]
        blocks.update(zip(chain, carried.chain.values(), strict=True))
        edges += pairwise(chain)
        enter[node], leave[node] = chain[0], chain[-1]
        if carried.loop is not None:
            back = f"{names[node]}_recurrent"
            blocks[back] = carried.loop
            into = f"{names[node]}_{carried.into}" if carried.into else names[node]
            edges += [(chain[-1], back), (back, into)]
    late = {(leave[a], enter[b]) for b, place in plan.nodes.items() for a, delay in place.sources if delay}
    now = [(leave[a], enter[b]) for b, place in plan.nodes.items() for a, delay in place.sources if not delay]
    edges = [*now, *edges, *late, *((leave[value.node], "output") for value in out)]
    _tell(plan)
    if not late and set(edges) == set(pairwise(["input", *blocks, "output"])):
        return Network(blocks, dt)
    network = Network(blocks, dt, edges)
    _check_back(network, late)
    return network


def output(plan: Plan) -> tuple[Value, ...]:
    """What the network gives: the first thing that the model returned and that is spikes or currents."""
    for tag in plan.outputs:
        if tag and not any(v.opaque or v.part for v in tag) and len({v.time for v in tag}) == 1:
            return tag
    got = "; ".join(f"{v.node}{f', state {v.part}' if v.part else ''}" for tag in plan.outputs for v in tag)
    fix = "return the last layer's output (stacked over time), and compute the rest outside"
    raise InputError("output", "a returned tensor that is the output of a layer", got or "nothing", fix)


def stateless(name: str, module: nn.Module, inputs: tuple[int, ...], outputs: tuple[int, ...]) -> Synapse | None:
    """The synapse that a map without state becomes, with its values; `None` for a module with a state."""
    if isinstance(module, nn.Linear):
        if len(inputs) != 1:
            raise InputError(name, "a Linear on vectors", f"input of shape {inputs}", "flatten before it")
        return dense_of(module)
    where = f"{name} ({type(module).__name__})"
    if isinstance(module, nn.Conv1d | nn.Conv2d):
        if module.padding_mode != "zeros":
            raise InputError(f"{where}.padding_mode", "'zeros'", repr(module.padding_mode), "pad with zeros")
        kind = synapses.Conv1d if isinstance(module, nn.Conv1d) else synapses.Conv2d
        conv = kind(
            inputs, module.out_channels, module.kernel_size, stride=module.stride, padding=module.padding,
            dilation=module.dilation, groups=module.groups, bias=module.bias is not None, generator=torch.Generator(),
        )  # fmt: skip
        take(conv.stored, module.weight.reshape(conv.stored.shape))
        if conv.bias is not None:
            take(conv.bias, module.bias)  # type: ignore[arg-type]
        return conv
    if isinstance(module, nn.AvgPool2d):
        pools = (module.padding != 0 and not module.count_include_pad) or module.ceil_mode
        if pools or module.divisor_override not in (None, 1):
            got = "ceil_mode, a divisor, or padding that does not count"
            raise InputError(where, "plain average or sum pooling", got, "use the defaults of AvgPool2d")
        pool = synapses.SumPool2d if module.divisor_override == 1 else synapses.AvgPool2d
        return pool((inputs[0], inputs[1], inputs[2]), module.kernel_size, module.stride, module.padding)
    if isinstance(module, nn.Flatten):
        return flatten(inputs)
    return None


def dense_of(module: nn.Linear) -> Dense:
    """Dense synapses with the values of a Linear (the global random numbers stay as they are)."""
    dense = Dense(module.in_features, module.out_features, bias=module.bias is not None, generator=torch.Generator())
    take(dense.stored, module.weight)
    if dense.bias is not None:
        take(dense.bias, module.bias)
    return dense


def flatten(inputs: tuple[int, ...]) -> Synapse:
    """The block that lays the axes of a sample into one."""
    return synapses.Flatten(inputs)


def take(ours: nn.Parameter, theirs: Tensor) -> None:
    """Copy a value, and whether it is learned."""
    with torch.no_grad():
        ours.copy_(theirs.detach())
    ours.requires_grad_(theirs.requires_grad)


def constant(where: str, value: Any, size: tuple[int, ...]) -> Tensor:
    """A constant of another library as one number or an array of the block's shape.

    Raises:
        InputError: a learned constant that is shared by some neurons but not by all.
    """
    tensor = torch.as_tensor(value).detach().float()
    if tensor.numel() == 1:
        return tensor.reshape(())
    if tuple(tensor.shape) == size:
        return tensor
    try:
        wide = tensor.expand(size)
    except RuntimeError:
        wide = None
    learned = isinstance(value, nn.Parameter)
    if wide is None or learned:
        expected = f"one number or shape {size}" + (" for a learned constant" if learned else "")
        raise InputError(where, expected, f"shape {tuple(tensor.shape)}", "give one number, or one per neuron")
    return wide.contiguous()


def learned(**constants: Any) -> list[str]:
    """Names of the constants that are parameters with a gradient."""
    return [name for name, value in constants.items() if isinstance(value, nn.Parameter) and value.requires_grad]


def _names(plan: Plan) -> dict[str, str]:
    """A name for every node: the module's own, or kind and number where that is only a number."""
    names: dict[str, str] = {}
    counts: dict[str, int] = {}
    for node, place in plan.nodes.items():
        kind = type(place.module).__name__.lower().removesuffix("cell")
        counts[kind] = counts.get(kind, 0) + 1
        bare = node.rsplit(".", 1)[-1].isdigit() or place.module is None or node == kind
        names[node] = node if place.module is None else f"{kind}{counts[kind]}" if bare else node.replace(".", "_")
    return names


def _tell(plan: Plan) -> None:
    """Say what the network does not do by itself."""
    if plan.mode == "loop" and plan.axis is None:
        static = f"the model shows one input at each of {plan.steps} steps; repeat it over time before the network"
        warnings.warn(static, UserWarning, stacklevel=4)
    if plan.mode == "loop" and any(v.time is not None for v in output(plan)):
        told = f"the model returns one step of {plan.steps}; the network gives every step"
        warnings.warn(told, UserWarning, stacklevel=4)
    if plan.axis:
        told = f"the model reads time from axis {plan.axis} of its input; the network takes time first"
        warnings.warn(told, UserWarning, stacklevel=4)


def _check_back(network: Network, late: set[tuple[str, str]]) -> None:
    """The edges that carry the previous step must be those that close a loop."""
    plan = topology([*network.inputs, *dict(network.named_blocks()), *network.outputs], network.edges, network.inputs,
                    network.neurons())  # fmt: skip
    back = {(a, b) for b, found in plan.delayed.items() for a in found if not a.endswith("_recurrent")}
    for a, b in sorted(late ^ back):
        got = "one outside every loop" if (a, b) in late else "a loop that is closed in the same step"
        raise InputError(f"{a} -> {b}", "a delay of one step exactly where a loop closes", got, "add or remove a loop")
