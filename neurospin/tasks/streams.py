"""Category rules one after the other over the same stimuli, as a stream for continual learners."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from neurospin.continual.streams import Stream, Task
from neurospin.data import Images
from neurospin.errors import InputError, unknown_name
from neurospin.tasks.categories import CUBE, SHJ
from neurospin.tasks.pictures import objects

CITATION = "Shepard, Hovland & Jenkins, Psychological Monographs 75, 1961, doi:10.1037/h0093825"


def category_stream(
    rules: Sequence[str] = ("I", "II", "VI"), *, samples: int = 256, tests: int = 256, noise: float = 0.1, copies: int = 4,
    side: int | None = None, cue: bool = True, seed: int = 0,
) -> Stream:  # fmt: skip
    """Shepard types as tasks, one after the other, all over the same stimuli.

    Every task shows the very same noisy examples of the eight stimuli; only which of them belong together changes, and
    the cue. Test samples show the eight stimuli in turn, so that sample i is of stimulus `i % 8`. Which physical feature plays which part of a rule, and which category is called which, is drawn once for
    each rule of a seed.

    Args:
        rules: types of Shepard, Hovland & Jenkins (`"I"` needs one feature, `"II"` two, `"VI"` three), in the order
            of the tasks; a rule may come again.
        samples: for training, a multiple of 8, as many of each stimulus.
        tests: for the test, likewise.
        noise: standard deviation of Gaussian noise on every input.
        copies: inputs for each value of a feature, and for each cue.
        side: None (default): a feature is `2 × copies` inputs, of which one half is high (0.8) at 1 and the other at 0
            (0.2 otherwise); a number: pictures of that side (`objects`).
        cue: whether inputs tell which rule is in force (default); without, the rules contradict each other.
        seed: of everything random.

    Returns:
        A domain-incremental stream of two classes; inputs `(samples, features)` in [0, 1].

    Raises:
        UnknownName: no type of that name.
        InputError: numbers that cannot be.

    Source: Shepard, Hovland & Jenkins 1961, doi:10.1037/h0093825; the coding is this project's.
    """
    for rule in rules:
        if rule not in SHJ:
            raise unknown_name("category_stream.rules", rule, SHJ, "type")
    if not rules or copies < 1 or min(samples, tests) < 8 or samples % 8 or tests % 8 or not 0 <= noise < np.inf:
        got = f"{len(rules)} rules, {samples}, {tests}, {noise:g}, {copies}"
        raise InputError(
            "category_stream", "rules, samples and tests in eights, noise ≥ 0, copies ≥ 1", got, "check them"
        )
    draw = np.random.default_rng(seed)
    kinds = list(dict.fromkeys(rules))
    labels = {kind: rule_labels(kind, draw) for kind in kinds}
    parts = []
    for which in (draw.permutation(np.arange(samples) % 8), np.arange(tests) % 8):
        count = len(which)
        if side is None:
            shown = coded(CUBE[which], copies, noise, draw)
        else:
            drawn = objects(CUBE[which], side, jitter=0.05, noise=noise, seed=int(draw.integers(2**31)))
            shown = torch.from_numpy(drawn.reshape(count, -1))
        parts.append((which, shown))
    tasks = []
    for number, rule in enumerate(rules, start=1):
        held: list[Tensor] = []
        for which, shown in parts:
            told = [shown, cued(kinds.index(rule), len(kinds), copies, len(shown))] if cue else [shown]
            held += [torch.cat(told, dim=1), torch.from_numpy(labels[rule][which])]
        tasks.append(Task(f"{number}: {rule}", Images(*held)))
    return Stream("categories", "SHJ" if side is None else f"SHJ pictures {side}", "domain", tuple(tasks), CITATION)


def rule_labels(kind: str, draw: np.random.Generator) -> np.ndarray:
    """Category of each of the eight stimuli, `(8,)`, with features and names of the categories drawn."""
    moved = CUBE[:, draw.permutation(3)] @ np.array([4, 2, 1])
    return np.array(SHJ[kind])[moved.astype(int)] ^ int(draw.integers(2))


def coded(features: np.ndarray, copies: int, noise: float, draw: np.random.Generator) -> Tensor:
    """Binary features `(n, f)` as intensities `(n, 2 f copies)`: high where a feature has the input's value."""
    both = np.stack([features, 1 - features], axis=-1).reshape(len(features), -1)
    level = np.repeat(0.2 + 0.6 * both, copies, axis=1)
    return torch.from_numpy(np.clip(level + noise * draw.standard_normal(level.shape), 0, 1).astype(np.float32))


def cued(rule: int, rules: int, copies: int, count: int) -> Tensor:
    """The cue of a rule, `(count, rules · copies)`: 0.8 for its inputs, 0 for those of the others."""
    line = torch.zeros(rules, copies)
    line[rule] = 0.8
    return line.flatten().expand(count, -1)
