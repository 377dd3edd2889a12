"""The compiled time loops as operators of torch: compiled, mapped, differentiated any number of times.

Two operators, forward and backward, each opaque to torch's compilers; around them two autograd
functions, so that the gradient is itself differentiable: its own gradient runs the reference loop.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor

from neurospin.scan import pool, reference
from neurospin.scan.dynamics import Dynamics, Scan
from neurospin.scan.spec import MEMORY, ROWS, Spec, coefficients, decode, graph_is_kept, plain, slope, spec
from neurospin.surrogate import ArcTan, FastSigmoid, Sigmoid, StraightThrough, Surrogate, Triangle
from neurospin.types import State

_SURROGATES: tuple[type[Surrogate], ...] = (ArcTan, FastSigmoid, Triangle, Sigmoid, StraightThrough)


@torch.library.custom_op("neurospin::scan_forward", mutates_args=())
def scan_forward(x: Tensor, p: Tensor, states: list[Tensor], code: int) -> list[Tensor]:
    """Output, last states, and (as the spec says) voltages and what is kept for the backward pass.

    Args:
        x: input `(time, batch, neuron)`, float32.
        p: coefficients `(ROWS, 1)` or `(ROWS, neuron)`.
        states: before the first step, each `(batch, neuron)`.
        code: of the `Spec`.
    """
    return _backend(x).forward(x, p, states, decode(code))


@scan_forward.register_fake
def _(x: Tensor, p: Tensor, states: list[Tensor], code: int) -> list[Tensor]:
    how = decode(code)
    kept = torch.bfloat16 if MEMORY[how.memory] == "bfloat16" else x.dtype
    ends = [x.new_empty(x.shape[1:]) for _ in states]
    volt = [x.new_empty(x.shape)] if how.voltage else []
    return [x.new_empty(x.shape), *ends, *volt, *([x.new_empty(x.shape, dtype=kept)] if how.stored else [])]


@torch.library.custom_op("neurospin::scan_backward", mutates_args=())
def scan_backward(
    x: Tensor | None, p: Tensor, states: list[Tensor], out: Tensor, kept: Tensor | None, steep: float,
    gs: Tensor, gv: Tensor | None, gends: list[Tensor], code: int,
) -> list[Tensor]:  # fmt: skip
    """Gradients of the input, of every coefficient `(ROWS, batch, neuron)` (none: `(0, …)`), and of the states."""
    return _backend(out).backward(x, p, states, out, kept, steep, gs, gv, gends, decode(code))


@scan_backward.register_fake
def _(x, p, states, out, kept, steep, gs, gv, gends, code):  # type: ignore[no-untyped-def]
    rows = ROWS if decode(code).learn else 0
    return [
        out.new_empty(out.shape),
        out.new_empty((rows, *out.shape[1:])),
        *(out.new_empty(out.shape[1:]) for _ in states),
    ]


def _backend(like: Tensor) -> Any:
    """The kernels for the device of a tensor, imported when they are first used."""
    if like.is_cuda:
        from neurospin.scan import cuda

        return cuda
    from neurospin.scan import cpu_ops

    return cpu_ops


def _dynamics(p: Tensor, how: Spec, steep: float) -> Dynamics:
    """The dynamics that these coefficients say."""
    row = dict(enumerate(p))
    kind = _SURROGATES[how.shape]
    return Dynamics(
        row[0], row[1], row[2], row[3] if how.spiking else None, row[4] if how.value else None,
        row[5] if how.synapse else None, row[6] if how.synapse else None, row[7] if how.adapt else None,
        row[8] if how.adapt else None, row[9] if how.refractory else None, how.delayed, how.through,
        kind(steep),  # type: ignore[call-arg]
    )  # fmt: skip


class _Forward(torch.autograd.Function):
    """`apply(code, steep, x, p, *states)`: what `scan_forward` gives."""

    @staticmethod
    def forward(code: int, steep: float, x: Tensor, p: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        return tuple(scan_forward(x, p, list(states), code))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        code, *others = inputs
        _Forward.save(ctx, decode(code), others, output, output[0])

    @staticmethod
    def save(ctx: Any, how: Spec, inputs: Sequence[Any], output: tuple[Tensor, ...], out: Tensor | None) -> None:
        """Keep what the backward pass needs; `out` is the output, or nothing where the loop runs again."""
        steep, x, p, *states = inputs
        kept = output[-1] if how.stored else None
        if how.refractory:
            ctx.mark_non_differentiable(output[how.states - 1])
        ctx.set_materialize_grads(False)
        ctx.how, ctx.steep, ctx.again = how, steep, False
        ctx.save_for_backward(x if how.needs_input else None, p, out, kept, *states)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Any, ...]:
        how = ctx.how
        x, p, out, kept, *states = ctx.saved_tensors
        if out is None:  # only its shape is needed, but for a gradient of the gradient
            out = _again(x, p, states, how) if torch.is_grad_enabled() else x
        gs = torch.zeros_like(out) if gradients[0] is None else gradients[0]
        gv = gradients[1 + how.states] if how.voltage else None
        eager = plain(out) and not torch.is_grad_enabled()
        ends = gradients[1 : 1 + how.states]
        if eager and out.is_cpu:
            shape = tuple(out.shape[1:])
            gends = [pool.zeros(shape) if g is None else g for g in ends]
        else:
            gends = [torch.zeros_like(s) if g is None else g for s, g in zip(states, ends, strict=True)]
        if eager:
            last = not (ctx.again or graph_is_kept())
            run = _backend(out).backward
            gx, gp, *gstates = run(x, p, states, out, kept, ctx.steep, gs, gv, gends, how, last)
        elif torch.compiler.is_compiling() or not (_transformed() or torch.is_grad_enabled()):
            # compiled gradients have no gradient of their own
            gx, gp, *gstates = scan_backward(x, p, states, out, kept, ctx.steep, gs, gv, gends, how.code())
        else:
            function, ctx.again = _Backward if _transformed() else _EagerBackward, True
            gx, gp, *gstates = function.apply(how.code(), ctx.steep, x, p, out, kept, gs, gv, *states, *gends)  # type: ignore[misc]
        if how.stored and gradients[-1] is not None:  # see _Backward.backward
            gx = gx + gradients[-1]
        if not how.learn:
            gp = None
        elif p.shape[1] == 1:
            gp = gp.sum((1, 2)).unsqueeze(1)
        else:
            gp = gp.sum(1)
        return None, None, gx, gp, *gstates

    @staticmethod
    def vmap(info: Any, in_dims: Any, *inputs: Any) -> tuple[Any, Any]:
        code, steep, *args = inputs
        fold = _Fold(info.batch_size, in_dims[3])
        x, p, *states = args
        dims = in_dims[2:]
        folded = (fold.time(x, dims[0]), fold.rows(p, dims[1], x, dims[0]),
                  *(fold.state(s, d) for s, d in zip(states, dims[2:], strict=True)))  # fmt: skip
        results = _Forward.apply(code, steep, *folded)
        return tuple(fold.out(r) for r in results), (0,) * len(results)


class _Backward(torch.autograd.Function):
    """`apply(code, steep, x, p, out, kept, gs, gv, *states, *gends)`: what `scan_backward` gives."""

    @staticmethod
    def forward(code: int, steep: float, x: Any, p: Tensor, out: Tensor, kept: Any, gs: Tensor, gv: Any, *rest: Tensor):  # type: ignore[no-untyped-def]
        count = len(rest) // 2
        return tuple(scan_backward(x, p, list(rest[:count]), out, kept, steep, gs, gv, list(rest[count:]), code))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        code, steep, *tensors = inputs
        ctx.how = code, steep
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        """The gradient of a gradient, by the reference loop.

        Where the voltages were kept and not the input, the gradient of the input is handed to the
        voltages, and `_Forward.backward` adds it to the input's: nothing else uses them.
        """
        code, steep = ctx.how
        how = decode(code)
        x, p, out, kept, gs, gv, *rest = ctx.saved_tensors
        count = len(rest) // 2
        states, gends = rest[:count], rest[count:]
        rows = p.unsqueeze(1).expand(ROWS, out.shape[1], out.shape[2])
        given = x is not None
        if not given:
            x = _input(rows.detach(), states, out, kept, gs, how)

        def run(x: Tensor, rows: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
            spikes = out.detach() if how.spiking else None
            result = reference.scan(x, states, _dynamics(rows, how, steep), voltage=gv is not None, spikes=spikes)
            return (result.output, *result.state, *([] if result.voltage is None else [result.voltage]))

        def first(
            x: Tensor, rows: Tensor, states: tuple[Tensor, ...], cotangents: tuple[Tensor, ...]
        ) -> tuple[Tensor, ...]:
            pull: Any = torch.func.vjp(run, x, rows, *states)[1]
            gx, gp, *gstates = pull(cotangents)
            return (gx, gp if how.learn else gp[:0], *gstates)

        cotangents = (gs, *gends, *([] if gv is None else [gv]))
        pull: Any = torch.func.vjp(first, x, rows, tuple(states), cotangents)[1]
        hx, hrows, hstates, hcotangents = pull(tuple(gradients))
        hp = hrows.sum((1, 2)).unsqueeze(1) if p.shape[1] == 1 else hrows.sum(1)
        hs, *hends = hcotangents[: 1 + count]
        hv = None if gv is None else hcotangents[-1]
        direct, kept_too = (hx, None) if given else (None, None if kept is None else hx.to(kept.dtype))
        return None, None, direct, hp, None, kept_too, hs, hv, *hstates, *hends

    @staticmethod
    def vmap(info: Any, in_dims: Any, *inputs: Any) -> tuple[Any, Any]:
        code, steep, *args = inputs
        dims = in_dims[2:]
        fold = _Fold(info.batch_size, dims[1])
        x, p, out, kept, gs, gv, *rest = args
        folded = (
            fold.time(x, dims[0]), fold.rows(p, dims[1], out, dims[2]), fold.time(out, dims[2]), fold.time(kept, dims[3]),
            fold.time(gs, dims[4]), fold.time(gv, dims[5]),
            *(fold.state(s, d) for s, d in zip(rest, dims[6:], strict=True)),
        )  # fmt: skip
        results = _Backward.apply(code, steep, *folded)
        return tuple(fold.out(r) for r in results), (0,) * len(results)


class _EagerForward(torch.autograd.Function):
    """`_Forward` for plain tensors: one method instead of two and no dispatch, which is 100 µs faster."""

    @staticmethod
    def forward(ctx: Any, how: Spec, *inputs: Any) -> tuple[Tensor, ...]:
        _, x, p, *states = inputs
        output = tuple(_backend(x).forward(x, p, states, how))
        _Forward.save(ctx, how, inputs, output, None if how.rerun else output[0])
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Any, ...]:
        return _Forward.backward(ctx, *gradients)


@torch.no_grad()
def _again(x: Tensor, p: Tensor, states: list[Tensor], how: Spec) -> Tensor:
    """The output, computed once more."""
    return _backend(x).forward(x, p, states, how)[0]


class _EagerBackward(torch.autograd.Function):
    """`_Backward` for plain tensors."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> tuple[Tensor, ...]:
        output = _Backward.forward(*inputs)
        _Backward.setup_context(ctx, inputs, output)
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        return _Backward.backward(ctx, *gradients)


