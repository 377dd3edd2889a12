"""What the machine allows: moving the bytes of a scan, the matrix products of a layer; and what a call costs."""

from __future__ import annotations

from collections.abc import Callable

import torch

from experiments.benchmarks.runners import Runner
from experiments.benchmarks.timing import LASTS, interleaved
from experiments.benchmarks.torch_peers import lif
from experiments.benchmarks.work import Work, data
from neurospin.scan import cpu_ops, pool
from neurospin.scan.spec import slope, spec

LOOPS = "ours, the loops alone"

SCAN_ARRAYS = {"forward": 2, "both": 6}  # arrays read or written: x, s; and for the gradient u, u, gs, gx


def bandwidth(work: Work, device: str) -> Runner:
    """Copies of arrays of the cell's size: as many bytes as a scan reads and writes, each array once."""
    shape = (work.time, work.batch, work.size)
    source = [torch.rand(shape, device=device) for _ in range(3)]
    target = [torch.rand(shape, device=device) for _ in range(3)]

    def copies(arrays: int) -> Callable[[], None]:
        def run() -> None:
            for a, b in zip(source[: arrays // 2], target, strict=False):
                b.copy_(a)

        return run

    return Runner(copies(SCAN_ARRAYS["forward"]), copies(SCAN_ARRAYS["both"]), lambda: source[0].numpy())


def loops(work: Work) -> Runner:
    """The two compiled loops on the CPU, without autograd: what is to be compared with copying."""
    numbers, neurons = data(work), lif(work.size)
    neurons.bind(1e-3)
    dynamics, zero = neurons.dynamics(), pool.zeros((work.batch, work.size))
    kinds = [spec(dynamics, voltage=False, memory=memory, learn=False) for memory in ("recompute", "float32")]
    nothing, kept = (how for how in kinds if how is not None)
    p, steep = dynamics.packed, slope(dynamics.surrogate)

    def both() -> None:
        out, _, u = cpu_ops.forward(numbers.x, p, (zero,), kept)
        cpu_ops.backward(None, p, (zero,), out, u, steep, numbers.cotangent, None, (zero,), kept, True)

    def forward() -> torch.Tensor:
        return cpu_ops.forward(numbers.x, p, (zero,), nothing)[0]

    return Runner(forward, both, lambda: forward().numpy())


def call(rounds: int, lasts: float = LASTS) -> dict[str, float]:
    """Seconds of CPU time that a call takes where there is next to nothing to compute: T 2, B 1, N 16."""
    layer, x = lif(16), torch.randn(2, 1, 16).requires_grad_()
    layer.bind(1e-3)
    g = torch.randn(2, 1, 16)

    def forward() -> None:
        with torch.no_grad():
            layer(x)

    def both(function: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[], None]:
        def run() -> None:
            x.grad = None
            function(x).backward(g)

        return run

    calls = {"forward": forward, "both": both(lambda x: layer(x)[0]), "x * 2": both(lambda x: x * 2)}
    return {name: took.cpu for name, took in interleaved(calls, rounds, "cpu", lasts).items()}


def products(work: Work, device: str, fast: bool = False) -> Runner:
    """The product of the forward pass, and that of the weight gradient: torch's, or oneDNN's (`fast`)."""
    numbers = data(work)
    x = numbers.x.flatten(0, 1).to(device)
    g = numbers.cotangent.flatten(0, 1).to(device)
    w = numbers.weights[0].to(device)

    def product(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """`a bᵀ`."""
        return torch.ops.mkldnn._linear_pointwise(a, b, None, "none", [], "") if fast else torch.mm(a, b.t())

    def both() -> None:
        product(x, w)
        product(g.t().contiguous() if fast else g.t(), x.t().contiguous() if fast else x.t())

    return Runner(lambda: product(x, w), both, lambda: x.cpu().numpy())


def limits(work: Work, device: str) -> dict[str, Runner]:
    """The limits that concern a cell."""
    if work.mode == "neuron":
        found = {"limit: memory": bandwidth(work, device)}
        return found if device != "cpu" else {**found, LOOPS: loops(work)}
    if work.mode in ("layer", "dense input"):
        found = {"limit: torch products": products(work, device)}
        if device == "cpu" and torch.backends.mkldnn.is_available():
            found["limit: oneDNN products"] = products(work, device, fast=True)
        return found
    return {}
