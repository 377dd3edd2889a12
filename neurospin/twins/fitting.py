"""Fitting a twin to a recording: gradient descent on the likelihood, with early stopping."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from neurospin.errors import InputError
from neurospin.twins.data import TwinData
from neurospin.twins.fitted import Fit, in_parts
from neurospin.twins.losses import Batch, Term, sampled_through
from neurospin.twins.prepare import Prepared, model_for
from neurospin.twins.twin import Model, Twin

Observer = Callable[[int, Model], None]


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
    return fit_together(
        [(twin, data)], seed=seed, iterations=iterations, batch=batch, lr=lr, schedule=schedule,
        weight_decay=weight_decay, sparsity=sparsity, terms=terms, patience=patience, every=every, start=start,
        train_core=train_core, observer=observer,
    )[0]  # fmt: skip


def fit_together(
    recordings: Sequence[tuple[Twin, TwinData]],
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
) -> list[Fit]:
    """Fit twins that share one core: subjects, instruments and tasks together.

    Every recording has its own filter, readout and observation, and its own bins; the core's description and its step
    (`dt / steps`) are the same for all. The loss is the sum of the losses per response of the recordings. Where a
    likelihood depends on units (high-gamma power in µV²), scale the responses first.

    Args:
        recordings: twins with the data of each.
        observer: as of `fit`; it sees the first twin's model.
        seed, iterations, batch, lr, schedule, weight_decay, sparsity, terms, patience, every, start, train_core: as of
            `fit`, for all alike.

    Returns:
        One fit per recording, in order; their models hold the same core.

    Raises:
        InputError: as `fit`, or cores, steps or sizes of stimuli that differ.
    """
    if iterations < 1 or batch < 1 or every < 1 or not lr > 0 or schedule not in ("cosine", "constant"):
        got = f"{iterations}, {batch}, {every}, {lr:g}, {schedule!r}"
        expected = "iterations, batch, every ≥ 1, lr > 0, schedule 'cosine' or 'constant'"
        raise InputError("fit", expected, got, "check them")
    began = time.process_time()
    parts = [_Part.of(twin, data, seed, terms) for twin, data in recordings]
    models = [part.model for part in parts]
    _shared(models)
    for part in parts:
        _begin(part, start, train_core)
    learned = list(dict.fromkeys(p for model in models for p in model.parameters() if p.requires_grad))
    optimiser = torch.optim.AdamW(_groups(learned, weight_decay), lr=lr, betas=(0.9, 0.99))
    generator = torch.Generator().manual_seed(seed + 1)
    losses = []
    looks, progress = _Looks(parts, patience, observer), _Progress(iterations)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed + 2)  # of readouts that draw places
        looks(0)
        for iteration in range(1, iterations + 1):
            fallen = 0.5 * (1 + math.cos(math.pi * (iteration - 1) / iterations)) if schedule == "cosine" else 1.0
            for group in optimiser.param_groups:
                group["lr"] = lr * fallen
            each = [part.loss(batch, generator, sparsity, terms) for part in parts]
            optimiser.zero_grad(set_to_none=True)
            sum(each[1:], each[0]).backward()
            torch.nn.utils.clip_grad_norm_(learned, 10.0)
            optimiser.step()
            losses.append([float(loss.detach()) for loss in each])
            if not math.isfinite(sum(losses[-1])):
                raise InputError("fit", "a finite loss", f"{sum(losses[-1]):g}", "lower lr, or check the responses")
            if iteration % every == 0 or iteration == iterations:
                progress(iteration, sum(losses[-1]))
                if looks(iteration):
                    break
    progress.done()
    reached = looks.restore() or len(losses)
    settings = {
        "iterations": iterations, "batch": batch, "lr": lr, "schedule": schedule, "weight_decay": weight_decay,
        "sparsity": sparsity, "terms": len(terms),
    }  # fmt: skip
    seconds = time.process_time() - began
    return [
        Fit(
            part.twin, part.model, seed, reached, settings, np.array(losses)[:, k],
            np.array(part.found).reshape(-1, 2), seconds,
        )
        for k, part in enumerate(parts)
    ]  # fmt: skip


@dataclass
class _Part:
    """One recording in a fit: its model, what it is fitted to, and what is looked at now and then."""

    twin: Twin
    model: Model
    known: Prepared
    held: Prepared | None
    counts: np.ndarray
    found: list[tuple[int, float]] = field(default_factory=list)

    @staticmethod
    def of(twin: Twin, data: TwinData, seed: int, terms: Sequence[Term]) -> _Part:
        """The training and the validation trials of a recording."""
        if data.responses is None:
            raise InputError("fit.data", "responses", "behaviour alone", "see neurospin.twins.behaviour")
        tiered = "tier" in data.trials
        train = data.tier("train") if tiered else data
        held = data.tier("val") if tiered and (data.trials["tier"] == "val").any() else None
        if not len(train):
            raise InputError("fit.data", "training trials", "none", "split() with a smaller test")
        model = model_for(twin, train, seed)
        grouped = model.observation.mean_suffices and not twin.covariates and not terms and not twin.noise
        known = Prepared.of(twin, train, grouped=grouped, model=model)
        looked = None if held is None else Prepared.of(twin, held, grouped=grouped, model=model)
        return _Part(twin, model, known, looked, train.counts(twin.dt, twin.window))

    def loss(self, batch: int, generator: torch.Generator, sparsity: float, terms: Sequence[Term]) -> Tensor:
        """What the fit makes small, on a batch."""
        model, known, number = self.model, self.known, len(self.known.shown)
        rows = None if number <= batch else torch.randperm(number, generator=generator)[:batch]
        model.train()
        stimuli, responses, weight, covariates = known.batch(rows)
        spikes = model.spikes(stimuli, generator, noisy=True)
        mean = model.respond(model.features(spikes), covariates)
        loss = _nll(model, mean, responses, weight)
        if sparsity:
            loss = loss + sparsity * model.readout.penalty()
        if terms:
            drawn = sampled_through(model.observation, mean, generator) if any(t.samples for t in terms) else None
            stimulus = known.shown if rows is None else known.shown[rows]
            seen = Batch(mean, responses, weight, spikes, drawn, stimulus, model)
            loss = loss + sum(term.weight * term(seen) for term in terms)
        return loss

    def look(self) -> float:
        """Loss per response of the validation trials; 0 where there are none."""
        if self.held is None:
            return 0.0
        stimuli, responses, weight, covariates = self.held.batch(None)
        with torch.no_grad():
            return float(_nll(self.model, in_parts(self.model, stimuli, covariates), responses, weight))


def _shared(models: Sequence[Model]) -> None:
    """Give all models the first one's core."""
    first = models[0]
    for model in models[1:]:
        mine, theirs = ((m.twin.core, f"{m.core.dt:g} s", m.size) for m in (first, model))
        if mine != theirs:
            raise InputError("fit_together", f"one core, step and size of stimuli: {mine}", str(theirs), "match them")
        model.share(first.core)


