"""Networks on disk: safetensors, with the network's configuration in the header; nothing is executed."""

from __future__ import annotations

import json
import os
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from neurospin import surrogate, synapses
from neurospin.continual import Perceptron
from neurospin.errors import InputError, unknown_name
from neurospin.files import existing, replacing
from neurospin.network import Network, key_of
from neurospin.neurons import KINDS, Neuron
from neurospin.synapses import Synapse
from neurospin.weights import weight_from

KEY = "neurospin.network"


def save(network: Network | Perceptron, path: str | os.PathLike[str]) -> None:
    """Write a network: every stored value and constant, and the configuration to build it again (of a perceptron: none).

    Raises:
        OutputError: the file cannot be written; then nothing is.
    """
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in network.state_dict().items()}
    config = network.config() if isinstance(network, Network) else {}
    content = to_bytes(tensors, metadata={KEY: json.dumps(config)})
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def load(path: str | os.PathLike[str]) -> Network:
    """Read a network that `save` wrote.

    Raises:
        MissingFile: no such file.
        InputError: not such a file, a value that is not finite, or values that do not fit the
            configuration in its header.
    """
    config, tensors = _read(path)
    network = build(config, tensors)
    _fill(network, tensors, path)
    return network


def load_into(network: Network | Perceptron, path: str | os.PathLike[str]) -> None:
    """Give a network of the same configuration the values that `save` wrote; errors as of `load`."""
    _fill(network, _read(path)[1], path)


def _read(path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    place = existing(path)
    try:
        with safe_open(place, framework="pt") as file:
            text = (file.metadata() or {}).get(KEY)
            tensors: dict[str, Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        config = json.loads(text) if text else None
    except (SafetensorError, json.JSONDecodeError, ValueError) as error:
        raise InputError(str(path), "a safetensors file", str(error), "take a file that neurospin wrote") from error
    if not isinstance(config, dict):
        raise InputError(str(path), f"a header with {KEY}", "none", "take a file that neurospin wrote")
    for name, value in tensors.items():
        bad = int(value.numel() - torch.isfinite(value).sum())
        if bad:
            raise InputError(f"{path}: {name}", "finite values", f"{bad} that are not", "train again")
    return config, tensors


def _fill(network: Network | Perceptron, tensors: dict[str, Tensor], path: str | os.PathLike[str]) -> None:
    expected = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in tensors.items()}
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            raise InputError(
                f"{path}: {name}", f"shape {expected.get(name)}", f"{found.get(name)}", "take an unchanged file"
            )
    network.load_state_dict(tensors)


def build(config: dict[str, Any], tensors: dict[str, Tensor] | None = None) -> Network:
    """A network from its configuration, with the constants found among `tensors`.

    Raises:
        UnknownName: a kind of block that does not exist.
        InputError: a configuration that is not one.
    """
    values = tensors or {}
    try:
        blocks = {name: _block(name, dict(settings), values) for name, settings in config["blocks"].items()}
        network = Network(blocks, config["dt"], config.get("edges"))
        for name in config.get("fixed", ()):
            network.get_parameter(name).requires_grad_(False)
        return network
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError("network", "the configuration of a network", str(error), "write it anew") from error


def _block(name: str, settings: dict[str, Any], tensors: dict[str, Tensor]) -> Neuron | Synapse:
    kind = settings.pop("kind")
    if kind in synapses.KINDS:
        options: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in settings.items()
        }
        if "weight" in options:
            options["weight"] = weight_from(options["weight"])
        if kind == "delay":
            options["delay"] = tensors[f"blocks.{key_of(name)}.delay"]
        return synapses.KINDS[kind](**options)
    if kind not in KINDS:
        raise unknown_name(f"{name}.kind", str(kind), [*synapses.KINDS, *KINDS], "block")
    prefix = f"blocks.{key_of(name)}."
    constants = {
        key.removeprefix(prefix): value
        for key, value in tensors.items()
        if key.startswith(prefix) and not key.startswith(prefix + "free_")
    }
    free = [key.removeprefix(prefix + "free_") for key in tensors if key.startswith(prefix + "free_")]
    # a learned constant takes its value from the file later; here only its shape matters
    ones = {key: torch.ones_like(tensors[f"{prefix}free_{key}"]) for key in free}
    options = {"learn": settings["learn"], **constants, **ones}
    if "surrogate" in settings:
        described = dict(settings.pop("surrogate"))
        options["surrogate"] = surrogate.KINDS[described.pop("kind")](**described)
    options |= {name: value for name, value in settings.items() if name not in ("size", "learn")}
    return KINDS[kind](tuple(settings["size"]), **options)
