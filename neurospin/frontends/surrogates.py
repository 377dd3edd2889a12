"""Surrogate derivatives of other libraries, as ours."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from neurospin.errors import InputError
from neurospin.surrogate import ArcTan, FastSigmoid, Sigmoid, StraightThrough, Surrogate

_SNNTORCH: dict[str, tuple[type[Surrogate], str | None]] = {
    "atan": (ArcTan, "alpha"),
    "fast_sigmoid": (FastSigmoid, "slope"),
    "sigmoid": (Sigmoid, "slope"),
    "straight_through_estimator": (StraightThrough, None),
}


@dataclass(frozen=True)
class Foreign(Surrogate):
    """The derivative that another library's spike function has, whatever its formula.

    Attributes:
        function: from the distance to the threshold to spikes, differentiable by its own rule; elementwise.
    """

    function: Callable[[Tensor], Tensor]

    def value(self, distance: Tensor) -> Tensor:
        """Refused: only the derivative is known."""
        raise InputError("Foreign.value", "a surrogate with a formula", "another library's function", "use ArcTan()")

    def derivative(self, distance: Tensor) -> Tensor:
        """By the function's own backward pass; 0 where it has none."""
        with torch.enable_grad():
            d = distance.detach().requires_grad_()
            spikes = self.function(d)
            if not spikes.requires_grad:
                return torch.zeros_like(distance)
            return torch.autograd.grad(spikes.sum(), d)[0]


def from_snntorch_surrogate(function: Callable[[Tensor], Tensor]) -> Surrogate:
    """Ours for a function of `snntorch.surrogate`; any other function keeps its own derivative."""
    maker = getattr(function, "__qualname__", "").split(".")[0]
    if getattr(function, "__module__", "") == "snntorch.surrogate" and maker in _SNNTORCH:
        kind, name = _SNNTORCH[maker]
        found = inspect.getclosurevars(function).nonlocals
        return kind(float(found[name])) if name else kind()  # type: ignore[call-arg]
    return Foreign(function)


def to_snntorch_surrogate(surrogate: Surrogate) -> Callable[[Tensor], Tensor]:
    """The function of `snntorch.surrogate` that is ours.

    Raises:
        InputError: snnTorch has none.
    """
    import snntorch.surrogate as theirs

    if isinstance(surrogate, Foreign):
        return surrogate.function
    for maker, (kind, name) in _SNNTORCH.items():
        if type(surrogate) is kind:
            return getattr(theirs, maker)(**({name: surrogate.slope} if name else {}))  # type: ignore[attr-defined]
    raise InputError("surrogate", "one that snnTorch has", type(surrogate).__name__, "use ArcTan() or FastSigmoid()")


def from_norse_surrogate(method: str, alpha: float | Tensor) -> Surrogate:
    """Ours for a threshold method of Norse. Its `"super"` uses a slope of 1, whatever `alpha` says."""
    if method == "super":
        return FastSigmoid(1.0)
    from norse.torch.functional.threshold import threshold

    steep = float(alpha)
    return Foreign(lambda distance: threshold(distance, method, steep))
