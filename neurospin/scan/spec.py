"""`Spec`: what a compiled time loop must know of a `Dynamics`, and its coefficients as one array."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from neurospin.scan.dynamics import Dynamics
from neurospin.surrogate import ArcTan, FastSigmoid, Sigmoid, StraightThrough, SuperSpike, Surrogate, Triangle

# the rows of the array of coefficients
DECAY, GAIN, LEAK, THRESHOLD, RESET, SYNAPSE_DECAY, SYNAPSE_GAIN, ADAPT_DECAY, ADAPTATION, REFRACTORY = range(10)
ROWS = 10

ARCTAN, FAST_SIGMOID, TRIANGLE, SIGMOID, STRAIGHT = range(5)
SHAPES: dict[type[Surrogate], int] = {
    ArcTan: ARCTAN, FastSigmoid: FAST_SIGMOID, SuperSpike: FAST_SIGMOID, Triangle: TRIANGLE, Sigmoid: SIGMOID,
    StraightThrough: STRAIGHT,
}  # fmt: skip

MEMORY = ("float32", "bfloat16", "recompute")


class Spec(NamedTuple):
    """The compile-time constants of a time loop; one whole number says them all (`code`, `decode`).

    Attributes:
        spiking: spikes, or a readout of the voltage.
        value: reset to a value, or by subtraction.
        delayed: the reset acts in the next step.
        through: gradient through the spike in the reset.
        synapse: has a synaptic current.
        adapt: has an adapting threshold.
        refractory: has a refractory period.
        learn: gradients of the coefficients are wanted.
        voltage: the voltage of every step is wanted.
        shape: of the surrogate.
        memory: index in `MEMORY`: what the forward pass keeps for the backward pass.
    """

    spiking: bool
    value: bool
    delayed: bool
    through: bool
    synapse: bool
    adapt: bool
    refractory: bool
    learn: bool
    voltage: bool
    shape: int
    memory: int

    @property
    def states(self) -> int:
        """How many state variables."""
        return 1 + self.synapse + self.adapt + self.refractory

    @property
    def stored(self) -> bool:
        """Whether voltages before the reset are kept; else the backward pass runs the loop again from the input.

        A readout keeps nothing: its output is the voltage. Neurons with more than a membrane run again.
        """
        again = self.adapt or self.refractory or (self.synapse and self.learn)
        return self.spiking and not again and MEMORY[self.memory] != "recompute"

    @property
    def rerun(self) -> bool:
        """Whether the backward pass runs the loop again from the input."""
        return not self.stored and (self.spiking or (self.synapse and self.learn))

    @property
    def needs_input(self) -> bool:
        """Whether the backward pass needs the input."""
        return self.rerun or self.learn

    def code(self) -> int:
        """All of it as one whole number."""
        number = 0
        for place, flag in enumerate(self[:9]):
            number |= int(flag) << place
        return number | self.shape << 9 | self.memory << 12


def decode(number: int) -> Spec:
    """The `Spec` that gave this number."""
    flags = [bool(number >> place & 1) for place in range(9)]
    return Spec(*flags, shape=number >> 9 & 7, memory=number >> 12 & 3)


def spec(dynamics: Dynamics, *, voltage: bool, memory: str, learn: bool) -> Spec | None:
    """The constants of the time loop of `dynamics`; `None` where a surrogate is the user's own."""
    d = dynamics
    shape = SHAPES.get(type(d.surrogate))
    if shape is None or (
        d.delayed_reset and (d.reset_gradient or d.refractory is not None or d.adapt_decay is not None)
    ):
        return None
    spiking = d.threshold is not None
    return Spec(
        spiking=spiking, value=d.reset is not None, delayed=d.delayed_reset, through=d.reset_gradient,
        synapse=d.synapse_decay is not None, adapt=d.adapt_decay is not None, refractory=d.refractory is not None,
        learn=learn, voltage=voltage and spiking, shape=shape, memory=MEMORY.index(memory),
    )  # fmt: skip


def slope(surrogate: Surrogate) -> float:
    """The steepness of a surrogate as the loops take it: the width of a triangle, else the slope."""
    return surrogate.width if isinstance(surrogate, Triangle) else surrogate.slope  # type: ignore[attr-defined]


def coefficients(d: Dynamics, size: tuple[int, ...]) -> Tensor:
    """Every coefficient of `d` in one array: `(ROWS, 1)` where all are shared, else `(ROWS, neurons)`."""
    zero = d.decay.new_zeros(())
    rows = [zero if row is None else row for row in d.rows]
    if all(row.numel() == 1 for row in rows):
        return torch.stack([row.reshape(1) for row in rows])
    return torch.stack([row.expand(size).reshape(-1) for row in rows])


def plain(tensor: Tensor | None) -> bool:
    """Whether it is a tensor of numbers: no subclass, no compiler, no transform, nothing that watches operators."""
    return (
        not torch.compiler.is_compiling()
        and type(tensor) is Tensor
        and not torch._C._len_torch_dispatch_stack()
        and not torch._C._are_functorch_transforms_active()
    )


def graph_is_kept() -> bool:
    """Whether the backward pass that runs now keeps its graph for another one."""
    return torch._C._autograd._get_current_graph_task_keep_graph()  # pyright: ignore[reportAttributeAccessIssue]
