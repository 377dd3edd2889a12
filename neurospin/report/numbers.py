"""Every number of a learner, by the words and in the units in which a report tells it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

# name in results.json, words, factor, format
TOLD = (
    ("average_accuracy", "accuracy, all tasks (%)", 100, "{:.1f}"),
    ("learning_accuracy", "accuracy, just learned (%)", 100, "{:.1f}"),
    ("window_accuracy", "accuracy, last five tasks (%)", 100, "{:.1f}"),
    ("anytime_accuracy", "accuracy, tasks so far, mean over time (%)", 100, "{:.1f}"),
    ("backward_transfer", "backward transfer (points)", 100, "{:+.1f}"),
    ("forward_transfer", "forward transfer (points)", 100, "{:+.1f}"),
    ("forgetting", "forgetting (points)", 100, "{:.1f}"),
    ("intransigence", "intransigence, against joint training (points)", 100, "{:+.1f}"),
    ("plasticity_loss", "plasticity loss (points)", 100, "{:+.1f}"),
    ("stability_gap", "stability gap (points)", 100, "{:.1f}"),
    ("regret", "regret, against the known optimum (points)", 100, "{:.1f}"),
    ("negative_log_likelihood", "negative log likelihood (nats)", 1, "{:.3f}"),
    ("brier_score", "Brier score", 1, "{:.3f}"),
    ("expected_calibration_error", "calibration error (%)", 100, "{:.1f}"),
    ("detection_auc_total", "unknown inputs told by all uncertainty (AUC)", 1, "{:.3f}"),
    ("detection_auc_aleatoric", "by aleatoric uncertainty (AUC)", 1, "{:.3f}"),
    ("detection_auc_epistemic", "by epistemic uncertainty (AUC)", 1, "{:.3f}"),
    ("bits_per_synapse", "bits per synapse, in training", 1, "{}"),
    ("private_parameters_per_task", "private parameters per task", 1, "{}"),
    ("flips_per_synapse", "sign changes per synapse", 1, "{:.2f}"),
    ("most_flips", "sign changes of the busiest synapse", 1, "{}"),
    ("pulses_per_synapse_and_sample", "programming events per synapse and sample", 1, "{:.2g}"),
    ("most_writes", "programming events of the busiest synapse", 1, "{}"),
)


def numbers(learners: Iterable[dict[str, Any]]) -> list[tuple[str, list[str]]]:
    """Rows `(words, one text per learner)` of all that any learner has a number for."""
    entries = list(learners)
    rows = []
    for name, words, factor, form in TOLD:
        values = [entry.get(name) for entry in entries]
        if any(value is not None for value in values):
            rows.append((words, ["–" if value is None else form.format(factor * value) for value in values]))
    benches = [_flat(entry.get("neurobench", {})) for entry in entries]
    for name in dict.fromkeys(name for bench in benches for name in bench):
        values = [bench.get(name) for bench in benches]
        rows.append((name, ["–" if value is None else f"{value:.6g}" for value in values]))
    return rows


def _flat(bench: dict[str, Any]) -> dict[str, float | None]:
    found: dict[str, float | None] = {}
    for name, value in bench.items():
        found |= {f"{name}, {part}": v for part, v in value.items()} if isinstance(value, dict) else {name: value}
    return found
