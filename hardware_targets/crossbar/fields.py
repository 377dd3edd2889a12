"""Inside a wired array: node voltages and powers, and what a write does to its neighbours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from hardware_targets.crossbar.reduction import reduce
from hardware_targets.crossbar.wires import Circuit, Resistance, circuit, open_voltages
from neurospin.errors import InputError

Scheme = Literal["ground", "half", "third"]


@dataclass(frozen=True)
class Fields:
    """Voltages and currents of an array for given drives; volts, amperes, watts.

    Attributes:
        row_voltage: at the row side of each device, `(…, cases, rows, columns)`.
        column_voltage: at its column side, same shape.
        current: through each device, from row to column, same shape.
        source: current that each row's source delivers, `(…, cases, rows)`.
        output: current into each column's virtual ground, `(…, cases, columns)`.
        wire_power: lost in all segments, drivers and senses, `(…, cases)`.
    """

    row_voltage: Tensor
    column_voltage: Tensor
    current: Tensor
    source: Tensor
    output: Tensor
    wire_power: Tensor

    @property
    def cell_voltage(self) -> Tensor:
        """Across each device, volts."""
        return self.row_voltage - self.column_voltage

    @property
    def power(self) -> Tensor:
        """Of each device, watts."""
        return self.cell_voltage * self.current


@torch.no_grad()
def fields(
    g: Tensor,
    row_segment: Resistance,
    column_segment: Resistance,
    voltages: Tensor,
    driver: Resistance = 0.0,
    sense: Resistance = 0.0,
    *,
    column_voltages: Tensor | None = None,
    driven: Tensor | None = None,
) -> Fields:
    """Every node of a wired array: the IR-drop map is `voltages − fields.row_voltage`.

    Args:
        g: `(…, rows, columns)`, siemens.
        row_segment: of the wire at the left of each device, ohms.
        column_segment: of the wire below each device, ohms.
        voltages: of the row sources, `(…, cases, rows)`, volts.
        driver: of each row's source, ohms, default 0.
        sense: of each column's end, ohms, default 0.
        column_voltages: at the column ends, `(…, cases, columns)`, default 0 V.
        driven: which rows are driven, `(…, cases, rows)`; the others float. Default all.

    Raises:
        InputError: as `effective_conductance`, or drives that do not fit.
    """
    rows, columns = g.shape[-2:]
    if voltages.shape[:-2] != g.shape[:-2] or voltages.shape[-1] != rows or not bool(torch.isfinite(voltages).all()):
        raise InputError(
            "fields.voltages", f"finite (…, cases, {rows}) with the leading dimensions of the conductances",
            f"{tuple(voltages.shape)} for {tuple(g.shape)}", "give one voltage per row",
        )  # fmt: skip
    made = circuit(g, row_segment, column_segment, driver, sense, copies=200 + 8 * voltages.shape[-2])
    at_rows = voltages.reshape(-1, *voltages.shape[-2:]).to(g.dtype)
    shape = (*at_rows.shape[:2], columns)
    at_columns = at_rows.new_zeros(shape) if column_voltages is None else column_voltages.reshape(shape).to(g.dtype)
    if driven is not None and column_voltages is not None:
        raise InputError("fields.driven", "grounded columns when rows float", "column voltages as well", "give one")
    cell, at_rows = _cells(made, at_rows, at_columns, None if driven is None else driven.reshape(at_rows.shape))
    row, column = made.cut(made.row)[:, None], made.cut(made.column)[:, None]
    current = cell * made.cut(made.g)[:, None]
    in_row = current.flip(-1).cumsum(-1).flip(-1)  # through the segment at the left of each device
    in_column = current.cumsum(-2)  # and below it
    row_voltage = at_rows[..., None] - (row * in_row).cumsum(-1)
    column_voltage = at_columns[..., None, :] + (column * in_column).flip(-2).cumsum(-2).flip(-2)
    lost = (row * in_row.square() + column * in_column.square()).sum((-1, -2))
    parts = (row_voltage, column_voltage, current, in_row[..., 0], in_column[..., -1, :], lost)
    lead = voltages.shape[:-1]
    return Fields(*(x.reshape(*lead, *x.shape[2:]) for x in parts))


def _cells(made: Circuit, at_rows: Tensor, at_columns: Tensor, driven: Tensor | None) -> tuple[Tensor, Tensor]:
    """Cell voltages, `(arrays, cases, rows, columns)`, and the voltages that the row sources take."""
    how = made.plan
    done = reduce(made.g, made.row, made.column, how, keep=True, admittance=True)
    above, beside = how.rows - made.shape[-2], how.columns - made.shape[-1]
    if driven is not None:
        assert done.y_in is not None
        at_rows = open_voltages(done.y_in[:, None, above:, above:], at_rows, driven)
    x = at_rows.new_zeros((len(at_rows), done.ports, at_rows.shape[1]))
    x[:, done.left] = torch.nn.functional.pad(at_rows, (above, 0)).mT
    x[:, done.bottom] = torch.nn.functional.pad(at_columns, (0, beside)).mT
    for join in reversed(done.joins):
        x = join.descend(x)
    cell = (done.cell @ x).mT.unflatten(2, (how.p, how.q))  # (leaves, cases, p, q)
    array, i, j = how.at.unbind(1)
    i, j = (i[:, None] + torch.arange(how.p))[:, :, None], (j[:, None] + torch.arange(how.q))[:, None, :]
    out = cell.new_empty((len(at_rows), how.rows, how.columns, cell.shape[1]))
    out[array[:, None, None], i, j] = cell.movedim(1, -1)
    return made.cut(out.movedim(-1, 1)), at_rows


def selected(
    g: Tensor,
    row_segment: Resistance,
    column_segment: Resistance,
    row: int,
    column: int,
    voltage: float,
    scheme: Scheme = "half",
    driver: Resistance = 0.0,
    sense: Resistance = 0.0,
) -> Fields:
    """All cell voltages while one device is written; unselected cells are disturbed by theirs.

    Without wires the selected cell sees V. `"ground"`: all other lines at 0 V, the whole row sees V;
    `"half"`: ±V/2 on the selected lines, others 0, so that row and column see V/2 and the rest 0;
    `"third"`: V and 0 on the selected lines, V/3 on other rows and 2V/3 on other columns, every other cell V/3.

    Args:
        g: `(rows, columns)`, siemens.
        row: of the selected device.
        column: of the selected device.
        voltage: volts, either sign.
        scheme: of the unselected lines, default `"half"`.
    """
    rows, columns = g.shape
    if not (0 <= row < rows and 0 <= column < columns):
        raise InputError("selected", f"a device of the {rows} × {columns} array", f"({row}, {column})", "choose one")
    levels = {
        "ground": (voltage, 0.0, 0.0, 0.0),
        "half": (voltage / 2, 0.0, -voltage / 2, 0.0),
        "third": (voltage, voltage / 3, 0.0, 2 * voltage / 3),
    }
    if scheme not in levels:
        raise InputError("selected.scheme", "ground, half or third", repr(scheme), "choose a scheme")
    on_row, other_rows, on_column, other_columns = levels[scheme]
    drive, hold = (
        torch.full((1, rows), other_rows, dtype=g.dtype),
        torch.full((1, columns), other_columns, dtype=g.dtype),
    )
    drive[0, row], hold[0, column] = on_row, on_column
    return fields(g, row_segment, column_segment, drive, driver, sense, column_voltages=hold)
