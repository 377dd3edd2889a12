"""`Port`: where a nested graph begins or ends."""

from __future__ import annotations

from typing import Any

import nir
import numpy as np
from torch import Tensor

from neurospin.errors import unknown_name
from neurospin.synapses.base import Synapse
from neurospin.weights import Float

SIDES = ("input", "output")


class Port(Synapse):
    """The input or output of a group of blocks, which `to_graph` writes as a nested graph: `y = x`.

    All blocks whose names start with `GROUP.` belong to the group.

    Args:
        size: shape of a sample.
        side: `"input"` or `"output"`.
        group: name of the group.
    """

    def __init__(self, size: int | tuple[int, ...], side: str, group: str) -> None:
        super().__init__(Float())
        if side not in SIDES:
            raise unknown_name("Port.side", side, SIDES, "side")
        self.input_size = self.output_size = (size,) if isinstance(size, int) else tuple(size)
        self.side, self.group = side, group

    def forward(self, x: Tensor) -> Tensor:
        """The input itself."""
        return x

    def to_nir(self) -> nir.NIRNode:
        """`nir.Input` or `nir.Output` of the nested graph."""
        shape = np.array(self.input_size)
        return nir.Input({"input": shape}) if self.side == "input" else nir.Output({"output": shape})

    def config(self) -> dict[str, Any]:
        """Every argument as plain values."""
        return {"kind": "port", "size": list(self.input_size), "side": self.side, "group": self.group}

    def extra_repr(self) -> str:
        """Size and place."""
        return f"{self.input_size}, {self.side} of {self.group}"
