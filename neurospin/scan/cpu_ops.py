"""The numba kernels on torch tensors: what is given to them, in which blocks and on how many threads."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, lru_cache
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from neurospin.scan import cpu, pool
from neurospin.scan.spec import MEMORY, ROWS, Spec

NARROW = 64
SCRATCH = 1 << 16
PARALLEL = 1 << 20
_NONE = {2: np.empty((1, 1), np.float32), 3: np.empty((1, 1, 1), np.float32)}


@cache
def _forward(spec: Spec, shared: bool, save: int) -> Callable[..., None]:
    """The kernel; specs that differ in what it does not use share one."""
    return cpu.forward_kernel(spec._replace(learn=False, memory=0, shape=0, through=False), shared, save)


@cache
def _backward(spec: Spec, shared: bool, half: bool, voltage: bool) -> Callable[..., None]:
    return cpu.backward_kernel(spec._replace(voltage=False), shared, half, voltage)


def _columns(x: Tensor, p: Tensor) -> tuple[tuple[int, int, int], Tensor]:
    """The axes that the kernels see: batch and neuron are one where coefficients are shared or neurons few."""
    steps, batch, neurons = x.shape
    if p.shape[1] == 1:
        return (steps, 1, batch * neurons), p
    if neurons < NARROW:
        return (steps, 1, batch * neurons), p.repeat(1, batch)
    return (steps, batch, neurons), p


def _array(tensor: Tensor | None, shape: tuple[int, ...]) -> np.ndarray:
    if tensor is None:
        return _NONE[len(shape)]
    if not tensor.is_contiguous():
        tensor = tensor.contiguous()
    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.int16).numpy().view(np.uint16).reshape(shape)
    array = tensor.numpy()
    return array if array.shape == shape else array.reshape(shape)


def _states(spec: Spec, states: list[Tensor] | None) -> list[Tensor | None]:
    """Synaptic current, adaptation, refractory steps and voltage, with `None` where there is none."""
    if states is None:
        return [None] * 4
    given = iter(states)
    return [next(given) if has else None for has in (spec.synapse, spec.adapt, spec.refractory, True)]


@lru_cache(maxsize=1)
def _threads(count: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(count)


def _split(work: Callable[[int, int], None], columns: int, elements: int) -> None:
    """Run `work(first, last)` over all columns, on torch's number of threads where there is enough of it."""
    count = min(torch.get_num_threads(), elements // PARALLEL + 1, -(-columns // 16))
    if count <= 1:
        work(0, columns)
        return
    edges = [columns * k // count // 16 * 16 for k in range(count)] + [columns]
    for done in [_threads(count).submit(work, a, b) for a, b in pairwise(edges)]:
        done.result()


def forward(x: Tensor, p: Tensor, states: list[Tensor], spec: Spec) -> list[Tensor]:
    """See `neurospin.scan.fused.scan_forward`."""
    steps, batch, neurons = x.shape
    out = pool.empty((steps, batch, neurons))
    ends = [torch.empty((batch, neurons)) for _ in states]
    volt = pool.empty((steps, batch, neurons)) if spec.voltage else None
    save = 0 if not spec.stored else (2 if MEMORY[spec.memory] == "bfloat16" else 1)
    kept = pool.empty((steps, batch, neurons), torch.bfloat16 if save == 2 else torch.float32) if save else None
    if x.numel():
        shape, p = _columns(x, p)
        flat = shape[1:]
        kernel = _forward(spec, p.shape[1] == 1, save)
        given = (_array(x, shape), _array(p, tuple(p.shape)), *(_array(s, flat) for s in _states(spec, states)))
        made = (
            _array(out, shape), _array(volt, shape), _array(kept, shape), _NONE[3], _NONE[3], _NONE[3],
            *(_array(s, flat) for s in _states(spec, ends)),
        )  # fmt: skip
        _split(lambda first, last: kernel(*given, *made, first, last, 0), shape[2], x.numel())
    return [out, *ends, *(t for t in (volt, kept) if t is not None)]


def backward(
    x: Tensor | None, p: Tensor, states: list[Tensor], out: Tensor, kept: Tensor | None, slope: float,
    gs: Tensor, gv: Tensor | None, gends: list[Tensor], spec: Spec,
) -> list[Tensor]:  # fmt: skip
    """See `neurospin.scan.fused.scan_backward`."""
    steps, batch, neurons = out.shape
    gx = pool.empty((steps, batch, neurons))
    gp = torch.zeros((ROWS if spec.learn else 0, batch, neurons))
    gstates = [torch.zeros((batch, neurons)) if spec.refractory else torch.empty((batch, neurons)) for _ in states]
    if not out.numel():
        return [gx, gp, *(g.zero_() for g in gstates)]
    shape, p = _columns(out, p)
    flat = shape[1:]
    shared = p.shape[1] == 1
    kernel = _backward(spec, shared, kept is not None and kept.dtype == torch.bfloat16, gv is not None)
    pn, before = _array(p, tuple(p.shape)), [_array(s, flat) for s in _states(spec, states)]
    gi1, ga1, _, gv1 = (_array(s, flat) for s in _states(spec, gends))
    gi0, ga0, _, gv0 = (_array(s, flat) for s in _states(spec, gstates))
    xn, outn, keptn = _array(x, shape), _array(out, shape), _array(kept, shape)
    given = (_array(gs, shape), _array(gv, shape), gi1, ga1, gv1, _array(gx, shape), gi0, ga0, gv0,
             _array(gp, (ROWS, *flat)) if spec.learn else _NONE[3])  # fmt: skip
    steep = np.float32(slope)

    def stored(first: int, last: int) -> None:
        kernel(xn, pn, steep, *before, outn, _NONE[3], keptn, *[_NONE[3]] * 3, *given,
               first, last, 0)  # fmt: skip

    def rerun(first: int, last: int) -> None:
        """Run the forward loop again, a few columns at a time, into memory that stays in the cache."""
        again = _forward(spec._replace(voltage=False), shared, 3)
        width = max(16, min(last - first, SCRATCH // (steps * flat[0]) // 16 * 16))
        trace = [
            np.empty((steps, flat[0], width), np.float32) if has else _NONE[3]
            for has in (True, True, True, spec.synapse, spec.adapt, spec.refractory)
        ]
        ends = [np.empty((flat[0], width), np.float32) for _ in range(4)]
        for lo in range(first, last, width):
            hi = min(last, lo + width)
            again(xn, pn, *before, *trace, *ends, lo, hi, lo)
            kernel(xn, pn, steep, *before, *trace, *given, lo, hi, lo)

    _split(rerun if spec.rerun else stored, shape[2], out.numel())
    return [gx, gp, *gstates]
