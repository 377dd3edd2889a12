"""Convolutions with sparse spikes that touch only the positions that a spike reaches (numba; imported when first used).

A row is one frame of one sample; its spikes are listed as in `neurospin.scan.gather`, as places in the flattened
`(channels, height, width)`. Sums run over output channels, which lie side by side; frames are turned to and from
torch's order `(channels, height, width)` one at a time, in the cache.
"""

from __future__ import annotations

import numpy as np

from neurospin.scan.gather import F, kernel

_ROWS = 8


@kernel
def forward(
    index: np.ndarray, start: np.ndarray, weight: np.ndarray, bias: np.ndarray, y: np.ndarray, width: int, height: int,
    stride: tuple[int, int], padding: tuple[int, int], dilation: tuple[int, int],
) -> None:  # fmt: skip
    """Fill y `(rows, outputs, space, space)` from weight `(channels, kernel, kernel, outputs)`; `height`, `width` of x."""
    rows, outputs, down, across = y.shape
    sums = np.empty((down * across, outputs), np.float32)
    for r in range(rows):
        for place in range(down * across):
            line = sums[place]
            for o in range(outputs):
                line[o] = bias[o]
        for q in range(start[r], start[r + 1]):
            channel, inside = index[q] // (height * width), index[q] % (height * width)
            i, j = inside // width + padding[0], inside % width + padding[1]
            for a in range(weight.shape[1]):
                top = i - a * dilation[0]
                if top < 0 or top % stride[0] or top // stride[0] >= down:
                    continue
                first = top // stride[0] * across
                for b in range(weight.shape[2]):
                    left = j - b * dilation[1]
                    if left < 0 or left % stride[1] or left // stride[1] >= across:
                        continue
                    line, w = sums[first + left // stride[1]], weight[channel, a, b]
                    for o in range(outputs):
                        line[o] += w[o]
        frame = y[r].reshape((outputs, down * across))
        for o in range(outputs):
            plane = frame[o]
            for place in range(down * across):
                plane[place] = sums[place, o]


@kernel
def weight_gradient(
    index: np.ndarray, start: np.ndarray, g: np.ndarray, gradient: np.ndarray, width: int, height: int,
    stride: tuple[int, int], padding: tuple[int, int], dilation: tuple[int, int],
) -> None:  # fmt: skip
    """Add to gradient `(channels, kernel, kernel, outputs)` what g `(rows, outputs, space, space)` gives."""
    rows, outputs, down, across = g.shape
    lines, part = np.empty((down * across, outputs), np.float32), np.zeros(gradient.shape, np.float32)
    for r in range(rows):
        frame = g[r].reshape((outputs, down * across))
        for o in range(outputs):
            plane = frame[o]
            for place in range(down * across):
                lines[place, o] = plane[place]
        for q in range(start[r], start[r + 1]):
            channel, inside = index[q] // (height * width), index[q] % (height * width)
            i, j = inside // width + padding[0], inside % width + padding[1]
            for a in range(gradient.shape[1]):
                top = i - a * dilation[0]
                if top < 0 or top % stride[0] or top // stride[0] >= down:
                    continue
                first = top // stride[0] * across
                for b in range(gradient.shape[2]):
                    left = j - b * dilation[1]
                    if left < 0 or left % stride[1] or left // stride[1] >= across:
                        continue
                    line, total = lines[first + left // stride[1]], part[channel, a, b]
                    for o in range(outputs):
                        total[o] += line[o]
        if r % _ROWS == _ROWS - 1 or r == rows - 1:  # in two stages, so that long sums stay exact
            gradient += part
            part[:] = F(0)
