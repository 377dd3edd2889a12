"""From a node of a graph to the block of a network that does the same."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import nir
import numpy as np
import torch

from neurospin.errors import GraphError
from neurospin.graph.repair import GraphWarning
from neurospin.network import Block
from neurospin.neurons import Neuron, from_nir, nir_names
from neurospin.synapses import (
    AvgPool2d,
    Banks,
    Conv,
    Conv1d,
    Conv2d,
    Delay,
    Dense,
    Flatten,
    Scale,
    SumPool2d,
    Synapse,
    Threshold,
)
from neurospin.weights import Float, Weight, weight_from

QUIET = torch.Generator()
"""Source of fresh weights that are overwritten at once: the user's own generator is not touched."""


def block_of(
    name: str,
    node: nir.NIRNode,
    size: tuple[int, ...],
    settings: Mapping[str, Any],
    learn: Iterable[str],
    stored: Mapping[str, Any] | None,
) -> Block:
    """The block of a node.

    Args:
        name: of the node, for errors.
        node: any primitive but Input and Output.
        size: shape of the node's input.
        settings: reset, refractory period and surrogate of a spiking node.
        learn: constants of neurons to be learned.
        stored: what the metadata say about the node's weights.

    Raises:
        GraphError: a node that NIR 1.0.8 does not define.
    """
    if isinstance(node, nir.Affine | nir.Linear | nir.Conv1d | nir.Conv2d):
        return _weighted(name, node, size, stored)
    if isinstance(node, nir.SumPool2d | nir.AvgPool2d):
        kind = SumPool2d if isinstance(node, nir.SumPool2d) else AvgPool2d
        return kind(size, *(_ints(n) for n in (node.kernel_size, node.stride, node.padding)))  # type: ignore[arg-type]
    if isinstance(node, nir.Flatten):
        return Flatten(size, int(node.start_dim), int(node.end_dim))
    if isinstance(node, nir.Scale):
        return Scale(size, _full(node.scale, size))
    if isinstance(node, nir.Threshold):
        return Threshold(size, _full(node.threshold, size), settings.get("surrogate"))
    if isinstance(node, nir.Delay):
        return Delay(size, _full(node.delay, size))
    if type(node).__name__ in NEURONS:
        return _neuron(node, size, settings, learn)
    raise GraphError(f"node {name}", "a primitive of NIR 1.0.8", type(node).__name__, "replace the node")


NEURONS = ("I", "IF", "LI", "LIF", "CubaLI", "CubaLIF")


def _neuron(node: nir.NIRNode, size: tuple[int, ...], settings: Mapping[str, Any], learn: Iterable[str]) -> Neuron:
    names = nir_names(type(node))
    options: dict[str, Any] = {"learn": tuple(name for name in learn if name in names.values())}
    if hasattr(node, "v_threshold"):
        options |= {"reset": settings.get("reset", "value"), "surrogate": settings.get("surrogate")}
        if "refractory" in settings:
            options["refractory"] = torch.as_tensor(settings["refractory"], dtype=torch.float32)
    if np.shape(node.r) != size:  # type: ignore[union-attr]
        node = type(node)(**{name: _full(getattr(node, name), size).numpy() for name in names})
    return from_nir(node, **options)


def _full(value: Any, size: tuple[int, ...]) -> torch.Tensor:
    return torch.as_tensor(np.broadcast_to(np.asarray(value), size).astype(np.float32))


def _ints(value: Any) -> int | tuple[int, ...]:
    numbers = tuple(int(n) for n in np.atleast_1d(value))
    return numbers[0] if len(numbers) == 1 else numbers


def _weighted(name: str, node: Any, size: tuple[int, ...], about: Mapping[str, Any] | None) -> Synapse:
    weight = np.asarray(node.weight)
    kind, hidden = _storage(name, weight, about)
    bias = getattr(node, "bias", None)
    block: Dense | Banks | Conv
    if isinstance(node, nir.Conv1d | nir.Conv2d):
        make = Conv1d if isinstance(node, nir.Conv1d) else Conv2d
        block = make(
            size, len(weight), weight.shape[2:], stride=_ints(node.stride), dilation=_ints(node.dilation),
            padding=node.padding if isinstance(node.padding, str) else _ints(node.padding),
            groups=int(node.groups), bias=True, weight=kind, generator=QUIET,
        )  # fmt: skip
    elif weight.ndim == 2:
        block = Dense(weight.shape[1], len(weight), bias=bias is not None, weight=kind, generator=QUIET)
    else:
        block = Banks(weight.shape, bias=bias is not None, weight=kind, generator=QUIET)
    with torch.no_grad():
        block.stored.copy_(torch.as_tensor(hidden).reshape(block.stored.shape))
        if block.bias is not None:
            block.bias.copy_(torch.as_tensor(np.asarray(bias)))
    return block


def _storage(name: str, weight: np.ndarray, about: Mapping[str, Any] | None) -> tuple[Weight, np.ndarray]:
    """The kind of weight and the stored values: those of the metadata where they give the node's own weight."""
    if about is None:
        return Float(), weight
    settings = {key: value for key, value in about.items() if key not in ("hidden", "scale")}
    hidden = np.asarray(about.get("hidden", weight))
    try:
        kind = weight_from({k: v.item() if isinstance(v, np.generic) else v for k, v in settings.items()})
        acting = kind.value(torch.as_tensor(hidden, dtype=torch.float32)).detach().numpy()
        if np.array_equal(acting.reshape(-1), weight.astype(np.float32).reshape(-1)):
            return kind, hidden
    except (LookupError, TypeError, ValueError, RuntimeError):
        pass
    what = f"{name}.weight: not what the recorded {about.get('kind')!r} values give; the weight itself is taken"
    warnings.warn(what, GraphWarning, stacklevel=4)
    return Float(), weight
