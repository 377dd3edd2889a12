"""Blocks of a wired array and how two of them become one: the arithmetic behind `wires`.

A block has ports at its four edges. Inputs are `x = (V_left, I_top, V_bottom, I_right)`, currents flowing
right and down, and outputs `z = (I_left, −V_top, −I_bottom, V_right)`. By reciprocity `z = H x` with a
symmetric `H`, whatever the devices and segments. No entry grows as a wire becomes ideal, so zero resistance
is an ordinary case and float32 loses nothing. Of two joined blocks A and B, `a` is the voltage (or current)
that A hands to B and `b` the current (or voltage) that B hands back:

    σ a = X x_A + H_A[zz] b,   σ b = Y x_B + H_B[ff] a,   X = H_A[z·],  Y = H_B[f·],  P = −σ H_A[zz],  Q = σ H_B[ff]
    b = σ U (Q X x_A + Y x_B),   a = σ (Uᵀ X x_A − P U Y x_B),   U = (1 + Q P)⁻¹

with σ = +1 from left to right and −1 from top to bottom, z the last port group of A and f the first of B.
P and Q are positive semidefinite, so the eigenvalues of `1 + Q P` are at least 1: never singular.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numba import njit
from torch import Tensor
from torch.nn.functional import pad

Sizes = tuple[int, int, int, int]
Merged = tuple[Tensor, Sizes, tuple[Tensor, Tensor] | None]


LANES = 32  # leaves that one pass of the elimination works on side by side


@njit(cache=True, fastmath={"contract"})
def _leaves(g: Any, row: Any, column: Any, at: Any, p: int, q: int, H: Any, cell: Any, keep: bool) -> None:
    """Every leaf by elimination of its devices one after the other.

    A matrix over devices and ports holds, for what is not yet eliminated, cell voltages per device current
    and per port input; a device of conductance g turns it into that of an array in which it conducts.
    """
    devices = p * q
    n = devices + 2 * (p + q)
    top, bottom, right = devices + p, devices + p + q, devices + p + 2 * q
    A = np.empty((n, n, LANES), g.dtype)
    conductance = np.empty((devices, LANES), g.dtype)
    weight, share = np.empty(LANES, g.dtype), np.empty(LANES, g.dtype)
    one = g.dtype.type(1)
    for start in range(0, len(at), LANES):
        lanes = min(LANES, len(at) - start)
        A[:] = 0
        conductance[:] = 0
        for s in range(lanes):
            array, R, C = at[start + s]
            for i in range(p):  # resistance from the left edge to every device, and from edge to edge
                far = g.dtype.type(0)
                for j in range(q):
                    far += row[array, R + i, C + j]
                    k = i * q + j
                    conductance[k, s] = g[array, R + i, C + j]
                    for other in range(j, q):
                        A[k, i * q + other, s] = -far
                    A[k, devices + i, s] = one
                    A[k, right + i, s] = -far
                A[devices + i, right + i, s] = one
                A[right + i, right + i, s] = -far
            for j in range(q):  # the same from the bottom edge
                far = g.dtype.type(0)
                for i in range(p - 1, -1, -1):
                    far += column[array, R + i, C + j]
                    k = i * q + j
                    for other in range(i + 1):
                        A[other * q + j, k, s] -= far
                    A[k, bottom + j, s] = -one
                    A[k, top + j, s] = -far
                A[top + j, bottom + j, s] = -one
                A[top + j, top + j, s] = -far
        for k in range(devices):
            for s in range(LANES):
                share[s] = one / (one - conductance[k, s] * A[k, k, s])
                weight[s] = share[s] * conductance[k, s]
            for i in range(0 if keep else k + 1, n):
                if i == k:
                    continue
                for j in range(max(i, k + 1), n):
                    if i < k:
                        for s in range(LANES):
                            A[i, j, s] += A[i, k, s] * weight[s] * A[k, j, s]
                    else:
                        for s in range(LANES):
                            A[i, j, s] += A[k, i, s] * weight[s] * A[k, j, s]
            if keep:
                for j in range(k + 1, n):
                    for s in range(LANES):
                        A[k, j, s] *= share[s]
        for s in range(lanes):
            for i in range(n - devices):
                for j in range(i, n - devices):
                    H[start + s, i, j] = A[devices + i, devices + j, s]
                    H[start + s, j, i] = A[devices + i, devices + j, s]
            if keep:
                for k in range(devices):
                    for j in range(n - devices):
                        cell[start + s, k, j] = A[k, devices + j, s]


def leaves(g: Tensor, row: Tensor, column: Tensor, at: Tensor, p: int, q: int, *, keep: bool) -> tuple[Tensor, Tensor]:
    """Blocks of p × q devices and their cell voltages per port input.

    Args:
        g, row, column: `(arrays, rows, columns)`, siemens and ohms.
        at: array, first row and first column of every leaf, `(leaves, 3)`.
        p: rows of a leaf.
        q: columns of a leaf.
        keep: whether the cell voltages are wanted.

    Returns:
        `(leaves, ports, ports)` and `(leaves, p q, ports)`.
    """
    ports = 2 * (p + q)
    if g.device.type == "cpu":
        H = g.new_empty((len(at), ports, ports))
        cell = g.new_empty((len(at), p * q, ports) if keep else (1, 1, 1))
        _leaves(g.numpy(), row.numpy(), column.numpy(), at.numpy(), p, q, H.numpy(), cell.numpy(), keep)
        return H, cell
    return _leaves_by_solve(*(tiled(x, at, p, q) for x in (g, row, column)))


def tiled(x: Tensor, at: Tensor, p: int, q: int) -> Tensor:
    """`(arrays, rows, columns)` to `(leaves, p, q)`."""
    array, i, j = at.unbind(1)
    i, j = (i[:, None] + torch.arange(p))[:, :, None], (j[:, None] + torch.arange(q))[:, None, :]
    return x[array[:, None, None], i, j]


def _leaves_by_solve(g: Tensor, row: Tensor, column: Tensor) -> tuple[Tensor, Tensor]:
    """The same blocks by one dense solve: `H = H₀ + Eᵀ g (1 + R g)⁻¹ E`; for accelerators, and as a check."""
    p, q = g.shape[-2:]
    i, j = (x.flatten() for x in torch.meshgrid(torch.arange(p), torch.arange(q), indexing="ij"))
    left, down = row.cumsum(-1), column.flip(-2).cumsum(-2).flip(-2)  # resistance to the left and bottom edges
    same_row, same_column = (i[:, None] == i).to(g), (j[:, None] == j).to(g)
    R = left[..., i[:, None], torch.minimum(j[:, None], j)] * same_row
    R = R + down[..., torch.maximum(i[:, None], i), j[:, None]] * same_column
    in_row, in_column = (torch.nn.functional.one_hot(x, n).to(g) for x, n in ((i, p), (j, q)))
    shape = (*g.shape[:-2], p * q, -1)
    E = torch.cat(
        [in_row.expand(shape), -in_column * down.flatten(-2)[..., None], -in_column.expand(shape),
         -in_row * left.flatten(-2)[..., None]], -1,
    )  # fmt: skip
    H0 = g.new_zeros((*g.shape[:-2], 2 * (p + q), 2 * (p + q)))
    at_l, at_t, at_b, at_r = (torch.arange(a, a + n) for a, n in ((0, p), (p, q), (p + q, q), (p + 2 * q, p)))
    H0[..., at_l, at_r] = H0[..., at_r, at_l] = 1
    H0[..., at_b, at_t] = H0[..., at_t, at_b] = -1
    H0[..., at_r, at_r], H0[..., at_t, at_t] = -left[..., -1], -down[..., 0, :]
    conductance = g.flatten(-2)[..., None]
    one = torch.eye(p * q, dtype=g.dtype, device=g.device)
    cell = torch.linalg.solve_ex(one + R * conductance.mT, E)[0]
    return H0 + E.mT @ (conductance * cell), cell


@dataclass(frozen=True)
class Join:
    """What a merge leaves behind for a walk back down.

    Attributes:
        maps: `(blocks, 2p, ports)`: `b` then `a` for every input of A's outer ports, then of B's.
        first: where those ports lie in the merged block.
        cut: number of A's outer ports.
        before: inputs of a child that were left out as silent, at A's beginning.
        after: the same at B's end.
        turned: order in which the ports of the children were put before the merge, if any.
    """

    maps: Tensor
    first: Tensor
    cut: int
    before: int
    after: int
    turned: Tensor | None

    def descend(self, x: Tensor) -> Tensor:
        """Inputs of the children, `(2 blocks, ports, cases)`, from those of the merged blocks."""
        p = self.maps.shape[1] // 2
        outer = x[:, self.first]
        inner = self.maps @ outer
        a = torch.cat([outer[:, : self.cut], inner[:, :p]], 1)
        b = torch.cat([inner[:, p:], outer[:, self.cut :]], 1)
        a, b = pad(a, (0, 0, self.before, 0)), pad(b, (0, 0, 0, self.after))
        return self._back(torch.stack([a, b], 1).flatten(0, 1), (1,))

    def adjoint(self, H: Tensor) -> Tensor:
        """Derivative with respect to the children's `H` from that with respect to the merged one; symmetric."""
        p, cut = self.maps.shape[1] // 2, self.cut
        outer = H[:, self.first][:, :, self.first]
        cross = self.maps @ outer
        za, fb = cross[:, :p, :cut], cross[:, p:, cut:]
        zz, ff = cross[:, :p] @ self.maps[:, :p].mT, cross[:, p:] @ self.maps[:, p:].mT
        a = torch.cat([torch.cat([outer[:, :cut, :cut], za.mT], 2), torch.cat([za, zz], 2)], 1)
        b = torch.cat([torch.cat([ff, fb], 2), torch.cat([fb.mT, outer[:, cut:, cut:]], 2)], 1)
        a, b = pad(a, (self.before, 0) * 2), pad(b, (0, self.after) * 2)
        return self._back(torch.stack([a, b], 1).flatten(0, 1), (1, 2))

    def _back(self, x: Tensor, axes: tuple[int, ...]) -> Tensor:
        if self.turned is not None:
            back = self.turned.argsort()
            for axis in axes:
                x = x.index_select(axis, back)
        return x