class _Looks:
    """Looks at the validation trials now and then, and keeps the best parameters."""

    def __init__(self, parts: Sequence[_Part], patience: int | None, observer: Observer | None) -> None:
        self.parts, self.patience, self.observer = parts, patience, observer
        self.best, self.at, self.worse = math.inf, 0, 0
        self.kept: list[dict[str, Tensor]] = []

    def __call__(self, iteration: int) -> bool:
        """Whether it is time to stop."""
        for part in self.parts:
            part.model.eval()
        if self.observer is not None:
            self.observer(iteration, self.parts[0].model)
        if iteration == 0 or all(part.held is None for part in self.parts):
            return False
        each = [part.look() for part in self.parts]
        for part, loss in zip(self.parts, each, strict=True):
            if part.held is not None:
                part.found.append((iteration, loss))
        if sum(each) < self.best:
            self.best, self.at, self.worse = sum(each), iteration, 0
            self.kept = [{n: v.clone() for n, v in part.model.state_dict().items()} for part in self.parts]
            return False
        self.worse += 1
        return self.patience is not None and self.worse >= self.patience

    def restore(self) -> int:
        """Take the best parameters back; the iteration at which they were reached, 0 if there was no look."""
        for part, values in zip(self.parts, self.kept, strict=False):
            part.model.load_state_dict(values)
        for part in self.parts:
            part.model.eval()
        return self.at


def _begin(part: _Part, start: Fit | None, train_core: bool) -> None:
    """Let every unit respond on average as it was recorded, and take over a core."""
    model, flat = part.model, part.counts.reshape(-1, part.counts.shape[2])
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


def _groups(learned: Sequence[Tensor], weight_decay: float) -> list[dict]:
    """Weights, which decay, and all other parameters, which do not."""
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
