"""Fitting a twin to a recording: gradient descent on the likelihood, with early stopping."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from neurospin.errors import InputError
from neurospin.twins.data import TwinData
from neurospin.twins.losses import Batch, Term, sampled_through
from neurospin.twins.prepare import Prepared, model_for
from neurospin.twins.twin import Model, Twin

Observer = Callable[[int, Model], None]


@dataclass(frozen=True)
class Fit:
    """A fitted twin.

    Attributes:
        twin: the description.
        model: the fitted module; `model.core` is the `Network` that can be exported.
        seed: of initial values and batches.
        iteration: at which the kept parameters were reached: the last one, or the best on the validation trials.
        settings: of the fit, by name.
        losses: of the training trials, `(iterations,)`; with the terms and penalties.
        validation: pairs of iteration and negative log-likelihood per response of the validation trials.
        seconds: of the processor.
    """

    twin: Twin
    model: Model
    seed: int
    iteration: int
    settings: Mapping[str, float | str]
    losses: np.ndarray = field(repr=False)
    validation: np.ndarray = field(repr=False)
    seconds: float = 0.0

    def predict(self, data: TwinData) -> np.ndarray:
        """Expected responses to every trial of `data`, `(trials, bins, units)`, whatever its tier."""
        self.model.eval()
        prepared = Prepared.of(self.twin, data, grouped=False, model=self.model)
        with torch.no_grad():
            if not self.twin.covariates:  # the same stimulus, the same prediction
                return in_parts(self.model, prepared.stimuli).transpose(0, 1)[prepared.shown].double().numpy()
            return in_parts(
                self.model, prepared.stimuli[prepared.shown], prepared.covariates
            ).transpose(0, 1).double().numpy()  # fmt: skip

    def sample(self, data: TwinData, *, seed: int = 0) -> np.ndarray:
        """Responses drawn at random to every trial of `data`, `(trials, bins, units)`, noise of the core included."""
        self.model.eval()
        generator = torch.Generator().manual_seed(seed)
        prepared = Prepared.of(self.twin, data, grouped=False, model=self.model)
        with torch.no_grad():
            mean = self.model(prepared.stimuli[prepared.shown], prepared.covariates, generator, noisy=True)
            return self.model.observation.sample(mean, generator).transpose(0, 1).double().numpy()


def in_parts(model: Model, stimuli: Tensor, covariates: Mapping[str, Tensor] | None = None, size: int = 256) -> Tensor:
    """The model's answer, some stimuli at a time."""
    parts = [
        model(stimuli[i : i + size], {n: c[:, i : i + size] for n, c in (covariates or {}).items()})
        for i in range(0, len(stimuli), size)
    ]
    return torch.cat(parts, dim=1)


