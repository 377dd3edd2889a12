"""A network read as a row of layers, for libraries whose models are rows of layers."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from neurospin.errors import InputError
from neurospin.network import Network
from neurospin.neurons import Neuron
from neurospin.synapses import AvgPool2d, Conv1d, Conv2d, Dense, Flatten, SumPool2d, Synapse


@dataclass(frozen=True)
class Layer:
    """One block of a row.

    Attributes:
        name: of the block.
        block: synapse or neurons.
        loop: synapse by which a neuron block feeds itself, one step late.
    """

    name: str
    block: Neuron | Synapse
    loop: Synapse | None = None


def chain(network: Network, library: str) -> list[Layer]:
    """The layers of a network in order.

    Raises:
        InputError: an edge that is neither from one layer to the next nor a neuron's loop through one synapse.
    """
    blocks = dict(network.named_blocks())
    onward: dict[str, list[str]] = {}
    for a, b in network.edges:
        onward.setdefault(a, []).append(b)
    layers: list[Layer] = []
    here, seen = "input", 0
    while here != "output":
        loops = [b for b in onward.get(here, []) if onward.get(b) == [here] and isinstance(blocks.get(b), Synapse)]
        ahead = [b for b in onward.get(here, []) if b not in loops]
        seen += len(ahead) + 2 * len(loops)
        if len(ahead) != 1 or len(loops) > 1 or (here != "input" and not layers) or len(layers) > len(blocks):
            break
        if loops:
            layers[-1] = Layer(layers[-1].name, layers[-1].block, blocks[loops[0]])  # type: ignore[arg-type]
        here = ahead[0]
        if here in blocks:
            layers.append(Layer(here, blocks[here]))
        elif here in network.outputs:
            break
    if seen != len(network.edges):
        told = ", ".join(f"{a} -> {b}" for a, b in network.edges)
        fix = "take another target for networks with skips or several inputs"
        raise InputError(f"to_{library}", "a row of layers, with loops of a neuron through one synapse", told, fix)
    return layers


def linear(dense: Dense) -> nn.Linear:
    """`torch.nn.Linear` with the weights that act, and whether they are learned."""
    outputs, inputs = dense.weight.shape
    made = nn.Linear(inputs, outputs, bias=dense.bias is not None)
    with torch.no_grad():
        made.weight.copy_(dense.weight)
        if dense.bias is not None:
            made.bias.copy_(dense.bias)
    made.weight.requires_grad_(dense.stored.requires_grad)
    return made


def map_of(layer: Layer, library: str) -> nn.Module:
    """The torch module of a synapse.

    Raises:
        InputError: a synapse that torch's own layers do not have.
    """
    if isinstance(layer.block, Dense):
        return linear(layer.block)
    block = layer.block
    if isinstance(block, Conv1d | Conv2d):
        kind = nn.Conv1d if isinstance(block, Conv1d) else nn.Conv2d
        made = kind(
            block.input_size[0], block.output_size[0], block.kernel_size, block.stride, block.padding,  # type: ignore[arg-type]
            block.dilation, block.groups, bias=block.bias is not None,  # type: ignore[arg-type]
        )  # fmt: skip
        with torch.no_grad():
            made.weight.copy_(block.weight)
            if block.bias is not None and made.bias is not None:
                made.bias.copy_(block.bias)
        made.weight.requires_grad_(block.stored.requires_grad)
        return made
    if isinstance(block, AvgPool2d | SumPool2d):
        divisor = 1 if isinstance(block, SumPool2d) else None
        return nn.AvgPool2d(block.kernel_size, block.stride, block.padding, divisor_override=divisor)  # type: ignore[arg-type]
    if isinstance(block, Flatten) and len(block.output_size) == 1:
        return nn.Flatten()
    kind = type(layer.block).__name__
    raise InputError(
        f"to_{library}: {layer.name}", "Dense, a convolution, pooling or Flatten", kind, "replace the block"
    )
