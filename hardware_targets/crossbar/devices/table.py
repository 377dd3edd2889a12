"""A device as a laboratory measured it: a table of pulses and conductances."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import torch
from scipy.optimize import least_squares
from torch import Tensor

from hardware_targets.crossbar.devices.pulsed import ROOM, Pulse, PulsedDevice, State
from neurospin.errors import InputError, MissingFile

COLUMNS = ["pulse", "g_up", "g_down"]


@dataclass(frozen=True)
class TableDevice(PulsedDevice):
    """Potentiation and depression curves; a pulse moves a device along its curve by one.

    Between the points the curves are linear; both must be monotone after the fit or the running maximum.

    Attributes:
        up: conductance after 0, 1, … potentiating pulses, siemens, rising.
        down: after 0, 1, … depressing pulses, siemens, falling.
        sigma: cycle to cycle, standard deviation of the conductance after a pulse, siemens.
        residual: root mean square of measured minus used curve, siemens.
        nonlinearity: fitted pulse constants (up, down) of `g ∝ 1 − e^{−k / A}`, nan where not fitted.
    """

    up: tuple[float, ...] = (1e-5, 1e-4)
    down: tuple[float, ...] = (1e-4, 1e-5)
    sigma: float = 0.0
    residual: float = 0.0
    nonlinearity: tuple[float, float] = (math.nan, math.nan)
    imperfections: ClassVar[Mapping[str, str]] = {"sigma": "programming noise"}
    by_voltage: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        up, down = np.diff(self.up), np.diff(self.down)
        if not (len(up) and len(down) and (up > 0).all() and (down < 0).all() and min(*self.up, *self.down) >= 0):
            raise InputError("TableDevice", "a rising and a falling curve >= 0", "something else", "give g_min < g_max")

    @staticmethod
    def from_csv(path: str | os.PathLike[str], *, fit: Literal["exponential", "points"] = "exponential") -> TableDevice:
        """Read `pulse,g_up,g_down` (a header, then one row per pulse, siemens).

        Args:
            path: of the file.
            fit: `"exponential"` (default) replaces each curve by the best
                `g₀ + (g₁ − g₀) (1 − e^{−k / A}) / (1 − e^{−n / A})`; `"points"` keeps the running extreme of the points.

        Raises:
            MissingFile: there is none.
            InputError: another header, a hole, text, a negative or non-finite value (with its line number), too
                few rows, or curves that do not rise and fall.
        """
        place = Path(path)
        if not place.is_file():
            raise MissingFile(str(place), "a CSV file", "nothing there", "check the path")
        rows: list[list[float]] = []
        try:
            lines = list(csv.reader(place.read_text(encoding="utf-8-sig").splitlines()))
        except (UnicodeDecodeError, csv.Error) as error:
            raise InputError(str(place), "a CSV file", type(error).__name__, "export the table as text") from None
        if not lines or [x.strip().lower() for x in lines[0]] != COLUMNS:
            got = ",".join(lines[0])[:80] if lines else "an empty file"
            raise InputError(f"{place}:1", "the header pulse,g_up,g_down", got, "name the columns; siemens")
        for number, line in enumerate(lines[1:], 2):
            try:
                values = [float(x) for x in line]
            except ValueError:
                values = []
            if len(values) != 3 or not all(math.isfinite(x) and x >= 0 for x in values):
                got = repr(",".join(line))[:80]
                raise InputError(f"{place}:{number}", "three finite numbers >= 0", got, "complete or remove the row")
            if values[0] != len(rows):
                raise InputError(
                    f"{place}:{number}", f"pulse {len(rows)}", f"{values[0]:g}", "count from 0 without holes"
                )
            rows.append(values)
        if len(rows) < 4:
            raise InputError(str(place), "at least 4 pulses", str(len(rows)), "measure more")
        table = np.array(rows)
        used, constants, misfit = [], [], []
        for curve, sign in ((table[:, 1], 1), (table[:, 2], -1)):
            smooth, constant = _exponential(curve) if fit == "exponential" else (_running(curve, sign), math.nan)
            if not (np.diff(smooth) * sign > 0).all():
                way = "rises" if sign > 0 else "falls"
                raise InputError(
                    str(place), f"a curve that {way} with the pulses", "one that does not", "swap the columns?"
                )
            used.append(tuple(float(x) for x in np.maximum(smooth, 0)))
            constants.append(constant)
            misfit.append(curve - smooth)
        residual = float(np.sqrt(np.mean(np.square(misfit))))
        return TableDevice(used[0], used[1], residual, residual, (constants[0], constants[1]))

    def bounds(self, volts: float = 0.0) -> tuple[float, float]:
        """Range that both curves cover."""
        return max(self.up[0], self.down[-1]), min(self.up[-1], self.down[0])

    def nominal(self, state: State, volts: float = 0.0) -> Tensor:
        """The conductance."""
        return state["g"]

    def strong(self, way: Tensor) -> Pulse:
        """One pulse of the table."""
        return Pulse(way, 1.0)

    def _fresh(self, shape: tuple[int, ...], generator: torch.Generator) -> State:
        return {"g": torch.full(shape, self.up[0])}

    def conductance(self, state: State, volts: float | Tensor = 0.0, temperature: float = ROOM) -> Tensor:
        """Siemens."""
        return state["g"]

    def switching_probability(self, state: State, pulse: Pulse, temperature: float = 300.0) -> Tensor:
        """1 for any pulse; the table does not know voltages."""
        on = torch.as_tensor(pulse.volts, dtype=torch.float32).expand(state["g"].shape) != 0
        return on.float() * (pulse.seconds > 0)

    def expected(self, state: State, pulse: Pulse, temperature: float = 300.0) -> Tensor:
        """The conductance one pulse further along the curve."""
        volts = torch.as_tensor(pulse.volts, dtype=torch.float32).expand(state["g"].shape)
        now = state["g"].double().numpy()
        up, down = np.array(self.up), np.array(self.down)[::-1]
        higher = np.interp(np.interp(now, up, np.arange(len(up))) + 1, np.arange(len(up)), up)
        lower = np.interp(np.interp(now, down, np.arange(len(down))) - 1, np.arange(len(down)), down)
        moved = torch.where(volts > 0, torch.tensor(higher).float(), torch.tensor(lower).float())
        on = (self.switching_probability(state, pulse) > 0) & ~state["stuck"]
        return torch.where(on, moved, state["g"])

    def _pulsed(self, state: State, pulse: Pulse, generator: torch.Generator, temperature: float) -> State:
        on = self.switching_probability(state, pulse)
        noise = self.sigma * torch.randn(state["g"].shape, generator=generator) * on
        low, high = min(*self.up, *self.down), max(*self.up, *self.down)
        return {**state, "g": (self.expected(state, pulse) + noise).clamp(low, high)}

    def relax(self, state: State, seconds: float, generator: torch.Generator, temperature: float = 300.0) -> State:
        """Unchanged: the table does not know time."""
        return state


def _exponential(curve: np.ndarray) -> tuple[np.ndarray, float]:
    """Best exponential approach and its pulse constant."""
    k, n, scale = np.arange(len(curve)), len(curve) - 1, np.abs(curve).max() or 1.0

    def model(p: np.ndarray) -> np.ndarray:
        a = np.exp(p[2])
        return scale * (p[0] + (p[1] - p[0]) * np.expm1(-k / a) / np.expm1(-n / a))

    start = [curve[0] / scale, curve[-1] / scale, np.log(n / 2)]
    found = least_squares(lambda p: (model(p) - curve) / scale, start, bounds=([-2, -2, -3], [3, 3, np.log(100 * n)]))
    return model(found.x), float(np.exp(found.x[2]))


def _running(curve: np.ndarray, sign: int) -> np.ndarray:
    """Running extreme, made strict by a millionth of the range per pulse."""
    extreme = np.maximum.accumulate(sign * curve)
    return sign * (extreme + 1e-6 * np.ptp(curve) * np.arange(len(curve)))
