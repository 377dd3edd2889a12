"""Convolutions as patches (im2col): which inputs every position of a kernel reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import nir
import numpy as np
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Kernel:
    """A convolution as matrices: kernel, stride, padding (left, right, top, bottom), dilation, groups."""

    size: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int, int, int]
    dilation: tuple[int, int]
    groups: int

    @classmethod
    def of(cls, node: nir.Conv1d | nir.Conv2d) -> Kernel:
        """That of a node; one axis is two, the first of length 1."""
        axes = np.asarray(node.weight).ndim - 2

        def pair(value: Any, fill: int) -> tuple[int, int]:
            found = [int(n) for n in np.atleast_1d(value)]
            found = found * axes if len(found) == 1 else found
            return (fill, found[0]) if axes == 1 else (found[0], found[1])

        size, dilation = pair(np.asarray(node.weight).shape[2:], 1), pair(node.dilation, 1)
        if isinstance(node.padding, str):
            extra = [d * (k - 1) if node.padding == "same" else 0 for d, k in zip(dilation, size, strict=True)]
            padding = (extra[1] // 2, extra[1] - extra[1] // 2, extra[0] // 2, extra[0] - extra[0] // 2)
        else:
            down, across = pair(node.padding, 0)
            padding = (across, across, down, down)
        return cls(size, pair(node.stride, 1), padding, dilation, int(node.groups))

    def patches(self, x: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """`(samples, channels, height, width)` to `(samples · positions, channels · kernel)`, and the positions."""
        x = functional.pad(x, self.padding)
        positions = tuple(
            (n - d * (k - 1) - 1) // s + 1
            for n, k, s, d in zip(x.shape[2:], self.size, self.stride, self.dilation, strict=True)
        )
        columns = functional.unfold(x, self.size, self.dilation, 0, self.stride)
        return columns.transpose(1, 2).flatten(0, 1), (positions[0], positions[1])
