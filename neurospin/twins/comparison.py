"""Rate against spiking: two twins under the same conditions, unit by unit, and on every target."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from neurospin import energy
from neurospin.errors import InputError, NeurospinError
from neurospin.target import Target
from neurospin.twins import geometry, variability
from neurospin.twins.data import TwinData
from neurospin.twins.evaluate import score, tested
from neurospin.twins.export import run_on
from neurospin.twins.fitted import Fit
from neurospin.twins.responses import Signal, Spikes
from neurospin.twins.scores import Scores

SAME = ("readout", "observation", "nonlinearity", "dt", "window", "steps", "shifter", "modulator")
SETTINGS = ("iterations", "batch", "schedule", "terms", "budget")
MEASURES = ("cc_norm", "feve", "bits_per_spike")


@dataclass(frozen=True)
class Difference:
    """A measure of two twins, and the second's less the first's.

    Attributes:
        first, second: over units, averaged over seeds.
        difference: second − first.
        low, high: 95 % interval of the difference, by a bootstrap over units that keeps their pairs.
        units: how many.
    """

    first: float
    second: float
    difference: float
    low: float
    high: float
    units: int


@dataclass(frozen=True)
class Comparison:
    """Two twins side by side.

    Attributes:
        names: of the two, from their neurons.
        parameters: how many numbers each learned.
        seeds: how many fits each.
        measures: `cc_norm` and `feve` (means over reliable units), `cc_norm_median`, `bits_per_spike` (of all units
            together), each a `Difference`.
        statistics: of the recording and of samples of both twins: Fano factor, CV of the intervals, mean noise
            correlation; medians over units.
        geometry: of the recording and of both twins: participation ratio (of the same stimuli, not corrected), and the likeness (Spearman) of their
            matrices of dissimilarity to the recording's.
        operations: of each core on the test stimuli, one presentation of each; see `neurospin.energy`.
        joules: of these, `(low, high)` after `neurospin.energy.DIGITAL`.
        targets: of each target, of each twin: measures after export and their change, or why there are none.
    """

    names: tuple[str, str]
    parameters: tuple[int, int]
    seeds: int
    measures: Mapping[str, Difference]
    statistics: Mapping[str, Mapping[str, float]]
    geometry: Mapping[str, Mapping[str, float]]
    operations: tuple[Mapping[str, float], Mapping[str, float]]
    joules: tuple[tuple[float, float], tuple[float, float]]
    targets: Mapping[str, tuple[Mapping[str, float] | str, Mapping[str, float] | str]]

    def __str__(self) -> str:
        a, b = self.names
        lines = [f"| {self.seeds} fits each | {a} | {b} | {b} − {a} [95 %] |", "|---|---|---|---|"]
        lines.append(f"| parameters | {self.parameters[0]} | {self.parameters[1]} | |")
        for name, d in self.measures.items():
            words = f"{d.difference:+.4f} [{d.low:+.4f}, {d.high:+.4f}]"
            lines.append(f"| {name.replace('_', ' ')} ({d.units} units) | {d.first:.4f} | {d.second:.4f} | {words} |")
        for group in (self.statistics, self.geometry):
            for name, row in group.items():
                held = "" if row["recording"] != row["recording"] else f"recording {row['recording']:.3f}"
                lines.append(f"| {name} | {row['first']:.3f} | {row['second']:.3f} | {held} |")
        for name in sorted({*self.operations[0], *self.operations[1]}):
            lines.append(
                "| "
                + " | ".join([name.replace("_", " "), *[f"{o.get(name, 0):.4g}" for o in self.operations], ""])
                + " |"
            )
        low_high = [f"{1e6 * low:.3g} to {1e6 * high:.3g}" for low, high in self.joules]
        lines.append(f"| microjoules (estimate) | {low_high[0]} | {low_high[1]} | |")
        for target, both in self.targets.items():
            told = [
                t if isinstance(t, str) else f"cc_norm {t['cc_norm']:.3f} ({t['cc_norm_change']:+.3f}), "
                f"bits {t['bits_per_spike']:.4f} ({t['bits_per_spike_change']:+.4f}), spikes {100 * t['differing']:.2f} % other"
                for t in both
            ]  # fmt: skip
            lines.append(f"| after export: {target} | {told[0]} | {told[1]} | |")
        return "\n".join(lines)


def compare(
    first: Fit | Sequence[Fit],
    second: Fit | Sequence[Fit],
    data: TwinData,
    *,
    dt: float | None = None,
    cut: float = 0.3,
    targets: Sequence[str | Target] = (),
    resamples: int = 2000,
    seed: int = 0,
) -> Comparison:
    """Compare two twins that were fitted under the same conditions, on the test trials.

    The conditions are checked: readout, observation, bins, steps, iterations, batch, seeds, the budget of the search,
    and parameters within 1 %. What a search finds, as the learning rate, may differ. `fit_alike` makes such fits.

    Args:
        first: fits of one twin, one per seed, for example of the rate form.
        second: fits of the other, with the same seeds.
        data: with test trials that have repeats.
        dt: bins of the scores; see `neurospin.twins.score`.
        cut: of the units' reliability; see `Scores.reliable`.
        targets: on which spiking cores are run and scored again.
        resamples: of the bootstrap (default 2000).
        seed: of the bootstrap and of samples.

    Raises:
        InputError: the conditions differ.
    """
    a, b = ([fits] if isinstance(fits, Fit) else list(fits) for fits in (first, second))
    _fair(a, b)
    told = [[score(fit, data, dt=dt) for fit in fits] for fits in (a, b)]
    held = tested(data)
    names = [fits[0].twin.core.neuron for fits in (a, b)]
    works = [_operations(fits[0], held) for fits in (a, b)]
    return Comparison(
        (names[0], names[1]) if names[0] != names[1] else ("first", "second"),
        (a[0].model.parameter_count(), b[0].model.parameter_count()),
        len(a),
        _measures(told[0], told[1], cut, resamples, seed),
        _statistics(a[0], b[0], held, seed),
        _geometry(a, b, held),
        (works[0], works[1]),
        (energy.estimate(works[0], energy.DIGITAL).total, energy.estimate(works[1], energy.DIGITAL).total),
        {
            t if isinstance(t, str) else t.name: (_after(a, told[0], data, t, dt, cut), _after(b, told[1], data, t, dt, cut))
            for t in targets
        },
    )  # fmt: skip


def _fair(first: list[Fit], second: list[Fit]) -> None:
    """Refuse what is no fair comparison."""
    for name in SAME:
        values = {repr(getattr(fit.twin, name)) for fit in (*first, *second)}
        if len(values) > 1:
            raise InputError(f"compare.{name}", "the same for both twins", ", ".join(sorted(values)), "fit them alike")
    for name in SETTINGS:
        values = {repr(fit.settings.get(name)) for fit in (*first, *second)}
        if len(values) > 1:
            raise InputError(f"compare.{name}", "the same for both twins", ", ".join(sorted(values)), "fit them alike")
    seeds = [[fit.seed for fit in fits] for fits in (first, second)]
    if not first or seeds[0] != seeds[1]:
        raise InputError("compare", "fits with the same seeds", f"{seeds[0]} and {seeds[1]}", "fit both with each seed")
    counts = [fits[0].model.parameter_count() for fits in (first, second)]
    if abs(counts[0] - counts[1]) > 0.01 * max(counts):
        raise InputError("compare", "parameters within 1 %", f"{counts[0]} and {counts[1]}", "make the cores alike")


def _over_seeds(told: list[Scores], name: str) -> np.ndarray:
    values = np.stack([getattr(s, name) for s in told])
    held = np.isfinite(values)
    with np.errstate(invalid="ignore"):
        return np.where(held, values, 0).sum(0) / held.sum(0)


def _measures(
    first: list[Scores], second: list[Scores], cut: float, resamples: int, seed: int
) -> dict[str, Difference]:
    reliable, spikes = first[0].reliable(cut), first[0].spikes
    found = {}
    for name in (*MEASURES, "cc_norm_median"):
        key = name.removesuffix("_median")
        a, b = (_over_seeds(told, key) for told in (first, second))
        taken = np.isfinite(a) & np.isfinite(b)
        if key != "bits_per_spike":
            taken &= reliable
        if not taken.any():
            continue
        a, b = a[taken], b[taken]
        weight = spikes[taken] if key == "bits_per_spike" else np.ones(len(a))
        middle: Callable[[np.ndarray, np.ndarray], np.ndarray] = (
            (lambda x, w: np.median(x, axis=-1))
            if name.endswith("median")
            else lambda x, w: (x * w).sum(-1) / w.sum(-1)
        )
        draws = np.random.default_rng(seed).integers(0, len(a), (resamples, len(a)))
        spread = middle(b[draws], weight[draws]) - middle(a[draws], weight[draws])
        low, high = np.quantile(spread, [0.025, 0.975])
        one, two = float(middle(a, weight)), float(middle(b, weight))
        found[name] = Difference(one, two, two - one, float(low), float(high), len(a))
    return found


def _statistics(first: Fit, second: Fit, held: TwinData, seed: int) -> dict[str, dict[str, float]]:
    """How spikes vary, in the recording and in samples of the twins; nothing for continuous responses."""
    if held.responses is None or isinstance(held.responses, Signal):
        return {}
    dt, window = first.model.dt, first.twin.window
    real = held.counts(dt, window)
    drawn = {"recording": real, **{n: f.sample(held, seed=seed) for n, f in (("first", first), ("second", second))}}
    found: dict[str, dict[str, float]] = {"Fano factor": {}, "CV of intervals": {}, "noise correlation": {}}
    for name, counts in drawn.items():
        repeated = held.by_repeat(np.where(np.isfinite(real), counts, np.nan))
        if len(repeated) > 1:
            found["Fano factor"][name] = float(np.nanmedian(variability.fano_factor(repeated)))
            matrix = variability.noise_correlations(repeated)
            pairs = matrix[np.triu_indices(len(matrix), 1)]
            found["noise correlation"][name] = float(np.nanmean(pairs)) if np.isfinite(pairs).any() else float("nan")
        if name == "recording" and isinstance(held.responses, Spikes):
            time, unit, trial = held.responses.time, held.responses.unit, held.responses.trial
            inside = (time >= (window or (0, 0))[0]) & (time < (window or (0.0, held.responses.duration))[1])
            time, unit, trial = time[inside], unit[inside], trial[inside]
        else:  # a spike of a bin may be anywhere in it
            trial, bins, unit = np.repeat(np.argwhere(counts > 0), counts[counts > 0].astype(int), axis=0).T
            time = (bins + np.random.default_rng(seed).random(len(bins))) * dt
        cv = variability.isi_cv(time, unit, trial, units=counts.shape[2])
        found["CV of intervals"][name] = float(np.nanmedian(cv)) if np.isfinite(cv).any() else float("nan")
    return {name: row for name, row in found.items() if len(row) == 3}


def _geometry(first: list[Fit], second: list[Fit], held: TwinData) -> dict[str, dict[str, float]]:
    """Dimension and dissimilarities of the patterns that stimuli evoke, averaged over time."""
    kinds = np.unique(held.trials["stimulus"])
    if len(kinds) < 4:
        return {}
    shown = held.trials["stimulus"]

    def patterns(values: np.ndarray) -> np.ndarray:
        return np.stack([np.nanmean(values[shown == kind], axis=(0, 1)) for kind in kinds])

    real = patterns(held.counts(first[0].twin.dt, first[0].twin.window))
    real = real[:, np.isfinite(real).all(0)]
    own = geometry.rdm(real, "euclidean")
    dimension = {"recording": geometry.participation_ratio(real, corrected=False)}
    likeness, core = {"recording": float("nan")}, {"recording": float("nan")}
    for name, fits in (("first", first), ("second", second)):
        each = [patterns(fit.predict(held)) for fit in fits]
        dimension[name] = float(np.mean([geometry.participation_ratio(p, corrected=False) for p in each]))
        told = [geometry.compare_rdms(geometry.rdm(p, "euclidean"), own, "spearman") for p in each]
        likeness[name] = float(np.mean(told))
        inner = [_core_patterns(fit, held) for fit in fits]
        core[name] = float(np.mean([geometry.participation_ratio(p, corrected=False) for p in inner]))
    return {"dimension of responses": dimension, "dimension of the core": core, "likeness of geometry": likeness}


def _core_patterns(fit: Fit, held: TwinData) -> np.ndarray:
    """What stimuli evoke in the core, averaged over time, `(stimuli, features)`."""
    kinds = np.unique(held.trials["stimulus"])
    stimuli = torch.as_tensor(np.asarray(held.stimuli)[kinds].astype(np.float32))
    with torch.no_grad():
        return fit.model.spikes(stimuli).mean(0).flatten(1).double().numpy()


def _operations(fit: Fit, held: TwinData) -> dict[str, float]:
    """Work of a core on the test stimuli, once each; of a rate core, of its spiking form with a product per synapse."""
    kinds = np.unique(held.trials["stimulus"])
    shown = fit.model.inputs(torch.as_tensor(np.asarray(held.stimuli)[kinds].astype(np.float32)))
    core, network = fit.twin.core, fit.model.core
    if core.neuron == "rate":
        spiking = replace(core, neuron="lif").build(fit.model.size, network.dt, 0)  # type: ignore[type-var]
        return energy.rate_operations(spiking, steps=len(shown), samples=len(kinds))
    return energy.operations(network, shown) if core.neuron == "lif" else {}


def _after(
    fits: list[Fit], told: list[Scores], data: TwinData, target: str | Target, dt: float | None, cut: float
) -> dict[str, float] | str:
    """Scores after export, averaged over seeds, or the reason why there are none."""
    rows = []
    for fit, before in zip(fits, told, strict=True):
        try:
            found = run_on(fit, data, target, dt=dt, seed=fit.seed)
        except NeurospinError as error:
            return f"none: {error.expected} needed, {error.got} there" if fit.twin.core.neuron == "rate" else str(error)
        mine, theirs = before.means(cut), found.scores.means(cut)
        row = {name: theirs[name] for name in MEASURES}
        rows.append(row | {f"{n}_change": theirs[n] - mine[n] for n in MEASURES} | {"differing": found.differing})
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
