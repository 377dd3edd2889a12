"""Recordings and choices as one table of trials with its stimuli, responses and units."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from neurospin.errors import InputError, MissingDependency
from neurospin.files import existing, replacing
from neurospin.twins.ceilings import Ceiling, ceiling
from neurospin.twins.responses import Counts, Signal, Spikes
from neurospin.twins.tables import Table, checked_table, read_csv, rows

if TYPE_CHECKING:
    import xarray  # pyright: ignore[reportMissingImports]

TIERS = ("train", "val", "test")
Window = tuple[float, float]


@dataclass(frozen=True)
class Tensors:
    """Trials as tensors, time first.

    Attributes:
        stimuli: of every trial, `(trials, …)`.
        responses: `(time, trials, units)`; nan where a unit belongs to another session.
        covariates: by name, `(their time, trials, …)`.
    """

    stimuli: torch.Tensor
    responses: torch.Tensor | None
    covariates: dict[str, torch.Tensor]


@dataclass(frozen=True)
class TwinData:
    """What a twin is fitted to: who saw what, when, and what happened.

    Attributes:
        trials: columns of equal length. `stimulus` is the row of `stimuli` that was shown. Known to the methods, all
            optional: `session` (of the units that were recorded), `block`, `tier` (train, val, test). Any others
            (`subject`, `choice`, `category`, `rt`, `start` in seconds, …) are carried along.
        stimuli: `(stimuli, …)`: images, films or features.
        responses: `Spikes`, `Counts`, `Signal`, or None for behaviour alone.
        units: columns, one row per unit; `session` tells in which one a unit was recorded (default: in all).
        covariates: by name, `(trials, time, …)`: position of the eye, size of the pupil, running.
        meta: anything that JSON can write: species, modality, licence, source.

    Raises:
        InputError: lengths or rows do not match, or something is not finite.
    """

    trials: Table
    stimuli: np.ndarray
    responses: Spikes | Counts | Signal | None = None
    units: Table = field(default_factory=dict)
    covariates: Mapping[str, np.ndarray] = field(default_factory=dict)
    meta: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        trials, units = checked_table(self.trials, "trials"), checked_table(self.units, "units")
        if "stimulus" not in trials:
            raise InputError("trials", "a column 'stimulus'", ", ".join(trials) or "none", "say what was shown")
        shown = trials["stimulus"]
        if shown.dtype.kind not in "iu" or not len(shown) or shown.min() < 0 or shown.max() >= len(self.stimuli):
            raise InputError(
                "trials.stimulus", f"whole numbers from 0 below {len(self.stimuli)}", "others", "check them"
            )
        if "tier" in trials and not set(trials["tier"].tolist()) <= set(TIERS):
            raise InputError("trials.tier", ", ".join(TIERS), str(sorted(set(trials["tier"].tolist()))), "use these")
        if self.responses is not None:
            self.responses.check(len(shown), rows(units) if units else None)
            if not units:
                units = {"unit": np.arange(self.responses.units)}
        for name, values in self.covariates.items():
            if np.ndim(values) < 2 or len(values) != len(shown):
                got = str(np.shape(values))
                raise InputError(f"covariates[{name!r}]", f"({len(shown)} trials, time, …)", got, "one row per trial")
        try:
            json.dumps(dict(self.meta))
        except (TypeError, ValueError) as error:
            raise InputError("meta", "what JSON can write", str(error), "keep arrays elsewhere") from error
        object.__setattr__(self, "trials", trials)
        object.__setattr__(self, "units", units)

    def __len__(self) -> int:
        """Number of trials."""
        return len(self.trials["stimulus"])

    def validate(self) -> list[str]:
        """What would spoil a score, one line each; empty if nothing does.

        Stimuli of the test trials that also train, test stimuli shown once (no ceiling), units without any response.
        """
        told = []
        shown = self.trials["stimulus"]
        if "tier" in self.trials:
            tier = self.trials["tier"]
            shared = np.intersect1d(shown[tier == "test"], shown[tier != "test"])
            if len(shared):
                told.append(
                    f"{len(shared)} stimuli of the test are also in another tier: right only for split('trial')"
                )
            if (tier == "test").any() and np.unique(shown[tier == "test"], return_counts=True)[1].min() < 2:
                told.append("test stimuli shown once have no ceiling: repeat them")
        if isinstance(self.responses, Spikes):
            silent = rows(self.units) - len(np.unique(self.responses.unit))
            if silent:
                told.append(f"{silent} units never fire")
        return told

    def split(self, by: str = "stimulus", *, test: float = 0.2, val: float = 0.1, seed: int = 0) -> TwinData:
        """The same data with every trial in one tier.

        `"stimulus"`, `"session"` and `"block"` keep whole stimuli (sessions, blocks) in one tier, so that nothing of
        the test is met in training; a block is one of its session. `"trial"` deals out the repeats of every stimulus.

        Args:
            by: what is dealt out.
            test: share of it in the test.
            val: share of it for validation.
            seed: of the shuffle.

        Raises:
            InputError: an unknown way, a missing column, shares that do not fit, or too few groups.
        """
        if by not in ("stimulus", "trial", "session", "block"):
            raise InputError("split.by", "stimulus, trial, session or block", repr(by), "choose one of them")
        if not (0 < test < 1 and 0 <= val < 1 and test + val < 1):
            raise InputError(
                "split", "shares above 0 with a sum below 1", f"test {test}, val {val}", "make them smaller"
            )
        if by in ("session", "block") and by not in self.trials:
            raise InputError("split.by", f"a column {by!r} of the trials", ", ".join(self.trials), "add it")
        draw = np.random.default_rng(seed)
        tier = np.full(len(self), "train", dtype="<U5")
        if by == "trial":
            order = draw.permutation(len(self))
            shown = self.trials["stimulus"][order]
            place = np.empty(len(self))
            for stimulus in np.unique(shown):
                mine = order[shown == stimulus]
                place[mine] = (np.arange(len(mine)) + 0.5) / len(mine)
            tier[place > 1 - test] = "test"
            tier[(place <= 1 - test) & (place > 1 - test - val)] = "val"
        else:
            keys = self.trials[by].astype(str)
            if by == "block" and "session" in self.trials:
                keys = np.array([f"{s}\0{b}" for s, b in zip(self.trials["session"], keys, strict=True)])
            groups, group = np.unique(keys, return_inverse=True)
            held = [max(1, round(test * len(groups))), max(1, round(val * len(groups))) if val else 0]
            if sum(held) >= len(groups):
                raise InputError(
                    "split", f"more than {sum(held)} of {by}", str(len(groups)), "set val=0, or use 'trial'"
                )
            order = draw.permutation(len(groups))
            tier[np.isin(group, order[: held[0]])] = "test"
            tier[np.isin(group, order[held[0] : sum(held)])] = "val"
        return replace(self, trials={**self.trials, "tier": tier})

    def select(self, trials: np.ndarray) -> TwinData:
        """The trials of a mask `(trials,)` or of rows, in that order; stimuli and units stay."""
        wanted = np.arange(len(self))[np.asarray(trials)]
        return replace(
            self,
            trials={name: column[wanted] for name, column in self.trials.items()},
            responses=None if self.responses is None else self.responses.select(wanted),
            covariates={name: values[wanted] for name, values in self.covariates.items()},
        )

    def tier(self, name: str) -> TwinData:
        """The trials of a tier: train, val or test."""
        if "tier" not in self.trials:
            raise InputError("tier", "trials that were split", "no column 'tier'", "call split() first")
        if name not in TIERS:
            raise InputError("tier", ", ".join(TIERS), repr(name), "use one of these")
        return self.select(self.trials["tier"] == name)

    def choices(self, column: str = "choice", *, duration: float = 1.0) -> TwinData:
        """The same trials with what was chosen as the response: one unit per option, 1 for the chosen one.

        For `Twin(observation="choice")`; `steps` of the core pass in the one bin of a trial.

        Args:
            column: of the trials: what was chosen; its values, sorted, are the options.
            duration: of a trial in seconds (default 1).

        Raises:
            InputError: no such column, or fewer than two options.
        """
        if column not in self.trials:
            raise InputError("choices", f"a column {column!r} of the trials", ", ".join(self.trials), "add it")
        options, which = np.unique(self.trials[column], return_inverse=True)
        if len(options) < 2:
            raise InputError(f"trials.{column}", "two options or more", str(options.tolist()), "leave other trials in")
        chosen = Counts(np.eye(len(options))[which][:, None], duration)
        return replace(self, responses=chosen, units={"option": options})

    def counts(self, dt: float | None = None, window: Window | None = None) -> np.ndarray:
        """Responses in bins, `(trials, bins, units)`; nan where a unit was not recorded in a trial's session.

        Args:
            dt: width of a bin in seconds (default: as recorded; needed for spikes). A multiple of that of counts.
            window: from and to, in seconds after the start of a trial (default: all); its end is not part of it.
        """
        if self.responses is None:
            raise InputError("counts", "responses", "behaviour alone", "use the trials table")
        binned = self.responses.binned(dt, window, len(self), rows(self.units))
        if "session" in self.units and "session" in self.trials:
            absent = self.trials["session"].astype(str)[:, None] != self.units["session"].astype(str)
            binned[np.broadcast_to(absent[:, None], binned.shape)] = np.nan
        return binned

    def repeated(self, dt: float | None = None, window: Window | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Responses as the scores want them, `(repeats, stimuli · bins, units)`, and the stimulus of every sample.

        A stimulus that was shown less often than another is filled up with nan.

        Args:
            dt: of `counts`.
            window: of `counts`.
        """
        binned = self.counts(dt, window)
        return self.by_repeat(binned), np.repeat(np.unique(self.trials["stimulus"]), binned.shape[1])

    def by_repeat(self, values: np.ndarray) -> np.ndarray:
        """Values of the trials, `(trials, bins, units)`, as the scores want them, `(repeats, stimuli · bins, units)`."""
        shown = self.trials["stimulus"]
        kinds, which, often = np.unique(shown, return_inverse=True, return_counts=True)
        order = np.argsort(which, kind="stable")
        repeat = np.empty(len(self), np.int64)
        repeat[order] = np.arange(len(self)) - np.repeat(np.cumsum(often) - often, often)
        found = np.full((often.max(), len(kinds), *values.shape[1:]), np.nan)
        found[repeat, which] = values
        return found.reshape(len(found), -1, values.shape[2])

    def ceiling(self, dt: float | None = None, window: Window | None = None) -> Ceiling:
        """How well any model could foretell these trials, per unit; `dt` and `window` are those of `counts`."""
        return ceiling(self.repeated(dt, window)[0])

    def to_torch(self, dt: float | None = None, window: Window | None = None) -> Tensors:
        """All trials as float32 tensors, time first; `dt` and `window` are those of `counts`."""
        shown = torch.as_tensor(np.asarray(self.stimuli, np.float32)[self.trials["stimulus"]])
        responses = None
        if self.responses is not None:
            responses = torch.as_tensor(self.counts(dt, window)).float().transpose(0, 1).contiguous()
        along = {
            name: torch.as_tensor(np.asarray(values, np.float32)).transpose(0, 1).contiguous()
            for name, values in self.covariates.items()
        }
        return Tensors(shown, responses, along)

    def to_xarray(self, dt: float | None = None, window: Window | None = None) -> xarray.DataArray:
        """Responses as an array `(trial, time, unit)` with the columns of both tables as coordinates.

        Times are those of the bins' beginnings, in seconds after the start of a trial. `dt` and `window` are those of
        `counts`.

        Raises:
            MissingDependency: xarray is not installed.
        """
        try:
            import xarray  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            fix = "pip install 'neurospin[xarray]'"
            raise MissingDependency("to_xarray", "xarray", "no such package", fix) from error
        values = self.counts(dt, window)
        step = dt if dt is not None else self.responses.dt  # type: ignore[union-attr]
        times = (window or (0.0, 0.0))[0] + step * np.arange(values.shape[1])
        along = {"time": ("time", times)}
        along |= {name: ("trial", column) for name, column in self.trials.items()}
        along |= {name if name not in along else f"unit_{name}": ("unit", c) for name, c in self.units.items()}
        return xarray.DataArray(values, dims=("trial", "time", "unit"), coords=along, attrs=dict(self.meta))

    def save(self, path: str | Path) -> None:
        """Write everything into one `.npz`, whole or not at all; nothing in it needs pickle."""
        arrays: dict[str, np.ndarray] = {"stimuli": np.asarray(self.stimuli)}
        arrays |= {f"trials/{k}": v for k, v in self.trials.items()} | {f"units/{k}": v for k, v in self.units.items()}
        arrays |= {f"covariates/{k}": np.asarray(v) for k, v in self.covariates.items()}
        if self.responses is not None:
            arrays |= {f"responses/{k}": np.asarray(v) for k, v in vars(self.responses).items()}
        kind = None if self.responses is None else type(self.responses).__name__
        arrays["header"] = np.array(json.dumps({"format": 1, "responses": kind, "meta": dict(self.meta)}))
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **arrays)

    @staticmethod
    def load(path: str | Path) -> TwinData:
        """Read what `save` wrote.

        Raises:
            MissingFile: nothing there.
            InputError: not such a file.
        """
        place = existing(path)
        try:
            with np.load(place, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            header = json.loads(str(arrays.pop("header")))
            kinds = {"Spikes": Spikes, "Counts": Counts, "Signal": Signal}
            kind = None if header["responses"] is None else kinds[header["responses"]]
            parts: dict[str, dict[str, np.ndarray]] = {"trials": {}, "units": {}, "covariates": {}, "responses": {}}
            stimuli = arrays.pop("stimuli")
            for name, values in arrays.items():
                part, _, key = name.partition("/")
                parts[part][key] = values
            held = {k: float(v) if v.ndim == 0 else v for k, v in parts["responses"].items()}
            responses = None if kind is None else kind(**held)
        except Exception as error:
            raise InputError(str(place), "a file written by TwinData.save", str(error), "check the file") from error
        return TwinData(parts["trials"], stimuli, responses, parts["units"], parts["covariates"], header["meta"])

    @staticmethod
    def from_tables(
        trials: str | Path,
        stimuli: str | Path,
        responses: str | Path | None = None,
        *,
        units: str | Path | None = None,
        covariates: str | Path | None = None,
        meta: Mapping[str, Any] | None = None,
    ) -> TwinData:
        """Data from the files that any laboratory can write.

        Args:
            trials: csv with a header, one row per trial; the column `stimulus` counts from 0.
            stimuli: npy, `(stimuli, …)`.
            responses: npz with `time` (seconds after the start of the trial), `unit`, `trial` of every spike and
                `duration` of a trial; or with `counts` `(trials, bins, units)` and `dt`; or with `signal` and `dt`.
            units: csv with a header, one row per unit.
            covariates: npz, one array `(trials, time, …)` per name.
            meta: species, licence, source.

        Raises:
            MissingFile: a file is not there.
            InputError: a file is not what it should be.
        """
        table = read_csv(trials)
        seen, told = _arrays(stimuli), _arrays(responses) if responses is not None else {}
        if not isinstance(seen, np.ndarray):
            raise InputError(str(stimuli), "one array (npy)", "several (npz)", "save it with numpy.save")
        if isinstance(told, np.ndarray):
            raise InputError(str(responses), "named arrays (npz)", "one (npy)", "save them with numpy.savez")
        along = _arrays(covariates) if covariates is not None else {}
        if isinstance(along, np.ndarray):
            raise InputError(str(covariates), "named arrays (npz)", "one (npy)", "save them with numpy.savez")
        found: Spikes | Counts | Signal | None = None
        if {"time", "unit", "trial", "duration"} <= set(told):
            found = Spikes(told["time"], told["unit"], told["trial"], float(told["duration"]))
        elif {"counts", "dt"} <= set(told):
            found = Counts(told["counts"], float(told["dt"]))
        elif {"signal", "dt"} <= set(told):
            found = Signal(told["signal"], float(told["dt"]))
        elif responses is not None:
            wanted = "time, unit, trial and duration; counts and dt; or signal and dt"
            raise InputError(str(responses), wanted, ", ".join(told) or "nothing", "rename the arrays")
        return TwinData(table, seen, found, {} if units is None else read_csv(units), along, meta or {})


def _arrays(path: str | Path) -> np.ndarray | dict[str, np.ndarray]:
    """What an npy or npz file holds."""
    place = existing(path)
    try:
        held = np.load(place, allow_pickle=False)
        if isinstance(held, np.ndarray):
            return held
        with held:
            return {name: held[name] for name in held.files}
    except Exception as error:
        raise InputError(str(place), "an npy or npz file without pickled objects", str(error), "check it") from error
