"""`SumPool2d` and `AvgPool2d`: fixed one-to-one sums over space."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import nir
import numpy as np
from torch import Tensor, nn

from neurospin.errors import InputError
from neurospin.synapses.base import Synapse
from neurospin.synapses.conv import Number, numbers, positions, typed
from neurospin.weights import Float


class Pool(Synapse, ABC):
    """Pooling over windows of the two last axes of `(channels, height, width)`.

    Args:
        input_size: `(channels, height, width)`.
        kernel_size: height and width of a window; one number for a square.
        stride: default, the kernel's size.
        padding: zeros on either side, at most half a window, default 0; they count (torch's
            `count_include_pad`).

    Raises:
        InputError: sizes that do not fit each other.
    """

    def __init__(
        self,
        input_size: tuple[int, int, int],
        kernel_size: Number,
        stride: Number | None = None,
        padding: Number = 0,
    ) -> None:
        super().__init__(Float())
        where = type(self).__name__
        self.input_size = numbers(f"{where}.input_size", tuple(input_size), 3, 1)
        self.kernel_size = numbers(f"{where}.kernel_size", kernel_size, 2, 1)
        self.stride = numbers(f"{where}.stride", self.kernel_size if stride is None else stride, 2, 1)
        self.padding = numbers(f"{where}.padding", padding, 2, 0)
        if any(2 * p > k for p, k in zip(self.padding, self.kernel_size, strict=True)):
            raise InputError(f"{where}.padding", "at most half a window", str(self.padding), "pad less")
        space = positions(where, self.input_size[1:], self.kernel_size, self.stride, self.padding, (1, 1))
        self.output_size = (self.input_size[0], *space)

    @abstractmethod
    def pool(self, x: Tensor) -> Tensor:
        """`(samples, *input)` to `(samples, *output)`."""

    def forward(self, x: Tensor) -> Tensor:
        """One pooling over time × batch."""
        return self.pool(x.reshape(-1, *self.input_size)).reshape(*x.shape[:2], *self.output_size)

    def arrays(self) -> dict[str, Any]:
        """The fields of the NIR node."""
        return {name: np.array(getattr(self, name)) for name in ("kernel_size", "stride", "padding")}

    def config(self) -> dict[str, Any]:
        """Every argument as plain values."""
        names = ("input_size", "kernel_size", "stride", "padding")
        return {"kind": type(self).__name__.lower(), **{name: list(getattr(self, name)) for name in names}}

    def extra_repr(self) -> str:
        """Sizes in one line."""
        return f"{self.input_size} -> {self.output_size}, kernel={self.kernel_size}"


class SumPool2d(Pool):
    """The sum of every window; see `Pool` for the arguments."""

    def pool(self, x: Tensor) -> Tensor:
        """Sum over windows."""
        return nn.functional.avg_pool2d(x, self.kernel_size, self.stride, self.padding, divisor_override=1)

    def to_nir(self) -> nir.NIRNode:
        """`nir.SumPool2d`, with its types."""
        return typed(nir.SumPool2d(**self.arrays()), self)


class AvgPool2d(Pool):
    """The mean of every window, zeros of the padding included; see `Pool` for the arguments."""

    def pool(self, x: Tensor) -> Tensor:
        """Mean over windows."""
        return nn.functional.avg_pool2d(x, self.kernel_size, self.stride, self.padding)

    def to_nir(self) -> nir.NIRNode:
        """`nir.AvgPool2d`, with its types."""
        return typed(nir.AvgPool2d(**self.arrays()), self)