@njit(cache=True)
def _assemble(A: Any, B: Any, above: Any, bb: Any, sign: Any, to_a: Any, to_b: Any, out: Any) -> None:
    """`out` in its order of ports from A + above, B + bb and, off the diagonal, sign · above; B's first ports are left out."""
    p, cut = B.shape[1] - len(to_b), len(to_a)
    for k in range(out.shape[0]):
        for i in range(len(to_a)):
            row = to_a[i]
            for j in range(len(to_a)):
                out[k, row, to_a[j]] = A[k, i, j] + above[k, i, j]
            for j in range(len(to_b)):
                value = sign * above[k, i, cut + j]
                out[k, row, to_b[j]] = value
                out[k, to_b[j], row] = value
        for i in range(len(to_b)):
            row = to_b[i]
            for j in range(len(to_b)):
                out[k, row, to_b[j]] = B[k, p + i, p + j] + bb[k, i, j]


def merge(A: Tensor, B: Tensor, a: Sizes, b: Sizes, *, vertical: bool, keep: bool) -> Merged:
    """Join the last ports of A to the first of B.

    Args:
        A, B: `(blocks, ports, ports)`.
        a, b: sizes of the four port groups (f, m, n, z) of each; the joint is z of A and f of B.
        vertical: A above B, else A left of B.
        keep: also give the maps of a `Join`.

    Returns:
        The merged blocks, whose groups in order are m, f, z, n, each A's ports before B's; the sizes of these
        groups; the maps, with where A's ports that stay, then B's, lie in the merged blocks.
    """
    p, cut = b[0], sum(a[:3])
    sign = -1.0 if vertical else 1.0
    X, Y, from_a, from_b = A[:, cut:, :cut], B[:, :p, p:], A[:, cut:, cut:], B[:, :p, :p]
    one = torch.eye(p, dtype=A.dtype, device=A.device).expand_as(from_a)
    U = torch.linalg.inv_ex(torch.baddbmm(one, from_b, from_a, alpha=-1))[0]
    b_ab = torch.empty((len(A), p, cut + sum(b[1:])), dtype=A.dtype, device=A.device)
    b_ab[:, :, :cut], b_ab[:, :, cut:] = from_b @ X, Y
    b_ab = U @ b_ab
    a_b = from_a @ b_ab[:, :, cut:]
    above, bb = X.mT @ b_ab, Y.mT @ a_b
    new: Sizes = (a[1] + b[1], a[0], b[3], a[2] + b[2])
    to_a, to_b = _places(a, b)
    out = A.new_empty((len(A), sum(new), sum(new)))
    if A.device.type == "cpu":
        scale = A.numpy().dtype.type(sign)
        places = (to_a.numpy(), to_b.numpy())
        _assemble(A.numpy(), B.numpy(), above.numpy(), bb.numpy(), scale, *places, out.numpy())
    else:
        first = torch.cat([to_a, to_b]).to(A.device)
        aa, ab, bb = above[:, :, :cut] + A[:, :cut, :cut], above[:, :, cut:] * sign, bb + B[:, p:, p:]
        whole = torch.cat([torch.cat([aa, ab], 2), torch.cat([ab.mT, bb], 2)], 1)
        out[:, first[:, None], first] = whole
    if not keep:
        return out, new, None
    maps = torch.cat(
        [torch.cat([b_ab[:, :, :cut], b_ab[:, :, cut:] * sign], 2), torch.cat([U.mT @ X * sign, a_b], 2)], 1
    )
    return out, new, (maps, torch.cat([to_a, to_b]).to(A.device))


@lru_cache(maxsize=256)
def _places(a: Sizes, b: Sizes) -> tuple[Tensor, Tensor]:
    """Where the ports f, m, n of A and m, n, z of B lie in the merged block."""
    m, f, z, n = (torch.arange(k) for k in (a[1] + b[1], a[0], b[3], a[2] + b[2]))
    f, z, n = f + len(m), z + len(m) + len(f), n + len(m) + len(f) + len(z)
    return torch.cat([f, m[: a[1]], n[: a[2]]]), torch.cat([m[a[1] :], n[a[2] :], z])
