"""One step of a rule over all its synapses: plain torch, and the same in one pass over memory.

`reference` is plain torch, any dtype and device; those named `cpu` are numba and `cuda` is Triton, all
float32 and imported when first needed. The functions here choose by where the synapses are.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any

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


@dataclass(frozen=True)
class Beside:
    """What a rule does to one parameter beside Adam's step; all tensors have the parameter's shape.

    Attributes:
        importance, anchor: a spring adds `strength · importance · (value − anchor)` to the gradient.
        path: loses the product of the loss's gradient and of what the step did.
        lower: a beaker that takes `rate` of the difference after the step, and rises by half of that.
        strength, rate: see above.
    """

    importance: Tensor | None = None
    anchor: Tensor | None = None
    path: Tensor | None = None
    lower: Tensor | None = None
    strength: float = 0.0
    rate: float = 0.0


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


PLAIN = ("weight_decay", "amsgrad", "maximize", "capturable", "differentiable")


def adam_with(base: torch.optim.Optimizer, beside: Callable[[Tensor], Beside]) -> bool:
    """One step of torch's Adam and of what a rule does beside it, equal to both after each other up to rounding.

    Returns:
        Whether it was made. Not so with another optimizer, hooks, options beyond `lr`, `betas` and `eps`, before Adam's
        first step, and where values are not float32, contiguous and on the CPU: then nothing was changed.
    """
    kernel = _numba("cpu_adam")
    hooked = base._optimizer_step_pre_hooks or base._optimizer_step_post_hooks
    if kernel is None or type(base) is not torch.optim.Adam or hooked or getattr(base, "grad_scale", None) is not None:
        return False
    steps: list[tuple[Tensor, Tensor, Any, dict[str, Any], Beside]] = []
    for group in base.param_groups:
        if any(group.get(option) for option in PLAIN):
            return False
        for p in group["params"]:
            if p.grad is None:
                continue
            state, extra = base.state.get(p), beside(p)
            kept = [t for t in (extra.importance, extra.anchor, extra.path, extra.lower) if t is not None]
            gradient = p.grad.contiguous()
            if not state or not _one_pass(p, gradient, state["exp_avg"], state["exp_avg_sq"], *kept):
                return False
            steps.append((p, gradient, group, state, extra))
    for p, gradient, group, state, extra in steps:
        state["step"] += 1
        numbers = Settings(float(group["lr"]), 0.0, group["betas"], group["eps"], 0.0, int(state["step"]))
        kernel.adam(p, gradient, state["exp_avg"], state["exp_avg_sq"], numbers, extra)
        torch.autograd.graph.increment_version([p])
    return True


def exchange(upper: Tensor, lower: Tensor, rate: float) -> None:
    """`upper` loses `rate` of their difference and `lower` rises by half of that, both in place."""
    kernel = _numba("cpu_adam")
    if kernel is not None and _one_pass(upper, lower):
        kernel.exchange(upper, lower, rate)
        torch.autograd.graph.increment_version([upper, lower])
        return
    flow = (upper - lower).mul_(rate)
    upper.sub_(flow)
    lower.add_(flow, alpha=0.5)


def drawn(name: str, tensors: Sequence[Tensor], numbers: Sequence[float], key: Sequence[Any] = ()) -> bool:
    """A step of `neurospin.plasticity.kernels.cpu_drawn`, where it can be made in one pass; the first tensor is the parameter.

    Returns:
        Whether it was made.
    """
    kernel = _numba("cpu_drawn")
    if kernel is None or not _one_pass(*tensors):
        return False
    kernel.take(name, tensors, numbers, key)
    torch.autograd.graph.increment_version([tensors[0]])
    return True


def draw_key(generator: torch.Generator) -> tuple[Any, ...]:
    """What `drawn` makes random numbers of, drawn from torch's generator; nothing without numba."""
    kernel = _numba("cpu_random")
    return () if kernel is None else kernel.draw_key(generator)


