"""`linear`: a dense matrix product by the faster of the two libraries that torch carries.

On CPUs that MKL does not know well (AMD), oneDNN inside the same torch can be twice as fast; elsewhere
MKL is as fast. Which it is here is measured once per process, on the first large product.
"""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

LARGE = 2**24
"""Multiplications from which a product is worth another route."""

_GAIN = 1.5
"""oneDNN is taken from this gain on: less is not worth other last digits, and the choice stays the same from
process to process (measured gains are about 2.2 on Zen 5, 1.2 on Zen 4, below 1 on Intel)."""

_fast: bool | None = None


def plain_product(*tensors: Tensor) -> bool:
    """Whether torch runs these right now, in float32 on the CPU: no compiler, transform, autocast or subclass."""
    return not (
        torch.compiler.is_compiling()
        or torch.jit.is_tracing()  # pyright: ignore[reportPrivateImportUsage]
        or torch._C._are_functorch_transforms_active()
        or torch.is_autocast_enabled("cpu")
        or any(type(t) not in (Tensor, torch.nn.Parameter) for t in tensors)
        or any(t.dtype != torch.float32 or t.device.type != "cpu" for t in tensors)
    )


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`W x + b` for rows x `(rows, inputs)` and W `(outputs, inputs)`; any number of derivatives."""
    large = x.shape[0] * weight.numel() >= LARGE
    if large and plain_product(x, weight) and onednn_pays():
        y = _Linear.apply(x, weight)
        return y if bias is None else y + bias  # type: ignore[return-value, operator]
    return functional.linear(x, weight, bias)


def onednn_pays() -> bool:
    """Whether oneDNN beats torch's default product clearly here; measured on the first call (20 ms)."""
    global _fast
    if _fast is None:
        _fast = _measure()
    return _fast


def _onednn(x: Tensor, weight: Tensor) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(x, weight, None, "none", [], "")


def _measure() -> bool:
    if not (torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")):
        return False
    generator = torch.Generator().manual_seed(0)
    x, w = (torch.randn(256, 512, generator=generator) for _ in range(2))
    best = {}
    try:
        for route in (functional.linear, _onednn):
            exact = x.double() @ w.double().T
            if float((route(x, w) - exact).abs().max() / exact.abs().max()) > 1e-5:  # e.g. rounded to bfloat16
                return False
            best[route] = float("inf")
        for _ in range(7):
            for route in best:
                start = time.perf_counter()
                route(x, w)
                best[route] = min(best[route], time.perf_counter() - start)
    except RuntimeError:  # a build of torch without this private operator
        return False
    return best[functional.linear] > _GAIN * best[_onednn]


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _onednn(x, weight)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None]:
        (g,), (x, weight) = gradients, ctx.saved_tensors
        product = torch.mm if torch.is_grad_enabled() else lambda a, b: _onednn(a, b.t())
        dx = product(g, weight) if ctx.needs_input_grad[0] else None
        dw = product(g.t(), x) if ctx.needs_input_grad[1] else None
        return dx, dw
