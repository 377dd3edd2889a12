"""Filters to start a core from: Gabor functions, as simple cells have."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from neurospin.errors import InputError
from neurospin.network import Network
from neurospin.synapses import Conv2d


def gabors(
    wavelength: float, *, orientations: int = 4, phases: int = 4, width: float = 0.5, size: int | None = None
) -> Tensor:
    """A bank of Gabor functions, `(orientations · phases, 1, size, size)`, with mean 0 and absolute values of sum 1.

    `exp(−(x² + y²) / 2σ²) cos(2π u / λ + φ)` with `u = x cos θ + y sin θ`, `θ = π k / orientations` and
    `φ = 2π k / phases`; all phases of one orientation follow each other.

    Args:
        wavelength: λ in pixels.
        orientations: default 4.
        phases: default 4: even and odd, on and off.
        width: σ in wavelengths (default 0.5).
        size: of the filters in pixels, odd (default: 2.4 wavelengths).

    Raises:
        InputError: a wavelength below two pixels, or numbers below 1.

    Source: Jones & Palmer, Journal of Neurophysiology 58, 1987, doi:10.1152/jn.1987.58.6.1233.
    """
    size = 2 * int(1.2 * wavelength) + 1 if size is None else size
    if not wavelength >= 2 or orientations < 1 or phases < 1 or size < 3 or size % 2 == 0 or not width > 0:
        got = f"{wavelength:g}, {orientations}, {phases}, {width:g}, {size}"
        raise InputError("gabors", "wavelength ≥ 2, orientations, phases ≥ 1, width > 0, an odd size ≥ 3", got, "check")
    axis = np.arange(size) - (size - 1) / 2
    y, x = np.meshgrid(axis, axis, indexing="ij")
    envelope = np.exp(-(x**2 + y**2) / (2 * (width * wavelength) ** 2))
    bank = []
    for orientation in np.pi * np.arange(orientations) / orientations:
        along = x * np.cos(orientation) + y * np.sin(orientation)
        for phase in 2 * np.pi * np.arange(phases) / phases:
            wave = envelope * np.cos(2 * np.pi * along / wavelength + phase)
            wave = wave - wave.mean()
            bank.append(wave / np.abs(wave).sum())
    return torch.as_tensor(np.stack(bank)[:, None], dtype=torch.float32)


def set_filters(core: Network, filters: Tensor) -> None:
    """Put filters `(channels, input channels, size, size)` into the first convolution of a core; its bias becomes 0.

    Raises:
        InputError: the core does not start with a convolution of that shape.
    """
    name, first = core.named_blocks()[0]
    if not isinstance(first, Conv2d) or first.weight.shape != filters.shape:
        got = f"{name} {tuple(first.weight.shape)}" if isinstance(first, Conv2d) else name
        expected = f"a core whose first block is a convolution {tuple(filters.shape)}"
        raise InputError("set_filters", expected, got, "match channels and kernel_size")
    with torch.no_grad():
        first.stored.copy_(filters.reshape(first.stored.shape))
        if first.bias is not None:
            first.bias.zero_()
