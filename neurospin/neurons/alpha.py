"""`Alpha`: neurons whose voltage is the difference of two decaying currents, as snnTorch has them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import nir
import torch
from torch import Tensor

from neurospin.errors import GraphError, InputError, unknown_name
from neurospin.neurons.base import Neuron, Value
from neurospin.scan import Dynamics, Scan
from neurospin.surrogate import ArcTan, Surrogate, spike
from neurospin.types import Spikes, State

RESETS = ("zero", "subtract", "none")


class Alpha(Neuron):
    """Spike-response neurons with an alpha-shaped response, in steps.

    With an input x, and e and h the excitatory and the inhibitory current::

        e[t] = rise · e[t−1] + x[t];   h[t] = fall · h[t−1] − x[t]
        v[t] = (log rise / (log fall − log rise) + 1) · (e[t] + h[t])
        s[t] = 1 if v[t] > v_threshold else 0

    In the step after a spike `"zero"` sets e, h and v to 0, input included; `"subtract"` takes
    v_threshold from e, sets h to 0 and adds h[t−1] to v (snnTorch's own rule); `"none"` does nothing.

    Args:
        size: shape of the block.
        rise: α, kept of the excitatory current per step; more than `fall`.
        fall: β, kept of the inhibitory current per step; less than 1.
        v_threshold: default 1; more than 0.
        reset: see above, default `"zero"`.
        surrogate: derivative of the spike, default `ArcTan()`.
        learn: names of constants to be learned.
        dt: step in seconds; `Network` sets it. It does not change the dynamics.

    Source: Eshraghian et al., Proceedings of the IEEE 111, 2023, doi:10.1109/JPROC.2023.3308088.
    """

    spiking: ClassVar[bool] = True

    def __init__(
        self,
        size: int | tuple[int, ...],
        rise: Value = 0.9,
        fall: Value = 0.8,
        *,
        v_threshold: Value = 1.0,
        reset: str = "zero",
        surrogate: Surrogate | None = None,
        learn: Iterable[str] = (),
        dt: float | None = None,
    ) -> None:
        if reset not in RESETS:
            raise unknown_name("Alpha.reset", reset, RESETS, "reset")
        self.reset = reset
        self.surrogate = surrogate or ArcTan()
        super().__init__(size, {"rise": rise, "fall": fall, "v_threshold": v_threshold}, learn, dt)
        c = self.constants()
        if bool((c["rise"] <= c["fall"]).any() or (c["fall"] >= 1).any() or (c["v_threshold"] <= 0).any()):
            expected = "0 < fall < rise ≤ 1 and v_threshold > 0"
            raise InputError("Alpha", expected, "constants that are not", "change the constants")

    def _bounded(self, name: str) -> bool:
        return False

    def initial(self, batch: int) -> State:
        """Zeros: both currents and the voltage."""
        like = self.constant("rise")
        return (torch.zeros((batch, *self.size), dtype=like.dtype, device=like.device),) * 3

    def dynamics(self) -> Dynamics:
        """Refused: it has two currents."""
        raise InputError("Alpha.dynamics", "a neuron with one membrane", "two currents", "call the neuron itself")

    def scan(self, current: Spikes, state: State | None = None, *, voltage: bool = False) -> Scan:
        """Spikes, new state, and on request the voltages, for input `(time, batch, *neuron)`."""
        c = self.constants()
        rise, fall, theta = c["rise"].clamp(0, 1), c["fall"].clamp(0, 1), c["v_threshold"]
        height = torch.log(rise) / (torch.log(fall) - torch.log(rise)) + 1
        e, h, v = self.initial(current.shape[1]) if state is None else state
        outputs: list[Tensor] = []
        voltages: list[Tensor] = []
        for x in current.unbind(0):
            above = (v > theta).to(x.dtype)
            before, e, h = h, rise * e + x, fall * h - x
            v = height * (e + h)
            if self.reset == "zero":
                e, h, v = e - e * above, h - h * above, v - v * above
            elif self.reset == "subtract":
                e, h, v = e - theta * above, h - h * above, v - -before * above
            outputs.append(spike(v - theta, self.surrogate or ArcTan()))
            voltages.append(v)
        return Scan(torch.stack(outputs), torch.stack(voltages) if voltage else None, (e, h, v))

    def to_nir(self, dt: float) -> nir.NIRNode:
        """Refused: NIR has no such reset."""
        raise GraphError("Alpha", "a neuron that NIR can express", "Alpha, whose reset acts on two currents",
                         "train with Synaptic")  # fmt: skip

    def rate_twin(self) -> Neuron:
        """Refused: the two currents cancel at rest."""
        raise InputError("Alpha.rate_twin", "a neuron with one membrane", "Alpha", "use CubaLIF")

    def config(self) -> dict[str, Any]:
        """Adds the reset and the surrogate."""
        described = {"kind": type(self.surrogate).__name__, **vars(self.surrogate)}
        return {**super().config(), "reset": self.reset, "surrogate": described}
