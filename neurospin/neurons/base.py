"""`Neuron`: what every block of neurons has in common."""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from operator import is_
from typing import Any, ClassVar, Self

import nir
import numpy as np
import torch
from torch import Tensor, nn

from neurospin.errors import GraphError, InputError, unknown_name
from neurospin.scan import Dynamics, Scan, membrane, scan
from neurospin.scan.pool import zeros
from neurospin.scan.recurrent import recurrent_scan
from neurospin.scan.reference import step
from neurospin.scan.spec import coefficients, plain
from neurospin.surrogate import Surrogate
from neurospin.types import Spikes, State

Value = float | Tensor | np.ndarray


class Neuron(nn.Module, ABC):
    """A block of neurons of one kind.

    Every constant is one number for the block or an array of the block's shape. A constant named in
    `learn` becomes a parameter; time constants are learned as `τ = dt + exp(·)` and thresholds as
    `v_reset + exp(·)`, so that training cannot make them illegal.

    Args:
        size: shape of the block, without time and batch.
        values: name and value of every constant.
        learn: the constants to be learned.
        dt: step in seconds; `Network` sets it.

    Attributes:
        spiking: whether the output is spikes.
        node: the NIR primitive that says the same; `None` where NIR has none.
        reset, reset_delay, reset_gradient, has_refractory, surrogate, memory: of spiking neurons; see `Spiking`.
    """

    spiking: ClassVar[bool] = False
    node: ClassVar[type[nir.NIRNode] | None] = None
    reset: str = "value"
    reset_delay: bool = False
    reset_gradient: bool = False
    has_refractory: bool = False
    surrogate: Surrogate | None = None
    memory: str = "float32"

    def __init__(
        self, size: int | tuple[int, ...], values: Mapping[str, Value], learn: Iterable[str], dt: float | None
    ) -> None:
        super().__init__()
        self.size = (size,) if isinstance(size, int) else tuple(size)
        self.learn = tuple(learn)
        self.dt: float | None = None
        self._known: _Known | None = None
        self._names = tuple(values)
        for name in self.learn:
            if name not in values:
                raise unknown_name(f"{type(self).__name__}.learn", name, values, "constant")
        for name, value in values.items():
            self.register_buffer(name, self._checked(name, value))
        if dt is not None:
            self.bind(dt)

    def _checked(self, name: str, value: Value) -> Tensor:
        tensor = torch.as_tensor(value, dtype=torch.float32).detach().clone()
        where = f"{type(self).__name__}.{name}"
        if tensor.ndim and tuple(tensor.shape) != self.size:
            raise InputError(
                where, f"one number or shape {self.size}", f"shape {tuple(tensor.shape)}", "match the size"
            )
        if not bool(torch.isfinite(tensor).all()):
            raise InputError(where, "finite numbers", str(value), "give finite numbers")
        if name.startswith("tau") and float(tensor.min()) <= 0:
            raise InputError(where, "seconds > 0", f"{float(tensor.min()):g}", "give a positive time constant")
        if name == "refractory" and (float(tensor.min()) < 0 or name in self.learn):
            raise InputError(where, "fixed seconds ≥ 0", f"{float(tensor.min()):g}, learn={self.learn}", "fix it")
        return tensor

    def bind(self, dt: float) -> None:
        """Set the step; a neuron has one step for life.

        Raises:
            InputError: `dt` is not positive, above a time constant (or equal to a learned one), or another one is set.
        """
        where = f"{type(self).__name__}.dt"
        if not (isinstance(dt, int | float) and math.isfinite(dt) and dt > 0):
            raise InputError(where, "seconds > 0", repr(dt), "give a positive step")
        if self.dt is not None and self.dt != dt:
            raise InputError(where, f"{self.dt:g} s, which this neuron already has", f"{dt:g} s", "make a new neuron")
        if self.dt is not None:
            return
        for name in self._names:
            smallest = float(getattr(self, name).min()) if name.startswith("tau") else math.inf
            learned = name in self.learn  # as dt + exp(·): above dt, which float32 may round up
            if smallest <= dt * (1 + 1e-6) if learned else smallest < dt * (1 - 1e-6):
                least = f"more than dt = {dt:g} s, to be learned" if learned else f"at least dt = {dt:g} s"
                raise InputError(f"{type(self).__name__}.{name}", least, f"{smallest:g} s", "take a smaller dt")
        if self.has_refractory and float((self.constant("refractory") / dt).max()) < 0.5:
            raise InputError(
                f"{type(self).__name__}.refractory", f"0, or at least dt = {dt:g} s",
                f"{float(self.constant('refractory').max()):g} s", "take a smaller dt",
            )  # fmt: skip
        floors = {name: self._floor(name, dt) for name in self.learn if self._bounded(name)}
        self.dt = float(dt)
        for name in self.learn:
            value = getattr(self, name)
            free = (value - floors[name]).log() if name in floors else value
            delattr(self, name)
            self.register_parameter(f"free_{name}", nn.Parameter(free.clone()))

    def _bounded(self, name: str) -> bool:
        return name.startswith("tau") or (self.spiking and name == "v_threshold")

    def _floor(self, name: str, dt: float) -> Tensor:
        """What a learned constant stays above: a time constant above the step, a threshold above the reset."""
        return torch.tensor(dt, dtype=torch.float32) if name.startswith("tau") else self.constant("v_reset")

    def constant(self, name: str) -> Tensor:
        """The present value of a constant, learned or fixed: 0-d or of the block's shape."""
        if self.dt is None or name not in self.learn:
            return getattr(self, name)
        free = getattr(self, f"free_{name}")
        return self._floor(name, self.dt).to(free.device) + free.exp() if self._bounded(name) else free

    def constants(self) -> dict[str, Tensor]:
        """Present value of every constant."""
        return {name: self.constant(name) for name in self._names}

    def initial(self, batch: int) -> State:
        """The state of neurons that were silent: zeros, each `(batch, *neuron)`."""
        like = self.constant("r")
        zeros = torch.zeros((batch, *self.size), dtype=like.dtype, device=like.device)
        return (zeros,) * (1 + ("tau_syn" in self._names) + ("tau_adapt" in self._names) + self.has_refractory)

    def dynamics(self) -> Dynamics:
        """The coefficients of the time loop, kept as long as every constant has the same value; see `neurospin.scan`."""
        fixed = [value for value in self._buffers.values() if value is not None]
        if self.learn or not plain(fixed[0]) or any(value.requires_grad for value in fixed):
            return self._computed()
        options = (self.dt, self.reset, self.reset_delay, self.reset_gradient, self.surrogate)
        if self._known is not None and self._known.holds(options, fixed):
            return self._known.dynamics
        if not all(type(value) is Tensor and value.dtype == torch.float32 and value.is_cpu for value in fixed):
            return self._computed()
        with torch.inference_mode(False), torch.no_grad():
            dynamics = self._computed()
            object.__setattr__(dynamics, "packed", coefficients(dynamics, self.size))
        self._known = _Known(options, fixed, dynamics)
        return dynamics

    def _computed(self) -> Dynamics:
        assert self.dt is not None
        c = self.constants()
        return membrane(
            self.dt, c.get("tau_mem"), c["r"], c.get("v_leak"), tau_syn=c.get("tau_syn"), w_in=c.get("w_in"),
            v_threshold=c["v_threshold"] if self.spiking else None,
            v_reset=c["v_reset"] if self.spiking and self.reset == "value" else None,
            tau_adapt=c.get("tau_adapt"), adaptation=c.get("adaptation"),
            refractory=c["refractory"] if self.has_refractory else None,
            delayed_reset=self.reset_delay, reset_gradient=self.reset_gradient, surrogate=self.surrogate,
        )  # fmt: skip

    def to_nir(self, dt: float) -> nir.NIRNode:
        """The NIR node of this block.

        Raises:
            GraphError: NIR cannot express it.
        """
        kind = type(self).__name__
        if self.reset_delay:
            raise GraphError(f"{kind}.reset_delay", "False, as in NIR", "True", "train with reset_delay=False")
        if self.node is None:
            raise GraphError(kind, "a neuron that NIR can express", f"{kind}, which NIR lacks", "export another neuron")
        return self.node(**{theirs: self._full(ours) for theirs, ours in nir_names(self.node).items()})

    @abstractmethod
    def rate_twin(self) -> Neuron:
        """A block of rate neurons with the same constants, learned and fixed."""

    def copy(self) -> Self:
        """A block of its own with the same constants, learned and fixed."""
        return copy.deepcopy(self)

    def scan(self, current: Spikes, state: State | None = None, *, voltage: bool = False) -> Scan:
        """Output, new state, and on request the voltages, for input `(time, batch, *neuron)`."""
        if self.dt is None:
            raise InputError(
                f"{type(self).__name__}.dt",
                "a step in seconds",
                "none",
                "give dt=, or put the neuron into a Network",
            )
        if tuple(current.shape[2:]) != self.size or current.shape[0] == 0:
            words = ", ".join(str(n) for n in self.size)
            raise InputError(
                type(self).__name__,
                f"input of shape (time, batch, {words}) with at least one step",
                str(tuple(current.shape)),
                "put time first, then batch",
            )
        dynamics, batch = self.dynamics(), current.shape[1]
        if state is not None:
            shapes, wanted = [tuple(part.shape) for part in state], (batch, *self.size)
            if shapes != [wanted] * dynamics.states:
                expected = f"{dynamics.states} of shape {wanted}"
                raise InputError(f"{type(self).__name__}.state", expected, str(shapes), "give the state of this neuron")
        elif dynamics.packed is None:
            state = self.initial(batch)
        else:
            state = (zeros((batch, *self.size)),) * dynamics.states
        return scan(current, state, dynamics, voltage=voltage, memory=self.memory)

    def stepper(self) -> Callable[[Tensor, State], tuple[Tensor, State]]:
        """A function that does one step, from input `(batch, *neuron)` and state to output and new state.

        What the constants give is computed once, for all the steps of a loop.
        """
        if type(self).scan is not Neuron.scan:  # it does more than the time loop

            def one(x: Tensor, state: State) -> tuple[Tensor, State]:
                output, _, state = self.scan(x.unsqueeze(0), state)
                return output[0], state

            return one
        dynamics = self.dynamics()
        return lambda x, state: step(x, state, dynamics)

    def recurrent(
        self, current: Spikes, state: State, weight: Tensor, bias: Tensor | None, first: Tensor, voltage: bool = False
    ) -> Scan:
        """As `scan`, of neurons that also get `W s[t−1] + b` in step t, and `first` in step 0."""
        return recurrent_scan(current, state, self.dynamics(), weight, bias, first, voltage=voltage)

    def forward(self, current: Spikes, state: State | None = None) -> tuple[Tensor, State]:
        """Output `(time, batch, *neuron)` and the state after the last step; `None` is a fresh state."""
        result = self.scan(current, state)
        return result.output, result.state

    def _full(self, name: str) -> np.ndarray:
        value = self.constant(name).detach().to("cpu", torch.float32)
        return value.expand(self.size).contiguous().numpy().copy()

    def config(self) -> dict[str, Any]:
        """Kind, size and learned constants as plain values; `Network.config` gathers them."""
        return {"kind": type(self).__name__.lower(), "size": list(self.size), "learn": list(self.learn)}

    def extra_repr(self) -> str:
        """Size and constants in one line."""
        numbers = ", ".join(f"{k}={float(v.detach().mean()):g}" for k, v in self.constants().items())
        return f"{self.size}, {numbers}"


