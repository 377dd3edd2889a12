"""The step of every rule that costs something beside torch's Adam, in seconds per step."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch
from torch.nn import Parameter
from torch.optim import Adam

from experiments.benchmarks.timing import LASTS, interleaved
from neurospin.plasticity import (
    BGD,
    EWC,
    MESU,
    SI,
    BayesBiNN,
    BennaFusi,
    BiMU,
    Kalman,
    Metaplastic,
    ProbabilisticMetaplasticity,
    Rule,
)
from neurospin.plasticity.kernels import Settings, reference
from neurospin.plasticity.sampled import Sampled

SIZES = (2**18, 2**20, 2**24)
BASE = "torch Adam, fused"
RULES: dict[str, Callable[[Parameter], Rule]] = {
    "Metaplastic": lambda p: Metaplastic([p], lr=1e-5, m=8.0),
    "Kalman": lambda p: Kalman([p], window=1000, batch_size=100),
    "EWC": lambda p: anchored(EWC(Adam([p], lr=1e-5, fused=True))),
    "SI": lambda p: SI(Adam([p], lr=1e-5, fused=True)),
    "BennaFusi": lambda p: BennaFusi(Adam([p], lr=1e-5, fused=True)),
    "BGD": lambda p: BGD([p], lr=1e-3),
    "MESU": lambda p: MESU([p], lr=1e-3, window=1000),
    "BiMU": lambda p: BiMU([p]),
    "BayesBiNN": lambda p: BayesBiNN([p]),
    "ProbabilisticMetaplasticity": lambda p: ProbabilisticMetaplasticity([p], threshold=20.0),
}
"""By name, around fused Adam where they stand around an optimizer; the step of MAS is that of EWC."""


def measure(rounds: int, device: str, sizes: tuple[int, ...] = SIZES, lasts: float = LASTS) -> list[dict]:
    """Times of one step of every rule, of a Gaussian draw, of `Metaplastic` in plain torch, and of Adam, fused and as it comes.

    Gradients are standard normal. The chain of `BennaFusi` has six beakers; its steps differ, and their mean counts.
    """
    rows = []
    for size in sizes:
        calls: dict[str, Callable[[], object]] = {}
        for fused in (True, False):
            calls[BASE if fused else "torch Adam"] = Adam([fresh(size, device)], lr=1e-5, fused=fused).step
        for name, make in RULES.items():
            p = fresh(size, device)
            calls[name] = _step(make(p), p)
        p = fresh(size, device)
        calls["a Gaussian draw"] = _draw(MESU([p]), p)
        p = fresh(size, device)
        calls["Metaplastic, plain torch"] = _plain(p, torch.zeros_like(p), torch.zeros_like(p))
        times = interleaved(calls, rounds, device, lasts)
        rows.append({"parameters": size, "times": {n: dataclasses.asdict(t) for n, t in times.items()}})
    return rows


def fresh(size: int, device: str) -> Parameter:
    """So many synapses of the size of weights, with gradients."""
    torch.manual_seed(0)
    p = Parameter(0.1 * torch.randn(size, device=device))
    p.grad = torch.randn(size, device=device)
    return p


def anchored(rule: EWC) -> EWC:
    """After a task."""
    rule.consolidate({p: torch.rand_like(p) for p in rule.parameters()})
    return rule


def _step(rule: Rule, p: Parameter) -> Callable[[], object]:
    if not isinstance(rule, Sampled):
        return rule.step

    def step() -> None:
        rule.state[p]["drawn"] = 1.0  # as after a draw
        rule.step()

    return step


def _draw(rule: Rule, p: Parameter) -> Callable[[], object]:
    gradient = p.grad

    def draw() -> None:
        p.grad = None
        with rule.sampling():
            p.grad = gradient

    return draw


def _plain(p: Parameter, first: torch.Tensor, second: torch.Tensor) -> Callable[[], object]:
    numbers = Settings(1e-5, 8.0, (0.9, 0.999), 1e-8, 0.0, 10)

    def step() -> None:
        with torch.no_grad():
            assert p.grad is not None
            reference.metaplastic_adam(p, p.grad, first, second, numbers)

    return step


if __name__ == "__main__":
    for row in measure(7, "cpu"):
        base = row["times"][BASE]["cpu"]
        print(f"{row['parameters']:,} synapses; torch Adam, fused: {1e9 * base / row['parameters']:.2f} ns each")
        for name, time in row["times"].items():
            print(f"  {name:28} {time['cpu'] / base:.2f}")
