"""The recorder: notes, while a model runs, from where every tensor came; see `neurospin.frontends.trace`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten

from neurospin.errors import InputError

INPUT = "input"
ADD = {"add", "add_", "__add__", "__radd__", "__iadd__"}
SAME = {"contiguous", "clone", "detach", "to", "float", "double", "requires_grad_", "cpu", "alias"}
SHAPE = {"flatten", "view", "reshape"}
CUT = {"__getitem__", "select", "unbind"}
JOIN = {"stack"}
FUNCTIONS: dict[str, type[nn.Module]] = {
    "max_pool2d": nn.MaxPool2d,
    "avg_pool2d": nn.AvgPool2d,
    "max_pool1d": nn.MaxPool1d,
    "avg_pool1d": nn.AvgPool1d,
    "relu": nn.ReLU,
}
FRESH = {"zeros_like", "new_zeros", "ones_like", "new_ones", "full_like", "new_full", "empty_like", "rand_like"}


@dataclass(frozen=True)
class Value:
    """Where a tensor came from.

    Attributes:
        node: name of the module, `"input"`, or why it cannot be followed (`opaque`).
        time: the step; `None` for a tensor that was never cut in time (one step, or a whole sequence).
        part: 0 for a module's output, k for its k-th state.
        whole: the tensor is known to have time as its first axis.
        opaque: the tensor went through something that cannot be carried; `node` says what.
    """

    node: str
    time: int | None = None
    part: int = 0
    whole: bool = False
    opaque: bool = False


Tag = tuple[Value, ...]  # several values add


@dataclass(frozen=True)
class Kinds:
    """What a front end knows of its modules.

    Attributes:
        step: modules with a state that take one step.
        sequence: modules with a state that take the whole sequence, time first.
        family: the library's neurons, known or not: what happens inside one is its own.
        states_passed: whether the state must be handed from step to step (else the module keeps it).
        stateless: modules that are maps.
        identity: modules that do nothing in evaluation.
    """

    step: tuple[type[nn.Module], ...]
    sequence: tuple[type[nn.Module], ...] = ()
    family: tuple[type[nn.Module], ...] = ()
    states_passed: Callable[[nn.Module], bool] = lambda module: False
    stateless: tuple[type[nn.Module], ...] = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.AvgPool2d, nn.Flatten)
    identity: tuple[type[nn.Module], ...] = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.Identity)


@dataclass
class Call:
    """One call of a module: what fed it, and the shapes."""

    tag: Tag
    input: Tensor
    output: Tensor
    whole: bool


@dataclass
class Recorder:
    """Notes a run; see `trace`."""

    kinds: Kinds
    names: dict[nn.Module, str]
    depth: int = 0
    axis: int | None = None
    cut: set[str] = field(default_factory=set)
    calls: dict[str, list[Call]] = field(default_factory=dict)
    tags: dict[int, tuple[Tensor, Tag]] = field(default_factory=dict)
    reshapes: dict[tuple[Value, ...], str] = field(default_factory=dict)
    steps: dict[str, int] = field(default_factory=dict)
    last: dict[str, list[Tensor]] = field(default_factory=dict)
    made: dict[str, nn.Module] = field(default_factory=dict)

    def tag(self, tensor: Tensor, tag: Tag) -> None:
        """Remember where a tensor came from (the tensor is kept, so that its id stays its own)."""
        self.tags[id(tensor)] = (tensor, tag)

    def find(self, tensor: Any) -> Tag | None:
        """Where a tensor came from; `None` for one that is not known."""
        found = self.tags.get(id(tensor))
        return None if found is None else found[1]

    def feed(self, tensor: Tensor, where: str) -> Tag:
        """The tag of a tensor that enters a module; zeros of the user's are silence."""
        found = self.find(tensor)
        if found is None:
            if bool((tensor == 0).all()):
                return ()
            raise refusal(where, "a tensor that comes from the input", "one made inside forward")
        return found

    # -- modules ---------------------------------------------------------------------------------

    def before(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        """A module is entered: what happens inside is its own."""
        self.depth += 1

    def after(self, module: nn.Module, args: Any, kwargs: Any, output: Any) -> Any:
        """A module has given its output; one that gave back its very input gets a view, which can be told apart."""
        self.depth -= 1
        if self.depth:
            return None
        if args and output is args[0] and not isinstance(module, self.kinds.identity):
            output = args[0].view_as(args[0])
        self._called(module, args, kwargs, output)
        return output

    def _called(self, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        name, given = self.names[module], _ordered(module, args, kwargs)
        results = [t for t in tree_flatten(output)[0] if isinstance(t, Tensor)]
        if not given or not isinstance(given[0], Tensor) or not results:
            raise refusal(name, "a call with one tensor first", f"{len(given)} arguments", "pass the current first")
        kinds = self.kinds
        if isinstance(module, kinds.identity):
            self.tag(results[0], self.feed(given[0], name))
            return
        if not isinstance(module, (*kinds.step, *kinds.sequence, *kinds.stateless)):
            opaque = Value(f"{name} ({type(module).__name__}), which has no counterpart", opaque=True)
            for result in results:
                self.tag(result, (opaque,))
            return
        tag = self.feed(given[0], name)
        for value in tag:
            _follow(value, name)
        calls = self.calls.setdefault(name, [])
        time = len(calls)
        if isinstance(module, kinds.step):
            self._states(module, name, [*given[1:]], time)
            for value in tag:
                if value.time is not None and value.time not in (time, time - 1):
                    raise refusal(
                        name, "one call per step", f"call {time} with a tensor of step {value.time}",
                        "give each place a module of its own",
                    )  # fmt: skip
        else:
            times = [value.time for value in tag if value.time is not None]
            time = max(times) if times else (None if tag else -1)
            key = f"{name}@{time}"
            if time is not None and self.steps.setdefault(key, 0):
                raise refusal(name, "one call per step", "a module called twice", "give each place its own module")
            self.steps[key] = 1
        whole = isinstance(module, kinds.sequence) or any(v.whole for v in tag)
        calls.append(Call(_relative(tag, time), given[0], results[0], whole))
        self.last[name] = results
        for part, result in reversed(list(enumerate(results))):  # an output that is also a state counts as the output
            self.tag(result, (Value(name, time, part, whole),))

    def _states(self, module: nn.Module, name: str, given: list[Any], time: int) -> None:
        states = [t for t in tree_flatten(given)[0] if isinstance(t, Tensor)]
        if not states and time and self.kinds.states_passed(module):
            raise refusal(name, "its state handed from step to step", "none after the first step", "pass the state")
        for state in states:
            tag = self.find(state)
            if tag is None:
                if time or bool((state != 0).any()):
                    raise refusal(name, "a fresh state, or its own of the step before", "another", "start from zeros")
            elif any(v.opaque or v.node != name or v.time != time - 1 for v in tag):
                raise refusal(name, "its own state of the step before", _words(tag), "hand the state on unchanged")
        if time and states:
            last = [self.find(result) for result in self.last[name][-len(states) :]]
            if [self.find(state) for state in states] != last:
                raise refusal(
                    name, "its states in the order in which it gives them", "another", "hand them on in order"
                )

    # -- functions -------------------------------------------------------------------------------

    def function(self, name: str, args: Any, kwargs: dict[str, Any], out: Any) -> None:
        """An operation outside every module."""
        given = [a for a in tree_flatten((args, kwargs))[0] if isinstance(a, Tensor)]
        tags = [self.find(a) for a in given]
        results = [t for t in tree_flatten(out)[0] if isinstance(t, Tensor)]
        if name in FRESH or not results or all(tag is None for tag in tags):
            return
        made = self._made(name, args, kwargs, given, tags, results)
        for k, result in enumerate(results):
            self.tag(result, made[k] if made else (Value(f"{name}()", opaque=True),))

    def _made(
        self, name: str, args: Any, kwargs: Any, given: list[Tensor], tags: list[Tag | None], results: list[Tensor]
    ) -> list[Tag] | None:
        first = tags[0]
        if name in SAME and first is not None:
            return [first]
        if name in ADD and not kwargs.get("alpha"):
            if (
                len(given) == 1
                and given[0].shape == results[0].shape
                and any(a == 0 for a in args if a is not given[0])
            ):
                return [tags[0] or ()]  # 0 + tensor: Python's sum()
            if len(given) == 2 and given[0].shape == given[1].shape:
                return [tuple(v for g in given for v in self.feed(g, "+"))]
        if name in JOIN and kwargs.get("dim", args[1] if len(args) > 1 else 0) == 0 and all(t for t in tags):
            return _joined([t for t in tags if t])
        if first is None or len(first) != 1 or first[0].opaque or len(given) != 1:
            return None
        value, tensor = first[0], given[0]
        if name in SHAPE:
            return self._reshaped(value, tensor, results[0])
        if name in FUNCTIONS and isinstance(made := FUNCTIONS[name](*args[1:], **kwargs), self.kinds.stateless):
            key = (Value(f"{name} {value.node}", None, value.part),)
            label = self.reshapes.setdefault(key, f"{name}{len(self.reshapes) + 1}")
            self.made.setdefault(label, made)
            call = Call(_relative((value,), value.time), tensor, results[0], value.whole)
            self.calls.setdefault(label, []).append(call)
            return [(Value(label, value.time, whole=value.whole),)]
        if name in CUT and value.time is None:
            return self._cut(name, value, args, kwargs, tensor, results)
        return None

    def _reshaped(self, value: Value, tensor: Tensor, result: Tensor) -> list[Tag] | None:
        if result.shape == tensor.shape:
            return [(value,)]
        for lead in (1, 2):  # axes before the neuron's own: batch, or time and batch
            if result.ndim == lead + 1 and result.shape[:lead] == tensor.shape[:lead] and tensor.ndim > lead + 1:
                name = self.reshapes.setdefault(
                    (Value(value.node, None, value.part),), f"flatten{len(self.reshapes) + 1}"
                )
                call = Call(_relative((value,), value.time), tensor, result, value.whole)
                self.calls.setdefault(name, []).append(call)
                return [(Value(name, value.time, whole=value.whole),)]
        return None

    def _cut(
        self, name: str, value: Value, args: Any, kwargs: Any, tensor: Tensor, results: list[Tensor]
    ) -> list[Tag] | None:
        dim, index = 0, 0
        if name == "unbind":
            dim = kwargs.get("dim", args[1] if len(args) > 1 else 0)
        elif name == "select":
            dim, index = (kwargs.get(k, a) for k, a in zip(("dim", "index"), [*args[1:], None, None], strict=False))
        else:
            key = args[1] if isinstance(args[1], tuple) else (args[1],)
            whole = [k == slice(None) or k is Ellipsis for k in key]
            if sum(not w for w in whole) != 1 or Ellipsis in key[: whole.index(False)]:
                return None
            dim, index = whole.index(False), key[whole.index(False)]
        if isinstance(index, Tensor) or not isinstance(index, int) or not isinstance(dim, int):
            return None
        if (dim != 0 and value.node != INPUT) or self.axis not in (None, dim):
            return None
        self.cut.add(value.node)
        if value.node == INPUT:
            self.axis = dim
        length = tensor.shape[dim]
        return [(Value(value.node, (index + k) % length, value.part),) for k in range(len(results))]


def _ordered(module: nn.Module, args: Any, kwargs: Any) -> list[Any]:
    """The arguments of a call in the order of the module's signature."""
    return list(inspect.signature(module.forward).bind(*args, **kwargs).arguments.values())


def _relative(tag: Tag, time: int | None) -> Tag:
    """Values with their delay in place of their step; `None` where a value has no step."""
    return tuple(Value(v.node, None if v.time is None or time is None else time - v.time, v.part) for v in tag)


def _joined(tags: list[Tag]) -> list[Tag] | None:
    """The whole sequence of values of steps 0, 1, 2, …; `None` for any other mixture."""
    for step, tag in enumerate(tags):
        if [(v.node, v.part) for v in tag] != [(v.node, v.part) for v in tags[0]] or any(v.time != step for v in tag):
            return None
    return [tuple(Value(v.node, None, v.part, whole=True) for v in tags[0])]


class Following(TorchFunctionMode):
    """Shows every operation outside the known modules to a recorder."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__()
        self.recorder = recorder

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        if self.recorder.depth == 0:
            self.recorder.function(getattr(func, "__name__", str(func)), args, kwargs, out)
        return out


def _follow(value: Value, where: str) -> None:
    if value.opaque:
        raise refusal(where, "an input that can be followed", f"the result of {value.node}")


def _words(tag: Tag) -> str:
    return " + ".join(f"{v.node}" + (f" of step {v.time}" if v.time is not None else "") for v in tag) or "zeros"


def refusal(where: str, expected: str, got: str, fix: str = "write it with a module that is carried") -> InputError:
    """The error for something that cannot be followed."""
    return InputError(where, expected, got, fix)
