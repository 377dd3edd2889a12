"""`Conv1d` and `Conv2d`: synapses that share their weights over space."""

from __future__ import annotations

import math
from abc import ABC
from typing import Any, ClassVar

import nir
import numpy as np
import torch
from torch import Tensor, nn

from neurospin.errors import InputError
from neurospin.synapses.base import Synapse
from neurospin.synapses.events import Events
from neurospin.synapses.sparse_conv import sparse_conv2d
from neurospin.weights import Float, Weight

Number = int | tuple[int, ...]


def numbers(where: str, value: Number, axes: int, least: int) -> tuple[int, ...]:
    """One whole number per axis, at least `least`."""
    found = (value,) * axes if isinstance(value, int | np.integer) else tuple(value)
    if len(found) != axes or any(int(n) != n or n < least for n in found):
        raise InputError(where, f"{axes} whole numbers ≥ {least}", str(value), "give one number, or one per axis")
    return tuple(int(n) for n in found)


def positions(where: str, sizes: tuple[int, ...], kernel: tuple[int, ...], stride: tuple[int, ...],
              padding: tuple[int, ...], dilation: tuple[int, ...]) -> tuple[int, ...]:  # fmt: skip
    """How many positions a kernel has along every axis, as in torch."""
    found = tuple(
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, k, s, p, d in zip(sizes, kernel, stride, padding, dilation, strict=True)
    )
    if min(found) < 1:
        raise InputError(where, f"an input larger than the kernel {kernel}", str(sizes), "make the kernel smaller")
    return found


