"""`Scale`: every value times a factor of its own."""

from __future__ import annotations

from typing import Any

import nir
import numpy as np
import torch
from torch import Tensor, nn

from neurospin.errors import InputError
from neurospin.synapses.base import Synapse
from neurospin.weights import Float

Value = float | Tensor | np.ndarray


def filled(where: str, value: Value, size: tuple[int, ...]) -> Tensor:
    """One finite number, or one for each, as a float32 tensor of shape `size`."""
    tensor = torch.as_tensor(value, dtype=torch.float32)
    if tensor.ndim and tuple(tensor.shape) != size:
        raise InputError(where, f"one number or shape {size}", f"shape {tuple(tensor.shape)}", "match the size")
    if not bool(torch.isfinite(tensor).all()):
        raise InputError(where, "finite numbers", str(value), "give finite numbers")
    return tensor.detach().expand(size).clone()


class Scale(Synapse):
    """Every value times a learned factor of its own: `y = s x`.

    Args:
        size: shape of a sample.
        scale: s, one number or one per value (default 1).

    Attributes:
        scale: the factors, a parameter of shape `size`.
    """

    def __init__(self, size: int | tuple[int, ...], scale: Value = 1.0) -> None:
        super().__init__(Float())
        self.input_size = self.output_size = (size,) if isinstance(size, int) else tuple(size)
        self.scale = nn.Parameter(filled("Scale.scale", scale, self.input_size))

    def forward(self, x: Tensor) -> Tensor:
        """Elementwise product."""
        return x * self.scale

    def to_nir(self) -> nir.NIRNode:
        """`nir.Scale`."""
        return nir.Scale(scale=self.scale.detach().cpu().numpy().copy())

    def config(self) -> dict[str, Any]:
        """Kind and size; the factors are in the state dict."""
        return {"kind": "scale", "size": list(self.input_size)}

    def extra_repr(self) -> str:
        """The size."""
        return f"{self.input_size}"
