"""A whole array as one block: how it is cut into leaves, and the merges that put it together again."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from torch import Tensor

from hardware_targets.crossbar.blocks import Join, Sizes, leaves, merge

LEAF = 8  # longest side of a leaf; every device costs its leaf about (rows · columns)² operations


def split(length: int) -> tuple[int, int]:
    """Side of a leaf and number of doublings whose product covers `length` with the least padding."""
    doublings = 0
    best = (length, 0)
    while length > LEAF or doublings:
        side = -(-length // 2**doublings)
        if side <= LEAF and (best[1] == 0 or side * 2**doublings <= best[0] * 2 ** best[1]):
            best = (side, doublings)
        if side <= LEAF // 2:
            break
        doublings += 1
    return best


@dataclass(frozen=True)
class Plan:
    """How an array is cut into leaves and put together again.

    Attributes:
        p: rows of a leaf.
        q: columns of a leaf.
        rows: rows of the array with its padding above.
        columns: columns of the array with its padding at the right.
        steps: merges in order, True for vertical ones.
        at: array, first row and first column of every leaf, `(leaves, 3)`; children of a merge are neighbours.
    """

    p: int
    q: int
    rows: int
    columns: int
    steps: tuple[bool, ...]
    at: Tensor


@lru_cache(maxsize=32)
def plan(arrays: int, rows: int, columns: int) -> Plan:
    """The plan of a stack of equal arrays."""
    (p, up), (q, across) = split(rows), split(columns)
    steps: list[bool] = []
    while len(steps) < up + across:
        steps += [vertical for vertical, most in ((False, across), (True, up)) if steps.count(vertical) < most]
    leaf = torch.arange(arrays << len(steps))
    place = [torch.zeros_like(leaf), torch.zeros_like(leaf)]
    seen = [0, 0]
    for bit, vertical in enumerate(steps):
        place[vertical] |= ((leaf >> bit) & 1) << seen[vertical]
        seen[vertical] += 1
    at = torch.stack([leaf >> len(steps), place[True] * p, place[False] * q], 1)
    return Plan(p, q, p << up, q << across, tuple(steps), at)


@dataclass(frozen=True)
class Reduced:
    """A stack of arrays as one block each, with open right and top edges.

    Attributes:
        g_eff: `(arrays, rows, columns)`.
        y_in: `(arrays, rows, rows)`, current into each row's source per volt; None unless wanted.
        joins: from the leaves upwards; empty unless wanted.
        cell: cell voltages per input of a leaf, `(leaves, p q, ports)`.
        left: which ports of the block are the row sources.
        bottom: which are the column ends.
        ports: number of ports of the block.
    """

    g_eff: Tensor
    y_in: Tensor | None
    joins: tuple[Join, ...]
    cell: Tensor
    left: slice
    bottom: slice
    ports: int


WORKING_SET = 128 * 128  # devices whose blocks are merged while they lie in the cache


def reduce(g: Tensor, row: Tensor, column: Tensor, how: Plan, *, keep: bool, admittance: bool) -> Reduced:
    """Merge every array, `(arrays, rows, columns)` padded as planned, into one block.

    Args:
        g: siemens.
        row: ohms of the segment at the left of every device.
        column: ohms of the segment below every device.
        how: the plan.
        keep: record the merges, for derivatives and node voltages.
        admittance: `y_in` is wanted.
    """
    p, q, steps, at = how.p, how.q, how.steps, how.at.to(g.device)
    close = not keep and not admittance and steps[-1:] == (True,)
    until = len(steps) - close
    low = 0
    if not keep and len(at) * p * q > WORKING_SET:
        low = min(until, (WORKING_SET // (p * q)).bit_length() - 1)
    parts: list[_Level] = []
    cell = g
    for part in at.split(1 << low) if low else (at,):
        H, cell = leaves(g, row, column, part, p, q, keep=keep)
        parts.append(_merged(_Level(H, (p, q, q, p), False, ()), steps, low, keep))
    level = parts[0] if len(parts) == 1 else replace(parts[0], H=torch.cat([part.H for part in parts]))
    level = _merged(level, steps, until, keep)
    if close:
        return Reduced(_close(*_pair(level, steps)), None, (), cell, slice(0), slice(0), 0)
    H, sizes = level.H, level.sizes
    first, second = slice(0, sizes[0]), slice(sizes[0], sizes[0] + sizes[1])
    third, last = slice(second.stop, second.stop + sizes[2]), slice(second.stop + sizes[2], sum(sizes))
    left, bottom = (second, last) if level.vertical else (first, third)
    y_in = H[:, left, left] if admittance else None
    return Reduced(-H[:, left, bottom], y_in, level.joins, cell, left, bottom, sum(sizes))


@dataclass(frozen=True)
class _Level:
    """All blocks after some merges; their port groups are l, t, b, r, or t, l, r, b when ready for a vertical one."""

    H: Tensor
    sizes: Sizes
    vertical: bool
    joins: tuple[Join, ...]
    step: int = 0


Pair = tuple[Tensor, Tensor, Sizes, Sizes, Tensor | None]


def _pair(level: _Level, steps: tuple[bool, ...]) -> Pair:
    """The children of the next merge, and how their ports had to be put for it."""
    vertical, H, sizes, turned = steps[level.step], level.H, level.sizes, None
    if vertical != level.vertical:
        groups = torch.arange(sum(sizes), device=H.device).split(sizes)
        turned = torch.cat([groups[k] for k in (1, 0, 3, 2)])
        H, sizes = H[:, turned][:, :, turned], (sizes[1], sizes[0], sizes[3], sizes[2])
    A, B, a, b = H[0::2], H[1::2], sizes, sizes
    if vertical not in steps[level.step + 1 :]:  # what lies at an open edge: no current enters there
        if vertical:
            A, a = A[:, sizes[0] :, sizes[0] :], (0, *sizes[1:])
        else:
            inside = sum(sizes[:3])
            B, b = B[:, :inside, :inside], (*sizes[:3], 0)
    return A, B, a, b, turned


def _merged(level: _Level, steps: tuple[bool, ...], until: int, keep: bool) -> _Level:
    while level.step < until:
        A, B, a, b, turned = _pair(level, steps)
        vertical = steps[level.step]
        H, sizes, kept = merge(A, B, a, b, vertical=vertical, keep=keep)
        joins = level.joins
        if kept is not None:
            whole = level.sizes if turned is None else tuple(level.sizes[k] for k in (1, 0, 3, 2))
            joins = (*joins, Join(*kept, sum(a[:3]), whole[0] - a[0], whole[3] - b[3], turned))
        level = _Level(H, sizes, not vertical, joins, level.step + 1)
    return level


def _close(A: Tensor, B: Tensor, a: Sizes, b: Sizes, turned: Tensor | None) -> Tensor:
    """The last merge, A above B, where only the currents at the bottom per voltage at the left are wanted."""
    n = b[0]
    left_a, left_b = slice(a[0], a[0] + a[1]), slice(n, n + b[1])
    from_a, from_b, bottom = A[:, -n:, -n:], B[:, :n, :n], B[:, :, -b[3] :]
    one = torch.eye(n, dtype=A.dtype, device=A.device).expand_as(from_a)
    b_b = torch.linalg.inv_ex(torch.baddbmm(one, from_b, from_a, alpha=-1))[0] @ bottom[:, :n]
    above = A[:, left_a, -n:] @ b_b
    below = torch.baddbmm(bottom[:, left_b], B[:, left_b, :n], from_a @ b_b).neg_()
    return torch.cat([above, below], 1)
