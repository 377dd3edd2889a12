"""`layer`: synapses and the neurons behind them; for sparse spikes in one loop, without the current in memory.

The loop gives what `product` and `neurospin.scan.scan` give one after the other, bit for bit. Its backward pass is
theirs, too. With `memory="recompute"` nothing is kept for it but what came in, spikes as bits: the layer runs again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from neurospin.scan import pool, scan
from neurospin.scan.dynamics import Dynamics, Scan
from neurospin.scan.spec import Spec, graph_is_kept, plain, slope, spec
from neurospin.synapses.events import Events
from neurospin.synapses.gemm import linear, plain_product
from neurospin.synapses.product import by_spikes, find_spikes, multiplied
from neurospin.types import State

if TYPE_CHECKING:
    from neurospin.scan.gather import Rows


def layer(
    x: Tensor | Events, weight: Tensor, bias: Tensor | None, state: State, dynamics: Dynamics, memory: str = "float32"
) -> Scan:
    """Run neurons whose current is `W x + b`.

    Args:
        x: input `(time, batch, inputs)`, dense or as events.
        weight: W, `(neurons, inputs)`.
        bias: b, `(neurons,)`.
        state: of the neurons before the first step; see `neurospin.scan.scan`.
        dynamics: of the neurons.
        memory: see `neurospin.scan.scan`; `"recompute"` keeps no current either, where the coefficients are fixed.
    """
    tensors = (weight, *state) if isinstance(x, Events) else (weight, *state, x)
    if (
        memory == "recompute" and dynamics.packed is not None and torch.is_grad_enabled() and plain_product(*tensors)
        and any(t.requires_grad for t in (*tensors, *(() if bias is None else (bias,))))
    ):  # fmt: skip
        return _recomputed(x, weight, bias, state, dynamics)
    rows = find_spikes(x, weight)
    how = None if rows is None or memory != "float32" else _fits(dynamics, state)
    if how is None or rows is None:
        return scan(multiplied(x, weight, bias, rows), state, dynamics, memory=memory)
    dense = (lambda: x.to_dense().reshape(-1, weight.shape[1])) if isinstance(x, Events) else None
    given = (None if isinstance(x, Events) else x, weight, bias, state[0])
    if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in given):
        s, v = _Layer.apply(dynamics, how, rows, dense, *given)  # type: ignore[misc]
    else:
        s, v, _ = _run(dynamics, how, rows, weight, bias, state[0], save=False)
    return Scan(s, None, (v,))


def _fits(dynamics: Dynamics, state: State) -> Spec | None:
    """The constants of the loop for LIF neurons of fixed coefficients on the CPU; else `None`."""
    d = dynamics
    if d.packed is None or len(state) != 1 or d.threshold is None or d.delayed_reset or d.reset_gradient:
        return None
    if state[0].ndim != 2 or state[0].dtype != torch.float32 or not (plain(state[0]) and state[0].is_cpu):
        return None
    return spec(d, voltage=False, memory="float32", learn=False)


def _run(
    dynamics: Dynamics, how: Spec, rows: Rows, weight: Tensor, bias: Tensor | None, v: Tensor, save: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Spikes, last voltages, and (where they are to be kept) the voltages before the reset."""
    from neurospin.scan import gather, layer_cpu

    assert dynamics.packed is not None
    index, start = rows
    batch, neurons = v.shape
    shape = ((len(start) - 1) // max(1, batch), batch, neurons)
    s, end = pool.empty(shape), v.detach().clone(memory_format=torch.contiguous_format)
    u = pool.empty(shape) if save else torch.empty(0)
    b = pool.zeros((neurons,)) if bias is None else bias
    w, b, p = (t.detach().contiguous().numpy() for t in (weight, b, dynamics.packed))
    given = (index, start, w, b, p, end.numpy(), s.numpy().reshape(-1), u.numpy().reshape(-1))
    gather.spread(layer_cpu.forward_kernel(how.value), given, neurons, len(index))
    return s, end, u


class _Layer(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, dynamics: Dynamics, how: Spec, rows: Rows, dense: Callable[[], Tensor] | None, x: Tensor | None,
        weight: Tensor, bias: Tensor | None, v: Tensor,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        s, end, u = _run(dynamics, how, rows, weight, bias, v, save=True)
        ctx.save_for_backward(x, weight, bias, v, s, u)
        ctx.set_materialize_grads(False)
        ctx.given = dynamics, how, rows, dense
        return s, end

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        from neurospin.scan import cpu_ops, gather

        if torch.is_grad_enabled():  # a second derivative is wanted
            return _again(ctx, gradients)
        x, weight, _, v, s, u = ctx.saved_tensors
        dynamics, how, rows, _ = ctx.given
        gs, gv = gradients
        gs, gv = torch.zeros_like(s) if gs is None else gs, pool.zeros(tuple(v.shape)) if gv is None else gv
        last = not graph_is_kept()
        steep = slope(dynamics.surrogate)
        g, _, gv = cpu_ops.backward(None, dynamics.packed, (v,), s, u, steep, gs, None, (gv,), how, last)
        flat = g.reshape(-1, weight.shape[0])
        *_, needs_x, needs_weight, needs_bias, needs_v = ctx.needs_input_grad
        dx = linear(flat, weight.t()).reshape(x.shape) if needs_x else None
        dw = torch.from_numpy(gather.outer(rows, flat.numpy(), weight.shape[1])) if needs_weight else None
        return None, None, None, None, dx, dw, flat.sum(0) if needs_bias else None, gv if needs_v else None


def _again(ctx: Any, gradients: tuple[Tensor | None, ...]) -> tuple[Tensor | None, ...]:
    """The same gradients as functions that can be differentiated: the product, then the scan."""
    x, weight, bias, v, s, _ = ctx.saved_tensors
    dynamics, _, rows, dense = ctx.given
    with torch.enable_grad():
        flat = None if x is None else x.reshape(-1, weight.shape[1])
        current = by_spikes(flat, weight, bias, rows, dense).reshape(s.shape)
        result = scan(current, (v,), dynamics)
    outputs = (result.output, result.state[0])
    return None, None, None, None, *_pulled(outputs, gradients, (x, weight, bias, v), ctx.needs_input_grad[4:], True)


def _pulled(
    outputs: Sequence[Tensor], cotangents: Sequence[Tensor | None], inputs: Sequence[Tensor | None],
    needs: Sequence[bool], again: bool,
) -> tuple[Tensor | None, ...]:  # fmt: skip
    """The gradients of the inputs that need one; `again`, if they are to be differentiated themselves."""
    pairs = [(y, g) for y, g in zip(outputs, cotangents, strict=True) if g is not None and y.requires_grad]
    wanted = [t for t, need in zip(inputs, needs, strict=True) if need and t is not None]
    outs, given = [y for y, _ in pairs], [g for _, g in pairs]
    found = iter(torch.autograd.grad(outs, wanted, given, create_graph=again, allow_unused=True))
    return tuple(next(found) if need else None for need in needs)


def _recomputed(x: Tensor | Events, weight: Tensor, bias: Tensor | None, state: State, dynamics: Dynamics) -> Scan:
    """`layer`, of which the backward pass keeps the input alone, spikes as bits."""
    events, dense = (x, None) if isinstance(x, Events) else (None, x)
    place = None if dense is None else dense.data_ptr()  # autograd keeps the hook, and what that refers to

    def pack(kept: Tensor) -> Tensor | tuple[np.ndarray, torch.Size]:
        if kept.data_ptr() != place or not bool(((kept == 0) | (kept == 1)).all()):
            return kept
        return np.packbits(kept.detach().numpy().reshape(-1) != 0), kept.shape

    def unpack(kept: Tensor | tuple[np.ndarray, torch.Size]) -> Tensor:
        if isinstance(kept, Tensor):
            return kept
        bits, shape = kept
        return torch.from_numpy(np.unpackbits(bits, count=shape.numel())).to(torch.float32).reshape(shape)

    with saved_tensors_hooks(pack, unpack):
        output, *after = _Recomputed.apply(dynamics, events, dense, weight, bias, *state)  # type: ignore[misc]
    return Scan(output, None, tuple(after))


class _Recomputed(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, dynamics: Dynamics, events: Events | None, x: Tensor | None, weight: Tensor, bias: Tensor | None,
        *state: Tensor,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        given = x if events is None else events
        assert given is not None
        result = layer(given, weight, bias, state, dynamics)
        ctx.save_for_backward(x, weight, bias, *state)
        ctx.set_materialize_grads(False)
        ctx.given = dynamics, events
        return result.output, *result.state

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        (dynamics, events), needs, again = ctx.given, ctx.needs_input_grad[2:], torch.is_grad_enabled()
        inputs: list[Any] = list(ctx.saved_tensors)
        if not again:
            inputs = [None if t is None else t.detach().requires_grad_(n) for t, n in zip(inputs, needs, strict=True)]
        x, weight, bias, *state = inputs
        with torch.enable_grad():
            result = layer(x if events is None else events, weight, bias, tuple(state), dynamics)
        return None, None, *_pulled((result.output, *result.state), gradients, inputs, needs, again)
