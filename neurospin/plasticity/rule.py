"""`Rule`: what a synapse remembers, as a torch optimizer with per-synapse state."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from neurospin.errors import InputError
from neurospin.plasticity.evidence import Evidence


class Rule(torch.optim.Optimizer, ABC):
    """A learning rule, usable on any torch model: `zero_grad`, `backward`, `step`, as any optimizer.

    Rules that draw their weights need the loss inside `sampling`, `samples` times before each step;
    for the others `sampling` does nothing, so that one loop serves all rules::

        rule.zero_grad()
        for _ in range(rule.samples):
            with rule.sampling():
                loss(model(x), y).backward()
        rule.step()

    Attributes:
        citation: the paper that the rule is from.
        needs_task_boundaries: whether it must be told when a task begins and ends.
        needs_task_id: whether it must be told which task it is.
        state_bits_per_synapse: bits that training keeps per synapse.
        samples: weight samples per step.
        draws: whether weights inside `sampling` differ from one time to the next.
    """

    citation: str
    needs_task_boundaries: bool
    needs_task_id: bool
    state_bits_per_synapse: int
    samples: int = 1
    draws: bool = False

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One update of every parameter that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        self.advance()
        return loss

    @abstractmethod
    def advance(self) -> None:
        """One update of every parameter that has a gradient (see `moving`); without autograd."""

    def begin_task(self, task: int) -> None:
        """Told to rules that need task boundaries; `task` is -1 for those that need no identity."""
        del task

    def end_task(self, evidence: Evidence) -> None:
        """Told to rules that need task boundaries, with the model and the samples of the task that ends."""
        del evidence

    def sampling(self) -> AbstractContextManager[None]:
        """Inside, the parameters are one sample of the weights, the same for the whole sequence."""
        return nullcontext()

    def train_on(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """The training set of a task that begins, `(samples, …)` and `(samples,)`; only `Joint` changes it."""
        return x, y

    def rehearse(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """The batch to learn from instead of the one that came; only `Replay` changes it."""
        return x, y

    def writes(self, p: Tensor) -> Tensor | None:
        """Programming events that every device of a parameter has had, in its shape; None where none are counted."""
        del p
        return None

    def stored(self, p: Tensor) -> list[Tensor]:
        """The values that a device would store for a parameter; changed in place by `LevelLimited`."""
        return [p]

    def show(self, p: Tensor) -> None:
        """Give the parameter the value that acts, after what is stored for it has changed."""
        del p

    def parameters(self) -> Iterator[Tensor]:
        """Every parameter of every group."""
        return (p for group in self.param_groups for p in group["params"])

    def moving(self) -> Iterator[tuple[Tensor, Tensor, dict[str, Any]]]:
        """Every parameter that has a gradient, the gradient, and the parameter's group."""
        return ((p, p.grad, group) for group in self.param_groups for p in group["params"] if p.grad is not None)

    def extra_state(self) -> dict[str, Any]:
        """What a rule keeps beside its state per parameter; part of `state_dict`."""
        return {}

    def load_extra_state(self, extra: dict[str, Any]) -> None:
        """Take back what `extra_state` gave."""
        del extra

    def state_dict(self) -> dict[str, Any]:
        """As of any torch optimizer, but copied, and the rule's own under `"extra"`."""
        given = super().state_dict()
        copies = {
            number: {name: value.clone() if torch.is_tensor(value) else value for name, value in state.items()}
            for number, state in given["state"].items()
        }
        return {**given, "state": copies, "extra": self.extra_state()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take back what `state_dict` gave; the rule goes on as if it had not stopped."""
        given = dict(state_dict)
        self.load_extra_state(given.pop("extra"))
        super().load_state_dict(given)


def check(rule: str, **numbers: tuple[float, float, float]) -> None:
    """Refuse a setting outside its bounds: `name=(value, lowest, highest)`, both allowed.

    Raises:
        InputError: names the rule and the setting.
    """
    for name, (value, low, high) in numbers.items():
        if not (isinstance(value, int | float) and low <= value <= high):
            bounds = f">= {low:g}" if high == float("inf") else f"in [{low:g}, {high:g}]"
            raise InputError(f"{rule}.{name}", f"a number {bounds}", repr(value), f"change {name}")
