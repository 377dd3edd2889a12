"""`sparse_conv2d`: a convolution of sparse spikes, by events where that is faster."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import conv2d

from neurospin.synapses.events import Events
from neurospin.synapses.gemm import plain_product

if TYPE_CHECKING:
    from neurospin.scan.gather import Rows

SMALL = 2**22
"""Multiplications of a dense convolution below which it is left alone."""

DENSEST = 0.03
"""Share of ones from which the dense convolution may be faster in one thread; the events' route has only one.

Measured on one thread of an AMD Zen 4, dense time over events' time of forward + weight gradient, at 1, 2, 5 and
10 % ones: 1.8, 1.4, 0.9, 0.6 (2 channels of 34 x 34 to 12, kernel 5), 2.2, 1.7, 1.0, 0.5 (16 of 16 x 16 to 16,
kernel 3), 3.9, 3.1, 2.0, 1.2 (32 of 16 x 16 to 64, kernel 3). `python -m experiments.benchmarks.sparse_conv` repeats it.
"""

Pair = tuple[int, int]


def sparse_conv2d(
    x: Tensor | Events, weight: Tensor, bias: Tensor | None, stride: Pair, padding: Pair, dilation: Pair
) -> Tensor | None:
    """`torch.nn.functional.conv2d` of input that needs no gradient; `None` where the dense one is to be taken.

    By events for frames of zeros and ones that are sparse enough, and for `Events` always; the sums are the same, in
    another order.

    Args:
        x: `(samples, channels, height, width)`; as events `(time, batch, channels, height, width)`.
        weight: `(outputs, channels, *kernel)`.
        bias: `(outputs,)`.
        stride: down, across.
        padding: zeros before the first row and column.
        dilation: down, across.
    """
    how = (stride, padding, dilation)
    if isinstance(x, Events):
        size = (x.shape[0] * x.shape[1], *x.shape[2:])
        if not plain_product(weight):
            return conv2d(x.to_dense(weight.dtype).to(weight.device).reshape(size), weight, bias, *how)
        return _Patches.apply(lambda: x.to_dense().reshape(size), size, weight, bias, x.rows(), how)  # type: ignore[return-value]
    if x.requires_grad or x.numel() * weight[:, 0].numel() < SMALL or not plain_product(x, weight):
        return None
    from neurospin.scan import gather

    frames = x.detach().flatten(1).contiguous()
    rows = gather.find(frames.numpy(), DENSEST / torch.get_num_threads())
    return None if rows is None else _Patches.apply(lambda: x, tuple(x.shape), weight, bias, rows, how)  # type: ignore[return-value]


class _Patches(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, dense: Callable[[], Tensor], given: tuple[int, ...], weight: Tensor, bias: Tensor | None, rows: Rows,
        how: tuple[Pair, Pair, Pair],
    ) -> Tensor:  # fmt: skip
        from neurospin.scan import patches

        ctx.save_for_backward(weight)
        ctx.dense, ctx.given, ctx.rows, ctx.how = dense, given, rows, how
        b = weight.new_zeros(len(weight)) if bias is None else bias.detach().contiguous()
        with torch.no_grad():
            size = conv2d(weight.new_zeros((0, *given[1:])), weight, None, *how).shape[1:]
        y = torch.empty((given[0], *size))
        w = weight.detach().permute(1, 2, 3, 0).contiguous()
        patches.forward(*rows, w.numpy(), b.numpy(), y.numpy(), given[3], given[2], *how)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        from neurospin.scan import patches

        (g,), (weight,) = gradients, ctx.saved_tensors
        _, _, needs_weight, needs_bias, *_ = ctx.needs_input_grad
        dw = None
        if needs_weight and torch.is_grad_enabled():  # a second derivative is wanted
            again = weight.detach().requires_grad_()
            (dw,) = torch.autograd.grad(conv2d(ctx.dense(), again, None, *ctx.how), again, g, create_graph=True)
        elif needs_weight:
            total = torch.zeros(weight.permute(1, 2, 3, 0).shape)
            patches.weight_gradient(
                *ctx.rows, g.contiguous().numpy(), total.numpy(), ctx.given[3], ctx.given[2], *ctx.how
            )
            dw = total.permute(3, 0, 1, 2).contiguous()
        return None, None, dw, g.sum((0, 2, 3)) if needs_bias else None, None, None
