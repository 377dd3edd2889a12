"""Rules whose values live on a device: the rule asks, pulses answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor

from neurospin.errors import InputError
from neurospin.plasticity.around import Around
from neurospin.plasticity.levels import generator_for
from neurospin.plasticity.rule import Rule

Memory = dict[str, Tensor]
"""Everything that the devices of one parameter keep, by name."""


class Storage(Protocol):
    """Devices that keep a parameter's values: any object with these, for example of `hardware_targets.crossbar.insitu`.

    Functional: what is stored is the caller's; all values have the shape of the parameter and its units.
    """

    @property
    def bits(self) -> int:
        """Bits per synapse that must be kept outside the devices' own state, plus those of the state."""
        ...

    @property
    def step(self) -> float:
        """The change that one pulse stands for."""
        ...

    def place(self, wanted: Tensor, generator: torch.Generator) -> Memory:
        """Fresh devices, written with the parameter's first values."""
        ...

    def seen(self, memory: Memory) -> Tensor:
        """The value from which a rule starts its step."""
        ...

    def acting(self, memory: Memory) -> Tensor:
        """The value with which the network computes."""
        ...

    def read(self, memory: Memory, generator: torch.Generator) -> Tensor:
        """`acting`, with the noise of one read."""
        ...

    def request(self, memory: Memory, change: Tensor, generator: torch.Generator) -> Memory:
        """After the pulses that a wanted change of the value causes; what comes of them is the devices' affair."""
        ...

    def relax(self, memory: Memory, seconds: float, generator: torch.Generator) -> Memory:
        """After a time without pulses."""
        ...


class OnDevice(Around):
    """Any rule or optimizer whose values live on devices: its steps are requests.

    The base makes its step from `Storage.seen`; the difference is requested, and the network goes on with
    `Storage.acting`. Inside `sampling` the parameters are one noisy read. What a device does with a request may
    depend on what it stores: on junctions whose barrier rises with a hidden value, Adam is a metaplastic rule.

    Source: of the scheme, gradients outside and weights in devices: Burr et al., IEEE Transactions on Electron
    Devices 62:3498, 2015, doi:10.1109/TED.2015.2439635.

    Args:
        base: the rule; every parameter of it is stored on devices.
        storage: the devices.
        seed: of everything random in them.

    Attributes:
        memories: what the devices of each parameter keep, in the order of `parameters()`.

    Raises:
        InputError: a base that draws its weights or stores something else than the parameter.
    """

    citation = "Burr et al., IEEE Transactions on Electron Devices 62:3498, 2015, doi:10.1109/TED.2015.2439635"
    needs_task_boundaries = False
    needs_task_id = False
    draws = True

    def __init__(self, base: torch.optim.Optimizer, storage: Storage, seed: int = 0) -> None:
        super().__init__(base)
        own = isinstance(base, Rule) and any(base.stored(p)[0] is not p for p in self.parameters())
        if own or self.samples > 1:
            raise InputError("OnDevice.base", "a rule that stores the parameter", type(base).__name__, "use Adam")
        self.storage = storage
        self.generator = generator_for(self.param_groups, seed)
        with torch.no_grad():
            self.memories = [storage.place(p.detach().clone(), self.generator) for p in self.parameters()]
            self._show()

    @property
    def state_bits_per_synapse(self) -> int:  # type: ignore[override]
        """The base's, with the storage's bits instead of the 32 of the value."""
        return super().state_bits_per_synapse - 32 + self.storage.bits

    def advance(self) -> None:
        """The base's step, as a request."""
        before = [self.storage.seen(memory) for memory in self.memories]
        for p, value in zip(self.parameters(), before, strict=True):
            p.copy_(value)
        self.base.step()
        for at, (p, value) in enumerate(zip(self.parameters(), before, strict=True)):
            self.memories[at] = self.storage.request(self.memories[at], p - value, self.generator)
        self._show()

    @contextmanager
    def sampling(self) -> Iterator[None]:
        """Inside, the parameters are one read of the devices."""
        with torch.no_grad():
            for p, memory in zip(self.parameters(), self.memories, strict=True):
                p.copy_(self.storage.read(memory, self.generator))
        try:
            yield
        finally:
            with torch.no_grad():
                self._show()

    @torch.no_grad()
    def wait(self, seconds: float) -> None:
        """Let the devices age without pulses."""
        self.memories = [self.storage.relax(memory, seconds, self.generator) for memory in self.memories]
        self._show()

    def _show(self) -> None:
        for p, memory in zip(self.parameters(), self.memories, strict=True):
            p.copy_(self.storage.acting(memory))

    def extra_state(self) -> dict[str, Any]:
        """The base's state, what the devices keep, and where the generator stands."""
        return {**super().extra_state(), "memories": list(self.memories), "generator": self.generator.get_state()}

    def load_extra_state(self, extra: dict[str, Any]) -> None:
        """Take back what `extra_state` gave; the parameters show it."""
        super().load_extra_state(extra)
        self.memories = [dict(memory) for memory in extra["memories"]]
        self.generator.set_state(extra["generator"])
        with torch.no_grad():
            self._show()


class Through(Around):
    """Hardware-aware training: the loss sees every parameter through a channel, the step changes the exact one.

    Inside `sampling` a parameter is what the channel makes of it, drawn anew each time; gradients are taken there and
    passed on unchanged (straight-through).

    Source: noise injection: Joshi et al., Nature Communications 11:2473, 2020, doi:10.1038/s41467-020-16108-9.

    Args:
        base: the optimizer or rule.
        channel: of a parameter and a generator; `hardware_targets.crossbar.compensation.Chip` is one.
        seed: of the channel.
    """

    citation = "Joshi et al., Nature Communications 11:2473, 2020, doi:10.1038/s41467-020-16108-9"
    needs_task_boundaries = False
    needs_task_id = False
    draws = True

    def __init__(
        self, base: torch.optim.Optimizer, channel: Callable[[Tensor, torch.Generator], Tensor], seed: int = 0
    ) -> None:
        super().__init__(base)
        if self.samples > 1:
            raise InputError("Through.base", "a rule that does not draw its weights", type(base).__name__, "use Adam")
        self.channel = channel
        self.generator = generator_for(self.param_groups, seed)

    @contextmanager
    def sampling(self) -> Iterator[None]:
        """Inside, the parameters are what the channel makes of them."""
        with torch.no_grad():
            exact = [p.detach().clone() for p in self.parameters()]
            for p in self.parameters():
                p.copy_(self.channel(p.detach(), self.generator))
        try:
            yield
        finally:
            with torch.no_grad():
                for p, value in zip(self.parameters(), exact, strict=True):
                    p.copy_(value)

    def extra_state(self) -> dict[str, Any]:
        """The base's state, and where the generator stands."""
        return {**super().extra_state(), "generator": self.generator.get_state()}

    def load_extra_state(self, extra: dict[str, Any]) -> None:
        """Take back what `extra_state` gave."""
        super().load_extra_state(extra)
        self.generator.set_state(extra["generator"])
