"""A twin whose optimum is known: a linear neuron whose weights drift, under Gaussian noise."""

from __future__ import annotations

import torch

from neurospin.continual.streams import CITATIONS, Stream, Task
from neurospin.data import Images
from neurospin.errors import InputError


def drifting_twin(
    tasks: int = 10, inputs: int = 10, samples: int = 200, signal: float = 1.0, drift: float = 0.1, seed: int = 0
) -> Stream:
    """Responses `y = w_t · x + noise` of a neuron to Gaussian inputs; from task to task its weights drift.

    ::

        w_{t+1} = √(1 − drift) w_t + √drift η,    x, η standard normal (η times √(signal / inputs)), noise of variance 1

    The responses' variance is about `signal + 1`. The best that can be told is the share of variance
    `|w_t|² / (|w_t|² + 1)`, which `Stream.optimum` holds; what a filter reaches of it is the price of what it must
    forget. A learner is told of no drift: neither identities nor boundaries, and samples come in their order.

    Args:
        tasks: windows in which the weights are constant.
        inputs: of the neuron.
        samples: training samples of each task; as many as 1000 more are tested on.
        signal: variance of `w · x` over weights and inputs, default 1.
        drift: share of the weights' variance that each task draws anew, 0 to 1; default 0.1.
        seed: of everything random.

    Source: of the filter that is best here: Kalman, Journal of Basic Engineering 82:35, 1960, doi:10.1115/1.3662552.
    """
    for name, value in (("tasks", tasks), ("inputs", inputs), ("samples", samples)):
        if value < 1:
            raise InputError(f"drifting_twin.{name}", "at least 1", str(value), "give a positive number")
    if not (0 <= drift <= 1 and signal > 0):
        raise InputError("drifting_twin", "signal > 0 and drift from 0 to 1", f"{signal}, {drift}", "change them")
    generator = torch.Generator().manual_seed(seed)
    scale = (signal / inputs) ** 0.5
    weights, made, optimum = scale * torch.randn(inputs, generator=generator), [], []
    for number in range(tasks):
        parts = []
        for count in (samples, 1000):
            x = torch.randn(count, inputs, generator=generator)
            parts += [x, (x @ weights + torch.randn(count, generator=generator))[:, None]]
        made.append(Task(f"task {number + 1}", Images(*parts)))
        power = float(weights.square().sum())
        optimum.append(power / (power + 1))
        fresh = scale * torch.randn(inputs, generator=generator)
        weights = (1 - drift) ** 0.5 * weights + drift**0.5 * fresh
    return Stream(
        "linear", "linear_gaussian", "domain", tuple(made), CITATIONS["linear"], boundaries=False, ordered=True,
        optimum=tuple(optimum),
    )  # fmt: skip
