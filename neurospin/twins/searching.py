"""Search for the settings of a twin, by the likelihood of the validation trials."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from neurospin.errors import InputError, MissingDependency
from neurospin.twins.data import TwinData
from neurospin.twins.fitting import Fit, fit
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
        losses: of all trials, in order.
    """

    fit: Fit
    loss: float
    settings: Mapping[str, Any]
    losses: tuple[float, ...]


def search(make: Make, data: TwinData, *, budget: int = 20, seed: int = 0) -> Found:
    """Fit `budget` twins and keep the one that the validation trials like best (tree-structured Parzen estimator).

    For a fair comparison give every twin the same budget.

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
    best: list[tuple[float, Fit, Mapping[str, Any]]] = []
    losses: list[float] = []

    def objective(trial: optuna.Trial) -> float:
        twin, options = make(trial)
        found = fit(twin, data, seed=seed, **options)
        loss = float(found.validation[:, 1].min())
        losses.append(loss)
        if not best or loss < best[0][0]:
            best[:] = [(loss, found, dict(trial.params))]
        return loss

    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
        study.optimize(objective, n_trials=budget)
    finally:
        optuna.logging.set_verbosity(level)
    loss, found, settings = best[0]
    return Found(found, loss, settings, tuple(losses))
