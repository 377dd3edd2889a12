"""Cores: the network between the stimulus and the readouts, in its rate form and its spiking forms.

A core is a description; `build` makes the `Network` of it. The forms `"rate"`, `"lif"` and `"alif"` have the same
synapses, the same initial values for one seed and the same number of parameters; only the neurons differ.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch

from neurospin.errors import InputError, unknown_name
from neurospin.network import Block, Network
from neurospin.network import Recurrent as Loop
from neurospin.neurons import ALIF, LIF, Neuron, Rate
from neurospin.surrogate import ArcTan
from neurospin.synapses import Conv2d, Dense
from neurospin.weights import Float

NEURONS = ("rate", "lif", "alif")


def _widths(where: str, value: int | tuple[int, ...]) -> tuple[int, ...]:
    found = (value,) if isinstance(value, int) else tuple(value)
    if not found or any(int(n) != n or n < 1 for n in found):
        raise InputError(where, "whole numbers of neurons, one per layer", repr(value), "give at least one")
    return tuple(int(n) for n in found)


class Core(ABC):
    """The network between the stimulus and the readouts.

    Attributes:
        neuron: `"rate"`, `"lif"` or `"alif"`.
        gain: fresh weights are uniform in `± gain / √fan_in`.
        tau_mem: time constant of the membranes in seconds, learned from there;
            `None` is 20 ms, or 1.2 steps where that is more.
        bias: of every neuron at the start; where it is above 1, the threshold, spiking neurons fire by themselves.
        surrogate: slope of the arctangent that stands in for the derivative of a spike; rate neurons have none.
    """

    neuron: str
    gain: float
    tau_mem: float | None
    bias: float
    surrogate: float

    axes: int
    """How many axes one stimulus has at one time: 1 for features, 3 for images `(channels, height, width)`."""

    def __post_init__(self) -> None:
        name = type(self).__name__
        if self.neuron not in NEURONS:
            raise unknown_name(f"{name}.neuron", self.neuron, NEURONS, "neuron")
        if not (math.isfinite(self.gain) and self.gain > 0 and self.surrogate > 0):
            raise InputError(f"{name}.gain", "gain and surrogate above 0", f"{self.gain}, {self.surrogate}", "raise it")
        if self.tau_mem is not None and not self.tau_mem > 0:
            raise InputError(f"{name}.tau_mem", "seconds above 0", f"{self.tau_mem:g}", "give a time constant")

    @abstractmethod
    def blocks(self, size: tuple[int, ...], dt: float, generator: torch.Generator) -> list[tuple[str, Block | Loop]]:
        """Synapses and neurons by name, for stimuli of shape `size`; the first is a synapse."""

    def build(self, size: tuple[int, ...], dt: float, seed: int) -> Network:
        """The network for stimuli of one shape.

        Args:
            size: of a stimulus at one time: `(features,)` or `(channels, height, width)`.
            dt: step in seconds.
            seed: of the fresh weights.

        Raises:
            InputError: stimuli of another number of axes, or a time constant that is no longer than the step.
        """
        if len(size) != self.axes:
            words = "(features,)" if self.axes == 1 else "(channels, height, width)"
            raise InputError(f"{type(self).__name__}", f"stimuli {words}", str(size), "choose the core that fits")
        return Network(dict(self.blocks(size, dt, torch.Generator().manual_seed(seed))), dt)

    def neurons(self, size: int | tuple[int, ...], dt: float) -> Neuron:
        """One layer of neurons; its time constant is learned, whatever its kind."""
        tau = max(20e-3, 1.2 * dt) if self.tau_mem is None else self.tau_mem
        if self.neuron == "rate":
            return Rate(size, tau, learn=("tau_mem",))
        kind = LIF if self.neuron == "lif" else ALIF
        return kind(size, tau, learn=("tau_mem",), surrogate=ArcTan(self.surrogate))

    def layers(
        self, sizes: int | tuple[int, ...], inputs: int, dt: float, generator: torch.Generator,
        recurrent_gain: float | None = None,
    ) -> list[tuple[str, Block | Loop]]:  # fmt: skip
        """All-to-all layers, `dense1, neurons1, dense2, …`; with `recurrent_gain`, each feeds itself, too."""
        found: list[tuple[str, Block | Loop]] = []
        for layer, outputs in enumerate(_widths(f"{type(self).__name__}.sizes", sizes), start=1):
            dense = Dense(inputs, outputs, bias=True, weight=Float(self.gain), generator=generator)
            assert dense.bias is not None
            torch.nn.init.constant_(dense.bias, self.bias)
            found.append((f"dense{layer}", dense))
            neurons: Block | Loop = self.neurons(outputs, dt)
            if recurrent_gain is not None:
                back = Dense(outputs, outputs, weight=Float(recurrent_gain), generator=generator)
                neurons = Loop(neurons, back)
            found.append((f"neurons{layer}", neurons))
            inputs = outputs
        return found


@dataclass(frozen=True)
class FeedForward(Core):
    """Layers of neurons, all-to-all from one to the next, for stimuli that are features.

    Attributes:
        sizes: neurons of every layer, or of the only one.
        neuron, gain, tau_mem, bias, surrogate: see `Core`.
    """

    sizes: int | tuple[int, ...] = 64
    neuron: str = "lif"
    gain: float = 1.5
    tau_mem: float | None = None
    bias: float = 0.5
    surrogate: float = 2.0

    axes = 1

    def blocks(self, size: tuple[int, ...], dt: float, generator: torch.Generator) -> list[tuple[str, Block | Loop]]:
        """`dense1, neurons1, dense2, …`."""
        return self.layers(self.sizes, size[0], dt, generator)


@dataclass(frozen=True)
class Recurrent(Core):
    """Layers of neurons that also feed themselves, all-to-all, for stimuli that are features.

    Attributes:
        sizes: neurons of every layer, or of the only one.
        recurrent_gain: as `gain`, of the synapses within a layer.
        neuron, gain, tau_mem, bias, surrogate: see `Core`.
    """

    sizes: int | tuple[int, ...] = 64
    neuron: str = "lif"
    gain: float = 1.5
    recurrent_gain: float = 0.5
    tau_mem: float | None = None
    bias: float = 0.5
    surrogate: float = 2.0

    axes = 1

    def blocks(self, size: tuple[int, ...], dt: float, generator: torch.Generator) -> list[tuple[str, Block | Loop]]:
        """`dense1, neurons1` with its loop `neurons1_recurrent`, `dense2, …`."""
        return self.layers(self.sizes, size[0], dt, generator, self.recurrent_gain)


@dataclass(frozen=True)
class Convolution(Core):
    """Convolutional layers, for images and films `(channels, height, width)`.

    Attributes:
        channels: of every layer, or of the only one.
        kernel_size: of every layer; one number for all (default 5). Edges are padded so that a stride of 1 keeps them.
        stride: of every layer; one number for all (default 1).
        neuron, gain, tau_mem, bias, surrogate: see `Core`.
    """

    channels: int | tuple[int, ...] = 16
    kernel_size: int | tuple[int, ...] = 5
    stride: int | tuple[int, ...] = 1
    neuron: str = "lif"
    gain: float = 1.5
    tau_mem: float | None = None
    bias: float = 0.5
    surrogate: float = 2.0

    axes = 3

    def blocks(self, size: tuple[int, ...], dt: float, generator: torch.Generator) -> list[tuple[str, Block | Loop]]:
        """`conv1, neurons1, conv2, …`."""
        channels = _widths("Convolution.channels", self.channels)
        kernels, strides = _each("kernel_size", self.kernel_size, channels), _each("stride", self.stride, channels)
        found: list[tuple[str, Block | Loop]] = []
        for layer, (outputs, kernel, stride) in enumerate(zip(channels, kernels, strides, strict=True), start=1):
            conv = Conv2d(
                size, outputs, kernel, stride=stride, padding=kernel // 2, bias=True, weight=Float(self.gain),
                generator=generator,
            )  # fmt: skip
            assert conv.bias is not None
            torch.nn.init.constant_(conv.bias, self.bias)
            size = conv.output_size
            found += [(f"conv{layer}", conv), (f"neurons{layer}", self.neurons(size, dt))]
        return found


def _each(name: str, value: int | tuple[int, ...], layers: tuple[int, ...]) -> tuple[int, ...]:
    found = _widths(f"Convolution.{name}", value)
    found = found * len(layers) if len(found) == 1 else found
    if len(found) != len(layers):
        raise InputError(f"Convolution.{name}", f"one number, or {len(layers)}", str(value), "give one per layer")
    return found
