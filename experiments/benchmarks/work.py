"""What is to be computed: sizes, data and the plain loop that every library must agree with."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import conv2d, linear

MODES = ("neuron", "layer", "dense input", "recurrent", "conv", "training step")
BETA, THRESHOLD = 0.9, 1.0
GRID = 2.0**-12  # weights and inputs are multiples of it: sums of products are exact in any order
CHANNELS, PIXELS, KERNEL = 8, 16, 3  # of the convolution: CHANNELS in and out, PIXELS x PIXELS


@dataclass(frozen=True)
class Work:
    """One cell of the table.

    Attributes:
        mode: `neuron` (LIF of given currents, gradient to them), `layer` (Linear + LIF, 5 % input spikes,
            gradient to the weights), `dense input` (the same with normal input: the Open Neuromorphic task),
            `recurrent` (LIF that feeds itself, gradient to currents and weights), `conv` (Conv2d + LIF,
            gradient to the weights), `training step` (784-size-10, loss, gradients and Adam).
        time: steps T.
        batch: samples B.
        size: neurons N; channels x pixels are fixed for `conv`.
    """

    mode: str
    time: int
    batch: int
    size: int

    def small(self) -> Work:
        """The same at the size at which spikes are compared."""
        return dataclasses.replace(self, time=min(self.time, 40), batch=min(self.batch, 4), size=min(self.size, 64))

    def __str__(self) -> str:
        return f"{self.mode}, T {self.time}, B {self.batch}, N {self.size}"


def _grid(x: Tensor) -> Tensor:
    return torch.round(x / GRID) * GRID


@dataclass(frozen=True)
class Data:
    """Input, weights, the gradient that arrives at the spikes, and (training step) labels."""

    x: Tensor
    weights: tuple[Tensor, ...]
    cotangent: Tensor
    labels: Tensor | None = None


def data(work: Work, seed: int = 0) -> Data:
    """The numbers of one cell: spike rates of the outputs are a few per cent."""
    random = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=random)

    def spikes(rate: float, *shape: int) -> Tensor:
        return (torch.rand(shape, generator=random) < rate).float()

    def weight(outputs: int, inputs: int, active: float) -> Tensor:
        return _grid(0.4 * normal(outputs, inputs) / active**0.5 + 1 / inputs)

    t, b, n = work.time, work.batch, work.size
    if work.mode == "conv":
        x = spikes(0.05, t, b, CHANNELS, PIXELS, PIXELS)
        inputs = CHANNELS * KERNEL**2
        w = weight(CHANNELS, inputs, 0.05 * inputs).reshape(CHANNELS, CHANNELS, KERNEL, KERNEL)
        return Data(x, (w,), normal(t, b, CHANNELS, PIXELS, PIXELS))
    if work.mode == "layer":
        return Data(spikes(0.05, t, b, n), (weight(n, n, 0.05 * n),), normal(t, b, n))
    if work.mode == "dense input":
        # inputs on a coarse grid, so that products with the weights stay exact
        x = torch.round(normal(t, b, n) * 4) / 4
        return Data(x, (weight(n, n, float(n)),), normal(t, b, n))
    if work.mode == "training step":
        labels = torch.randint(0, 10, (b,), generator=random)
        weights = (weight(n, 784, 0.1 * 784), weight(10, n, 0.05 * n))
        return Data(spikes(0.1, t, b, 784), weights, normal(t, b, 10), labels)
    weights = (_grid(0.2 * normal(n, n) / (0.05 * n) ** 0.5),) if work.mode == "recurrent" else ()
    return Data(_grid(0.4 * normal(t, b, n) + 0.05), weights, normal(t, b, n))


RESETS = {
    "A": "u = βv + x, spike where u > θ, v = u − θs",
    "B": "u[t] = βu[t−1] + x[t] − θs[t−1]: the reset does not decay",
    "C": "as B, the output one step late",
    "D": "as A, but reset to 0",
}


def loop(current: Tensor, reset: str, feedback: Tensor | None = None) -> Tensor:
    """Spikes of the plain time loop of a reset class, for currents `(time, batch, ...)`.

    Args:
        current: input.
        reset: a key of `RESETS`.
        feedback: weights `(size, size)` of the previous step's spikes.
    """
    v, s, out = torch.zeros_like(current[0]), torch.zeros_like(current[0]), []
    for x in current.unbind(0):
        if reset == "C":
            out.append(s)
        if feedback is not None:
            x = x + linear(s, feedback)
        u = BETA * v + x if reset in "AD" else BETA * v + x - THRESHOLD * s
        s = (u > THRESHOLD).float()
        v = {"A": u - THRESHOLD * s, "B": u, "C": u, "D": u * (1 - s)}[reset]
        if reset != "C":
            out.append(s)
    return torch.stack(out)


def expected(work: Work, numbers: Data, reset: str) -> Tensor:
    """What a library of this reset class must put out."""
    x, w = numbers.x, numbers.weights
    if work.mode == "neuron":
        return loop(x, reset)
    if work.mode == "recurrent":
        return loop(x, reset, w[0])
    if work.mode == "conv":
        return loop(conv2d(x.flatten(0, 1), w[0], padding=KERNEL // 2).unflatten(0, x.shape[:2]), reset)
    for weight in w:
        x = loop(linear(x, weight), reset)
    return x


def differing(ours: np.ndarray, wanted: Tensor) -> int:
    """How many spikes are not equal; arrays of another shape differ in all."""
    if ours.shape != tuple(wanted.shape):
        return wanted.numel()
    return int((ours != wanted.numpy()).sum())
