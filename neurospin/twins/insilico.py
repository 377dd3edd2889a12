"""Experiments on a twin instead of the animal."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from neurospin.errors import InputError


def most_exciting_input(
    model: Callable[[Tensor], Tensor],
    shape: tuple[int, ...],
    unit: int,
    *,
    norm: float = 1.0,
    steps: int = 200,
    step_size: float = 0.2,
    blur: float = 0.0,
    seed: int = 0,
) -> Tensor:
    """The stimulus of a given norm that drives a unit most, `argmax r(x)` over `‖x‖ = norm`.

    Gradient ascent from noise; steps of `step_size · norm` shrink linearly to nothing, and every one is brought back
    to the norm.

    Args:
        model: from stimuli `(batch, *shape)` to responses `(batch, units)`, differentiable.
        shape: of one stimulus; the last two axes are blurred.
        unit: whose response is raised.
        norm: Euclidean norm of the stimulus (default 1).
        steps: of the ascent (default 200).
        step_size: first step, as a part of the norm (default 0.2).
        blur: standard deviation in pixels of a Gaussian over the gradient, against fine noise (default none).
        seed: of the first stimulus.

    Returns:
        The stimulus, `shape`, float32.

    Raises:
        InputError: no such unit, a response that does not depend on the stimulus, or blur of fewer than two axes.

    Source: Walker et al., Nature Neuroscience 22, 2019, doi:10.1038/s41593-019-0517-x.
    """
    if blur > 0 and len(shape) < 2:
        raise InputError("most_exciting_input.blur", "stimuli with two axes", str(shape), "set blur=0")
    if not norm > 0 or steps < 1:
        raise InputError("most_exciting_input", "norm and steps above 0", f"{norm:g} and {steps}", "raise them")
    x = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    x = x * (norm / x.norm())
    for step in range(steps):
        x.requires_grad_(True)
        response = model(x[None])
        if response.ndim != 2 or not 0 <= unit < response.shape[1]:
            raise InputError("most_exciting_input.unit", f"one of {tuple(response.shape)[1:]}", str(unit), "check it")
        (gradient,) = torch.autograd.grad(response[0, unit], x)
        gradient = _blurred(gradient, blur) if blur > 0 else gradient
        size = gradient.norm()
        if not (torch.isfinite(size) and size > 0):
            raise InputError("most_exciting_input", "a response with a gradient", f"{size:g}", "try another seed")
        x = x.detach() + gradient * (step_size * norm * (1 - step / steps) / size)
        x = x * (norm / x.norm())
    return x.detach()


def _blurred(image: Tensor, width: float) -> Tensor:
    """Gaussian blur over the last two axes, zero outside."""
    reach = max(1, round(3 * width))
    line = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / width) ** 2)
    kernel = torch.outer(line, line) / line.sum() ** 2
    flat = image.reshape(-1, 1, *image.shape[-2:])
    return functional.conv2d(flat, kernel[None, None], padding=reach).reshape(image.shape)
