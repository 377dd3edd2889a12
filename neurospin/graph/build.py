"""Between networks and graphs: every block writes its own node, and every node becomes a block."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

import nir
import numpy as np

from neurospin.errors import GraphError, unknown_name
from neurospin.graph.blocks import block_of
from neurospin.graph.check import shapes
from neurospin.graph.contract import KEY, neuron_settings, resolve_dt, stored_weights
from neurospin.graph.order import flatten, nest, order
from neurospin.graph.repair import repaired
from neurospin.graph.scheme import euler_time, exact_time, scheme_of, with_times
from neurospin.network import Block, Network
from neurospin.neurons import Neuron, Spiking
from neurospin.surrogate import ArcTan, Smooth, Surrogate
from neurospin.synapses import Port, Synapse
from neurospin.weights import Binary, Float, Levels


@dataclass(frozen=True)
class Origin:
    """The graph from which a network came: what is unchanged is written as it was, in its own dtype.

    Attributes:
        nodes: of that graph, flat.
        written: what the network's blocks wrote right after the import.
        metadata: of the graph.
        groups: metadata of its nested graphs, by their flat names.
        scheme: by which it is integrated.
    """

    nodes: dict[str, nir.NIRNode]
    written: dict[str, nir.NIRNode]
    metadata: dict[str, Any]
    groups: dict[str, dict[str, Any]]
    scheme: str = "euler"


def to_graph(network: Network) -> nir.NIRGraph:
    """The NIR graph of a network, with the network's own names and edges.

    What NIR cannot say goes into the metadata under `"neurospin"` (see `neurospin.graph.contract`): the
    step, the scheme, reset modes, refractory periods and surrogates, and for each synapse that stores
    something else than its weight, what it stores. A network that came from a graph gives back its
    numbers in their dtype, its nested graphs and its metadata, wherever nothing has changed.

    Raises:
        GraphError: a block that NIR cannot express (a rate neuron, adaptation, a delayed reset, no spikes).
    """
    for name, block in network.named_blocks():
        if isinstance(getattr(block, "surrogate", None), Smooth):
            raise GraphError(f"{name}.surrogate", "spikes", "Smooth", "export the network with another surrogate")
    origin = network.origin if isinstance(network.origin, Origin) else None
    scheme = "euler" if origin is None else origin.scheme
    nodes = _written(network, scheme)
    about: dict[str, Any] = {"dt": network.dt, "time_unit": "s", "scheme": scheme, "reset": _reset(network)}
    about |= {key: value for key, value in (("neurons", _neurons(network)), ("weights", _weights(network))) if value}
    groups: dict[str, dict[str, Any]] = {
        block.group: {} for _, block in network.named_blocks() if isinstance(block, Port)
    }
    rest: dict[str, Any] = {}
    if origin is not None:
        kept = [
            name in origin.nodes and _restore(node, origin.written.get(name), origin.nodes[name])
            for name, node in nodes.items()
        ]
        groups = {name: dict(origin.groups.get(name, {})) for name in groups}
        rest = origin.metadata
        dropped = {"neurons", "weights", *(() if all(kept) else ("quantisation",))}  # it was that of other weights
        unknown = {k: v for k, v in rest.get(KEY, {}).items() if k not in dropped}
        about = {**unknown, **about}
    graph = nest(nodes, list(network.edges), groups)
    graph.metadata = {**rest, KEY: about}
    return graph


def from_graph(
    graph: nir.NIRGraph,
    dt: float | None = None,
    *,
    learn: Iterable[str] = (),
    surrogate: Surrogate | None = None,
) -> Network:
    """A network that does what a NIR graph says, ready to be trained.

    Weights, biases and scales are parameters; constants of neurons are fixed unless they are named in
    `learn`. Binary and other stored weights, reset modes, refractory periods and surrogates come back
    from the metadata of a graph that neurospin wrote. Blocks of nested graphs are named `outer.inner`,
    and `to_graph` nests them again: `to_graph(from_graph(g))` is `g`, number by number.

    A graph that records the scheme "exponential" gets the time constants whose Euler decays are its own,
    `dt / (1 − exp(−dt/τ))`: the same spikes, and `to_graph` turns them back.

    Args:
        graph: any NIR graph: loops, nested graphs, several inputs and outputs.
        dt: step in seconds; default, the one that the graph records.
        learn: constants to be learned in every neuron that has them, for example `("tau_mem",)`.
        surrogate: of every spiking node that records none (default `ArcTan()`); a `Smooth` one is taken for all.

    Raises:
        GraphError: the graph is malformed, records no step and none is given, counts time in another
            unit than seconds, or names a scheme that is none.
        UnknownName: a constant to be learned that no neuron has.
    """
    graph = repaired(graph)
    step = resolve_dt(graph, dt)
    scheme = scheme_of(graph)
    plan, sizes = order(graph), shapes(graph)
    ports = {*plan.inputs, *plan.outputs}
    inner, groups = _groups(graph)
    settings = neuron_settings(graph)
    stored = stored_weights(graph)
    wanted = tuple(learn)
    blocks: dict[str, Block] = {}
    for name, node in plan.nodes.items():
        if name in ports:
            continue
        if name in inner:
            blocks[name] = Port(sizes[name], "input" if isinstance(node, nir.Input) else "output", inner[name])
            continue
        given = next((sizes[s] for s in (*plan.sources[name], *plan.delayed[name])), sizes[name])
        options = {"surrogate": surrogate, **settings.get(name, {})}
        if isinstance(surrogate, Smooth):
            options["surrogate"] = surrogate
        if scheme == "exponential":
            node = with_times(node, lambda tau: euler_time(tau, step))
        blocks[name] = block_of(name, node, given, options, wanted, stored.get(name))
    known = {constant for block in blocks.values() if isinstance(block, Neuron) for constant in block.constants()}
    for constant in wanted:
        if constant not in known:
            raise unknown_name("learn", constant, known, "constant")
    network = Network(blocks, step, flatten(graph)[1])
    network.origin = Origin(dict(plan.nodes), _written(network, scheme), dict(graph.metadata or {}), groups, scheme)
    return network


def _written(network: Network, scheme: str = "euler") -> dict[str, nir.NIRNode]:
    """What every block writes, inputs first, outputs last."""
    nodes: dict[str, nir.NIRNode] = {
        name: nir.Input({"input": np.array(size)}) for name, size in network.input_sizes.items()
    }
    for name, block in network.named_blocks():
        node = block.to_nir(network.dt) if isinstance(block, Neuron) else block.to_nir()
        nodes[name] = with_times(node, lambda tau: exact_time(tau, network.dt)) if scheme == "exponential" else node
    nodes.update({name: nir.Output({"output": np.array(size)}) for name, size in network.output_sizes.items()})
    return nodes


def _restore(node: nir.NIRNode, then: nir.NIRNode | None, original: nir.NIRNode) -> bool:
    """Give a node the very values of the graph that it came from, where they have not changed; whether none has."""
    same = True
    node.metadata = dict(original.metadata or {})
    for field in fields(node):
        if field.name in ("input_type", "output_type", "metadata") or not hasattr(original, field.name):
            continue
        now = getattr(node, field.name)
        if then is not None and np.array_equal(now, getattr(then, field.name)):
            setattr(node, field.name, getattr(original, field.name))
        else:
            same = False
    return same


def _reset(network: Network) -> str:
    """One word for the whole network; a target that knows only one mode must not take a mixed one for it."""
    modes = {block.reset for block in network.neurons().values() if isinstance(block, Spiking)}
    return "subtract" if "subtract" in modes else "value"


def _neurons(network: Network) -> dict[str, dict[str, Any]]:
    """Of every spiking block, what NIR cannot say and the word for the whole network does not."""
    common, found = _reset(network), {}
    for name, block in network.neurons().items():
        if not isinstance(block, Spiking):
            continue
        own: dict[str, Any] = {} if block.reset == common else {"reset": block.reset}
        if block.has_refractory:
            own["refractory"] = block.constant("refractory").detach().cpu().numpy().copy()
        if block.surrogate != ArcTan():
            own["surrogate"] = {"kind": type(block.surrogate).__name__, **vars(block.surrogate)}
        if own:
            found[name] = own
    return found


def _weights(network: Network) -> dict[str, dict[str, Any]]:
    """Of every synapse that stores something else than its weight: the kind, its settings, and the stored values."""
    found = {}
    for name, block in network.named_blocks():
        stored = getattr(block, "stored", None)
        if not isinstance(block, Synapse) or isinstance(block.kind, Float) or stored is None:
            continue
        found[name] = {**block.kind.config(), "hidden": stored.detach().cpu().numpy().copy()}
        if isinstance(block.kind, Binary | Levels):
            found[name]["scale"] = block.kind.scale(stored.shape[-1])
    return found


def _groups(graph: nir.NIRGraph, prefix: str = "") -> tuple[dict[str, str], dict[str, dict[str, Any]]]:
    """By flat names: the nested graph of every Input and Output in one, and the metadata of every nested graph."""
    inner: dict[str, str] = {}
    about: dict[str, dict[str, Any]] = {}
    for name, node in graph.nodes.items():
        if isinstance(node, nir.NIRGraph):
            group = f"{prefix}{name}"
            about[group] = dict(node.metadata or {})
            inner |= {f"{group}.{n}": group for n, m in node.nodes.items() if isinstance(m, nir.Input | nir.Output)}
            deeper = _groups(node, f"{group}.")
            inner, about = inner | deeper[0], about | deeper[1]
    return inner, about
