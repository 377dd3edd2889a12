"""Long sequences in pieces: gradient checkpointing over time, and truncated backpropagation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map
from torch.utils.checkpoint import checkpoint

from neurospin.errors import InputError

Block = Callable[[Tensor, Any], tuple[Tensor, Any]]


def checkpointed(block: Block, x: Tensor, state: Any = None, *, chunk: int) -> tuple[Tensor, Any]:
    """Run a block over a long sequence and keep only the state at the start of every chunk.

    The backward pass runs each chunk forward once more: memory for `chunk` steps instead of all, and
    the same gradients.

    Args:
        block: takes input `(time, batch, …)` and state, gives output and state: a neuron, or
            `lambda x, state: (run := net(x, state)).output, run.state` written as a function.
        x: input `(time, batch, …)`.
        state: before the first step; `None` is fresh.
        chunk: steps per chunk; the square root of the number of steps uses least memory.
    """
    outputs = []
    for part in _parts(x, chunk):
        out, state = checkpoint(block, part, state, use_reentrant=False)  # type: ignore[misc]
        outputs.append(out)
    return torch.cat(outputs), state


def truncated(block: Block, x: Tensor, state: Any = None, *, chunk: int) -> Iterator[Tensor]:
    """The outputs of a block chunk by chunk: the state is carried over, its gradient is not.

    Call `backward` on a loss of each output before the next: the memory is that of one chunk. Exact where
    nothing before the chunk matters to its loss; otherwise truncated backpropagation through time
    (Williams & Peng, Neural Computation 2, 1990, doi:10.1162/neco.1990.2.4.490).

    Args:
        block, x, state, chunk: as in `checkpointed`.
    """
    for part in _parts(x, chunk):
        out, state = block(part, state)
        state = tree_map(lambda value: value.detach() if isinstance(value, Tensor) else value, state)
        yield out


def _parts(x: Tensor, chunk: int) -> tuple[Tensor, ...]:
    if chunk < 1:
        raise InputError("chunk", "at least 1 step", str(chunk), "give a positive number of steps")
    return x.split(chunk)
