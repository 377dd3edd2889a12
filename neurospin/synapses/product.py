"""`product`: `W x + b` over a whole sequence, by a dense product or by events, whichever is faster.

Both give the same sums, in another order. Events are taken for inputs of zeros and ones that are sparse
enough, in products that are large enough to matter; `Events` always are.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neurospin.synapses.events import Events
from neurospin.synapses.gemm import linear, plain_product

SMALL = 2**26
"""Multiplications of a dense product below which it is left alone (under a millisecond or so)."""

DENSEST = 0.2
"""Share of ones from which the dense product is faster."""

Rows = tuple[np.ndarray, np.ndarray]


def product(x: Tensor | Events, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`y = W x + b` at every step of every sample.

    Args:
        x: input `(time, batch, inputs)`, dense or as events; a dense one may have any axes before the last.
        weight: W, `(outputs, inputs)`.
        bias: b, `(outputs,)`.

    Returns:
        `(time, batch, outputs)`; the dense route is one matrix product over time × batch.
    """
    if isinstance(x, Events):
        if not plain_product(weight):
            return product(x.to_dense(weight.dtype).to(weight.device), weight, bias)
        y = _Gather.apply(None, weight, bias, x.rows(), lambda: x.to_dense().reshape(-1, weight.shape[1]))
    else:
        flat = x.reshape(-1, x.shape[-1])
        rows = _rows(flat, weight)
        y = linear(flat, weight, bias) if rows is None else _Gather.apply(flat, weight, bias, rows, None)
    return y.reshape(*x.shape[:-1], weight.shape[0])  # type: ignore[union-attr]


def _rows(x: Tensor, weight: Tensor) -> Rows | None:
    """The spikes of x as lists, or `None` where a dense product is to be taken."""
    if x.shape[0] * weight.numel() < SMALL or not plain_product(x, weight):
        return None
    from neurospin.scan import gather

    array = x.detach().contiguous().numpy()
    number = gather.count(array, int(DENSEST * array.size))
    if number < 0:
        return None
    index, start = np.empty(number, np.int32), np.empty(len(array) + 1, np.int64)
    gather.rows(array, index, start)
    return index, start


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor | None, weight: Tensor, bias: Tensor | None, rows: Rows, dense: Callable[[], Tensor] | None
    ) -> Tensor:
        from neurospin.scan import gather

        ctx.save_for_backward(x, weight)
        ctx.rows, ctx.dense = rows, dense
        index, start = rows
        w = weight.detach().contiguous().numpy()
        b = np.zeros(len(w), np.float32) if bias is None else bias.detach().contiguous().numpy()
        y = torch.empty(len(start) - 1, len(w))
        _spread(gather.forward, (index, start, w, b, y.numpy()), len(w), len(index))
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        from neurospin.scan import gather

        (g,), (x, weight) = gradients, ctx.saved_tensors
        needs_x, needs_weight, needs_bias, *_ = ctx.needs_input_grad
        dx = dw = None
        if needs_x:
            dx = linear(g, weight.t())
        if needs_weight and torch.is_grad_enabled():  # a second derivative is wanted
            dw = g.t() @ (ctx.dense() if x is None else x)
        elif needs_weight:
            index, start = ctx.rows
            by, first = np.empty(len(index), np.int32), np.empty(weight.shape[1] + 1, np.int64)
            gather.columns(index, start, by, first)
            dw = torch.empty_like(weight, memory_format=torch.contiguous_format)
            _spread(gather.weight_gradient, (by, first, g.contiguous().numpy(), dw.numpy()), len(weight), len(index))
        return dx, dw, g.sum(0) if needs_bias else None, None, None


def _spread(kernel: Callable[..., None], arguments: tuple[Any, ...], outputs: int, events: int) -> None:
    """Run a kernel over all outputs, in as many threads as torch may use where that is worth their start."""
    from neurospin.scan.gather import LANES

    blocks = -(-outputs // LANES)
    threads = min(torch.get_num_threads(), blocks) if events * outputs > 2**25 else 1
    if threads == 1:
        kernel(*arguments, 0, outputs)
        return
    edges = [min(outputs, LANES * (blocks * i // threads)) for i in range(threads + 1)]
    with ThreadPoolExecutor(threads) as pool:  # made per call: none is left behind for a fork to inherit
        list(pool.map(lambda low, high: kernel(*arguments, low, high), edges[:-1], edges[1:]))
