"""Arrays used again: fresh memory above 32 MiB costs more page faults than a time loop costs time."""

from __future__ import annotations

import os
from math import prod

import torch
from torch import Tensor

LIMIT = 1 << 30
SMALL = 1 << 16

_idle: dict[tuple[int, torch.dtype], list[tuple[Tensor, int]]] = {}
_owner = os.getpid()
_users = getattr(torch._C, "_storage_Use_Count", None)


def empty(shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> Tensor:
    """An array with undefined values on the CPU, in memory that an earlier array no longer uses, if there is any.

    At most 8 arrays of a size, and 1 GiB in all, are remembered.
    """
    global _owner
    numbers = prod(shape)
    if _users is None or numbers < SMALL or torch.compiler.is_compiling():
        return torch.empty(shape, dtype=dtype)
    if _owner != os.getpid():  # a child process shares no memory with its parent
        _idle.clear()
        _owner = os.getpid()
    known = _idle.setdefault((numbers, dtype), [])
    for base, alone in known:
        if _users(base.untyped_storage()._cdata) == alone:
            return base.view(shape)
    base = torch.empty(numbers, dtype=dtype)
    size = numbers * base.element_size()
    total = size + sum(b.numel() * b.element_size() for arrays in _idle.values() for b, _ in arrays)
    if total > LIMIT:
        for arrays in _idle.values():
            arrays[:] = [(b, alone) for b, alone in arrays if _users(b.untyped_storage()._cdata) != alone]
    if len(known) < 8 and size <= LIMIT:
        known.append((base, _users(base.untyped_storage()._cdata)))
    return base.view(shape)


def clear() -> None:
    """Forget every array."""
    _idle.clear()
