"""Products of sparse spikes: rows of the matrix are added where a spike is."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

SPARSE = 0.08  # share of spikes below which their rows are added one by one


def spiking(x: Tensor) -> bool:
    """Whether the input is spikes, few enough to add their rows."""
    if x.numel() < 4096 or int(torch.count_nonzero(x.flatten()[:4096])) > 2 * SPARSE * 4096:
        return False
    count = int(torch.count_nonzero(x))
    return count < SPARSE * x.numel() and bool((x.sum() == count) & (x.amax() <= 1) & (x.amin() >= 0))


def gathered(spikes: Tensor, operator: Tensor) -> Tensor:
    """`spikes @ operator` as a sum of the rows that fired."""
    sample, row = spikes.nonzero(as_tuple=True)
    first = torch.searchsorted(sample, torch.arange(len(spikes)))
    return embedding_bag(row, operator, first, mode="sum")
