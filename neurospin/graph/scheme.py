"""How a graph is integrated: by Euler's method, or with the exact decays of an input that is constant over a step.

The second is the first with other time constants: a decay of `exp(−dt/τ)` is `1 − dt/τ'` with
`τ' = dt / (1 − exp(−dt/τ))`, and everything else of a step follows from the decay.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import nir
import numpy as np
import torch
from torch import Tensor

from neurospin.errors import unknown_name
from neurospin.graph.contract import TIMES, metadata

SCHEMES = ("euler", "exponential")


def scheme_of(graph: nir.NIRGraph, scheme: str | None = None) -> str:
    """The scheme that is given, else the one that the graph records, else Euler's.

    Raises:
        UnknownName: it is none.
    """
    found = metadata(graph).get("scheme", "euler") if scheme is None else scheme
    if found not in SCHEMES:
        raise unknown_name("scheme", str(found), SCHEMES, "scheme")
    return found


def euler_time(tau: Tensor, dt: float) -> Tensor:
    """The time constant whose decay by Euler's method, `1 − dt/τ'`, is `exp(−dt/τ)`."""
    return -dt / torch.expm1(-dt / tau)


def exact_time(tau: Tensor, dt: float) -> Tensor:
    """The inverse of `euler_time`; 0 for a time constant of one step, which forgets everything."""
    return -dt / torch.log1p(-dt / tau)


def with_times(node: nir.NIRNode, change: Callable[[Tensor], Tensor]) -> nir.NIRNode:
    """A copy of a node with changed time constants."""
    result = copy.copy(node)
    for field in TIMES:
        if hasattr(result, field):
            setattr(result, field, change(torch.as_tensor(np.asarray(getattr(result, field)))).numpy())
    return result
