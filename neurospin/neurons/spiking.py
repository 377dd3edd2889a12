"""`Spiking`: what every block of spiking neurons has in common."""

from __future__ import annotations

from abc import ABC
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, TypedDict

from neurospin.errors import InputError, unknown_name
from neurospin.neurons.base import Neuron, Value
from neurospin.scan.spec import MEMORY
from neurospin.surrogate import ArcTan, Smooth, Surrogate

RESETS = ("value", "subtract")


class SpikeOptions(TypedDict, total=False):
    """The options that every spiking neuron takes; see `Spiking`."""

    v_threshold: Value
    v_reset: Value
    refractory: Value
    reset: str
    reset_delay: bool
    reset_gradient: bool
    surrogate: Surrogate | None
    memory: str
    learn: Iterable[str]
    dt: float | None


class Spiking(Neuron, ABC):
    """A block of spiking neurons: spike where `v > v_threshold`, then reset.

    Args:
        size: shape of the block.
        values: constants of the membrane, by name.
        v_threshold: default 1.
        v_reset: voltage after a spike, default 0; unused with `reset="subtract"`.
        refractory: seconds after a spike, rounded to whole steps, in which the voltage is held and no
            spike comes, default 0; a synaptic current and an adaptation go on. NIR cannot say it.
        reset: `"value"` (NIR's, default) or `"subtract"`, which takes `v_threshold` away. NIR cannot
            say the latter: it is exported as metadata and runs only on targets that declare it.
        reset_delay: the reset acts one step after the spike, as in snnTorch's default (see
            `neurospin.scan`); default `False`. It cannot be exported.
        reset_gradient: whether the gradient also flows through the spike in the reset, default `False`.
        surrogate: derivative of the spike, default `ArcTan()`.
        memory: what is kept for the backward pass besides the spikes: the voltages as `"float32"` (default)
            or `"bfloat16"`, or only the input (`"recompute"`): behind a `Dense` in a `Network` its spikes as
            bits, 32 to a number, and no current; see `neurospin.scan.scan`. It says how the gradient is
            computed, not what the neuron does.
        learn: names of constants to be learned.
        dt: step in seconds; `Network` sets it.
    """

    spiking: ClassVar[bool] = True

    def __init__(
        self,
        size: int | tuple[int, ...],
        values: Mapping[str, Value],
        *,
        v_threshold: Value = 1.0,
        v_reset: Value = 0.0,
        refractory: Value = 0.0,
        reset: str = "value",
        reset_delay: bool = False,
        reset_gradient: bool = False,
        surrogate: Surrogate | None = None,
        memory: str = "float32",
        learn: Iterable[str] = (),
        dt: float | None = None,
    ) -> None:
        kind = type(self).__name__
        if reset not in RESETS:
            raise unknown_name(f"{kind}.reset", reset, RESETS, "reset")
        if memory not in MEMORY:
            raise unknown_name(f"{kind}.memory", memory, MEMORY, "memory")
        self.memory = memory
        self.reset, self.reset_delay, self.reset_gradient = reset, bool(reset_delay), bool(reset_gradient)
        self.surrogate = surrogate or ArcTan()
        every = {**values, "v_threshold": v_threshold, "v_reset": v_reset, "refractory": refractory}
        super().__init__(size, every, learn, None)
        self.has_refractory = bool((self.constant("refractory") > 0).any())
        if bool((self.constant("v_threshold") <= self.constant("v_reset")).any()):
            raise InputError(f"{kind}.v_threshold", "more than v_reset", "a value that is not", "raise v_threshold")
        if self.reset_delay and (self.has_refractory or self.reset_gradient or "tau_adapt" in self._names):
            raise InputError(
                f"{kind}.reset_delay", "False with a refractory period, adaptation or reset_gradient", "True",
                "let the reset act in the step of the spike",
            )  # fmt: skip
        if isinstance(self.surrogate, Smooth) and (self.has_refractory or self.reset_delay):
            raise InputError(
                f"{kind}.surrogate", "spikes, with a refractory period or a delayed reset", "Smooth",
                "take another surrogate",
            )  # fmt: skip
        if dt is not None:
            self.bind(dt)

    @property
    def refractory_steps(self) -> int:
        """The longest refractory period of the block, in steps."""
        assert self.dt is not None
        return int((self.constant("refractory") / self.dt).round().max())

    def config(self) -> dict[str, Any]:
        """Adds the reset, the memory mode and the surrogate."""
        described = {"kind": type(self.surrogate).__name__, **vars(self.surrogate)}
        reset = {name: getattr(self, name) for name in ("reset", "reset_delay", "reset_gradient", "memory")}
        return {**super().config(), **reset, "surrogate": described}
