"""`Events`: spikes as a list of when, which sample and which neuron, never as a dense array."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from neurospin.errors import InputError

if TYPE_CHECKING:
    import numpy as np

_WHOLE = (torch.int16, torch.int32, torch.int64, torch.uint8)


@dataclass(frozen=True, eq=False)
class Events:
    """Input spikes as events; a `Network`, `Dense` or `Conv2d` takes them in place of a dense `(time, batch, *neuron)`.

    The input of a neuron at a step is the number of its events there, as for an event camera whose events
    are counted in steps. Order does not matter.

    Attributes:
        time: step of each event, whole numbers, shape `(events,)`.
        batch: sample of each event, same shape.
        index: neuron of each event, same shape; for a neuron shape of several axes the place in it when
            flattened (row-major).
        shape: `(time, batch, *neuron)` of the dense array that the events stand for.

    Raises:
        InputError: not whole numbers, not one axis of one length, or an event outside `shape`.
    """

    time: Tensor
    batch: Tensor
    index: Tensor
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        shape = tuple(int(n) for n in self.shape)
        object.__setattr__(self, "shape", shape)
        if len(shape) < 3 or min(shape) < 0:
            raise InputError("Events.shape", "(time, batch, *neuron)", str(shape), "give at least three sizes")
        sizes = {"time": shape[0], "batch": shape[1], "index": math.prod(shape[2:])}
        for name, size in sizes.items():
            value = torch.as_tensor(getattr(self, name))
            where = f"Events.{name}"
            if value.dtype not in _WHOLE or value.ndim != 1:
                got = f"{str(value.dtype).removeprefix('torch.')} of shape {tuple(value.shape)}"
                raise InputError(where, "whole numbers of shape (events,)", got, "give one integer per event")
            if len(value) != len(self.time):
                raise InputError(where, f"{len(self.time)} events as in time", str(len(value)), "give one per event")
            if len(value) and not (int(value.min()) >= 0 and int(value.max()) < size):
                wrong = int(value.min()) if int(value.min()) < 0 else int(value.max())
                raise InputError(where, f"0 to {size - 1}", str(wrong), "drop the event or enlarge the shape")
            object.__setattr__(self, name, value.long())

    def __len__(self) -> int:
        return len(self.time)

    @property
    def ndim(self) -> int:
        """How many axes the dense array would have."""
        return len(self.shape)

    def new_zeros(self, shape: tuple[int, ...]) -> Tensor:
        """Zeros on the events' device, as `Tensor.new_zeros`."""
        return torch.zeros(shape, device=self.time.device)

    @classmethod
    def from_dense(cls, x: Tensor) -> Events:
        """The events of an array `(time, batch, *neuron)` of counts.

        Raises:
            InputError: an entry is not a whole number ≥ 0.
        """
        if x.ndim < 3:
            raise InputError("Events.from_dense", "(time, batch, *neuron)", str(tuple(x.shape)), "put time first")
        flat = x.detach().reshape(*x.shape[:2], -1)
        counts = flat.long()
        if not bool(((flat == counts) & (counts >= 0)).all()):
            raise InputError("Events.from_dense", "whole numbers of at least 0", "another value", "give spikes")
        where = counts.nonzero().repeat_interleave(counts[counts != 0], 0)
        return cls(*where.unbind(1), shape=tuple(x.shape))

    def to_dense(self, dtype: torch.dtype = torch.float32) -> Tensor:
        """The array `(time, batch, *neuron)` of counts."""
        steps, samples, neurons = self.shape[0], self.shape[1], math.prod(self.shape[2:])
        dense = torch.zeros(steps * samples * neurons, dtype=dtype, device=self.time.device)
        place = (self.time * samples + self.batch) * neurons + self.index
        return dense.index_add_(0, place, torch.ones_like(place, dtype=dtype)).reshape(self.shape)

    def rows(self) -> tuple[np.ndarray, np.ndarray]:
        """`(index, start)`: the neurons with events in row `r = t · batch + b` are
        `index[start[r] : start[r + 1]]`, ascending."""
        row = self.time * self.shape[1] + self.batch
        order = (row * max(1, math.prod(self.shape[2:])) + self.index).argsort()
        start = torch.zeros(self.shape[0] * self.shape[1] + 1, dtype=torch.int64)
        start[1:] = torch.bincount(row.cpu(), minlength=len(start) - 1).cumsum(0)
        return self.index[order].cpu().int().numpy(), start.numpy()
