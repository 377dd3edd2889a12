"""`Network`: an ordered stack of named blocks, with explicit state."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from neurospin.errors import InputError, unknown_name
from neurospin.neurons import Neuron, Rate
from neurospin.synapses import Delay, Synapse
from neurospin.types import Spikes, State
from neurospin.weights import Binary

RECORDS = ("spikes", "voltages", "currents")


@dataclass(frozen=True)
class Run:
    """What a network gave.

    Attributes:
        output: of the last block, `(time, batch, *neuron)`.
        state: of every neuron block after the last step, by name; feeds the next call.
        spikes: output of every neuron block by name, when recorded.
        voltages: voltage after the reset of every neuron block by name, when recorded.
        currents: input current of every neuron block by name, when recorded.
    """

    output: Tensor
    state: dict[str, State]
    spikes: dict[str, Tensor] = field(default_factory=dict)
    voltages: dict[str, Tensor] = field(default_factory=dict)
    currents: dict[str, Tensor] = field(default_factory=dict)


class Network(nn.Module):
    """An ordered stack of synapses and neurons.

    `net(x)` equals `net(x[:k])` followed by `net(x[k:], state)`; nothing is hidden on the module.

    Args:
        blocks: synapses and neurons in order; a mapping gives them names, otherwise they are
            `dense1, lif1, dense2, …`.
        dt: step in seconds.

    Raises:
        InputError: no blocks, or two blocks whose sizes do not fit, named with both sizes.
    """

    def __init__(self, blocks: Sequence[Neuron | Synapse] | Mapping[str, Neuron | Synapse], dt: float) -> None:
        super().__init__()
        named = dict(blocks) if isinstance(blocks, Mapping) else _names(blocks)
        if not named:
            raise InputError("Network", "at least one block", "none", "give synapses and neurons")
        self.dt = float(dt)
        width: tuple[int, ...] | None = None
        for name, block in named.items():
            inputs, outputs = _sizes(block)
            if width is not None and inputs != width:
                raise InputError(
                    f"Network.{name}", f"input of size {width}", f"size {inputs}", "match the block before"
                )
            width = outputs
            if isinstance(block, Neuron | Delay):
                block.bind(self.dt)
        self.blocks = nn.ModuleDict(named)

    @property
    def input_size(self) -> tuple[int, ...]:
        """Shape of one sample at one step."""
        return _sizes(self.named_blocks()[0][1])[0]

    @property
    def output_size(self) -> tuple[int, ...]:
        """Shape of the last block."""
        return _sizes(self.named_blocks()[-1][1])[1]

    def named_blocks(self) -> list[tuple[str, Neuron | Synapse]]:
        """Blocks in order, with their names."""
        return list(self.blocks.items())  # type: ignore[arg-type]

    def neurons(self) -> dict[str, Neuron]:
        """Neuron blocks in order, by name."""
        return {name: block for name, block in self.named_blocks() if isinstance(block, Neuron)}

    def forward(self, x: Spikes, state: Mapping[str, State] | None = None, record: Iterable[str] = ()) -> Run:
        """Run the network on a sequence.

        Args:
            x: input of shape `(time, batch, *input)`.
            state: state of a previous run; `None` is fresh.
            record: any of `"spikes"`, `"voltages"`, `"currents"`.

        Raises:
            InputError: the input's shape does not fit.
            UnknownName: a record that does not exist.
        """
        wanted = set(record)
        for name in wanted.difference(RECORDS):
            raise unknown_name("record", name, RECORDS, "record")
        if tuple(x.shape[2:]) != self.input_size or 0 in x.shape[:1]:
            words = ", ".join(str(n) for n in self.input_size)
            raise InputError(
                "Network", f"input of shape (time, batch, {words}) with at least one step", str(tuple(x.shape)),
                "put time first, then batch",
            )  # fmt: skip
        before = dict(state or {})
        run = Run(x, {})
        for name, block in self.named_blocks():
            if isinstance(block, Neuron):
                result = block.scan(x, before.get(name), voltage="voltages" in wanted)
                if "currents" in wanted:
                    run.currents[name] = x
                if "spikes" in wanted:
                    run.spikes[name] = result.output
                if result.voltage is not None:
                    run.voltages[name] = result.voltage
                x = result.output
                run.state[name] = result.state
            elif isinstance(block, Delay):
                x, _, run.state[name] = block.scan(x, before.get(name))
            else:
                x = block(x)
        return Run(x, run.state, run.spikes, run.voltages, run.currents)

    def hidden_state(self) -> dict[str, Tensor]:
        """The hidden value behind every binary synapse, by block name, `(out, in)`, detached."""
        return {
            name: block.stored.detach()  # type: ignore[union-attr]
            for name, block in self.named_blocks()
            if isinstance(block, Synapse) and isinstance(block.kind, Binary)
        }

    def rate_twin(self) -> Network:
        """The same network with rate neurons: same synapses (copied), same number of parameters.

        Every spiking block becomes a leaky rectified `Rate` block; readouts stay.
        """
        twins = {
            name: block.rate_twin() if isinstance(block, Neuron) else copy.deepcopy(block)
            for name, block in self.named_blocks()
        }
        renamed = {_renamed(name, block): block for name, block in twins.items()}
        return Network(renamed if len(renamed) == len(twins) else twins, self.dt)

    def parameter_count(self) -> int:
        """How many numbers are learned."""
        return sum(p.numel() for p in self.parameters() if p.requires_grad)

    def config(self) -> dict[str, Any]:
        """Step and blocks as plain values; stored values and constants are in the state dict."""
        return {"dt": self.dt, "blocks": {name: block.config() for name, block in self.named_blocks()}}


def _sizes(block: Neuron | Synapse) -> tuple[tuple[int, ...], tuple[int, ...]]:
    if isinstance(block, Neuron):
        return block.size, block.size
    if isinstance(block, Synapse):
        return block.input_size, block.output_size
    raise InputError("Network", "neurons and synapses", type(block).__name__, "wrap it as a Synapse or a Neuron")


def _names(blocks: Iterable[Neuron | Synapse]) -> dict[str, Neuron | Synapse]:
    named: dict[str, Neuron | Synapse] = {}
    counts: dict[str, int] = {}
    for block in blocks:
        kind = type(block).__name__.lower()
        counts[kind] = counts.get(kind, 0) + 1
        named[f"{kind}{counts[kind]}"] = block
    return named


def _renamed(name: str, block: Neuron | Synapse) -> str:
    """`lif1` becomes `rate1` when the block became a rate neuron; other names stay."""
    return name.replace("lif", "rate", 1) if isinstance(block, Rate) else name