def fit(
    twin: Twin,
    data: TwinData,
    *,
    seed: int = 0,
    iterations: int = 250,
    batch: int = 256,
    lr: float = 1e-2,
    schedule: str = "cosine",
    weight_decay: float = 1e-2,
    sparsity: float = 0.0,
    terms: Sequence[Term] = (),
    patience: int | None = None,
    every: int = 10,
    start: Fit | None = None,
    train_core: bool = True,
    observer: Observer | None = None,
) -> Fit:
    """Fit a twin to the training trials (tier `"train"`; all, where there are no tiers).

    Minimises the negative log-likelihood per response with AdamW. Where validation trials exist, their likelihood is
    looked at every `every` iterations, and the best parameters are kept. Without covariates and terms, repeats of a
    stimulus are averaged first where that changes no likelihood (Poisson, Bernoulli), which is as many times cheaper.

    Sessions go together: `units` and `trials` with a column `session` share the core, and a unit counts only in its
    own session.

    Args:
        twin: what to fit.
        data: a recording with responses.
        seed: of initial values, batches and noise.
        iterations: steps of the gradient, at most.
        batch: samples in a step (default 256, or all if there are fewer).
        lr: learning rate at the start.
        schedule: `"cosine"` (down to 0, default) or `"constant"`.
        weight_decay: of all weights, not of biases and time constants.
        sparsity: of the readout's penalty.
        terms: further losses; see `neurospin.twins.losses`.
        patience: stop after so many looks at the validation without a better one (default: never).
        every: iterations between looks.
        start: a fit whose core is taken over: another recording, or species.
        train_core: whether the core is learned too; `False` with `start` learns new readouts only.
        observer: called with the iteration and the model at every look, and at the start.

    Raises:
        InputError: no responses, settings out of range, or data that do not fit the twin.
    """
    if data.responses is None:
        raise InputError("fit.data", "responses", "behaviour alone", "see neurospin.twins.behaviour")
    if iterations < 1 or batch < 1 or every < 1 or not lr > 0 or schedule not in ("cosine", "constant"):
        got = f"{iterations}, {batch}, {every}, {lr:g}, {schedule!r}"
        expected = "iterations, batch, every ≥ 1, lr > 0, schedule 'cosine' or 'constant'"
        raise InputError("fit", expected, got, "check them")
    began = time.process_time()
    tiered = "tier" in data.trials
    train = data.tier("train") if tiered else data
    held = data.tier("val") if tiered and (data.trials["tier"] == "val").any() else None
    if not len(train):
        raise InputError("fit.data", "training trials", "none", "split() with a smaller test")
    model = model_for(twin, train, seed)
    grouped = model.observation.mean_suffices and not twin.covariates and not terms and not twin.noise
    known = Prepared.of(twin, train, grouped=grouped, model=model)
    looked = None if held is None else Prepared.of(twin, held, grouped=grouped, model=model)
    _begin(model, train.counts(twin.dt, twin.window), start, train_core)
    optimiser = torch.optim.AdamW(_groups(model, weight_decay), lr=lr, betas=(0.9, 0.99))
    generator = torch.Generator().manual_seed(seed + 1)
    number, losses = len(known.shown), []
    looks, progress = _Looks(model, looked, patience, observer), _Progress(iterations)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed + 2)  # of readouts that draw places
        looks(0)
        for iteration in range(1, iterations + 1):
            fallen = 0.5 * (1 + math.cos(math.pi * (iteration - 1) / iterations)) if schedule == "cosine" else 1.0
            for group in optimiser.param_groups:
                group["lr"] = lr * fallen
            rows = None if number <= batch else torch.randperm(number, generator=generator)[:batch]
            model.train()
            loss = _loss(model, known, rows, generator, sparsity, terms)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
            optimiser.step()
            losses.append(float(loss.detach()))
            if not math.isfinite(losses[-1]):
                raise InputError("fit", "a finite loss", f"{losses[-1]:g}", "lower lr, or check the responses")
            if iteration % every == 0 or iteration == iterations:
                progress(iteration, losses[-1])
                if looks(iteration):
                    break
    progress.done()
    reached = looks.restore() or len(losses)
    settings = {
        "iterations": iterations, "batch": batch, "lr": lr, "schedule": schedule, "weight_decay": weight_decay,
        "sparsity": sparsity, "terms": len(terms),
    }  # fmt: skip
    return Fit(
        twin, model, seed, reached, settings, np.array(losses), np.array(looks.found).reshape(-1, 2),
        time.process_time() - began,
    )  # fmt: skip


def _loss(
    model: Model, known: Prepared, rows: Tensor | None, generator: torch.Generator, sparsity: float,
    terms: Sequence[Term],
) -> Tensor:  # fmt: skip
    """What the fit makes small, on a batch."""
    stimuli, responses, weight, covariates = known.batch(rows)
    spikes = model.spikes(stimuli, generator, noisy=True)
    mean = model.respond(model.features(spikes), covariates)
    loss = _nll(model, mean, responses, weight)
    if sparsity:
        loss = loss + sparsity * model.readout.penalty()
    if terms:
        drawn = sampled_through(model.observation, mean, generator) if any(term.samples for term in terms) else None
        stimulus = known.shown if rows is None else known.shown[rows]
        seen = Batch(mean, responses, weight, spikes, drawn, stimulus, model)
        loss = loss + sum(term.weight * term(seen) for term in terms)
    return loss


