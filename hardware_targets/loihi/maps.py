"""The synapses of one node without state, as a sparse matrix; nothing is ever unfolded to a dense one.

A convolution has `outputs · kernel` entries, pooling one for each value that is read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import nir
import numpy as np
import torch
from scipy.sparse import block_diag, coo_array, csr_array, diags_array, eye_array, kron

from hardware_targets.loihi.sparse import Matrix
from hardware_targets.patches import Kernel
from neurospin.errors import GraphError
from neurospin.graph.operators import operator

Shape = tuple[int, ...]


def linear(name: str, node: nir.NIRNode, shape: Shape) -> tuple[Matrix, np.ndarray, Shape]:
    """A node as `y = matrix x + constant`, both flat: the matrix `(output, input)`, the constant, the shape of y.

    Args:
        name: of the node, for errors.
        node: Affine, Linear, Scale, convolution, pooling, Flatten, Input or Output.
        shape: of what arrives.

    Raises:
        GraphError: the node is none of these, or something of another shape arrives.
    """
    if type(node) not in _MATRICES:
        raise GraphError(name, "a linear map between neurons", type(node).__name__, "replace the node")
    try:
        constant = operator(name, node, torch.float64)(torch.zeros((1, *shape), dtype=torch.float64))[0]
        matrix = csr_array(_MATRICES[type(node)](node, shape))
    except (RuntimeError, IndexError, ValueError) as error:
        what = f"an input of shape {shape}: {error}"
        raise GraphError(name, "an input of its own shape", what, "make the shapes equal") from error
    return matrix, constant.reshape(-1).numpy(), tuple(constant.shape)


def _same(node: nir.NIRNode, shape: Shape) -> Any:
    return eye_array(int(np.prod(shape)))


def _dense(node: nir.Affine | nir.Linear, shape: Shape) -> Any:
    weight = np.asarray(node.weight, np.float64)
    if weight.ndim == 2:
        return kron(eye_array(int(np.prod(shape[:-1]))), csr_array(weight))
    return block_diag(list(weight.reshape(-1, *weight.shape[-2:])), format="csr")


def _scale(node: nir.Scale, shape: Shape) -> Any:
    return diags_array(np.broadcast_to(np.asarray(node.scale, np.float64), shape).reshape(-1))


def _convolution(node: nir.Conv1d | nir.Conv2d, shape: Shape) -> Any:
    weight = np.asarray(node.weight, np.float64)
    return _taps(Kernel.of(node), weight.reshape(len(weight), -1), shape)


def _pool(node: nir.SumPool2d | nir.AvgPool2d, shape: Shape) -> Any:
    size, stride, (down, across) = (
        (int(n[0]), int(n[-1])) for n in map(np.atleast_1d, (node.kernel_size, node.stride, node.padding))
    )
    kernel = Kernel(size, stride, (across, across, down, down), (1, 1), shape[0])
    weight = 1 / (size[0] * size[1]) if isinstance(node, nir.AvgPool2d) else 1.0
    return _taps(kernel, np.full((shape[0], size[0] * size[1]), weight), shape)


def _taps(kernel: Kernel, weight: np.ndarray, shape: Shape) -> Any:
    """A convolution's matrix; `weight` is `(channels out, channels of a group · kernel)`."""
    planes = (shape[0], 1, shape[1]) if len(shape) == 2 else shape
    inputs, outputs = int(np.prod(shape)), len(weight)
    number = torch.arange(1.0, inputs + 1, dtype=torch.float64).reshape(1, *planes)
    read = kernel.patches(number)[0].numpy().astype(np.int64) - 1  # (positions, channels · kernel), -1 outside
    places, width = len(read), weight.shape[1]
    group = np.arange(outputs) // (outputs // kernel.groups)
    column = read[:, group[:, None] * width + np.arange(width)].transpose(1, 0, 2)  # (out, positions, taps)
    row = np.broadcast_to(np.arange(outputs * places).reshape(outputs, places, 1), column.shape)
    value = np.broadcast_to(weight[:, None], column.shape)
    kept = (column >= 0) & (value != 0)
    return coo_array((value[kept], (row[kept], column[kept])), shape=(outputs * places, inputs))


_MATRICES: dict[type, Callable[[Any, Shape], Any]] = {
    nir.Input: _same,
    nir.Output: _same,
    nir.Flatten: _same,
    nir.Affine: _dense,
    nir.Linear: _dense,
    nir.Scale: _scale,
    nir.Conv1d: _convolution,
    nir.Conv2d: _convolution,
    nir.SumPool2d: _pool,
    nir.AvgPool2d: _pool,
}
