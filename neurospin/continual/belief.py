"""How well a learner's probabilities are worth believing, after its stream."""

from __future__ import annotations

import numpy as np
import torch

from neurospin.continual.calibration import (
    brier_score,
    detection_auc,
    expected_calibration_error,
    negative_log_likelihood,
    uncertainty,
)
from neurospin.continual.learner import Code, Learner, allowed, enter, logits
from neurospin.continual.streams import Stream, Task
from neurospin.data import Images
from neurospin.plasticity.rule import Rule

PER_TASK = 1000  # test samples of each task that are asked about, and of the unknown data
DRAWS = 10


@torch.no_grad()
def belief(
    learner: Learner, rule: Rule, stream: Stream, encode: Code, unknown: Images | None = None, seed: int = 0
) -> dict[str, float]:
    """Calibration on the tasks of a stream, and how uncertainty tells samples of another data set from them.

    A rule that draws its weights is asked ten times, with one draw each; another one once.

    Args:
        learner: as the stream left it.
        rule: likewise; its draws go on from where they are.
        stream: of which at most the first 1000 test samples of each task are used.
        encode: intensities to what a network is shown.
        unknown: samples of another data set, shown as the last task shows its own; at most 1000 test samples.
        seed: of the spikes.

    Returns:
        `negative_log_likelihood` (nats), `brier_score`, `expected_calibration_error` (15 bins); with `unknown` also
        `detection_auc_total`, `…_aleatoric` and `…_epistemic`, the last only of rules that draw.
    """
    rule.zero_grad()
    said, labels = [], []
    for number, task in enumerate(stream.tasks):
        enter(learner, number)
        said.append(_said(learner, rule, task, encode, seed))
        labels.append(task.test_y[:PER_TASK].numpy())
    known, y = np.concatenate(said, 1), np.concatenate(labels)
    mean = known.mean(0)
    found = {
        "negative_log_likelihood": negative_log_likelihood(mean, y),
        "brier_score": brier_score(mean, y),
        "expected_calibration_error": expected_calibration_error(mean, y),
    }
    if unknown is not None:
        last = stream.tasks[-1]
        foreign = _said(learner, rule, Task("unknown", unknown, last.classes, last.order), encode, seed)
        inside, outside = uncertainty(known), uncertainty(foreign)
        for kind in ("total", "aleatoric", "epistemic"):
            if kind != "epistemic" or len(known) > 1:
                found[f"detection_auc_{kind}"] = detection_auc(getattr(inside, kind), getattr(outside, kind))
    return found


def _said(learner: Learner, rule: Rule, task: Task, encode: Code, seed: int) -> np.ndarray:
    """Probabilities `(draws, samples, classes)` of a task's test samples."""
    draws = []
    for _ in range(DRAWS if rule.draws else 1):
        generator = torch.Generator().manual_seed(seed)
        with rule.sampling():
            output = allowed(logits(learner, task.test_x[:PER_TASK], encode, generator), task)
        draws.append(output.softmax(-1).double().numpy())
    return np.stack(draws)
