"""Every library, ready to be run on a cell: its forward pass, forward and backward, and its spikes."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from experiments.benchmarks import jax_peers, torch_peers
from experiments.benchmarks.torch_peers import Unsupported
from experiments.benchmarks.work import Work, data, differing, expected


@dataclass(frozen=True)
class Library:
    """A library of the table.

    Attributes:
        adapter: of `torch_peers` or `jax_peers`.
        package: what must be importable.
        reset: its class of `work.RESETS`; `None` where it has dynamics of its own.
        jax: whether the adapter is one of `jax_peers`.
    """

    adapter: Callable
    package: str
    reset: str | None
    jax: bool = False


LIBRARIES = {
    "ours": Library(torch_peers.ours, "neurospin", "A"),
    "ours, recompute": Library(torch_peers.recompute, "neurospin", "A"),
    "snntorch": Library(torch_peers.snntorch, "snntorch", "B"),
    "snntorch, one product": Library(torch_peers.snntorch_once, "snntorch", "B"),
    "spikingjelly": Library(torch_peers.spikingjelly, "spikingjelly", "A"),
    "norse": Library(torch_peers.norse, "norse", "D"),
    "sinabs": Library(torch_peers.sinabs, "sinabs", "A"),
    "rockpool": Library(torch_peers.rockpool, "rockpool", None),
    "jax scan": Library(jax_peers.scan, "jax", "A", jax=True),
    "spyx": Library(jax_peers.spyx, "spyx", "C", jax=True),
    "torch.compile": Library(torch_peers.torch_compile, "torch", "A"),
}
# the reset class of a library in one mode, where it is another
OWN_DYNAMICS = {("norse", "recurrent")}


@dataclass(frozen=True)
class Runner:
    """What is timed, and the spikes of the forward pass."""

    forward: Callable[[], object]
    both: Callable[[], object]
    spikes: Callable[[], np.ndarray]


def runner(name: str, work: Work, device: str = "cpu") -> Runner:
    """Build a library's model of a cell.

    Raises:
        Unsupported: the library, or this installation, cannot do it.
    """
    library = LIBRARIES[name]
    if importlib.util.find_spec(library.package) is None:
        raise Unsupported(f"{library.package} is not installed")
    if library.jax and device != "cpu":
        raise Unsupported("JAX is installed for the CPU only")
    numbers = data(work)
    if library.jax:
        forward, both = jax_peers.functions(work, numbers, library.adapter(work))
        return Runner(forward, both, lambda: np.asarray(forward()))
    x, cotangent = numbers.x.to(device), numbers.cotangent.to(device)
    x.requires_grad_(work.mode in ("neuron", "recurrent"))
    weights = [nn.Parameter(w.to(device)) for w in numbers.weights]
    model = library.adapter(work, weights)  # may put its own parameters into the list

    def forward_only() -> torch.Tensor:
        with torch.no_grad():
            return model(x)

    def gradients() -> None:
        x.grad = None
        for weight in weights:
            weight.grad = None
        model(x).backward(cotangent)

    if numbers.labels is not None:
        labels, adam = numbers.labels.to(device), torch.optim.Adam(weights, lr=1e-3)

        def step() -> None:
            adam.zero_grad()
            cross_entropy(model(x).sum(0), labels).backward()
            adam.step()

        gradients = step
    return Runner(forward_only, gradients, lambda: forward_only().cpu().numpy())


def agreement(name: str, work: Work, device: str = "cpu") -> str:
    """How a library's spikes compare with the plain loop of its class, at a small size.

    Raises:
        Unsupported: they differ by more than one in ten thousand, or the library cannot do it.
    """
    small = work.small()
    spikes = runner(name, small, device).spikes()
    reset = None if (name, work.mode) in OWN_DYNAMICS else LIBRARIES[name].reset
    rate = f"rate {100 * float(spikes.mean()):.1f} %"
    if reset is None:
        return f"own dynamics, {rate}"
    wanted = expected(small, data(small), reset)
    wrong = differing(spikes, wanted)
    if not 0 < float(wanted.mean()) < 0.5:
        raise Unsupported(f"the cell says nothing: {100 * float(wanted.mean()):.1f} % of its outputs spike")
    if wrong > 1e-4 * wanted.numel():
        raise Unsupported(f"its spikes are not those of class {reset}: {wrong} of {wanted.numel()} differ")
    return f"class {reset}, {wrong} of {wanted.numel()} spikes differ, {rate}"
