"""Shapes and units, stated once.

Time comes first: `(time, batch, *neuron)`. Times are seconds, voltages are dimensionless model units,
conductances siemens, energies joules.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from neurospin.errors import InputError

Spikes = Float[Tensor, "time batch *neuron"]
"""Values over time, one per neuron and sample: spikes (0 or 1), currents or voltages."""

State = tuple[Tensor, ...]
"""State of one neuron block after a step, each of shape `(batch, *neuron)`; membrane last."""


def time_first(array: Tensor, axes: str) -> Tensor:
    """Bring an array to `(time, batch, *neuron)`.

    Args:
        array: any array whose axes include time and batch.
        axes: the names of its axes in order, for example `"batch time neuron"`; further axes may
            have any other name and keep their order.

    Raises:
        InputError: the names do not fit the array, or `time` or `batch` is not among them.

    >>> time_first(torch.zeros(32, 100, 8), "batch time neuron").shape
    torch.Size([100, 32, 8])
    """
    names = axes.split()
    if len(names) != array.ndim or len(set(names)) != len(names):
        raise InputError(
            "time_first",
            f"{array.ndim} different axis names",
            repr(axes),
            "name every axis of the array once",
        )
    if not {"time", "batch"} <= set(names):
        raise InputError("time_first", "axes named time and batch", repr(axes), "name both of them")
    rest = [i for i, name in enumerate(names) if name not in ("time", "batch")]
    return torch.permute(array, (names.index("time"), names.index("batch"), *rest))
