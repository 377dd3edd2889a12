"""What the machine allows: moving the bytes of a scan, and the matrix products of a layer."""

from __future__ import annotations

from collections.abc import Callable

import torch

from experiments.benchmarks.runners import Runner
from experiments.benchmarks.work import Work, data

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
        return {"limit: memory": bandwidth(work, device)}
    if work.mode in ("layer", "dense input"):
        found = {"limit: torch products": products(work, device)}
        if device == "cpu" and torch.backends.mkldnn.is_available():
            found["limit: oneDNN products"] = products(work, device, fast=True)
        return found
    return {}
