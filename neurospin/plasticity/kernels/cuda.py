"""Metaplastic Adam in one pass over memory, for a GPU: the arithmetic of `cpu`, in Triton."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import triton  # pyright: ignore[reportMissingImports]
import triton.language as tl  # pyright: ignore[reportMissingImports]
from torch import Tensor

if TYPE_CHECKING:
    from neurospin.plasticity.kernels import Settings

BLOCK = 1024


@triton.jit
def _step(h, g, first, second, n, m, keep1, new1, keep2, new2, root, eps, size, decay, BLOCK: tl.constexpr):
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = i < n
    value = tl.load(h + i, mask=inside, other=0.0)
    gradient = tl.load(g + i, mask=inside, other=0.0) + decay * value
    a = keep1 * tl.load(first + i, mask=inside, other=0.0) + new1 * gradient
    b = keep2 * tl.load(second + i, mask=inside, other=0.0) + new2 * gradient * gradient
    y = tl.minimum(m * value * (m * value) * (1 / 64), 4.0)
    w = y * (1 / 2 + y * (1 / 24 + y * (1 / 720 + y * (1 / 40320))))  # cosh(m h / 8) - 1, doubled three times
    w = w * (w + w + 4)
    w = w * (w + w + 4)
    w = w * (w + w + 4) + 1
    slow = tl.where(value * a > 0, w * w, 1.0)
    tl.store(first + i, a, mask=inside)
    tl.store(second + i, b, mask=inside)
    tl.store(h + i, value - size * a / ((tl.sqrt(b) * root + eps) * slow), mask=inside)


def metaplastic_adam(hidden: Tensor, gradient: Tensor, first: Tensor, second: Tensor, settings: Settings) -> None:
    """See `neurospin.plasticity.kernels.metaplastic_adam`; float32, contiguous, on a GPU."""
    beta1, beta2 = settings.betas
    n = hidden.numel()
    launch: Any = _step[(triton.cdiv(n, BLOCK),)]  # pyright: ignore[reportIndexIssue]
    guard = torch.cuda.device_of(hidden) if hidden.is_cuda else torch.no_grad()
    with guard:
        launch(
            hidden.detach(), gradient.detach(), first, second, n, settings.m, beta1, 1 - beta1, beta2, 1 - beta2,
            1 / settings.root, settings.eps, settings.size, settings.weight_decay, BLOCK=BLOCK,
        )  # fmt: skip
