"""Search for the settings of a twin, by the likelihood of the validation trials; and the same for rival forms of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from neurospin.errors import InputError, MissingDependency
from neurospin.twins.data import TwinData
from neurospin.twins.fitted import Fit
from neurospin.twins.fitting import fit
from neurospin.twins.twin import Twin

if TYPE_CHECKING:
    import optuna

Make = Callable[["optuna.Trial"], tuple[Twin, Mapping[str, Any]]]


@dataclass(frozen=True)
class Found:
    """What a search found.

    Attributes:
        fit: the best one.
        loss: its negative log-likelihood per response of the validation trials.
        settings: that the trial suggested, by name.
        options: of `fit`, that `make` gave with them.
        losses: of all trials, in order.
    """

    fit: Fit
    loss: float
    settings: Mapping[str, Any]
    options: Mapping[str, Any]
    losses: tuple[float, ...]


def search(make: Make, data: TwinData, *, budget: int = 20, seed: int = 0) -> Found:
    """Fit `budget` twins and keep the one that the validation trials like best (tree-structured Parzen estimator).

    For a fair comparison give every twin the same budget: `fit_alike`.

    Args:
        make: from an `optuna.Trial` to a twin and the options of `fit`.
        data: with validation trials.
        budget: number of fits (default 20).
        seed: of the search and of every fit.

    Raises:
        InputError: no validation trials, or a budget below 1.
        MissingDependency: Optuna is not installed.

    Source: Akiba et al., KDD 2019, doi:10.1145/3292500.3330701.
    """
    try:
        import optuna
    except ImportError as error:
        raise MissingDependency("search", "optuna", "no such package", "pip install 'neurospin[sweeps]'") from error
    if budget < 1 or "tier" not in data.trials or not (data.trials["tier"] == "val").any():
        raise InputError("search", "validation trials and a budget of 1 or more", f"budget {budget}", "split(val=0.1)")
    best: list[tuple[float, Fit, Mapping[str, Any], Mapping[str, Any]]] = []
    losses: list[float] = []

    def objective(trial: optuna.Trial) -> float:
        twin, options = make(trial)
        found = fit(twin, data, seed=seed, **options)
        loss = float(found.validation[:, 1].min())
        losses.append(loss)
        if not best or loss < best[0][0]:
            told = replace(found, settings={**found.settings, "budget": budget})
            best[:] = [(loss, told, dict(trial.params), options)]
        return loss

    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
        study.optimize(objective, n_trials=budget)
    finally:
        optuna.logging.set_verbosity(level)
    loss, found, settings, options = best[0]
    return Found(found, loss, settings, options, tuple(losses))


def fit_alike(
    make: Callable[[str, optuna.Trial], tuple[Twin, Mapping[str, Any]]],
    data: TwinData,
    *,
    forms: Iterable[str] = ("rate", "lif"),
    budget: int = 8,
    seeds: Iterable[int] = range(5),
) -> dict[str, list[Fit]]:
    """The fair protocol: the same search for every form of a twin, then fits with the same seeds; for `compare`.

    Settings are searched on the training trials, with the likelihood of the validation trials at the end of each fit;
    the twins are then fitted anew to training and validation trials together. The test is not looked at.

    Args:
        make: from a form and an `optuna.Trial` to a twin and the options of `fit`; it asks every form for the same
            settings.
        data: with validation trials.
        forms: of the core's neurons.
        budget: number of fits in each search.
        seeds: of the fits; the search has seed 0.

    Raises:
        InputError: no validation trials, or a budget below 1.
        MissingDependency: Optuna is not installed.
    """
    found, seeds = {}, list(seeds)
    for form in forms:

        def once(trial: Any, form: str = form) -> tuple[Twin, dict[str, Any]]:
            twin, options = make(form, trial)
            return twin, {**options, "every": options.get("iterations", 250)}  # one look, at the end

        best = search(once, data, budget=budget)
        settings = {**best.settings, "budget": budget}
        both = replace(data, trials={**data.trials, "tier": np.where(data.trials["tier"] == "test", "test", "train")})
        fits = [fit(best.fit.twin, both, seed=seed, **best.options) for seed in seeds]
        found[form] = [replace(f, settings={**f.settings, **settings}) for f in fits]
    return found
