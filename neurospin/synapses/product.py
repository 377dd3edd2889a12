"""`product`: `W x + b` over a whole sequence, by a dense product or by events, whichever is faster.

Both give the same sums, in another order. Events are taken for inputs of zeros and ones that are sparse
enough, in products that are large enough to matter; `Events` always are. Steps that share their memory are
computed once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from neurospin.synapses.events import Events
from neurospin.synapses.gemm import linear, plain_product

if TYPE_CHECKING:
    from neurospin.scan.gather import Rows

SMALL = 2**20
"""Multiplications of a dense product below which it is left alone: there calls cost more than either."""

DENSEST = 0.25
"""Share of ones from which the dense product may be faster.

Measured on one thread of an AMD Zen 4 with MKL, forward + backward of Dense + LIF, dense time over events' time at 5, 20
and 40 % ones: 1.9, 1.5, 1.0 (128 to 128, 5 Mi multiplications), 3.8, 1.8, 1.0 (784 to 200, 150 Mi), 4.8, 2.0, 1.2 (512 to
512, 400 Mi), 5.8, 1.9, 1.0 (2048 to 512, 1600 Mi). Where dense products are twice as fast (MKL on Intel), they win from
about 20 % on. `python -m experiments.benchmarks.event_driven` repeats it.
"""


def product(x: Tensor | Events, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`y = W x + b` at every step of every sample.

    Args:
        x: input `(time, batch, inputs)`, dense or as events; a dense one may have any axes before the last.
        weight: W, `(outputs, inputs)`.
        bias: b, `(outputs,)`.

    Returns:
        `(time, batch, outputs)`; the dense route is one matrix product over time × batch.
    """
    return multiplied(x, weight, bias, find_spikes(x, weight))


def multiplied(x: Tensor | Events, weight: Tensor, bias: Tensor | None, rows: Rows | None) -> Tensor:
    """`product` for spikes that `find_spikes` found, or did not."""
    if isinstance(x, Events):
        if rows is None:
            return product(x.to_dense(weight.dtype).to(weight.device), weight, bias)
        y = by_spikes(None, weight, bias, rows, lambda: x.to_dense().reshape(-1, weight.shape[1]))
    elif _constant(x):
        y = product(x[:1], weight, bias)
        return y.expand(x.shape[0], *y.shape[1:])
    else:
        flat = x.reshape(-1, x.shape[-1])
        y = linear(flat, weight, bias) if rows is None else by_spikes(flat, weight, bias, rows, None)
    return y.reshape(*x.shape[:-1], weight.shape[0])


def find_spikes(x: Tensor | Events, weight: Tensor) -> Rows | None:
    """The spikes of x as lists, or `None` where a dense product is to be taken."""
    if isinstance(x, Events):
        return x.rows() if plain_product(weight) else None
    if _constant(x):
        return None  # one product for all steps
    if (x.numel() // x.shape[-1]) * weight.numel() < SMALL or not plain_product(x, weight):
        return None
    from neurospin.scan import gather

    return gather.find(x.detach().reshape(-1, x.shape[-1]).contiguous().numpy(), DENSEST)


def _constant(x: Tensor) -> bool:
    """Whether every step is the same, as `encode.Direct` makes it."""
    return x.ndim > 2 and x.shape[0] > 1 and x.stride(0) == 0


def by_spikes(
    x: Tensor | None, weight: Tensor, bias: Tensor | None, rows: Rows, dense: Callable[[], Tensor] | None
) -> Tensor:
    """The product by spikes, for x `(rows, inputs)`; where it is `None`, `dense` makes it when it is needed."""
    return _Gather.apply(x, weight, bias, rows, dense)  # type: ignore[return-value]


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor | None, weight: Tensor, bias: Tensor | None, rows: Rows, dense: Callable[[], Tensor] | None
    ) -> Tensor:
        from neurospin.scan import gather

        ctx.save_for_backward(x, weight)
        ctx.rows, ctx.dense = rows, dense
        b = weight.new_zeros(len(weight)) if bias is None else bias
        return torch.from_numpy(gather.multiply(rows, *(t.detach().contiguous().numpy() for t in (weight, b))))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        from neurospin.scan import gather

        (g,), (x, weight) = gradients, ctx.saved_tensors
        needs_x, needs_weight, needs_bias, *_ = ctx.needs_input_grad
        dx = linear(g, weight.t()) if needs_x else None
        dw = None
        if needs_weight and torch.is_grad_enabled():  # a second derivative is wanted
            dw = g.t() @ (ctx.dense() if x is None else x)
        elif needs_weight:
            dw = torch.from_numpy(gather.outer(ctx.rows, g.contiguous().numpy(), weight.shape[1]))
        return dx, dw, g.sum(0) if needs_bias else None, None, None
