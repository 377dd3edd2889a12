"""From a network to its graph: every block writes its own node."""

from __future__ import annotations

from typing import Any

import nir
import numpy as np

from neurospin.errors import GraphError
from neurospin.graph.contract import KEY
from neurospin.network import Network
from neurospin.neurons import Neuron, Spiking
from neurospin.synapses import Synapse
from neurospin.weights import Binary


def to_graph(network: Network) -> nir.NIRGraph:
    """The NIR graph of a network, with the network's own names.

    What NIR cannot say goes into the metadata under `"neurospin"`: the step, the scheme, the reset
    mode, and for each binary synapse its hidden values and the size of its weights.

    Raises:
        GraphError: a block that NIR cannot express (a rate neuron), or mixed reset modes.
    """
    blocks = network.named_blocks()
    nodes: dict[str, nir.NIRNode] = {
        name: nir.Input({"input": np.array(size)}) for name, size in network.input_sizes.items()
    }
    weights: dict[str, Any] = {}
    for name, block in blocks:
        nodes[name] = block.to_nir(network.dt) if isinstance(block, Neuron) else block.to_nir()
        if isinstance(block, Synapse) and isinstance(block.kind, Binary):
            weights[name] = {
                "kind": "binary",
                "scale": block.kind.scale(block.input_size[-1]),
                "hidden": block.stored.detach().cpu().numpy().copy(),  # type: ignore[union-attr]
            }
    nodes.update({name: nir.Output({"output": np.array(size)}) for name, size in network.output_sizes.items()})
    about: dict[str, Any] = {"dt": network.dt, "time_unit": "s", "scheme": "euler", "reset": _reset(network)}
    if weights:
        about["weights"] = weights
    return nir.NIRGraph(nodes, list(network.edges), metadata={KEY: about})


def _reset(network: Network) -> str:
    modes = {name: block.reset for name, block in network.neurons().items() if isinstance(block, Spiking)}
    if len(set(modes.values())) > 1:
        mixed = ", ".join(f"{name}: {mode}" for name, mode in modes.items())
        raise GraphError("reset", "one reset mode in a graph", mixed, "use the same reset in every spiking block")
    return next(iter(modes.values()), "value")
