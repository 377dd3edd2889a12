"""Wires: what a crossbar with resistive lines computes, exactly.

Rows are driven at their left ends through one segment before the first device; columns end in a virtual
ground at the bottom, one segment after the last device; the right and top ends are open (the circuit of
badcrossbar). With linear devices the array is a linear map, so that one effective conductance matrix per
conductance state serves every input and every time step:

    I = V @ g_eff

It is found by joining blocks of devices, about 100 N³ operations for N × N devices, for any resistance from
zero upwards, without tuning; see `hardware_targets.crossbar.blocks`. Siemens and ohms.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import pad

from hardware_targets.crossbar.blocks import tiled
from hardware_targets.crossbar.reduction import Plan, Reduced, plan, reduce
from neurospin.errors import InputError

Resistance = float | Tensor
"""Ohms: a number or a tensor that broadcasts to `(…, rows, columns)` (segments), `(…, rows)` or `(…, columns)` (ends)."""


def effective_conductance(
    g: Tensor,
    row_segment: Resistance,
    column_segment: Resistance,
    driver: Resistance = 0.0,
    sense: Resistance = 0.0,
) -> Tensor:
    """The matrix that a wired array multiplies by: output currents are `v @ g_eff`, amperes for volts.

    Silent rows are driven at 0 V; `float_rows` treats rows that are left open. Differentiable once with
    respect to every tensor. With zero resistance everywhere the result is `g`.

    Args:
        g: conductances, `(…, rows, columns)`, siemens, at least 0; leading dimensions are independent arrays.
        row_segment: of the wire at the left of each device, ohms.
        column_segment: of the wire below each device, ohms.
        driver: of each row's source, ohms, default 0.
        sense: of each column's virtual ground, ohms, default 0.

    Returns:
        `(…, rows, columns)`, siemens.

    Raises:
        InputError: a value that is negative or not finite, shapes that do not fit, or an array too large for
            the memory of this machine.
    """
    return _solve(g, row_segment, column_segment, driver, sense, admittance=False)[0]


def admittance(
    g: Tensor,
    row_segment: Resistance,
    column_segment: Resistance,
    driver: Resistance = 0.0,
    sense: Resistance = 0.0,
) -> tuple[Tensor, Tensor]:
    """`effective_conductance` and the input admittance: sources deliver the currents `v @ y_in`.

    The power drawn from the sources is `v @ y_in @ v`. `y_in` is symmetric.

    Returns:
        `g_eff` of `(…, rows, columns)` and `y_in` of `(…, rows, rows)`, siemens.
    """
    return _solve(g, row_segment, column_segment, driver, sense, admittance=True)


def float_rows(g_eff: Tensor, y_in: Tensor, driven: Tensor) -> Tensor:
    """The effective conductance while some rows are left open instead of being driven at 0 V.

    An open row floats to the voltage at which no current enters it, `V_F = −Y_FF⁻¹ Y_FD V_D`, hence
    `g = G_D − Y_DF Y_FF⁻¹ G_F`. An open row without a conducting device stays at 0 V.

    Args:
        g_eff: `(…, rows, columns)`, from `admittance`.
        y_in: `(…, rows, rows)`.
        driven: which rows are driven, boolean, `(…, rows)`.

    Returns:
        `(…, rows, columns)`, zero in the open rows.
    """
    if driven.dtype != torch.bool or driven.shape[-1] != g_eff.shape[-2]:
        raise InputError(
            "float_rows.driven", f"booleans (…, {g_eff.shape[-2]})", f"{driven.dtype} {tuple(driven.shape)}",
            "say for every row whether it is driven",
        )  # fmt: skip
    return g_eff * driven[..., None] - _toward_open(y_in, driven) @ _open_rows(g_eff, y_in, driven)


def open_voltages(y_in: Tensor, voltages: Tensor, driven: Tensor) -> Tensor:
    """Voltages of all rows, `(…, rows)`, when those that are not driven float."""
    held = (voltages * driven)[..., None]
    return (held - _open_rows(y_in @ held, y_in, driven))[..., 0]


def _toward_open(y_in: Tensor, driven: Tensor) -> Tensor:
    return y_in * driven[..., None] * ~driven[..., None, :]


def _open_rows(right: Tensor, y_in: Tensor, driven: Tensor) -> Tensor:
    """`Y_FF⁻¹ right_F`, zero elsewhere."""
    open_ = ~driven
    dead = y_in.diagonal(dim1=-2, dim2=-1) == 0
    block = y_in * open_[..., None] * open_[..., None, :]
    block = block + torch.diag_embed((driven | dead).to(y_in))
    return torch.linalg.solve(block, right * open_[..., None])


@dataclass(frozen=True)
class Circuit:
    """Checked conductances and segments of a stack of arrays, padded as `plan` says.

    Attributes:
        g: `(arrays, rows, columns)`.
        row: segments with the driver in front, same shape.
        column: segments with the sense at the end, same shape.
        shape: `(…, rows, columns)` as given.
        plan: how the stack is cut.
    """

    g: Tensor
    row: Tensor
    column: Tensor
    shape: tuple[int, ...]
    plan: Plan

    def cut(self, x: Tensor) -> Tensor:
        """Padded `(arrays, …, rows, columns)` to what was given, without the padding."""
        return x[..., self.plan.rows - self.shape[-2] :, : self.shape[-1]]


def circuit(
    g: Tensor,
    row_segment: Resistance,
    column_segment: Resistance,
    driver: Resistance,
    sense: Resistance,
    *,
    copies: int,
) -> Circuit:
    """Check and pad; `copies` is the number of values per device that the work will hold."""
    if not isinstance(g, Tensor) or g.dtype not in (torch.float32, torch.float64):
        got = str(g.dtype) if isinstance(g, Tensor) else type(g).__name__
        raise InputError("conductances", "a float32 or float64 tensor", got, "convert it")
    if g.ndim < 2 or 0 in g.shape:
        raise InputError("conductances", "(…, rows, columns) with at least one of each", str(tuple(g.shape)), "reshape")
    _positive("conductances", g, "siemens")
    rows, columns = g.shape[-2:]
    stack = math.prod(g.shape[:-2])
    how = plan(stack, rows, columns)
    need, there = stack * how.rows * how.columns * copies * g.element_size(), _memory()
    if need > there:
        raise InputError(
            "conductances", f"arrays whose solution fits into {there / 2**30:.3g} GiB of memory",
            f"{stack} × {rows} × {columns} devices that need {need / 2**30:.3g} GiB", "tile the matrix",
        )  # fmt: skip
    row = _like("row_segment", row_segment, g, g.shape)
    column = _like("column_segment", column_segment, g, g.shape)
    ends = (_like("driver", driver, g, g.shape[:-1]), _like("sense", sense, g, (*g.shape[:-2], columns)))
    if isinstance(driver, Tensor) or driver:
        row = torch.cat([row[..., :1] + ends[0][..., None], row[..., 1:]], -1)
    if isinstance(sense, Tensor) or sense:
        column = torch.cat([column[..., :-1, :], column[..., -1:, :] + ends[1][..., None, :]], -2)
    border = (0, how.columns - columns, how.rows - rows, 0)
    a, b, c = (pad(x.reshape(stack, rows, columns), border).contiguous() for x in (g, row, column))
    return Circuit(a, b, c, tuple(g.shape), how)


def _positive(where: str, x: Tensor, unit: str) -> None:
    low, high = (float(v) for v in x.detach().aminmax())
    if not (low >= 0 and high < math.inf):
        bad = int((~(torch.isfinite(x) & (x >= 0))).sum())
        raise InputError(where, f"finite values >= 0 {unit}", f"{bad} of {x.numel()} that are not", "check the values")


def _like(where: str, value: Resistance, g: Tensor, shape: tuple[int, ...]) -> Tensor:
    x = torch.as_tensor(value, dtype=g.dtype, device=g.device)
    try:
        wide = x.expand(shape)
    except RuntimeError:
        raise InputError(
            where, f"ohms that broadcast to {shape}", str(tuple(x.shape)), "give one value or all"
        ) from None
    _positive(where, x, "ohms")
    return wide


def _memory() -> int:
    """Bytes of memory of this machine."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _solve(
    g: Tensor, row: Resistance, column: Resistance, driver: Resistance, sense: Resistance, *, admittance: bool
) -> tuple[Tensor, Tensor]:
    learns = torch.is_grad_enabled() and any(
        isinstance(x, Tensor) and x.requires_grad for x in (g, row, column, driver, sense)
    )
    made = circuit(g, row, column, driver, sense, copies=300 if learns else 40)
    if learns:
        g_eff, y_in = _Reduction.apply(made.g, made.row, made.column, made.plan)  # type: ignore[misc]
    else:
        with torch.no_grad():
            done = reduce(made.g, made.row, made.column, made.plan, keep=False, admittance=admittance)
        g_eff, y_in = done.g_eff, done.y_in if done.y_in is not None else done.g_eff
    g_eff = made.cut(g_eff).reshape(made.shape)
    if not admittance:
        return g_eff, g_eff
    above = made.plan.rows - made.shape[-2]
    return g_eff, y_in[:, above:, above:].reshape(*made.shape[:-1], made.shape[-2])