def _transformed() -> bool:
    """Whether a transform of `torch.func` is active."""
    return not torch.compiler.is_compiling() and torch._C._are_functorch_transforms_active()


class _Fold:
    """Puts a mapped axis into the batch axis, or into the neurons where the coefficients are mapped too."""

    def __init__(self, size: int, p_dim: int | None) -> None:
        self.size, self.neurons = size, p_dim is not None

    def _put(self, tensor: Tensor | None, dim: int | None, place: int) -> Tensor | None:
        if tensor is None:
            return None
        place += self.neurons
        moved = tensor.unsqueeze(place).expand(*tensor.shape[:place], self.size, *tensor.shape[place:]) if (
            dim is None
        ) else tensor.movedim(dim, place)  # fmt: skip
        return moved.flatten(place, place + 1)

    def time(self, tensor: Tensor | None, dim: int | None) -> Any:
        return self._put(tensor, dim, 1)

    def state(self, tensor: Tensor, dim: int | None) -> Any:
        return self._put(tensor, dim, 0)

    def rows(self, p: Tensor, dim: int | None, x: Tensor, x_dim: int | None) -> Tensor:
        if dim is None:
            return p
        neurons = (x if x_dim is None else x.select(x_dim, 0)).shape[2]
        return p.movedim(dim, 1).expand(ROWS, self.size, neurons).flatten(1, 2)

    def out(self, result: Tensor) -> Tensor:
        """The mapped axis first again; the axis before the last two is time or coefficient, if there is one."""
        if self.neurons:
            return result.unflatten(-1, (self.size, result.shape[-1] // self.size)).movedim(-2, 0)
        return result.unflatten(-2, (self.size, result.shape[-2] // self.size)).movedim(-3, 0)


def _input(rows: Tensor, states: list[Tensor], out: Tensor, kept: Tensor | None, like: Tensor, how: Spec) -> Tensor:
    """The input that led to the voltages that were kept (where it was not kept itself)."""
    decay, gain, leak, threshold, reset, slow, weight = rows[:7]
    if kept is None:  # a readout, linear in its input: any input will do
        return torch.zeros_like(out)
    u = kept.to(out.dtype)
    after = u if how.delayed else (torch.where(out > 0, reset, u) if how.value else u - threshold * out)
    v = torch.cat([states[-1].unsqueeze(0), after[:-1]])
    drop = torch.zeros_like(u)
    if how.delayed:
        fired = v > threshold
        if how.value:
            v = torch.where(fired, reset, v)
        else:
            drop = threshold * fired
    current = torch.where(gain == 0, torch.zeros_like(u), (u + drop - decay * v - leak) / gain)
    if how.synapse:
        before = torch.cat([states[0].unsqueeze(0), current[:-1]])
        current = torch.where(weight == 0, torch.zeros_like(u), (current - slow * before) / weight)
    return current


def fused(current: Tensor, state: State, dynamics: Dynamics, *, voltage: bool, memory: str) -> Scan | None:
    """`neurospin.scan.scan` by compiled loops; `None` where only the reference can do it."""
    steps, batch, *size = current.shape
    eager, mapped = plain(current), _transformed()
    p = coefficients(dynamics, tuple(size)) if dynamics.packed is None else dynamics.packed
    learn = mapped or (p.requires_grad and torch.is_grad_enabled())
    wanted = learn or (torch.is_grad_enabled() and any(t.requires_grad for t in (current, *state)))
    how = spec(dynamics, voltage=voltage, memory=memory if wanted else "recompute", learn=learn)
    if how is None or p.dtype != torch.float32 or (current.is_cuda and not _backend(current).supports(how)):
        return None
    x, before = current.to(torch.float32), [part.to(torch.float32) for part in state]
    if len(size) != 1:
        neurons = prod(size)
        x, before = x.reshape(steps, batch, neurons), [part.reshape(batch, neurons) for part in before]
    steep = slope(dynamics.surrogate)
    if not eager:
        out, *rest = _Forward.apply(how.code(), steep, x, p, *before)  # type: ignore[misc]
    elif wanted:
        out, *rest = _EagerForward.apply(how, steep, x, p, *before)  # type: ignore[misc]
    else:
        out, *rest = _backend(x).forward(x, p, before, how)
    ends = rest[: how.states]
    volt = rest[how.states] if voltage and how.spiking else None
    if len(size) != 1:
        out, ends = out.reshape(current.shape), [end.reshape(batch, *size) for end in ends]
        volt = None if volt is None else volt.reshape(current.shape)
    return Scan(out, (volt if how.spiking else out) if voltage else None, tuple(ends))
