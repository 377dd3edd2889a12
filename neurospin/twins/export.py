"""A twin's core on a target: the same readout, on the spikes that the target gives."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from neurospin.errors import InputError, TargetError
from neurospin.graph.build import to_graph
from neurospin.neurons import Spiking
from neurospin.target import Report, Target, deploy
from neurospin.twins.data import TwinData
from neurospin.twins.evaluate import score_predictions, tested
from neurospin.twins.fitted import Fit
from neurospin.twins.prepare import Prepared
from neurospin.twins.scores import Scores


@dataclass(frozen=True)
class Exported:
    """A twin whose core ran on a target.

    Attributes:
        predictions: expected responses to every test trial, `(trials, bins, units)`.
        scores: of these predictions.
        report: of the target; its approximations say what it changed.
        differing: share of the core's spikes that differ from the fitted twin's: `|a − b|` over `a` or `b`.
    """

    predictions: np.ndarray
    scores: Scores
    report: Report
    differing: float


def run_on(fit: Fit, data: TwinData, target: str | Target, *, dt: float | None = None, seed: int = 0) -> Exported:
    """Export a twin's core, run it on a target with the test stimuli, and score the twin by its spikes.

    The filter and the readout stay as they were fitted; they are not part of the graph.

    Args:
        fit: a twin with a spiking core.
        data: with test trials.
        target: name of a registered target, or a target.
        dt: bins of the scores; see `neurospin.twins.score`.
        seed: of everything random on the target.

    Raises:
        GraphError: NIR has no such neuron (ALIF).
        TargetError: the graph does not fit the target.
        InputError: a rate core, or stimuli that the target cannot take: some take spikes only.
    """
    if fit.twin.core.neuron == "rate":
        raise InputError("run_on", "a spiking core", "rate", "fit the twin with neuron='lif'")
    held, model = tested(data), fit.model
    graph = to_graph(model.core)
    prepared = Prepared.of(fit.twin, held, grouped=False, model=model)
    with torch.no_grad():
        given = model.inputs(prepared.stimuli)
        own = model.spikes(prepared.stimuli)
        depth = sum(isinstance(neuron, Spiking) for neuron in model.core.neurons().values())
        longer = torch.cat([given, given[-1:].expand(depth, *given.shape[1:])])  # what comes late is not lost
        report = deploy(graph, longer.numpy(), target, dt=model.core.dt, seed=seed)
        late, steps = report.latency_steps, len(given)
        if late > depth:
            raise TargetError(f"target {target}", f"a latency of at most {depth} steps", str(late), "report it")
        theirs = torch.as_tensor(np.asarray(report.spikes[late : late + steps], np.float32))
        features = model.features(theirs)[:, prepared.shown]
        predictions = model.respond(features, prepared.covariates).transpose(0, 1).double().numpy()
    either = float(torch.maximum(own, theirs).sum())
    differing = float((own - theirs).abs().sum()) / either if either else 0.0
    told = score_predictions(held, predictions, model.dt, fit.twin.window, dt)
    return Exported(predictions, told, report, differing)
