"""Devices whose current is not proportional to their voltage: wired arrays by iteration, and reads of an `Array`.

With wires every input has its own cell voltages, and so its own conductances: each different row of inputs is a circuit of
its own, solved exactly at the conductances of the last voltages until the currents stand still.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from hardware_targets.crossbar.fields import Fields, fields
from hardware_targets.crossbar.wires import Resistance
from neurospin.errors import InputError

if TYPE_CHECKING:
    from hardware_targets.crossbar.array import Array

AT_ONCE = 2**18
"""Devices × inputs that are solved at a time."""
TOLERANCE = 1e-6
"""Of the reads of an `Array`: largest change of a current over the largest current."""
ROUNDS = 100


@dataclass(frozen=True)
class Convergence:
    """How an iteration ended: `residual` is the largest change of an output current over the largest current."""

    iterations: int
    residual: float
    history: tuple[float, ...]


@torch.no_grad()
def nonlinear(
    conductance: Callable[[Tensor], Tensor],
    row_segment: Resistance,
    column_segment: Resistance,
    voltages: Tensor,
    driver: Resistance = 0.0,
    sense: Resistance = 0.0,
    *,
    tolerance: float = 1e-9,
    iterations: int = 100,
) -> tuple[Fields, Convergence]:
    """An array whose devices conduct `I = g(v) v`: each input has its own conductances, found by iteration.

    The chord conductances at the present cell voltages give an exact linear solution, whose cell voltages
    give the next ones; the step is halved whenever the change grows. Use float64 for tolerances under 1e-6.

    Args:
        conductance: cell voltages `(cases, rows, columns)` to conductances, siemens; at 0 V it gives the
            limit of I / v.
        voltages: of the row sources, `(cases, rows)`.
        tolerance: of the residual, default 1e-9.
        iterations: at most, default 100.

    Raises:
        InputError: no convergence within `iterations`.
    """
    cases, rows = voltages.shape
    guess = conductance(voltages[..., None])
    columns = guess.shape[-1]
    cell = voltages[..., None].expand(cases, rows, columns)
    step, previous, last, history = 1.0, None, float("inf"), []
    for count in range(1, iterations + 1):
        found = fields(conductance(cell), row_segment, column_segment, voltages[:, None], driver, sense)
        if previous is not None:
            change = float((found.output - previous).abs().max() / found.output.abs().max().clamp(min=1e-300))
            history.append(change)
            if change <= tolerance:
                flat = Fields(*(x[:, 0] for x in vars(found).values()))
                return flat, Convergence(count, change, tuple(history))
            step = step if change < last else step / 2
            last = change
        previous = found.output
        cell = cell + step * (found.cell_voltage[:, 0] - cell)
    raise InputError(
        "nonlinear", f"a residual below {tolerance:g} within {iterations} iterations", f"{last:.2g}",
        "allow more iterations, lower the voltages, or loosen the tolerance",
    )  # fmt: skip


@torch.no_grad()
def currents(array: Array, rows: Tensor) -> Tensor:
    """What the tiles of an array give for inputs, every device at the voltage that it sees; without read noise.

    Equal inputs are solved once. The worst iteration is kept as `array.convergence`.

    Args:
        array: its device is `curved`, its inputs are in units of the read voltage.
        rows: `(row tiles, samples, rows)`, padded at the first rows.

    Returns:
        As weights, `(row tiles · digits, samples, out)`.
    """
    volts, span = array.device.read_volts, array.device.g_max - array.device.g_min  # type: ignore[attr-defined]
    lacking, done = len(rows) * array.rows - array.inputs, []
    for tile, given in enumerate(rows):
        first = tile * array.rows - lacking
        here = slice(max(0, first), first + array.rows)
        different, where = given[:, max(0, -first) :].double().unique(dim=0, return_inverse=True)
        for k, (plus, minus) in enumerate(array.state):
            sums = [_of_states(array, state, here, different * volts) for state in (plus, minus)]
            weights = (sums[0] - sums[1]) * (array.digit(k) / span / volts)
            done.append(weights[where].to(rows.dtype))
    return torch.stack(done)


def _of_states(array: Array, state: dict[str, Any], here: slice, volts: Tensor) -> Tensor:
    """Amperes of the devices of some rows, tile of columns after tile of columns, `(inputs, columns)`."""
    width = state["cycles"].shape[1]
    out = volts.new_zeros((len(volts), width))
    driven = torch.nonzero(volts.any(1)).view(-1)
    for start in range(0, width, array.columns):
        there = slice(start, start + array.columns)
        part = {name: x[here, there] for name, x in state.items() if isinstance(x, Tensor)}
        devices = part["cycles"].numel()

        def conductance(cell: Tensor, part: dict[str, Any] = part) -> Tensor:
            return array.device.conductance(part, cell, array.temperature).double()

        for some in driven.split(max(1, AT_ONCE // devices)) if len(driven) else ():
            given, wires = volts[some], array.wiring
            if wires is None:
                out[some, there] = (conductance(given[..., None]) * given[..., None]).sum(1)
                continue
            found, how = nonlinear(
                conductance, wires.row_segment, wires.column_segment, given, wires.driver, wires.sense, tolerance=TOLERANCE,
                iterations=ROUNDS,
            )  # fmt: skip
            out[some, there] = found.output
            array.convergence = max((array.convergence, how), key=lambda one: (one.iterations, one.residual))
    return out
