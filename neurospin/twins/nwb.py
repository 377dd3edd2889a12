"""Neurodata Without Borders: a session's file in and out, with pynwb."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from neurospin.errors import InputError, MissingDependency
from neurospin.files import existing, replacing
from neurospin.twins.data import TwinData
from neurospin.twins.responses import Counts, Signal, Spikes
from neurospin.twins.tables import rows

_GAP = 1.0  # seconds between trials whose start is not known


def _pynwb() -> Any:
    try:
        import pynwb  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise MissingDependency("nwb", "pynwb", "no such package", "pip install 'neurospin[nwb]'") from error
    return pynwb


def to_nwb(
    data: TwinData,
    path: str | Path,
    *,
    identifier: str = "neurospin",
    description: str = "TwinData",
    session_start: datetime | None = None,
) -> None:
    """Write data as one NWB file, whole or not at all.

    Trials and units become the tables of those names; spikes the units' `spike_times` (seconds of the session, with
    the trials' `start` or one second between them); counts and signals an acquisition `responses`; covariates series
    of the processing module `behavior`; stimuli the template `stimuli`; `meta` the notes.

    Args:
        data: what to write.
        path: where to, `*.nwb`.
        identifier: of the session.
        description: of the session.
        session_start: date and time (default: 1970-01-01, for unknown).

    Raises:
        MissingDependency: pynwb is not installed.
        InputError: trials overlap.
        OutputError: the file cannot be written.
    """
    pynwb = _pynwb()
    start_time = session_start or datetime(1970, 1, 1, tzinfo=UTC)
    file = pynwb.NWBFile(
        session_description=description, identifier=identifier, session_start_time=start_time,
        notes=json.dumps({"meta": dict(data.meta), "form": _form(data)}),
    )  # fmt: skip
    duration = _duration(data)
    start = np.asarray(data.trials.get("start", np.arange(len(data)) * (duration + _GAP)), np.float64)
    order = np.argsort(start)
    if (np.diff(start[order]) < duration * (1 - 1e-9)).any():
        raise InputError("trials.start", f"trials of {duration:g} s that do not overlap", "others", "mend the column")
    columns = {k: v for k, v in data.trials.items() if k != "start"}
    for name in columns:
        file.add_trial_column(name=name, description=name)
    for i in range(len(data)):
        file.add_trial(start_time=start[i], stop_time=start[i] + duration, **{k: v[i] for k, v in columns.items()})
    for name in data.units:
        file.add_unit_column(name=name, description=name)
    spikes = data.responses if isinstance(data.responses, Spikes) else None
    if spikes is not None and len(spikes.time) and (spikes.time.min() < 0 or spikes.time.max() >= duration):
        raise InputError("spikes.time", f"within the trial, 0 … {duration:g} s", "others", "leave them out or widen it")
    for i in range(rows(data.units)):
        values: dict[str, Any] = {k: v[i] for k, v in data.units.items()}
        if spikes is not None:
            mine = spikes.unit == i
            values["spike_times"] = np.sort(start[spikes.trial[mine]] + spikes.time[mine])
        file.add_unit(**values)
    held = np.asarray(data.stimuli)
    file.add_stimulus_template(_series(pynwb, "stimuli", held, np.arange(len(held), dtype=float)))
    if isinstance(data.responses, Counts | Signal):
        file.add_acquisition(_trials_series(pynwb, "responses", data.responses.values, start, data.responses.dt))
    if data.covariates:
        module = file.create_processing_module(name="behavior", description="covariates")
        for name, along in data.covariates.items():
            held = np.asarray(along)
            module.add(_trials_series(pynwb, name, held, start, duration / held.shape[1]))
    with replacing(path) as temporary, pynwb.NWBHDF5IO(str(temporary), "w") as writer:
        writer.write(file)


def _form(data: TwinData) -> dict[str, Any]:
    """What the tables of NWB do not tell: kind and step of the responses, and whether the trials' starts are real."""
    kind = None if data.responses is None else type(data.responses).__name__
    step = data.responses.dt if isinstance(data.responses, Counts | Signal) else None
    return {"responses": kind, "dt": step, "duration": _duration(data), "start": "start" in data.trials}


def _duration(data: TwinData) -> float:
    if isinstance(data.responses, Spikes):
        return float(data.responses.duration)
    return 1.0 if data.responses is None else data.responses.values.shape[1] * data.responses.dt


def _series(pynwb: Any, name: str, values: np.ndarray, times: np.ndarray) -> Any:
    return pynwb.TimeSeries(name=name, data=values, unit="a.u.", timestamps=times)


def _trials_series(pynwb: Any, name: str, values: np.ndarray, start: np.ndarray, dt: float) -> Any:
    """Trials one after the other along the first axis, as NWB wants time."""
    times = start[:, None] + dt * np.arange(values.shape[1])
    return _series(pynwb, name, values.reshape(-1, *values.shape[2:]), times.ravel())


