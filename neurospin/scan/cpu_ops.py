"""The numba kernels on torch tensors: what is given to them, in which blocks and on how many threads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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


def _axes(steps: int, batch: int, neurons: int, p: Tensor) -> tuple[tuple[int, int, int], np.ndarray]:
    """The axes that the kernels see: batch and neuron are one where coefficients are shared or neurons few."""
    if p.shape[1] == 1:
        return (steps, 1, batch * neurons), p.numpy()
    if neurons < NARROW:
        return (steps, 1, batch * neurons), p.repeat(1, batch).numpy()
    return (steps, batch, neurons), _array(p, tuple(p.shape))


def _array(tensor: Tensor | None, shape: tuple[int, ...]) -> np.ndarray:
    if tensor is None:
        return _NONE[len(shape)]
    if not tensor.is_contiguous():
        tensor = tensor.contiguous()
    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.int16).numpy().view(np.uint16).reshape(shape)
    return tensor.numpy().reshape(shape)


def _states(spec: Spec, states: Sequence[Tensor], flat: tuple[int, ...]) -> list[np.ndarray]:
    """Synaptic current, adaptation, refractory steps and voltage, with a placeholder where there is none."""
    if len(states) == 1:
        return [_NONE[2], _NONE[2], _NONE[2], _array(states[0], flat)]
    given = iter(states)
    return [_array(next(given), flat) if has else _NONE[2] for has in (spec.synapse, spec.adapt, spec.refractory, True)]


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


def forward(x: Tensor, p: Tensor, states: Sequence[Tensor], spec: Spec) -> list[Tensor]:
    """See `neurospin.scan.fused.scan_forward`."""
    size = steps, batch, neurons = x.shape
    out = pool.empty(size)
    made = [out, *[torch.empty((batch, neurons)) for _ in states]]
    ends, volt, kept, save = made[1:], None, None, 0
    if spec.voltage:
        made.append(volt := pool.empty(size))
    if spec.stored:
        save = 2 if MEMORY[spec.memory] == "bfloat16" else 1
        made.append(kept := pool.empty(size, torch.bfloat16 if save == 2 else torch.float32))
    if x.numel():
        shape, pn = _axes(steps, batch, neurons, p)
        flat = shape[1:]
        kernel = _forward(spec, pn.shape[1] == 1, save)
        arrays = (
            _array(x, shape), pn, *_states(spec, states, flat), _array(out, shape), _array(volt, shape),
            _array(kept, shape), _NONE[3], _NONE[3], _NONE[3], *_states(spec, ends, flat),
        )  # fmt: skip
        _split(lambda first, last: kernel(*arrays, first, last, 0), shape[2], x.numel())
    return made


def backward(
    x: Tensor | None, p: Tensor, states: Sequence[Tensor], out: Tensor, kept: Tensor | None, slope: float,
    gs: Tensor, gv: Tensor | None, gends: Sequence[Tensor], spec: Spec, last: bool = False,
) -> list[Tensor]:  # fmt: skip
    """See `neurospin.scan.fused.scan_backward`; the `last` to read `kept` may overwrite it."""
    size = steps, batch, neurons = out.shape
    half = kept is not None and kept.dtype == torch.bfloat16
    over = last and kept is not None and not half and kept.is_contiguous()
    gx = kept.detach() if over else pool.empty(size)  # type: ignore[union-attr]
    gp = torch.zeros((ROWS, batch, neurons)) if spec.learn else torch.empty((0, batch, neurons))
    gstates = [torch.zeros((batch, neurons)) if spec.refractory else torch.empty((batch, neurons)) for _ in states]
    if not out.numel():
        return [gx, gp, *(g.zero_() for g in gstates)]
    shape, pn = _axes(steps, batch, neurons, p)
    flat = shape[1:]
    shared = pn.shape[1] == 1
    kernel = _backward(spec, shared, half, gv is not None)
    if kept is not None and not half and not over:
        gx.copy_(kept)  # the loop overwrites the voltages with the gradient of the input
    before = _states(spec, states, flat)
    gi1, ga1, _, gv1 = _states(spec, gends, flat)
    gi0, ga0, _, gv0 = _states(spec, gstates, flat)
    xn, outn, gxn = _array(x, shape), _array(out, shape), _array(gx, shape)
    keptn = _array(kept, shape) if half else gxn
    given = (_array(gs, shape), _array(gv, shape), gi1, ga1, gv1, gxn, gi0, ga0, gv0,
             gp.numpy().reshape((ROWS, *flat)) if spec.learn else _NONE[3])  # fmt: skip
    steep = np.float32(slope)

    def stored(first: int, last: int) -> None:
        kernel(xn, pn, steep, *before, outn, _NONE[3], keptn, _NONE[3], _NONE[3], _NONE[3], *given, first, last, 0)

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
