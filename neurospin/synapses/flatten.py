"""`Flatten`: several axes become one."""

from __future__ import annotations

import math
from typing import Any

import nir
import numpy as np
from torch import Tensor

from neurospin.errors import InputError
from neurospin.synapses.base import Synapse
from neurospin.synapses.conv import numbers, typed
from neurospin.weights import Float


class Flatten(Synapse):
    """Axes `start_dim` to `end_dim` of a sample become one; time and batch are not counted, as in NIR.

    Args:
        input_size: shape of a sample.
        start_dim: first axis, default 0.
        end_dim: last axis, default −1.
    """

    def __init__(self, input_size: tuple[int, ...], start_dim: int = 0, end_dim: int = -1) -> None:
        super().__init__(Float())
        rank = len(input_size)
        self.input_size = numbers("Flatten.input_size", tuple(input_size), rank, 1)
        self.start_dim, self.end_dim = int(start_dim), int(end_dim)
        if not (-rank <= start_dim < rank and -rank <= end_dim < rank and start_dim % rank <= end_dim % rank):
            got = f"start_dim={start_dim}, end_dim={end_dim} of {self.input_size}"
            raise InputError("Flatten", "two axes in their order", got, "count axes without time and batch")
        first, last = start_dim % rank, end_dim % rank
        merged = math.prod(self.input_size[first : last + 1])
        self.output_size = (*self.input_size[:first], merged, *self.input_size[last + 1 :])

    def forward(self, x: Tensor) -> Tensor:
        """Only the shape changes."""
        return x.reshape(*x.shape[:2], *self.output_size)

    def to_nir(self) -> nir.NIRNode:
        """`nir.Flatten`."""
        shape = {"input": np.array(self.input_size)}
        return typed(nir.Flatten(input_type=shape, start_dim=self.start_dim, end_dim=self.end_dim), self)

    def config(self) -> dict[str, Any]:
        """Every argument as plain values."""
        size = list(self.input_size)
        return {"kind": "flatten", "input_size": size, "start_dim": self.start_dim, "end_dim": self.end_dim}

    def extra_repr(self) -> str:
        """Sizes in one line."""
        return f"{self.input_size} -> {self.output_size}"