def from_nwb(path: str | Path, *, stimulus_column: str = "stimulus", stimuli: np.ndarray | None = None) -> TwinData:
    """Read a laboratory's file: its trials table, its units table with spike times, its stimuli.

    Spikes are given to the trial in whose interval they lie; the others are left out. A stimulus column with names
    or any other numbers is turned into rows (sorted), and kept as `NAME_label`. Trial times become `start`.

    Args:
        path: the file.
        stimulus_column: column of the trials that tells what was shown (default `"stimulus"`).
        stimuli: `(stimuli, …)` (default: the template `stimuli`, else one feature per stimulus).

    Raises:
        MissingDependency: pynwb is not installed.
        MissingFile: nothing there.
        InputError: no NWB file, no trials, no such column, or trials that overlap.
    """
    pynwb = _pynwb()
    place = existing(path)
    try:
        with pynwb.NWBHDF5IO(str(place), "r") as reader:
            return _read(reader.read(), str(place), stimulus_column, stimuli)
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(str(place), "an NWB file", str(error), "check the file") from error


def _columns(table: Any, skip: tuple[str, ...]) -> dict[str, np.ndarray]:
    """The columns of a dynamic table that have one number, truth value or text per row."""
    found = {}
    for name in table.colnames:
        if name in skip:
            continue
        values = np.asarray(table[name].data[:])
        if values.dtype.kind == "O":
            values = np.array([v.decode() if isinstance(v, bytes) else v for v in values])
        if values.ndim == 1 and len(values) == len(table) and values.dtype.kind in "biufU":
            found[name] = values
    return found


def _read(file: Any, where: str, column: str, stimuli: np.ndarray | None) -> TwinData:
    if file.trials is None or len(file.trials) == 0:
        raise InputError(where, "a table of trials", "none", "add trials with start_time and stop_time")
    try:
        told = json.loads(file.notes or "{}")
    except ValueError:
        told = {}
    form: Mapping[str, Any] = told.get("form", {}) if isinstance(told, dict) else {}
    trials = _columns(file.trials, ("start_time", "stop_time"))
    start = np.asarray(file.trials["start_time"].data[:], np.float64)
    stop = np.asarray(file.trials["stop_time"].data[:], np.float64)
    duration = float(form.get("duration", np.median(stop - start)))
    if form.get("start", True):
        trials["start"] = start
    if column not in trials:
        raise InputError(where, f"a column {column!r} of the trials", ", ".join(trials), "give stimulus_column")
    template = file.stimulus_template["stimuli"].data[:] if "stimuli" in file.stimulus_template else None
    seen = stimuli if stimuli is not None else template
    shown = trials[column]
    if shown.dtype.kind not in "iu" or seen is None:
        names, index = np.unique(shown, return_inverse=True)
        trials[f"{column}_label"], shown = trials.pop(column), index
        seen = np.eye(len(names), dtype=np.float32) if seen is None else seen
    trials.pop(column, None)
    units = {} if file.units is None else _columns(file.units, ("spike_times", "spike_times_index"))
    responses: Spikes | Counts | Signal | None = None
    if form.get("responses") in ("Counts", "Signal"):
        kind = Counts if form["responses"] == "Counts" else Signal
        values = file.acquisition["responses"].data[:]
        responses = kind(values.reshape(len(start), -1, values.shape[-1]), float(form["dt"]))
    elif file.units is not None and "spike_times" in file.units.colnames:
        responses = _spikes(file.units, start, stop, duration, where)
        units = units or {"unit": np.arange(len(file.units))}
    covariates = {}
    if "behavior" in file.processing and form:
        for name, series in file.processing["behavior"].data_interfaces.items():
            values = series.data[:]
            covariates[name] = values.reshape(len(start), -1, *values.shape[1:])
    meta = told.get("meta", {}) if form else {"session": file.identifier, "description": file.session_description}
    return TwinData({**trials, "stimulus": shown}, np.asarray(seen), responses, units, covariates, meta)


def _spikes(table: Any, start: np.ndarray, stop: np.ndarray, duration: float, where: str) -> Spikes:
    order = np.argsort(start)
    if (start[order][1:] < stop[order][:-1] - 1e-9).any():
        raise InputError(where, "trials that do not overlap", "others", "cut stop_time")
    times, owners, trials = [], [], []
    for unit in range(len(table)):
        fired = np.asarray(table["spike_times"][unit], np.float64)
        trial = order[np.maximum(np.searchsorted(start[order], fired, "right") - 1, 0)]
        inside = (fired >= start[trial]) & (fired < stop[trial])
        times.append((fired - start[trial])[inside])
        trials.append(trial[inside])
        owners.append(np.full(inside.sum(), unit))
    return Spikes(np.concatenate(times), np.concatenate(owners), np.concatenate(trials), duration)
