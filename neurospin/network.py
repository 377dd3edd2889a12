"""`Network`: named blocks with edges between them, and explicit state."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from operator import is_
from typing import Any, TypeVar

from torch import Tensor, nn

from neurospin.errors import InputError, unknown_name
from neurospin.executor import Part, execute, part
from neurospin.neurons import Neuron, Rate
from neurospin.synapses import Delay, Events, Synapse
from neurospin.topology import Edge, topology
from neurospin.types import Spikes, State
from neurospin.weights import Binary, Levels

Block = Neuron | Synapse
T = TypeVar("T")
RECORDS = ("spikes", "voltages", "currents")


@dataclass(frozen=True)
class Run:
    """What a network gave.

    Attributes:
        outputs: by output name, each `(time, batch, *neuron)`.
        state: feeds the next call: of every block with memory after the last step, by name, and under
            `"name ->"` what a block sends back into a loop.
        spikes: output of every neuron block by name, when recorded.
        voltages: voltage after the reset of every neuron block by name, when recorded.
        currents: input current of every neuron block by name, when recorded.
    """

    outputs: dict[str, Tensor]
    state: dict[str, State]
    spikes: dict[str, Tensor] = field(default_factory=dict)
    voltages: dict[str, Tensor] = field(default_factory=dict)
    currents: dict[str, Tensor] = field(default_factory=dict)

    @property
    def output(self) -> Tensor:
        """The only output, `(time, batch, *neuron)`.

        Raises:
            InputError: there are several; `outputs` has them by name.
        """
        return _only("Run.output", self.outputs)


@dataclass(frozen=True)
class Recurrent:
    """A neuron block that feeds itself through a synapse: two blocks and a loop in one line.

    In a `Network` it becomes the neuron block `NAME` and the synapse block `NAME_recurrent`, with the
    edges `NAME -> NAME_recurrent -> NAME`; the loop carries the previous step.

    Args:
        neuron: for example `LIF(64)`.
        synapse: from the neuron to itself, for example `Dense(64, 64)`.
    """

    neuron: Neuron
    synapse: Synapse


class Network(nn.Module):
    """Blocks of synapses and neurons with edges between them.

    `net(x)` equals `net(x[:k])` followed by `net(x[k:], state)`; nothing is hidden on the module.
    Edges that meet in one block add. An edge that closes a loop carries the previous step (see
    `neurospin.topology`); blocks outside every loop take the whole sequence at once.

    Args:
        blocks: synapses and neurons; a mapping gives them names, otherwise they are
            `dense1, lif1, dense2, …`. `Recurrent` stands for a neuron block that feeds itself.
        dt: step in seconds.
        edges: pairs of names (from, to). A name that is no block is an input where it starts edges and
            an output where it ends them. Default: the blocks follow each other in their order, from
            `"input"` to `"output"`.

    Attributes:
        origin: of a network that `from_graph` made: what `to_graph` needs to give back the graph's own
            numbers where nothing has changed; else `None`.

    Raises:
        InputError: no blocks, a block without an edge into it, or two blocks whose sizes do not fit,
            named with both sizes.
        GraphError: an edge twice, or a loop without a neuron.
    """

    def __init__(
        self,
        blocks: Sequence[Block | Recurrent] | Mapping[str, Block | Recurrent],
        dt: float,
        edges: Iterable[Edge] | None = None,
    ) -> None:
        super().__init__()
        named, loops, order = _expanded(dict(blocks) if isinstance(blocks, Mapping) else _names(blocks))
        if not named:
            raise InputError("Network", "at least one block", "none", "give synapses and neurons")
        if edges is None and {"input", "output"} & named.keys():
            raise InputError("Network", "other names than input and output", "a block of that name", "rename it")
        self.dt = float(dt)
        self.origin: Any = None
        self._made: _Parts | None = None
        chain = list(pairwise(["input", *order, "output"])) if edges is None else [(str(a), str(b)) for a, b in edges]
        self.edges: tuple[Edge, ...] = (*chain, *loops)
        starts, ends = {a: None for a, _ in self.edges}, {b: None for _, b in self.edges}
        self.inputs = tuple(name for name in starts if name not in named)
        self.outputs = tuple(name for name in ends if name not in named)
        for name in self.inputs:
            if name in self.outputs:  # neither an input nor an output, but a name in the middle that is no block
                raise unknown_name("Network.edges", name, named, "block")
        if not (self.inputs and self.outputs):
            side = "output" if self.inputs else "input"
            raise InputError("Network.edges", f"an edge of an {side}", "none", f'add an edge with the name "{side}"')
        for name, block in named.items():
            _sizes(name, block)
            if name not in ends:
                raise InputError(
                    f"Network.{name}", "an edge into the block", "none", "add the edge, or remove the block"
                )
            if isinstance(block, Neuron | Delay):
                block.bind(self.dt)
        self._names = tuple(named)
        self.blocks = nn.ModuleDict({key_of(name): block for name, block in named.items()})
        self._ports = _check_sizes(named, self.edges)
        remembering = {
            name
            for name, block in named.items()
            if isinstance(block, Neuron) or (isinstance(block, Delay) and bool((block.delay > 0).all()))
        }
        names = [*self.inputs, *named, *self.outputs]
        self.plan = topology(names, self.edges, self.inputs, remembering)

    @property
    def input_sizes(self) -> dict[str, tuple[int, ...]]:
        """Shape of one sample at one step, by input."""
        return {name: self._ports[name] for name in self.inputs}

    @property
    def output_sizes(self) -> dict[str, tuple[int, ...]]:
        """Shape of what every output gives at one step, by output."""
        return {name: self._ports[name] for name in self.outputs}

    @property
    def input_size(self) -> tuple[int, ...]:
        """Shape of one sample at one step, of a network with one input."""
        return _only("Network.input_size", self.input_sizes)

    @property
    def output_size(self) -> tuple[int, ...]:
        """Shape of what the only output gives at one step."""
        return _only("Network.output_size", self.output_sizes)

    def named_blocks(self) -> list[tuple[str, Block]]:
        """Blocks in order, with their names."""
        return [(name, self.blocks[key_of(name)]) for name in self._names]  # type: ignore[misc]

    def neurons(self) -> dict[str, Neuron]:
        """Neuron blocks in order, by name."""
        return {name: block for name, block in self.named_blocks() if isinstance(block, Neuron)}

    def forward(
        self,
        x: Spikes | Events | Mapping[str, Spikes | Events],
        state: Mapping[str, State] | None = None,
        record: Iterable[str] = (),
    ) -> Run:
        """Run the network on a sequence.

        Args:
            x: input of shape `(time, batch, *input)`, or `Events`; of several inputs, one such by name.
            state: state of a previous run; `None` is fresh.
            record: any of `"spikes"`, `"voltages"`, `"currents"`.

        Raises:
            InputError: the input's shape does not fit.
            UnknownName: a record that does not exist.
        """
        wanted = set(record)
        for name in wanted.difference(RECORDS):
            raise unknown_name("record", name, RECORDS, "record")
        given = self._given(x)
        neurons = list(self.neurons()) if wanted else []
        out = execute(
            self.plan,
            self._parts(),
            given,
            state,
            keep={*self.outputs, *(neurons if "spikes" in wanted else ())},
            voltages=neurons if "voltages" in wanted else (),
            currents=neurons if "currents" in wanted else (),
        )
        return Run(
            {name: out.outputs[name] for name in self.outputs},
            out.state,
            {name: out.outputs[name] for name in neurons} if "spikes" in wanted else {},
            {name: out.voltages[name] for name in neurons if name in out.voltages},
            {name: out.currents[name] for name in neurons if name in out.currents},
        )

    def _parts(self) -> dict[str, Part]:
        """Everything that runs, by name; made again when a block is another one."""
        blocks = list(self.blocks.values())
        if self._made is None or not (
            len(blocks) == len(self._made.blocks) and all(map(is_, blocks, self._made.blocks))
        ):
            parts = {name: part(block) for name, block in self.named_blocks()}
            ports = {name: Part.map(lambda x: x, self._ports[name]) for name in self.outputs}
            self._made = _Parts(blocks, parts | ports)
        return self._made.parts

    def _given(self, x: Tensor | Events | Mapping[str, Tensor | Events]) -> dict[str, Tensor]:
        """The inputs by name, after their shapes are found fit; events stay so where every reader takes them."""
        if isinstance(x, Tensor | Events) and len(self.inputs) == 1:
            x = {self.inputs[0]: x}
        if isinstance(x, Tensor | Events) or set(x) != set(self.inputs):
            got = "one tensor" if isinstance(x, Tensor | Events) else ", ".join(map(str, x))
            raise InputError("Network", f"inputs {', '.join(self.inputs)}", got, "give one tensor for each, by name")
        lengths = {tuple(value.shape[:2]) for value in x.values()}
        if len(lengths) > 1:
            raise InputError("Network", "inputs of one length and batch", str(sorted(lengths)), "cut or pad them")
        for name, size in self.input_sizes.items():
            shape = tuple(x[name].shape)
            if shape[2:] != size or len(shape) < 2 or shape[0] == 0:
                where = "Network" if len(self.inputs) == 1 else f"Network.{name}"
                words = ", ".join(["time", "batch", *map(str, size)])
                raise InputError(
                    where, f"input of shape ({words}) with at least one step", str(shape), "put time first, then batch"
                )
        return {
            name: value.to_dense() if isinstance(value, Events) and not self._takes_events(name) else value
            for name, value in x.items()
        }  # type: ignore[return-value]

    def _takes_events(self, name: str) -> bool:
        """Whether all that reads an input takes events, outside loops and with no other source."""
        plan = self.plan
        takers = {name for name, block in self.named_blocks() if isinstance(block, Synapse) and block.takes_events}
        outside = {g[0] for g, loop in zip(plan.components, plan.looped, strict=True) if not loop}
        return all(
            reader in outside and sources == [name] and reader in takers
            for reader, sources in ((reader, list(sources)) for reader, sources in plan.sources.items())
            if name in sources
        )

    def hidden_state(self) -> dict[str, Tensor]:
        """The hidden value behind every binary synapse and every one of few levels, by block name, `(out, in)`, detached."""
        return {
            name: block.stored.detach()  # type: ignore[union-attr]
            for name, block in self.named_blocks()
            if isinstance(block, Synapse) and isinstance(block.kind, Binary | Levels)
        }

    def rate_twin(self) -> Network:
        """The same network with rate neurons: same synapses (copied), same number of parameters.

        Every spiking block becomes a leaky rectified `Rate` block; readouts stay.
        """
        twins = {
            name: block.rate_twin() if isinstance(block, Neuron) else copy.deepcopy(block)
            for name, block in self.named_blocks()
        }
        names = {name: _renamed(name, block) for name, block in twins.items()}
        if len(set(names.values())) < len(names):
            names = {name: name for name in twins}
        edges = [(names.get(a, a), names.get(b, b)) for a, b in self.edges]
        return Network({names[name]: block for name, block in twins.items()}, self.dt, edges)

    def parameter_count(self) -> int:
        """How many numbers are learned."""
        return sum(p.numel() for p in self.parameters() if p.requires_grad)

    def config(self) -> dict[str, Any]:
        """Step, blocks, edges and fixed parameters as plain values; stored values and constants are in the state dict."""
        blocks = {name: block.config() for name, block in self.named_blocks()}
        fixed = [name for name, parameter in self.named_parameters() if not parameter.requires_grad]
        told = {"fixed": fixed} if fixed else {}
        return {"dt": self.dt, "blocks": blocks, "edges": [list(edge) for edge in self.edges], **told}


def _only(where: str, found: Mapping[str, T]) -> T:
    if len(found) != 1:
        raise InputError(where, "one of them", f"{len(found)}: {', '.join(found)}", "ask for one by its name")
    return next(iter(found.values()))


class _Parts:
    """Blocks, and the parts made of them; a copy of it is none."""

    def __init__(self, blocks: list[Any], parts: dict[str, Part]) -> None:
        self.blocks, self.parts = blocks, parts

    def __reduce__(self) -> tuple[Any, ...]:
        return type(None), ()


def _sizes(name: str, block: Block) -> tuple[tuple[int, ...], tuple[int, ...]]:
    if isinstance(block, Neuron):
        return block.size, block.size
    if isinstance(block, Synapse):
        return block.input_size, block.output_size
    raise InputError(
        f"Network.{name}", "neurons and synapses", type(block).__name__, "wrap it as a Synapse or a Neuron"
    )


def _check_sizes(named: Mapping[str, Block], edges: Iterable[Edge]) -> dict[str, tuple[int, ...]]:
    """Sizes of the inputs and outputs, after every edge is found to join equal sizes."""
    ports: dict[str, tuple[int, ...]] = {}
    pairs = [
        (a, b, _sizes(a, named[a])[1] if a in named else None, _sizes(b, named[b])[0] if b in named else None)
        for a, b in edges
    ]
    for a, b, given, wanted in pairs * 2:  # twice: an edge from an input to an output learns its size elsewhere
        given, wanted = ports.get(a, given), ports.get(b, wanted)
        if given is not None and wanted is not None and given != wanted:
            raise InputError(
                f"Network.{b}", f"input of size {given}, as {a} gives", f"size {wanted}", "match the sizes"
            )
        size = given if given is not None else wanted
        if size is not None:
            ports.update({name: size for name in (a, b) if name not in named})
    return ports


def key_of(name: str) -> str:
    """The name under which torch keeps a block: torch allows no dot and none of its own names."""
    key = name.replace("%", "%25").replace(".", "%2E")
    return f"%{key}" if not key or hasattr(nn.ModuleDict, key) else key


def _expanded(
    blocks: Mapping[str, Block | Recurrent],
) -> tuple[dict[str, Block], list[Edge], list[str]]:
    """Blocks with every `Recurrent` taken apart, the edges of their loops, and the names as they were given."""
    named: dict[str, Block] = {}
    loops: list[Edge] = []
    for name, block in blocks.items():
        if isinstance(block, Recurrent):
            back = f"{name}_recurrent"
            named[name], named[back] = block.neuron, block.synapse
            loops += [(name, back), (back, name)]
        else:
            named[name] = block
    return named, loops, list(blocks)


def _names(blocks: Iterable[Block | Recurrent]) -> dict[str, Block | Recurrent]:
    named: dict[str, Block | Recurrent] = {}
    counts: dict[str, int] = {}
    for block in blocks:
        kind = type(block.neuron if isinstance(block, Recurrent) else block).__name__.lower()
        counts[kind] = counts.get(kind, 0) + 1
        named[f"{kind}{counts[kind]}"] = block
    return named


def _renamed(name: str, block: Neuron | Synapse) -> str:
    """`lif1` becomes `rate1` when the block became a rate neuron; other names stay."""
    return name.replace("lif", "rate", 1) if isinstance(block, Rate) else name
