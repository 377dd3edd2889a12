"""A delay of whole steps, one per neuron."""

from __future__ import annotations

import torch
from torch import Tensor


def delay(x: Tensor, steps: Tensor | int, before: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """`y[t] = x[t − steps]`, silence before the start.

    Args:
        x: input of shape `(time, batch, *neuron)`.
        steps: whole steps ≥ 0, one number or one per neuron.
        before: the inputs before the first step, latest last, `(past, batch, *neuron)` with any `past`
            (default none).

    Returns:
        The delayed input, and the inputs that the next call needs, `(largest delay, batch, *neuron)`.
    """
    steps = torch.as_tensor(steps, device=x.device)
    longest = int(steps.max())
    past = x.new_zeros((longest, *x.shape[1:])) if before is None else before.to(x.dtype)
    if past.shape[0] < longest:
        past = torch.cat([past.new_zeros((longest - past.shape[0], *x.shape[1:])), past])
    whole = torch.cat([past, x])
    start = past.shape[0]
    if bool((steps == longest).all()):
        y = whole[start - longest : start - longest + x.shape[0]]
    else:
        index = torch.arange(start, whole.shape[0], device=x.device).reshape(-1, *([1] * (x.ndim - 1))) - steps
        y = torch.gather(whole, 0, index.expand(x.shape))
    return y, whole[whole.shape[0] - longest :]
