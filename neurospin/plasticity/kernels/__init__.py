"""One step of a rule over all its synapses: plain torch, and the same in one pass over memory.

`reference` is plain torch, any dtype and device; `cpu` is numba and `cuda` is Triton, both float32 and
imported when first needed. `metaplastic_adam`, `kalman` and `pull` choose by where the synapses are.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from importlib.util import find_spec
from types import ModuleType

import torch
from torch import Tensor

from neurospin.plasticity.kernels import reference


@dataclass(frozen=True)
class Settings:
    """The numbers of one step of metaplastic Adam.

    Attributes:
        lr: step size.
        m: metaplasticity, in units of 1/hidden value.
        betas: decays of the two moments.
        eps: added to the root of the second moment.
        weight_decay: times the hidden value, added to the gradient.
        step: which step since the moments were zero; the first is 1.
        symmetric: whether steps away from zero are damped too.
    """

    lr: float
    m: float
    betas: tuple[float, float]
    eps: float
    weight_decay: float
    step: int
    symmetric: bool = False

    @property
    def size(self) -> float:
        """Step size after the correction of the first moment, `lr / (1 − β₁ᵗ)`."""
        return self.lr / (1 - self.betas[0] ** self.step)

    @property
    def root(self) -> float:
        """Root of the correction of the second moment, `√(1 − β₂ᵗ)`."""
        return (1 - self.betas[1] ** self.step) ** 0.5


@dataclass(frozen=True)
class Filter:
    """The numbers of one step of the Kalman filter.

    Attributes:
        lr: step size of the mean.
        prior: variance that a precision of 1 stands for.
        window: memory in steps, may be infinite.
        evidence: weight of the squared gradient.
        trust: largest step in standard deviations, may be infinite.
        batch_size: what the gradient is multiplied with.
    """

    lr: float
    prior: float
    window: float
    evidence: float
    trust: float
    batch_size: float

    @property
    def limit(self) -> float:
        """Largest step before `lr`, at a precision of 1; infinite where nothing bounds it."""
        return self.trust * self.prior**0.5 / self.lr if self.lr else math.inf


def metaplastic_adam(hidden: Tensor, gradient: Tensor, first: Tensor, second: Tensor, settings: Settings) -> None:
    """Update `hidden` and its moments `first` and `second` in place; see `neurospin.plasticity.Metaplastic`.

    `m = 0`, the symmetric variant, dtypes other than float32, and values that are not contiguous take the reference, whose
    operations are those of `torch.optim.Adam`. The kernels differ from it by float32 rounding.
    """
    fused = settings.m and not settings.symmetric and _fits(hidden, gradient, first, second)
    kernel = _kernel(hidden.device.type) if fused else None
    if kernel is None:
        reference.metaplastic_adam(hidden, gradient, first, second, settings)
    else:
        kernel.metaplastic_adam(hidden, gradient.contiguous(), first, second, settings)
        torch.autograd.graph.increment_version([hidden, first, second])  # as an in-place operation of torch does


def kalman(value: Tensor, gradient: Tensor, precision: Tensor, numbers: Filter) -> None:
    """Update `value` and its `precision` in place; see `neurospin.plasticity.Kalman`.

    `evidence = 0`, dtypes other than float32, values that are not contiguous, and GPUs take the reference.
    """
    fused = numbers.evidence and _fits(value, gradient, precision, precision)
    kernel = _kernel(value.device.type) if fused and value.device.type == "cpu" else None
    if kernel is None:
        reference.kalman(value, gradient, precision, numbers)
    else:
        kernel.kalman(value, gradient.contiguous(), precision, numbers)
        torch.autograd.graph.increment_version([value, precision])


def pull(gradient: Tensor, importance: Tensor, value: Tensor, anchor: Tensor, strength: float) -> None:
    """Add `strength · importance · (value − anchor)` to the gradient in place; see `neurospin.plasticity.around`."""
    kernel = _kernel("cpu") if value.device.type == "cpu" and gradient.is_contiguous() else None
    if kernel is None or not _fits(value, gradient, importance, anchor):
        gradient.addcmul_(importance, value - anchor, value=strength)
    else:
        kernel.pull(gradient, importance, value, anchor, strength)
        torch.autograd.graph.increment_version([gradient])


def _fits(hidden: Tensor, gradient: Tensor, first: Tensor, second: Tensor) -> bool:
    tensors = (hidden, gradient, first, second)
    return (
        all(t.dtype == torch.float32 and t.layout == torch.strided and t.device == hidden.device for t in tensors)
        and all(t.is_contiguous() for t in (hidden, first, second))
        and type(hidden) in (torch.nn.Parameter, Tensor)
        and hidden.numel() > 0
    )


@functools.cache
def _kernel(device: str) -> ModuleType | None:
    if device == "cpu" and find_spec("numba"):
        from neurospin.plasticity.kernels import cpu

        return cpu
    if device == "cuda" and find_spec("triton"):
        from neurospin.plasticity.kernels import cuda

        return cuda
    return None
