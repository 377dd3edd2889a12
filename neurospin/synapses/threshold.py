"""`Threshold`: the step function without a neuron."""

from __future__ import annotations

from typing import Any

import nir
from torch import Tensor

from neurospin.surrogate import KINDS, ArcTan, Surrogate, spike
from neurospin.synapses.base import Synapse
from neurospin.synapses.scale import Value, filled
from neurospin.weights import Float


class Threshold(Synapse):
    """1 where `x > threshold`, else 0, with a surrogate gradient.

    Args:
        size: shape of a sample.
        threshold: one number or one per value (default 1).
        surrogate: derivative of the step, default `ArcTan()`; its settings, by name, in a mapping with
            its `kind`, do as well.
    """

    threshold: Tensor

    def __init__(
        self,
        size: int | tuple[int, ...],
        threshold: Value = 1.0,
        surrogate: Surrogate | dict[str, Any] | None = None,
    ) -> None:
        super().__init__(Float())
        self.input_size = self.output_size = (size,) if isinstance(size, int) else tuple(size)
        if isinstance(surrogate, dict):
            settings = dict(surrogate)
            surrogate = KINDS[settings.pop("kind")](**settings)
        self.surrogate = surrogate or ArcTan()
        self.register_buffer("threshold", filled("Threshold.threshold", threshold, self.input_size))

    def forward(self, x: Tensor) -> Tensor:
        """Elementwise step."""
        return spike(x - self.threshold, self.surrogate)

    def to_nir(self) -> nir.NIRNode:
        """`nir.Threshold`."""
        return nir.Threshold(threshold=self.threshold.cpu().numpy().copy())

    def config(self) -> dict[str, Any]:
        """Kind, size and surrogate; the thresholds are in the state dict."""
        described = {"kind": type(self.surrogate).__name__, **vars(self.surrogate)}
        return {"kind": "threshold", "size": list(self.input_size), "surrogate": described}

    def extra_repr(self) -> str:
        """Size and surrogate."""
        return f"{self.input_size}, {self.surrogate}"
