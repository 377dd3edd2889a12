"""`Banks`: separate dense maps side by side."""

from __future__ import annotations

import math
from typing import Any

import nir
import torch
from torch import Tensor, nn

from neurospin.synapses.base import Synapse
from neurospin.synapses.conv import numbers
from neurospin.weights import Float, Weight


class Banks(Synapse):
    """Separate all-to-all synapses for each of several banks: `y[k] = W[k] x[k] + b[k]`.

    This is a NIR Linear or Affine whose weight has more than two axes.

    Args:
        size: shape of the weights, `(*banks, outputs, inputs)`.
        bias: whether there is a bias b, zero at first (default `False`).
        weight: `Float()` (default) or another `Weight`.
        generator: source of the fresh values (default: torch's own).

    Attributes:
        stored: what each synapse stores, of shape `size`.
        weight: the weight that acts, same shape.
    """

    def __init__(
        self,
        size: tuple[int, ...],
        *,
        bias: bool = False,
        weight: Weight | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(weight or Float())
        self.size = numbers("Banks.size", tuple(size), max(len(size), 3), 1)
        *banks, outputs, inputs = self.size
        self.input_size, self.output_size = (*banks, inputs), (*banks, outputs)
        rows = self.kind.initial((math.prod((*banks, outputs)), inputs), generator)
        self.stored = nn.Parameter(rows.reshape(self.size))
        self.bias = nn.Parameter(torch.zeros(self.output_size)) if bias else None

    @property
    def weight(self) -> Tensor:
        """The weight that acts."""
        return self.kind.value(self.stored)

    def forward(self, x: Tensor) -> Tensor:
        """One product for each bank."""
        y = (self.weight @ x.unsqueeze(-1)).squeeze(-1)
        return y if self.bias is None else y + self.bias

    def to_nir(self) -> nir.NIRNode:
        """`nir.Linear`, or `nir.Affine` where there is a bias."""
        weight = self.weight.detach().cpu().numpy().copy()
        if self.bias is None:
            return nir.Linear(weight=weight)
        return nir.Affine(weight=weight, bias=self.bias.detach().cpu().numpy().copy())

    def config(self) -> dict[str, Any]:
        """Every argument as plain values."""
        size, bias = list(self.size), self.bias is not None
        return {"kind": "banks", "size": size, "bias": bias, "weight": self.kind.config()}

    def extra_repr(self) -> str:
        """Sizes and weight in one line."""
        return f"{self.input_size} -> {self.output_size}, weight={self.kind}"
