"""The maps of a graph that have no state: weights, convolutions, pooling, flattening, thresholds.

Each takes `(samples, *input)` and gives `(samples, *output)`; time and batch are one axis here, so that
a feed-forward layer is one matrix product over the whole sequence.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import nir
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from neurospin.errors import GraphError
from neurospin.synapses.conv import convolve
from neurospin.synapses.product import product

Operator = Callable[[Tensor], Tensor]


def operator(name: str, node: nir.NIRNode, dtype: torch.dtype) -> Operator:
    """The map of a node without state.

    Args:
        name: of the node, for errors.
        node: any NIR primitive without state.
        dtype: of the computation.

    Raises:
        GraphError: the node is of a kind that NIR 1.0.8 does not define.
    """
    kind = type(node)
    if kind not in _MAKERS:
        raise GraphError(name, "a node of NIR 1.0.8", kind.__name__, "replace the node")
    return _MAKERS[kind](node, dtype)


def _tensor(array: Any, dtype: torch.dtype) -> Tensor:
    return torch.as_tensor(np.asarray(array)).to(dtype)


def _identity(node: nir.NIRNode, dtype: torch.dtype) -> Operator:
    return lambda x: x


def _affine(node: nir.Affine, dtype: torch.dtype) -> Operator:
    weight, bias = _tensor(node.weight, dtype), _tensor(node.bias, dtype)
    if weight.ndim == 2:
        return lambda x: product(x, weight, bias)
    return lambda x: (weight @ x.unsqueeze(-1)).squeeze(-1) + bias


def _linear(node: nir.Linear, dtype: torch.dtype) -> Operator:
    weight = _tensor(node.weight, dtype)
    if weight.ndim == 2:
        return lambda x: product(x, weight)
    return lambda x: (weight @ x.unsqueeze(-1)).squeeze(-1)


def _scale(node: nir.Scale, dtype: torch.dtype) -> Operator:
    scale = _tensor(node.scale, dtype)
    return lambda x: x * scale


def _conv(node: nir.Conv1d | nir.Conv2d, dtype: torch.dtype) -> Operator:
    weight, bias = _tensor(node.weight, dtype), _tensor(node.bias, dtype)
    axes = weight.ndim - 2
    padding = node.padding if isinstance(node.padding, str) else _pair(node.padding, axes)
    stride, dilation, groups = _pair(node.stride, axes), _pair(node.dilation, axes), int(node.groups)
    return lambda x: convolve(x, weight, bias, stride, padding, dilation, groups)


def _average(node: nir.AvgPool2d, dtype: torch.dtype) -> Operator:
    size, stride, padding = (_pair(n, 2) for n in (node.kernel_size, node.stride, node.padding))
    return lambda x: functional.avg_pool2d(x, size, stride, padding)


def _sum(node: nir.SumPool2d, dtype: torch.dtype) -> Operator:
    size, stride, padding = (_pair(n, 2) for n in (node.kernel_size, node.stride, node.padding))
    return lambda x: functional.avg_pool2d(x, size, stride, padding, divisor_override=1)


def _flatten(node: nir.Flatten, dtype: torch.dtype) -> Operator:
    start, end = int(node.start_dim), int(node.end_dim)
    # the node counts axes without the sample axis
    return lambda x: x.flatten(start + 1 if start >= 0 else start, end + 1 if end >= 0 else end)


def _threshold(node: nir.Threshold, dtype: torch.dtype) -> Operator:
    threshold = _tensor(node.threshold, dtype)
    return lambda x: (x > threshold).to(dtype)


def _pair(value: Any, axes: int) -> tuple[int, ...]:
    numbers = tuple(int(n) for n in np.atleast_1d(value))
    return numbers * axes if len(numbers) == 1 else numbers


_MAKERS: dict[type, Callable[[Any, torch.dtype], Operator]] = {
    nir.Input: _identity,
    nir.Output: _identity,
    nir.Affine: _affine,
    nir.Linear: _linear,
    nir.Scale: _scale,
    nir.Conv1d: _conv,
    nir.Conv2d: _conv,
    nir.AvgPool2d: _average,
    nir.SumPool2d: _sum,
    nir.Flatten: _flatten,
    nir.Threshold: _threshold,
}
