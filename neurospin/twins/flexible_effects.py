"""What a study of flexible dimensionality shows: means over seeds, and paired differences with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from scipy.stats import page_trend_test

from neurospin.continual.comparison import paired
from neurospin.continual.metrics import average_accuracy, backward_transfer, forgetting, learning_accuracy
from neurospin.twins.flexible import FOLLOWED, Followed

Cell = tuple[str, float | None, str, int]
"""Form of the learner, its m where it switches (else None), the rule that it learned or `"switches"`, and its seed."""
DIMENSION = "signal_dimension"
KEPT = {
    "average accuracy": average_accuracy,
    "learning accuracy": learning_accuracy,
    "forgetting": forgetting,
    "backward transfer": backward_transfer,
}


def summary(found: Mapping[Cell, Followed], rules: Sequence[str], epochs: int) -> dict[str, Any]:
    """All numbers of a study.

    Args:
        found: what was followed, by learner; the same seeds everywhere.
        rules: that were learned from scratch, in order of the features that they need.
        epochs: passes over each task.

    Returns:
        `seeds`; `rules`, by form and rule the mean and standard deviation over seeds of every measure before and after
        learning; `switches`, by form and m those of what was kept, of the dimension under each task when it is met and
        when it is learned, and of spikes and operations; `effects`, a list of paired differences, each with what it is
        of, its 95 % interval, the p-value of Student's t, and the one corrected after Holm within its family; `trend`,
        by form the p-value of Page's test that the dimension after learning grows with the rules' order.
    """
    seeds = sorted({seed for *_, seed in found})
    neurons = list(dict.fromkeys(neuron for neuron, *_ in found))
    strengths = sorted({m for _, m, *_ in found if m is not None})

    def scratch(neuron: str, rule: str, name: str, place: int) -> np.ndarray:
        return np.array([found[neuron, None, rule, seed].values[name][place] for seed in seeds])

    def kept(neuron: str, m: float, name: str) -> np.ndarray:
        told = [found[neuron, m, "switches", seed] for seed in seeds]
        if name in KEPT:
            return np.array([KEPT[name](one.matrix) for one in told])
        return np.array([one.values[name][learned(one, epochs)].mean() for one in told])

    pairs = [*pairwise(rules), *([(rules[0], rules[-1])] if len(rules) > 2 else [])]
    effects = []
    family = [
        (neuron, f"{rule}, after − before", scratch(neuron, rule, DIMENSION, -1), scratch(neuron, rule, DIMENSION, 0))
        for neuron in neurons
        for rule in rules
    ]
    effects += compared("compression or expansion", DIMENSION, family)
    family = [
        (neuron, f"{b} − {a}", scratch(neuron, b, DIMENSION, -1), scratch(neuron, a, DIMENSION, -1))
        for neuron in neurons
        for a, b in pairs
    ]
    effects += compared("order of the rules", DIMENSION, family)
    for name in ("ccgp", "shattering_dimension", "class_radius"):
        family = [
            (neuron, f"{rule}, after − before", scratch(neuron, rule, name, -1), scratch(neuron, rule, name, 0))
            for neuron in neurons
            for rule in rules
        ]
        effects += compared("geometry", name, family)
    if len(neurons) == 2:
        first, second = neurons
        family = [
            (f"{second} − {first}", rule, scratch(second, rule, DIMENSION, -1), scratch(first, rule, DIMENSION, -1))
            for rule in rules
        ]
        effects += compared("form of the neurons", DIMENSION, family)
    if len(strengths) > 1:
        for name in ("average accuracy", "learning accuracy", "forgetting", DIMENSION, "operations"):
            family = [
                (neuron, f"m = {m:g} − m = {strengths[0]:g}", kept(neuron, m, name), kept(neuron, strengths[0], name))
                for neuron in neurons
                for m in strengths[1:]
            ]
            effects += compared("metaplastic synapses", name, family)
    return {
        "seeds": seeds,
        "rules": {
            neuron: {rule: {name: [told(scratch(neuron, rule, name, 0)), told(scratch(neuron, rule, name, -1))]
                            for name in FOLLOWED} for rule in rules}
            for neuron in neurons
        },
        "switches": {
            neuron: {f"{m:g}": {name: told(kept(neuron, m, name)) for name in (*KEPT, *FOLLOWED)} for m in strengths}
            for neuron in neurons
        },
        "effects": effects,
        "trend": {
            neuron: float(page_trend_test(np.stack([scratch(neuron, rule, DIMENSION, -1) for rule in rules], 1)).pvalue)
            for neuron in neurons
        }
        if len(rules) > 2
        else {},
    }  # fmt: skip


def learned(one: Followed, epochs: int) -> np.ndarray:
    """The looks at the end of each task."""
    return np.flatnonzero(one.epochs == (one.tasks + 1) * epochs)


def told(values: np.ndarray) -> list[float]:
    """Mean and standard deviation over seeds."""
    return [float(np.mean(values)), float(np.std(values, ddof=1))]


def compared(
    question: str, measure: str, family: Sequence[tuple[str, str, np.ndarray, np.ndarray]]
) -> list[dict[str, Any]]:
    """Paired differences of a family, each `(form, what, first, second)`, with p-values corrected after Holm.

    Source: Holm, Scandinavian Journal of Statistics 6, 1979, doi:10.2307/4615733.
    """
    differences = [paired(list(first), list(second)) for _, _, first, second in family]
    order = np.argsort([d.p_value for d in differences], kind="stable")
    steps = [(len(order) - rank) * differences[i].p_value for rank, i in enumerate(order)]
    holm = np.empty(len(order))
    holm[order] = np.minimum(np.maximum.accumulate(steps), 1.0) if steps else []
    return [
        {
            "question": question, "measure": measure, "neuron": neuron, "what": what, "difference": d.difference,
            "low": d.low, "high": d.high, "p": d.p_value, "holm": float(p),
        }
        for (neuron, what, _, _), d, p in zip(family, differences, holm, strict=True)
    ]  # fmt: skip