def probabilistic(
    w: Tensor, gradient: Tensor, state: dict[str, Tensor], numbers: Sequence[float], generator: torch.Generator
) -> bool:
    """A step of `ProbabilisticMetaplasticity` on its own devices, where it can be made in one pass.

    Args:
        w: the weights, means over the devices.
        gradient: of the loss.
        state: `gathered`, `m`, `writes` and `turn` of the weights' shape, and `device (devices, …)`.
        numbers: threshold, growth, cap, activity; bound, spacing, last level and noise of a write in levels.
        generator: of the draws.

    Returns:
        Whether it was made.
    """
    kernel = _numba("cpu_levels")
    tensors = [w, gradient.contiguous(), *(state[name] for name in ("gathered", "m", "writes", "device", "turn"))]
    if kernel is None or not _one_pass(*tensors):
        return False
    kernel.probabilistic(tensors, numbers, draw_key(generator))
    torch.autograd.graph.increment_version([w])
    return True


def moves(
    w: Tensor, gradient: Tensor, state: dict[str, Tensor], numbers: Sequence[float], generator: torch.Generator
) -> Tensor:
    """What `probabilistic` moves, from the same draws: −1, 0 or 1 levels; `gathered` and `m` are brought up to date.

    Args:
        w, gradient, state, generator: as of `probabilistic`; of the state `gathered` and `m`.
        numbers: threshold, growth, cap, activity.
    """
    kernel = _numba("cpu_levels")
    by, gathered, m = torch.empty_like(w), state["gathered"], state["m"]
    if kernel is not None and _one_pass(w, gradient.contiguous(), gathered, m):
        kernel.moves([by, w, gradient.contiguous(), gathered, m], numbers, draw_key(generator))
        return by
    threshold, growth, cap, activity = numbers
    gathered += gradient
    asks = gathered.abs() > threshold
    draw = torch.rand(w.shape, generator=generator, device=w.device, dtype=w.dtype)
    by = torch.where(asks & (draw < (-m * w.abs()).exp()), -gathered.sign(), 0.0)
    gathered.masked_fill_(asks, 0.0)
    m.add_((gradient.abs() > activity) * growth).clamp_(max=cap)
    return by


def device_aware(tensors: Sequence[Tensor], numbers: Sequence[float], generator: torch.Generator) -> bool:
    """A step of `DeviceAware` without noise of writing, where it can be made in one pass.

    Args:
        tensors: means, numbers of writes, gradient.
        numbers: step size, 1/window, number of levels.
        generator: of the draws.

    Returns:
        Whether it was made.
    """
    kernel = _numba("cpu_levels")
    if kernel is None or not _one_pass(*tensors):
        return False
    kernel.device_aware(tensors, numbers, draw_key(generator))
    torch.autograd.graph.increment_version([tensors[0]])
    return True


def _one_pass(*tensors: Tensor) -> bool:
    return _fits(*tensors) and tensors[0].device.type == "cpu" and all(t.is_contiguous() for t in tensors)


def _fits(hidden: Tensor, gradient: Tensor, *kept: Tensor) -> bool:
    tensors = (hidden, gradient, *kept)
    return (
        all(t.dtype == torch.float32 and t.layout == torch.strided and t.device == hidden.device for t in tensors)
        and all(t.is_contiguous() for t in (hidden, *kept))
        and type(hidden) in (torch.nn.Parameter, Tensor)
        and hidden.numel() > 0
    )


@functools.cache
def _numba(name: str) -> ModuleType | None:
    return import_module(f"neurospin.plasticity.kernels.{name}") if find_spec("numba") else None


@functools.cache
def _kernel(device: str) -> ModuleType | None:
    if device == "cuda" and find_spec("triton"):
        from neurospin.plasticity.kernels import cuda

        return cuda
    return _numba("cpu") if device == "cpu" else None