def convolve(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: tuple[int, ...],
    padding: tuple[int, ...] | str,
    dilation: tuple[int, ...],
    groups: int,
) -> Tensor:
    """`torch.nn.functional.conv1d` or `conv2d`, for `(samples, channels, *space)`."""
    if padding == "same":  # torch's own pads the same way, but warns about it where a kernel is even
        extra = [d * (k - 1) for d, k in zip(dilation, weight.shape[2:], strict=True)]
        x = nn.functional.pad(x, [n for e in reversed(extra) for n in (e // 2, e - e // 2)])
    zeros = (0,) * len(stride) if isinstance(padding, str) else padding
    convolution = nn.functional.conv1d if weight.ndim == 3 else nn.functional.conv2d
    return convolution(x, weight, bias, stride, zeros, dilation, groups)


class Conv(Synapse, ABC):
    """Convolution (cross-correlation, as in torch and NIR): `y[o] = Σ_c w[o, c] ⋆ x[c] + b[o]`.

    Args:
        input_size: `(channels, *space)`.
        channels: number of output channels.
        kernel_size: one number, or one per axis.
        stride: default 1.
        padding: zeros on either side, one number or one per axis; `"same"` (with stride 1) or `"valid"`;
            default 0.
        dilation: default 1.
        groups: channels are connected within this many groups, default 1.
        bias: whether there is a bias b, drawn as in `torch.nn.Conv2d` (default `False`).
        weight: `Float()` (default) or another `Weight`; its fan-in is that of one output.
        generator: source of the fresh values (default: torch's own).

    Attributes:
        stored: what each synapse stores, shape `(channels, fan_in)`.
        weight: the weight that acts, `(channels, input channels / groups, *kernel)`.

    Raises:
        InputError: sizes that do not fit each other.
    """

    axes: ClassVar[int]

    def __init__(
        self,
        input_size: tuple[int, ...],
        channels: int,
        kernel_size: Number,
        *,
        stride: Number = 1,
        padding: Number | str = 0,
        dilation: Number = 1,
        groups: int = 1,
        bias: bool = False,
        weight: Weight | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(weight or Float())
        where, axes = type(self).__name__, self.axes
        self.input_size = numbers(f"{where}.input_size", tuple(input_size), axes + 1, 1)
        self.kernel_size = numbers(f"{where}.kernel_size", kernel_size, axes, 1)
        self.stride = numbers(f"{where}.stride", stride, axes, 1)
        self.dilation = numbers(f"{where}.dilation", dilation, axes, 1)
        (self.groups,) = numbers(f"{where}.groups", groups, 1, 1)
        if self.input_size[0] % self.groups or channels % self.groups or channels < 1:
            got = f"{self.input_size[0]} to {channels} channels"
            raise InputError(f"{where}.groups", f"channels in {groups} equal groups", got, "choose other channels")
        self.padding = padding if isinstance(padding, str) else numbers(f"{where}.padding", padding, axes, 0)
        if isinstance(padding, str) and (
            padding not in ("same", "valid") or (padding == "same" and max(self.stride) > 1)
        ):
            got = f"{padding!r} with stride {self.stride}"
            raise InputError(f"{where}.padding", "numbers, 'valid', or 'same' with stride 1", got, "give numbers")
        zeros = (0,) * axes if isinstance(self.padding, str) else self.padding
        space = self.input_size[1:]
        if padding != "same":
            space = positions(where, space, self.kernel_size, self.stride, zeros, self.dilation)
        self.output_size = (int(channels), *space)
        fan_in = self.input_size[0] // self.groups * math.prod(self.kernel_size)
        self.stored = nn.Parameter(self.kind.initial((channels, fan_in), generator))
        fresh = Float().initial((channels, fan_in), generator)[:, 0].clone() if bias else None
        self.bias = nn.Parameter(fresh) if fresh is not None else None

    @property
    def weight(self) -> Tensor:
        """The weight that acts, `(channels, input channels / groups, *kernel)`."""
        return self.kind.value(self.stored).reshape(len(self.stored), -1, *self.kernel_size)

    def forward(self, x: Tensor | Events) -> Tensor:
        """One convolution over time × batch; `Conv2d` of `Events` and of very sparse spikes by events (`sparse_conv2d`)."""
        weight = self.weight
        if isinstance(x, Events):
            if x.shape[2:] != self.input_size:
                expected = f"events of shape (time, batch, {', '.join(map(str, self.input_size))})"
                raise InputError(type(self).__name__, expected, str(x.shape), "give the shape of the dense array")
            if not self.takes_events:
                x = x.to_dense(weight.dtype).to(weight.device)
        given = x if isinstance(x, Events) else x.reshape(-1, *self.input_size)
        y = self._sparse(given, weight)
        if y is None:
            assert isinstance(given, Tensor)
            y = convolve(given, weight, self.bias, self.stride, self.padding, self.dilation, self.groups)
        return y.reshape(*x.shape[:2], *self.output_size)

    def _sparse(self, x: Tensor | Events, weight: Tensor) -> Tensor | None:
        """By events, or `None` where the dense convolution is to be taken."""
        return None

    def arrays(self) -> dict[str, Any]:
        """The fields of the NIR node; a whole number where there is one axis."""
        weight = self.weight.detach().cpu().numpy().copy()
        bias = np.zeros(len(weight), weight.dtype) if self.bias is None else self.bias.detach().cpu().numpy().copy()
        space = {"input_shape": self.input_size[1:], "stride": self.stride, "dilation": self.dilation}
        if not isinstance(self.padding, str):
            space["padding"] = self.padding
        fields = {key: value if self.axes > 1 else value[0] for key, value in space.items()}
        return {"padding": self.padding, **fields, "weight": weight, "groups": self.groups, "bias": bias}

    def config(self) -> dict[str, Any]:
        """Every argument as plain values."""
        return {
            "kind": type(self).__name__.lower(),
            "input_size": list(self.input_size),
            "channels": self.output_size[0],
            "kernel_size": list(self.kernel_size),
            "stride": list(self.stride),
            "padding": self.padding if isinstance(self.padding, str) else list(self.padding),
            "dilation": list(self.dilation),
            "groups": self.groups,
            "bias": self.bias is not None,
            "weight": self.kind.config(),
        }

    def extra_repr(self) -> str:
        """Sizes and weight in one line."""
        return f"{self.input_size} -> {self.output_size}, kernel={self.kernel_size}, weight={self.kind}"


class Conv1d(Conv):
    """Convolution over one axis, `(channels, length)`; see `Conv` for the arguments."""

    axes = 1

    def to_nir(self) -> nir.NIRNode:
        """`nir.Conv1d`."""
        return typed(nir.Conv1d(**self.arrays()), self)


class Conv2d(Conv):
    """Convolution over two axes, `(channels, height, width)`; see `Conv` for the arguments."""

    axes = 2

    @property
    def takes_events(self) -> bool:
        """Whether it runs on `Events` as they are: in one group, and not padded unequally as torch pads "same"."""
        return self.groups == 1 and self.padding != "same"

    def _sparse(self, x: Tensor | Events, weight: Tensor) -> Tensor | None:
        if not self.takes_events:
            return None
        zeros = (0, 0) if isinstance(self.padding, str) else self.padding
        return sparse_conv2d(x, weight, self.bias, self.stride, zeros, self.dilation)  # type: ignore[arg-type]

    def to_nir(self) -> nir.NIRNode:
        """`nir.Conv2d`, with the output shape that nir 1.0.8 gets wrong for a rectangular kernel."""
        return typed(nir.Conv2d(**self.arrays()), self)


def typed(node: nir.NIRNode, block: Synapse) -> nir.NIRNode:
    """The node, with the types of the block: nir leaves those of pooling open and computes others wrongly."""
    node.input_type = {"input": np.array(block.input_size)}
    node.output_type = {"output": np.array(block.output_size)}
    return node
