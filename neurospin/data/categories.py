"""Category-learning tasks as data sets, so that any stream can be made of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor

from neurospin.data.digits import Images
from neurospin.tasks.categories import SHJ, Trials, five_four, gaussian_categories, shj
from neurospin.tasks.randman import randman

CURVES = np.linspace(-4, 4, 9)  # where tuning curves stand, in standard deviations of a category


def shj_type(kind: str, seed: int = 0) -> Images:
    """One of the six types: 256 trials of one subject to learn from, the eight stimuli to be tested on.

    Each binary feature is two inputs, one of which is 1.
    """
    return _binary(shj(kind, subjects=1, seed=seed))


def five_four_items(seed: int = 0) -> Images:
    """The 5-4 structure: 16 passes through nine items to learn from, the nine to be tested on; two inputs per feature."""
    return _binary(five_four(subjects=1, seed=seed))


def gaussian(kind: str, seed: int = 0) -> Images:
    """Rule-based (`"rule"`) or information-integration categories: 1000 trials to learn from, 500 to be tested on.

    Each of the two features drives nine inputs with Gaussian tuning curves of width 1, from −4 to 4.
    """
    trials = gaussian_categories(kind, subjects=1, trials=1500, seed=seed)
    x = np.exp(-((trials.stimuli[0][..., None] - CURVES) ** 2) / 2).reshape(1500, -1)
    y = trials.categories[0]
    return Images(*_tensors(x[:1000], y[:1000]), *_tensors(x[1000:], y[1000:]))


def random_manifolds(seed: int = 0) -> Images:
    """Ten classes of `neurospin.tasks.randman` over 50 inputs and 50 steps, 160 samples of each to learn from and 40 to test."""
    spikes, labels = randman(10, samples=200, seed=seed)
    test = np.arange(len(labels)) % 200 >= 160
    parts = (spikes[~test], labels[~test], spikes[test], labels[test])
    return Images(*map(torch.from_numpy, parts))


def _binary(trials: Trials) -> Images:
    exemplars, shown = trials.exemplars()
    _, first = np.unique(shown[0], return_index=True)
    both = np.stack([exemplars, 1 - exemplars], -1).reshape(len(exemplars), -1)
    y = trials.categories[0]
    return Images(*_tensors(both[shown[0]], y), *_tensors(both, y[first]))


def _tensors(x: np.ndarray, y: np.ndarray) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(x.astype(np.float32)), torch.from_numpy(y.astype(np.int64))


SETS: dict[str, Callable[[int], Images]] = {
    "randman": random_manifolds,
    **{f"shj_{kind}": partial(shj_type, kind) for kind in SHJ},
    "five_four": five_four_items,
    "rule": partial(gaussian, "rule"),
    "integration": partial(gaussian, "integration"),
}