class _Known:
    """Coefficients, and what they follow from; a copy of it is none."""

    def __init__(self, options: tuple[Any, ...], fixed: list[Tensor], dynamics: Dynamics) -> None:
        self.options, self.dynamics = options, dynamics
        self.fixed, self.places = fixed, [value.data_ptr() for value in fixed]
        self.arrays = [value.numpy() for value in fixed]
        self.bytes = [array.tobytes() for array in self.arrays]

    def __reduce__(self) -> tuple[Any, ...]:
        return type(None), ()

    def holds(self, options: tuple[Any, ...], fixed: list[Tensor]) -> bool:
        """Whether the options are equal, and the constants the same tensors with the same values."""
        return (
            self.options == options
            and len(self.fixed) == len(fixed)
            and all(map(is_, self.fixed, fixed))
            and self.places == [value.data_ptr() for value in fixed]  # not `value.data = other`
            and self.bytes == [array.tobytes() for array in self.arrays]
        )


def nir_names(node: type[nir.NIRNode]) -> dict[str, str]:
    """Name of every constant in a NIR neuron, and ours; the two differ for τ only."""
    names = [f.name for f in fields(node) if f.name not in ("input_type", "output_type", "metadata")]
    return {name: "tau_mem" if name == "tau" else name for name in names}
