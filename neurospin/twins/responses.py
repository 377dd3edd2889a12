"""Responses of units: spikes with their times, counts in bins, or continuous signals."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from neurospin.errors import InputError

Window = tuple[float, float]


def _steps(dt: float, window: Window) -> int:
    """How many bins fill a window exactly."""
    if not (np.isfinite(dt) and dt > 0 and window[1] > window[0]):
        raise InputError("counts", "dt > 0 and a window that ends after it begins", f"{dt}, {window}", "check both")
    number = (window[1] - window[0]) / dt
    if round(number) < 1 or abs(number - round(number)) > 1e-6 * max(1.0, number):
        raise InputError("counts", "a window of whole bins", f"{number:g} bins of {dt:g} s", "change dt or the window")
    return round(number)


@dataclass(frozen=True)
class Spikes:
    """Times of spikes.

    Attributes:
        time: seconds after the start of the trial, `(spikes,)`; before it and after it is allowed.
        unit: row of the units table, `(spikes,)`.
        trial: row of the trials table, `(spikes,)`.
        duration: of a trial, in seconds.
    """

    time: np.ndarray
    unit: np.ndarray
    trial: np.ndarray
    duration: float

    @property
    def units(self) -> int:
        """Number of units, from the largest row."""
        return int(self.unit.max()) + 1 if len(self.unit) else 0

    def check(self, trials: int, units: int | None) -> None:
        """Refuse spikes of trials or units that are not in the tables.

        Raises:
            InputError: so it is, or arrays do not match, or a time is not finite.
        """
        shapes = [np.shape(x) for x in (self.time, self.unit, self.trial)]
        if len(set(shapes)) != 1 or len(shapes[0]) != 1:
            raise InputError("spikes", "time, unit and trial of one length", str(shapes), "match them")
        if not np.isfinite(self.time).all() or not (np.isfinite(self.duration) and self.duration > 0):
            raise InputError("spikes", "finite times and a duration above 0", "others", "check them")
        for name, limit in (("unit", units), ("trial", trials)):
            row = getattr(self, name)
            if row.dtype.kind not in "iu":
                raise InputError(f"spikes.{name}", "whole numbers", str(row.dtype), "count rows from 0")
            if len(row) and (row.min() < 0 or (limit is not None and row.max() >= limit)):
                raise InputError(f"spikes.{name}", f"rows below {limit}", f"{row.min()} … {row.max()}", "check them")

    def binned(self, dt: float | None, window: Window | None, trials: int, units: int) -> np.ndarray:
        """Counts `(trials, bins, units)`; a spike on an edge belongs to the later bin."""
        if dt is None:
            raise InputError("counts.dt", "the width of a bin for spikes", "none", "give it in seconds")
        start, end = window or (0.0, self.duration)
        steps = _steps(dt, (start, end))
        place = np.floor((np.asarray(self.time, np.float64) - start) / dt + 1e-9).astype(np.int64)  # 0.3 / 0.1 < 3
        inside = (place >= 0) & (place < steps)
        flat = (self.trial[inside].astype(np.int64) * steps + place[inside]) * units + self.unit[inside]
        found = np.bincount(flat, minlength=trials * steps * units)
        return found.reshape(trials, steps, units).astype(np.float64)

    def select(self, wanted: np.ndarray) -> Spikes:
        """The spikes of these trials, in their order; a trial that is wanted twice is there twice."""
        order = np.argsort(self.trial, kind="stable")
        sorted_trial = self.trial[order]
        first, last = np.searchsorted(sorted_trial, wanted, "left"), np.searchsorted(sorted_trial, wanted, "right")
        number = last - first
        taken = order[np.repeat(first - np.cumsum(number) + number, number) + np.arange(number.sum())]
        return replace(
            self, time=self.time[taken], unit=self.unit[taken], trial=np.repeat(np.arange(len(wanted)), number)
        )


def _check_samples(values: np.ndarray, dt: float, trials: int, units: int | None) -> None:
    shape = np.shape(values)
    if len(shape) != 3 or shape[0] != trials or (units is not None and shape[2] != units) or 0 in shape:
        wanted = f"({trials} trials, time, {'units' if units is None else f'{units} units'})"
        raise InputError("responses", wanted, str(shape), "check the order of the axes")
    if not (np.isfinite(dt) and dt > 0):
        raise InputError("responses.dt", "seconds above 0", str(dt), "give the time between samples")
    if np.isinf(values).any():
        raise InputError("responses", "finite numbers, or nan where missing", "inf", "check them")


def _grouped(values: np.ndarray, step: float, dt: float | None, window: Window | None) -> np.ndarray:
    """The samples of a window in bins, `(trials, bins, samples in a bin, units)`."""
    start, end = window or (0.0, values.shape[1] * step)
    first, taken, steps = round(start / step), _steps(step, (start, end)), _steps(dt or step, (start, end))
    if first < 0 or first + taken > values.shape[1] or abs(first - start / step) > 1e-6 * max(1, first):
        raise InputError("counts.window", "whole samples within the trial", str((start, end)), "change the window")
    if taken % steps:
        raise InputError("counts.dt", f"a multiple of {step:g} s", f"{dt:g} s", "change dt")
    return values[:, first : first + taken].astype(np.float64).reshape(len(values), steps, -1, values.shape[2])


@dataclass(frozen=True)
class Counts:
    """Spikes per bin.

    Attributes:
        values: `(trials, bins, units)`; nan where not recorded.
        dt: width of a bin in seconds.
    """

    values: np.ndarray
    dt: float

    @property
    def units(self) -> int:
        """Number of units."""
        return self.values.shape[2]

    def check(self, trials: int, units: int | None) -> None:
        """Refuse counts that do not match the tables.

        Raises:
            InputError: another shape, a bin that is not above 0, a negative count.
        """
        _check_samples(self.values, self.dt, trials, units)
        if (np.nan_to_num(self.values) < 0).any():
            raise InputError("counts", "no negative number", "one", "use Signal for continuous responses")

    def binned(self, dt: float | None, window: Window | None, trials: int, units: int) -> np.ndarray:
        """Counts in wider bins, summed, `(trials, bins, units)`."""
        return _grouped(self.values, self.dt, dt, window).sum(2)

    def select(self, wanted: np.ndarray) -> Counts:
        """These trials, in their order."""
        return replace(self, values=self.values[wanted])


@dataclass(frozen=True)
class Signal:
    """Continuous responses: BOLD, high-gamma power, fluorescence.

    Attributes:
        values: `(trials, samples, units)`; nan where not recorded.
        dt: time between samples in seconds.
    """

    values: np.ndarray
    dt: float

    @property
    def units(self) -> int:
        """Number of units."""
        return self.values.shape[2]

    def check(self, trials: int, units: int | None) -> None:
        """Refuse a signal that does not match the tables.

        Raises:
            InputError: another shape, a step that is not above 0, an infinite value.
        """
        _check_samples(self.values, self.dt, trials, units)

    def binned(self, dt: float | None, window: Window | None, trials: int, units: int) -> np.ndarray:
        """The signal in wider bins, averaged, `(trials, bins, units)`."""
        return _grouped(self.values, self.dt, dt, window).mean(2)

    def select(self, wanted: np.ndarray) -> Signal:
        """These trials, in their order."""
        return replace(self, values=self.values[wanted])
