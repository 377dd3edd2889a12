"""The metaplastic and the Kalman step beside torch's Adam, in seconds per step."""

from __future__ import annotations

import dataclasses

import torch

from experiments.benchmarks.timing import LASTS, interleaved
from neurospin.plasticity import EWC, Kalman, Metaplastic
from neurospin.plasticity.kernels import Settings, reference

SIZES = (2**18, 2**20, 2**24)


def measure(rounds: int, device: str, sizes: tuple[int, ...] = SIZES, lasts: float = LASTS) -> list[dict]:
    """Times of `Metaplastic` and its plain torch reference, of `Kalman`, of `EWC` around fused Adam, and of Adam, fused and as it comes."""
    rows = []
    for size in sizes:
        optimizers = {}
        for name in ("torch Adam, fused", "torch Adam", "Metaplastic", "Metaplastic, plain torch", "Kalman", "EWC"):
            torch.manual_seed(0)
            p = torch.nn.Parameter(0.1 * torch.randn(size, device=device))
            p.grad = torch.randn(size, device=device)
            if name == "Metaplastic":
                optimizers[name] = Metaplastic([p], lr=1e-5, m=8.0).step
            elif name == "Kalman":
                optimizers[name] = Kalman([p], window=1000, batch_size=100).step
            elif name == "EWC":
                around = EWC(torch.optim.Adam([p], lr=1e-5, fused=True))
                around.consolidate({p: torch.rand(size, device=device)})
                optimizers[name] = around.step
            elif name == "Metaplastic, plain torch":
                moments = [torch.zeros_like(p), torch.zeros_like(p)]
                numbers = Settings(1e-5, 8.0, (0.9, 0.999), 1e-8, 0.0, 10)
                optimizers[name] = _plain(p, moments, numbers)
            else:
                optimizers[name] = torch.optim.Adam([p], lr=1e-5, fused="fused" in name).step
        times = interleaved(optimizers, rounds, device, lasts)
        rows.append({"parameters": size, "times": {n: dataclasses.asdict(t) for n, t in times.items()}})
    return rows


def _plain(p: torch.nn.Parameter, moments: list[torch.Tensor], numbers: Settings):
    def step() -> None:
        with torch.no_grad():
            assert p.grad is not None
            reference.metaplastic_adam(p, p.grad, *moments, numbers)

    return step