class _Looks:
    """Looks at the validation trials now and then, and keeps the best parameters."""

    def __init__(self, model: Model, held: Prepared | None, patience: int | None, observer: Observer | None) -> None:
        self.model, self.held, self.patience, self.observer = model, held, patience, observer
        self.found: list[tuple[int, float]] = []
        self.best, self.at, self.worse = math.inf, 0, 0
        self.kept: dict[str, Tensor] | None = None

    def __call__(self, iteration: int) -> bool:
        """Whether it is time to stop."""
        self.model.eval()
        if self.observer is not None:
            self.observer(iteration, self.model)
        if self.held is None or iteration == 0:
            return False
        with torch.no_grad():
            stimuli, responses, weight, covariates = self.held.batch(None)
            loss = float(_nll(self.model, in_parts(self.model, stimuli, covariates), responses, weight))
        self.found.append((iteration, loss))
        if loss < self.best:
            self.best, self.at, self.worse = loss, iteration, 0
            self.kept = {name: value.clone() for name, value in self.model.state_dict().items()}
            return False
        self.worse += 1
        return self.patience is not None and self.worse >= self.patience

    def restore(self) -> int:
        """Take the best parameters back; the iteration at which they were reached, 0 if there was no look."""
        if self.kept is not None:
            self.model.load_state_dict(self.kept)
        self.model.eval()
        return self.at


def _begin(model: Model, counts: np.ndarray, start: Fit | None, train_core: bool) -> None:
    """Let every unit respond on average as it was recorded, and take over a core."""
    flat = counts.reshape(-1, counts.shape[2])
    if not np.isfinite(flat).any(axis=0).all():
        silent = int((~np.isfinite(flat).any(axis=0)).sum())
        raise InputError("fit.data", "training trials of every unit", f"{silent} units without", "split('trial')")
    average, variance = (torch.as_tensor(f(flat, axis=0), dtype=torch.float32) for f in (np.nanmean, np.nanvar))
    with torch.no_grad():
        model.readout.bias.copy_(model.observation.start(average, variance))
    if start is not None:
        for mine, theirs in ((model.core, start.model.core), (model.filter, start.model.filter)):
            try:
                mine.load_state_dict(theirs.state_dict())
            except RuntimeError as error:
                got = str(error).splitlines()[-1].strip()
                raise InputError("fit.start", "a fit with the same core", got, "use the same core") from error
    if not train_core:
        for parameter in (*model.core.parameters(), *model.filter.parameters()):
            parameter.requires_grad_(False)


def _groups(model: Model, weight_decay: float) -> list[dict]:
    """Weights, which decay, and all other parameters, which do not."""
    learned = [p for p in model.parameters() if p.requires_grad]
    return [
        {"params": [p for p in learned if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in learned if p.ndim < 2], "weight_decay": 0.0},
    ]


def _nll(model: Model, mean: Tensor, responses: Tensor, weight: Tensor | None) -> Tensor:
    """Negative log-likelihood per response."""
    each = model.observation.nll(mean, responses)
    if weight is None:
        return each.mean()
    return (each * weight).sum() / weight.expand_as(each).sum()


class _Progress:
    """A line in the terminal for what takes more than two seconds; quiet where there is none."""

    def __init__(self, iterations: int) -> None:
        self.iterations, self.began, self.shown = iterations, time.monotonic(), False

    def __call__(self, iteration: int, loss: float) -> None:
        if sys.stderr.isatty() and time.monotonic() - self.began > 2:
            sys.stderr.write(f"\rfit {iteration}/{self.iterations}  loss {loss:.4f} ")
            self.shown = True

    def done(self) -> None:
        """End the line."""
        if self.shown:
            sys.stderr.write("\n")
