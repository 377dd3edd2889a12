"""What feeds what in a torch model, found by running it once.

The model runs on a sample as it is: every call of a module that carries weights or state is noted, and
every tensor that it gives is remembered with its module and its step. Loops over time, `unbind`,
`stack`, hand-passed states and `+` are followed; any other operation on the way to the output is
refused by name. What comes out is a `Plan`: modules, edges (with the steps of delay that each carries)
and what the model returned. The wiring must be the same in every step.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import TreeSpec, tree_flatten

from neurospin.errors import NeurospinError
from neurospin.frontends.recorder import INPUT, Following, Kinds, Recorder, Tag, Value, refusal


@dataclass
class Node:
    """One place of the plan.

    Attributes:
        module: the user's module; `None` for the input and for a reshape.
        input_shape: of what it takes, without time and batch.
        output_shape: of what it gives, without time and batch.
        sources: node and delay in steps of every edge into it.
        whole: it took the whole sequence in one call.
    """

    module: nn.Module | None
    input_shape: tuple[int, ...] = ()
    output_shape: tuple[int, ...] = ()
    sources: tuple[tuple[str, int], ...] = ()
    whole: bool = False


@dataclass
class Plan:
    """A model, laid out.

    Attributes:
        nodes: in the order of the first call; the first is `"input"`.
        outputs: for every tensor that the model returned: the values that add to it.
        structure: how the model returned them.
        mode: `"step"` (the model takes one step), `"loop"` (it loops over time) or `"sequence"`
            (its modules take the whole sequence).
        axis: of time in the model's input, `None` when every step sees the same input or `mode` is `"step"`.
        steps: how many steps the run took.
    """

    nodes: dict[str, Node]
    outputs: list[Tag]
    structure: TreeSpec
    mode: str
    axis: int | None
    steps: int


def trace(model: nn.Module, sample: Tensor | tuple[Any, ...], kinds: Kinds) -> Plan:
    """Run `model` on `sample` without gradients, in evaluation, and lay out what feeds what.

    Args:
        model: any module; its mode and its modules' own states are put back afterwards.
        sample: what `model` takes: one tensor, or a tuple whose first is the input and whose others are states.
        kinds: the modules that are known.

    Raises:
        InputError: the model does something that cannot be followed; the message names it.
    """
    given = sample if isinstance(sample, tuple) else (sample,)
    names = {m: n or type(m).__name__.lower() for n, m in model.named_modules()}
    leaves = [m for m in names if _leaf(m, kinds)]
    recorder = Recorder(kinds, names)
    recorder.tag(given[0], (Value(INPUT),))
    with ExitStack() as stack:
        stack.enter_context(_undisturbed(model))
        for module in leaves:
            handles = (
                module.register_forward_pre_hook(recorder.before, with_kwargs=True),
                module.register_forward_hook(recorder.after, with_kwargs=True),
            )
            for handle in handles:
                stack.callback(handle.remove)
        try:
            with Following(recorder):
                output = model(*given)
        except NeurospinError:
            raise
        except Exception as error:  # the model's own
            got = f"{tuple(given[0].shape)}, with which it fails: {type(error).__name__}: {error}"
            raise refusal("sample_input", "an input that the model takes", got, "give another sample_input") from error
    return _plan(recorder, given[0], output)


def _leaf(module: nn.Module, kinds: Kinds) -> bool:
    known = (*kinds.step, *kinds.sequence, *kinds.family, *kinds.stateless, *kinds.identity)
    return isinstance(module, known) or not list(module.children())


@contextmanager
def _undisturbed(model: nn.Module) -> Iterator[None]:
    """Evaluation without gradients; mode, random numbers and buffers are put back."""
    training = {m: m.training for m in model.modules()}
    buffers = [(m, name, value) for m in model.modules() for name, value in m._buffers.items()]
    plain = [(m, k, v) for m in model.modules() for k, v in vars(m).items() if isinstance(v, Tensor)]
    model.eval()
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            for module, name, value in buffers:  # fresh hidden states
                if name in ("mem", "syn", "spk", "syn_exc", "syn_inh") and value is not None:
                    setattr(module, name, torch.zeros_like(value))
            yield
    finally:
        for module, mode in training.items():
            module.training = mode
        for module, name, value in buffers:
            module._buffers[name] = value
        for module, name, value in plain:
            setattr(module, name, value)


def _plan(recorder: Recorder, sample: Tensor, output: Any) -> Plan:
    leaves, structure = tree_flatten(output)
    outputs: list[Tag] = []
    for leaf in leaves:
        tag = recorder.find(leaf) if isinstance(leaf, Tensor) else None
        outputs.append(tag or (Value("something made inside forward", opaque=True),))
    by_name = {name: module for module, name in recorder.names.items()} | recorder.made
    steppers = [n for n in recorder.calls if isinstance(by_name.get(n), recorder.kinds.step)]
    counts = {n: len(recorder.calls[n]) for n in steppers}
    if len(set(counts.values())) > 1:
        told = ", ".join(f"{n}: {c}" for n, c in counts.items())
        raise refusal("model", "every neuron called once per step", told, "give each place its own module")
    steps = next(iter(counts.values()), 0)
    loop = bool(recorder.cut) or steps > 1
    if loop and steps < 2:
        raise refusal("sample", "at least two steps, so that the loop can be seen", f"{steps}", "give a longer sample")
    mode = "loop" if loop else "step" if steppers else "sequence"
    if loop and recorder.axis is not None and sample.shape[recorder.axis] != steps and INPUT in recorder.cut:
        got = f"{steps} calls of the neurons for {sample.shape[recorder.axis]} steps of input"
        raise refusal("model", "one call per step of the input", got, "loop over every step once")
    if not recorder.calls:
        raise refusal("model", "at least one layer that can be carried", "none", "check the model's type")
    whole = _whole(recorder, mode)
    nodes = {INPUT: Node(None)}
    sizes: dict[str, tuple[int, ...]] = {}
    for name, calls in recorder.calls.items():
        wiring = [tuple((v.node, v.time or 0, v.part) for v in call.tag) for call in calls]
        usual = wiring[-1]
        if not usual:
            got = "nothing but zeros in one step"
            raise refusal(name, "an input", got, "give a model that loops over time itself, and two steps or more")
        for k, found in enumerate(wiring):
            start = tuple(edge for edge in usual if edge[1] == 0)
            if found not in ((usual, start, ()) if k == 0 else (usual,)):
                raise refusal(name, "the same wiring in every step", f"another one in call {k}", "unroll by hand")
        for node, delay, part in usual:
            if part:
                raise refusal(name, "spikes or currents as input", f"a state of {node}", "feed it the output")
            if delay not in (0, 1):
                raise refusal(name, "delays of one step", f"{delay} steps from {node}", "pass through one step")
        lead = 2 if name in whole else 1
        call = calls[-1]
        sources = tuple((node, delay) for node, delay, _ in usual)
        shapes = tuple(call.input.shape[lead:]), tuple(call.output.shape[lead:])
        nodes[name] = Node(by_name.get(name), *shapes, sources, name in whole)
        for node, _ in sources:
            sizes.setdefault(node, shapes[0])
    shape = sizes.get(INPUT, ())
    nodes[INPUT] = Node(None, shape, shape)
    return Plan(nodes, outputs, structure, mode, recorder.axis, max(steps, 1))


def _whole(recorder: Recorder, mode: str) -> set[str]:
    """Names of the nodes that took the whole sequence in one call."""
    calls = recorder.calls
    if mode != "loop":
        return set(calls) if mode == "sequence" else set()
    whole = {n for n, c in calls.items() if len(c) == 1 and (n in recorder.cut or c[0].whole)}
    for name in reversed(calls):  # what fed a whole sequence in one call was one
        if name in whole:
            whole |= {v.node for v in calls[name][0].tag if v.node != INPUT and len(calls[v.node]) == 1}
    return whole
