"""`Synapse`: a map without memory of its own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import nir
from torch import Tensor, nn

from neurospin.weights import Weight


class Synapse(nn.Module, ABC):
    """Connections without memory of their own: the same map at every step.

    Args:
        weight: what is stored, and the weight that acts.
    """

    input_size: tuple[int, ...]
    output_size: tuple[int, ...]

    def __init__(self, weight: Weight) -> None:
        super().__init__()
        self.kind = weight

    @property
    def takes_events(self) -> bool:
        """Whether it runs on `Events` as they are, without a dense array."""
        return False

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Input `(time, batch, *input)` to current `(time, batch, *output)`."""

    @abstractmethod
    def to_nir(self) -> nir.NIRNode:
        """The NIR node of this synapse."""

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """Everything but the stored values, as plain values."""
