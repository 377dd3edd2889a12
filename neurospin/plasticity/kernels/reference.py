"""The steps in plain torch: any dtype, any device; metaplastic Adam has Adam's own bits at `m = 0`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from neurospin.plasticity.kernels import Filter, Settings


def metaplastic_adam(hidden: Tensor, gradient: Tensor, first: Tensor, second: Tensor, settings: Settings) -> None:
    """See `neurospin.plasticity.kernels.metaplastic_adam`."""
    beta1, beta2 = settings.betas
    if settings.weight_decay:
        gradient = gradient.add(hidden, alpha=settings.weight_decay)
    # the operations and their order are torch's own, so that m = 0 gives Adam's bits
    first.lerp_(gradient, 1 - beta1)
    second.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
    scale = (second.sqrt() / settings.root).add_(settings.eps)
    direction = first
    if settings.m:
        damping = torch.tanh(hidden * settings.m).square_().neg_().add_(1)
        damped = first * damping
        direction = damped if settings.symmetric else torch.where(hidden * first > 0, damped, first)
    hidden.addcdiv_(direction, scale, value=-settings.size)


def kalman(value: Tensor, gradient: Tensor, precision: Tensor, numbers: Filter) -> None:
    """See `neurospin.plasticity.kernels.kalman`."""
    prior, window = numbers.prior, numbers.window
    summed = gradient * numbers.batch_size
    if math.isfinite(window):
        precision.mul_(1 - 1 / window).add_(1 / window)
    precision.addcmul_(summed, summed, value=numbers.evidence * prior)
    if math.isfinite(window):
        summed.add_(value, alpha=1 / (window * prior))
    step = summed.mul_(prior).div_(precision)
    if math.isfinite(numbers.limit):
        limit = precision.rsqrt() * numbers.limit
        step.clamp_(-limit, limit)
    value.sub_(step, alpha=numbers.lr)