class _Reduction(torch.autograd.Function):
    """The reduction and its adjoint: `dH = Φᵀ dg Φ` with Φ the cell voltages per input, by reciprocity."""

    @staticmethod
    def forward(ctx: Any, g: Tensor, row: Tensor, column: Tensor, how: Plan) -> tuple[Tensor, Tensor]:
        done = reduce(g, row, column, how, keep=True, admittance=True)
        assert done.y_in is not None
        ctx.done, ctx.how = done, how
        ctx.save_for_backward(g)
        return done.g_eff, done.y_in

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        to_g_eff, to_y_in = grad_outputs
        done: Reduced = ctx.done
        how: Plan = ctx.how
        (g,) = ctx.saved_tensors
        H = to_g_eff.new_zeros((len(g), done.ports, done.ports))
        H[:, done.left, done.bottom] = -to_g_eff / 2
        H[:, done.bottom, done.left] = -to_g_eff.mT / 2
        H[:, done.left, done.left] = (to_y_in + to_y_in.mT) / 2
        for join in reversed(done.joins):
            H = join.adjoint(H)
        through = done.cell
        out: list[Tensor | None] = [_untiled(_square(through, H), how) if ctx.needs_input_grad[0] else None]
        p, q = how.p, how.q
        current = (tiled(g, how.at, p, q).flatten(1)[..., None] * through).unflatten(1, (p, q))
        if ctx.needs_input_grad[1]:  # current through the segment at the left of each device
            flow = current.flip(2).cumsum(2).flip(2)
            flow[..., p + 2 * q :] += torch.eye(p, dtype=g.dtype, device=g.device)[:, None]
            out.append(-_untiled(_square(flow.flatten(1, 2), H), how))
        else:
            out.append(None)
        if ctx.needs_input_grad[2]:  # and below each device
            flow = current.cumsum(1)
            flow[..., p : p + q] += torch.eye(q, dtype=g.dtype, device=g.device)
            out.append(-_untiled(_square(flow.flatten(1, 2), H), how))
        else:
            out.append(None)
        return (*out, None)


def _square(x: Tensor, H: Tensor) -> Tensor:
    return ((x @ H) * x).sum(-1)


def _untiled(x: Tensor, how: Plan) -> Tensor:
    """`(leaves, p q)` to `(arrays, rows, columns)`."""
    p, q = how.p, how.q
    array, i, j = how.at.to(x.device).unbind(1)
    i, j = (i[:, None] + torch.arange(p))[:, :, None], (j[:, None] + torch.arange(q))[:, None, :]
    out = x.new_empty((int(array[-1]) + 1, how.rows, how.columns))
    out[array[:, None, None], i, j] = x.unflatten(1, (p, q))
    return out
