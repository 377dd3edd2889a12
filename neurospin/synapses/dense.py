"""`Dense`: all-to-all synapses."""

from __future__ import annotations

from typing import Any

import nir
import torch
from torch import Tensor, nn

from neurospin.errors import InputError
from neurospin.synapses.base import Synapse
from neurospin.synapses.events import Events
from neurospin.synapses.product import product
from neurospin.weights import Float, Weight


class Dense(Synapse):
    """All-to-all: `y = W x + b`.

    Args:
        inputs: number of inputs.
        outputs: number of outputs.
        bias: whether there is a bias b, drawn as in `torch.nn.Linear` (default `False`).
        weight: `Float()` (default), `Binary()` or `Levels()`.
        generator: source of the fresh values (default: torch's own).

    Attributes:
        stored: what each synapse stores, shape `(outputs, inputs)`; for `Binary` and `Levels` the hidden value.
        weight: the weight that acts, same shape.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        bias: bool = False,
        weight: Weight | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        for name, number in (("inputs", inputs), ("outputs", outputs)):
            if number < 1:
                raise InputError(f"Dense.{name}", "at least 1", str(number), "give a positive number")
        super().__init__(weight or Float())
        self.input_size, self.output_size = (inputs,), (outputs,)
        self.stored = nn.Parameter(self.kind.initial((outputs, inputs), generator))
        fresh = Float().initial((outputs, inputs), generator)[:, 0].clone() if bias else None
        self.bias = nn.Parameter(fresh) if fresh is not None else None

    @property
    def weight(self) -> Tensor:
        """The weight that acts, `(outputs, inputs)`."""
        return self.kind.value(self.stored)

    @property
    def takes_events(self) -> bool:
        """It does."""
        return True

    def forward(self, x: Tensor | Events) -> Tensor:
        """Input `(time, batch, inputs)`, dense or as `Events`, to current; see `neurospin.synapses.product`."""
        if x.ndim != 3 or x.shape[-1] != self.input_size[0]:
            raise InputError(
                "Dense", f"input of shape (time, batch, {self.input_size[0]})", str(tuple(x.shape)),
                "put time first, then batch",
            )  # fmt: skip
        return product(x, self.weight, self.bias)

    def to_nir(self) -> nir.NIRNode:
        """`nir.Linear`, or `nir.Affine` where there is a bias."""
        weight = self.weight.detach().cpu().numpy().copy()
        if self.bias is None:
            return nir.Linear(weight=weight)
        return nir.Affine(weight=weight, bias=self.bias.detach().cpu().numpy().copy())

    def config(self) -> dict[str, Any]:
        """Kind, sizes, bias, and the weight's own settings."""
        return {
            "kind": "dense",
            "inputs": self.input_size[0],
            "outputs": self.output_size[0],
            "bias": self.bias is not None,
            "weight": self.kind.config(),
        }

    def extra_repr(self) -> str:
        """Sizes and weight in one line."""
        return f"{self.input_size[0]}, {self.output_size[0]}, bias={self.bias is not None}, weight={self.kind}"
