"""The executor: runs named parts along their edges. Networks and the interpreter of graphs share it.

What lies outside every loop takes the whole sequence at once; a group of parts with a loop is stepped
through time. Values that meet in one part add: first those from outside its loop, then those of the
present step, then those that come back from the previous step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial, reduce
from operator import add

from torch import Tensor, stack
from torch.nn.functional import linear

from neurospin.errors import GraphError
from neurospin.neurons import Neuron
from neurospin.scan import Scan
from neurospin.synapses import Delay, Dense, Events, Synapse
from neurospin.synapses.layer import layer
from neurospin.synapses.product import product
from neurospin.topology import Topology
from neurospin.types import State

Step = Callable[[Tensor, State], tuple[Tensor, State]]
"""One step: input `(batch, *in)` and state to output and new state, whose last entry is the voltage."""


@dataclass(frozen=True)
class Part:
    """Something that runs under a name.

    Attributes:
        run: from a sequence `(time, batch, *in)`, a state, and whether voltages are wanted, to output,
            voltage and new state.
        size: shape of its output, without time and batch.
        start: the fresh state for a batch; `None` for a map without memory, whose state is `()`.
        steps: makes the function that does one step, once for a whole loop; default, `run` on
            sequences of one.
        itself: runs a neuron that feeds itself through a map, as one: of x, state, W, b, what the map gives in step
            0, and whether voltages are wanted.
        matrix: gives weight and bias of a map `W x + b`.
        behind: runs a map `W x + b` of x, W, b and this neuron behind it as one.
    """

    run: Callable[[Tensor, State, bool], Scan]
    size: tuple[int, ...]
    start: Callable[[int], State] | None = None
    steps: Callable[[], Step] | None = None
    itself: Callable[[Tensor, State, Tensor, Tensor | None, Tensor, bool], Scan] | None = None
    behind: Callable[[Tensor, Tensor, Tensor | None, State], Scan] | None = None
    matrix: Callable[[], tuple[Tensor, Tensor | None]] | None = None

    @classmethod
    def map(
        cls,
        function: Callable[[Tensor], Tensor],
        size: tuple[int, ...],
        steps: Callable[[], Callable[[Tensor], Tensor]] | None = None,
        matrix: Callable[[], tuple[Tensor, Tensor | None]] | None = None,
    ) -> Part:
        """A part without memory: `function` takes `(time, batch, *in)`, what `steps` makes `(batch, *in)`."""

        def stepper() -> Step:
            one = steps() if steps else lambda x: function(x.unsqueeze(0))[0]
            return lambda x, state: (one(x), state)

        return cls(lambda x, state, _: Scan(function(x), None, ()), size, None, stepper, matrix=matrix)

    def stepper(self) -> Step:
        """The function that does one step."""
        return self._one if self.steps is None else self.steps()

    def _one(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        output, _, state = self.run(x.unsqueeze(0), state, False)
        return output[0], state


def part(block: Neuron | Synapse) -> Part:
    """A block as a part of an execution."""
    if isinstance(block, Neuron):
        return Part(
            lambda x, state, voltage: block.scan(x, state, voltage=voltage), block.size,
            lambda batch: block.initial(batch), block.stepper,
            block.recurrent if type(block).recurrent is not Neuron.recurrent or type(block).scan is Neuron.scan else None,
            partial(_behind, block) if type(block).scan is Neuron.scan else None,
        )  # fmt: skip
    if isinstance(block, Delay):
        return Part(lambda x, state, _: block.scan(x, state), block.output_size, lambda batch: block.initial(batch))
    if isinstance(block, Dense):
        return Part.map(
            block, block.output_size, lambda: partial(product, weight=block.weight, bias=block.bias),
            lambda: (block.weight, block.bias),
        )  # fmt: skip
    return Part.map(block, block.output_size)


def _behind(neuron: Neuron, x: Tensor | Events, weight: Tensor, bias: Tensor | None, state: State) -> Scan:
    """A neuron behind a matrix, as one."""
    return layer(x, weight, bias, state, neuron.dynamics(), neuron.memory)


@dataclass
class Outcome:
    """What an execution gave: by name, `(time, batch, *size)`; the state feeds the next call."""

    outputs: dict[str, Tensor] = field(default_factory=dict)
    voltages: dict[str, Tensor] = field(default_factory=dict)
    currents: dict[str, Tensor] = field(default_factory=dict)
    state: dict[str, State] = field(default_factory=dict)


def execute(
    plan: Topology,
    parts: Mapping[str, Part],
    given: Mapping[str, Tensor],
    state: Mapping[str, State] | None = None,
    *,
    keep: Iterable[str] = (),
    voltages: Iterable[str] = (),
    currents: Iterable[str] = (),
) -> Outcome:
    """Run parts on sequences.

    Args:
        plan: the order of evaluation.
        parts: everything that runs, by name, but the inputs.
        given: the inputs by name, each `(time, batch, *size)`.
        state: of a previous run: of every part with memory under its name, and what a part sends
            back into a loop under `"name ->"`. What is missing is fresh: neurons and inputs were
            silent, and maps gave what they give to silence.
        keep: names whose output is wanted.
        voltages: names of neurons whose voltage is wanted.
        currents: names whose input is wanted.
    """
    return _Execution(plan, parts, given, state or {}, set(keep), set(voltages), set(currents)).run()


class _Execution:
    def __init__(
        self,
        plan: Topology,
        parts: Mapping[str, Part],
        given: Mapping[str, Tensor],
        state: Mapping[str, State],
        keep: set[str],
        voltages: set[str],
        currents: set[str],
    ) -> None:
        self.plan, self.parts, self.given, self.before = plan, parts, given, state
        self.keep, self.voltages, self.currents = keep, voltages, currents
        self.like = next(iter(given.values()))
        self.batch = self.like.shape[1]
        self.done: dict[str, Tensor] = {}
        self.silent: dict[str, Tensor] = {}
        self.out = Outcome()

    def run(self) -> Outcome:
        plan = self.plan
        users: dict[str, int] = {}
        for sources in (*plan.sources.values(), *plan.delayed.values()):
            for source in sources:
                users[source] = users.get(source, 0) + 1
        self.joined = self._joined(users)
        for group, loop in zip(plan.components, plan.looped, strict=True):
            if loop and self._feeds_itself(group):
                self._recurrent(*group)
            elif loop:
                self._loop(group)
            else:
                self._whole(group[0])
            for name in group:  # free what nobody needs any more
                for source in (*plan.sources[name], *plan.delayed[name]):
                    users[source] -= 1
                    if users[source] == 0 and source not in self.keep:
                        self.done.pop(source, None)
        self.out.outputs = {name: self.done[name] for name in self.keep}
        return self.out

    def _whole(self, name: str) -> None:
        """A part outside every loop: the whole sequence at once."""
        if name in self.given:
            self.done[name] = self.given[name]
            return
        x = self._sum(name, [self.done[source] for source in self.plan.sources[name]])
        if name in self.joined.values():  # until the neuron behind it runs, its input stands for its output
            self.done[name] = x
            return
        behind, matrix = self.parts[name].behind, self.parts[self.joined.get(name, name)].matrix
        if name in self.joined and behind is not None and matrix is not None:
            result = behind(x, *matrix(), self._start(name))
        else:
            result = self.parts[name].run(x, self._start(name), name in self.voltages)
        self._record(name, x, result.output, result.voltage, result.state)

    def _joined(self, users: Mapping[str, int]) -> dict[str, str]:
        """Neurons outside every loop and the matrix before each, which nobody else reads: they run as one."""
        found, plan = {}, self.plan
        outside = {group[0] for group, loop in zip(plan.components, plan.looped, strict=True) if not loop}
        for name in outside:
            sources = list(plan.sources[name])
            if len(sources) != 1 or name in self.voltages | self.currents or name in self.given:
                continue
            (synapse,) = sources
            if (
                synapse in outside and users[synapse] == 1 and synapse not in self.keep | self.currents | self.given.keys()
                and self.parts[name].behind is not None and self.parts[synapse].matrix is not None
            ):  # fmt: skip
                found[name] = synapse
        return found

    def _feeds_itself(self, group: list[str]) -> bool:
        """Whether a group is a neuron and then a matrix that brings its previous spikes back, and nothing else."""
        if len(group) != 2:
            return False
        (neuron, synapse), plan, wanted = group, self.plan, self.keep | self.currents
        onward = any(synapse in sources for sources in plan.sources.values())
        return (
            self.parts[neuron].itself is not None
            and self.parts[synapse].matrix is not None
            and list(plan.sources[synapse]) == [neuron]
            and list(plan.delayed[neuron]) == [synapse]
            and bool(plan.sources[neuron])
            and not (plan.delayed[synapse] or onward or neuron in self.currents or synapse in wanted)
        )

    def _recurrent(self, neuron: str, synapse: str) -> None:
        """A neuron that feeds itself through a matrix."""
        run, matrix = self.parts[neuron].itself, self.parts[synapse].matrix
        assert run is not None and matrix is not None
        back, (weight, bias) = f"{synapse} ->", matrix()
        first = self.before[back][0] if back in self.before else self._silence(synapse)
        x = self._sum(neuron, [self.done[s] for s in self.plan.sources[neuron]])
        y, v, state = run(x, self._start(neuron), weight, bias, first, neuron in self.voltages)
        self.out.state[back] = (linear(y[-1], weight, bias),)
        self._record(neuron, None, y, v, state)

    def _loop(self, group: list[str]) -> None:
        """A group of parts with a loop: one step after the other."""
        plan, inside = self.plan, set(group)
        entering, present = {}, {}
        for name in group:
            outside = [self.done[s] for s in plan.sources[name] if s not in inside]
            entering[name] = reduce(add, outside).unbind(0) if outside else None
            present[name] = [s for s in plan.sources[name] if s in inside]
        returning = {s for name in group for s in plan.delayed[name]}
        now = {s: self.before[f"{s} ->"][0] if f"{s} ->" in self.before else self._silence(s) for s in returning}
        states = {name: self._start(name) for name in group}
        kept = {name: self._collected(name, inside) for name in group}
        schedule = [
            (name, self.parts[name].stepper(), entering[name], present[name], plan.delayed[name], *kept[name])
            for name in group
        ]
        for t in range(self.like.shape[0]):
            previous, now = now, {}
            for name, one, outside, here, back, outputs, voltages, currents in schedule:
                terms = [] if outside is None else [outside[t]]
                terms += [now[s] for s in here]
                terms += [previous[s] for s in back]
                x = reduce(add, terms)
                now[name], states[name] = one(x, states[name])
                if outputs is not None:
                    outputs.append(now[name])
                if voltages is not None:
                    voltages.append(states[name][-1])
                if currents is not None:
                    currents.append(x)
        for source in returning:
            self.out.state[f"{source} ->"] = (now[source],)
        for name in group:
            output, voltage, current = (stack(values) if values else None for values in kept[name])
            self._record(name, current, output, voltage, states[name])

    def _collected(self, name: str, inside: set[str]) -> tuple[list[Tensor] | None, ...]:
        """Empty lists for what is wanted of a part in a loop: outputs, voltages, currents; else `None`."""
        onward = any(name in sources for user, sources in self.plan.sources.items() if user not in inside)
        wanted = (name in self.keep or onward, name in self.voltages, name in self.currents)
        return tuple([] if one else None for one in wanted)

    def _record(self, name: str, x: Tensor | None, y: Tensor | None, v: Tensor | None, state: State) -> None:
        if y is not None:
            self.done[name] = y
        if name in self.voltages and v is not None:
            self.out.voltages[name] = v
        if name in self.currents and x is not None:
            self.out.currents[name] = x
        if self.parts[name].start is not None:
            self.out.state[name] = state

    def _start(self, name: str) -> State:
        start = self.parts[name].start
        if start is None:
            return ()
        return self.before[name] if name in self.before else start(self.batch)

    def _sum(self, name: str, terms: list[Tensor]) -> Tensor:
        if not terms:
            raise GraphError(name, "an edge into the node", "none", "connect the node or remove it")
        return reduce(add, terms)

    def _silence(self, name: str) -> Tensor:
        """What a part gives while every input and every neuron is silent, `(batch, *size)`."""
        if name not in self.silent:
            if name in self.given:
                quiet = self.given[name].new_zeros(self.given[name].shape[1:])
            elif self.parts[name].start is not None:
                quiet = self.like.new_zeros((self.batch, *self.parts[name].size))
            else:
                sources = (*self.plan.sources[name], *self.plan.delayed[name])
                quiet = self.parts[name].stepper()(self._sum(name, [self._silence(s) for s in sources]), ())[0]
            self.silent[name] = quiet
        return self.silent[name]
