"""Handwritten digits: 1797 images of 8 × 8 pixels that scikit-learn ships (no download)."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


class Images(NamedTuple):
    """A data set in memory: intensities `(samples, pixels)` in [0, 1] and class indices `(samples,)`."""

    train_x: Tensor
    train_y: Tensor
    test_x: Tensor
    test_y: Tensor


def digits(seed: int = 0) -> Images:
    """The digits, four fifths for training and one fifth for testing, equal shares of every class.

    Args:
        seed: of the split.

    Source: E. Alpaydin & C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning
    Repository, 1998, doi:10.24432/C50P49; shipped by scikit-learn.
    """
    table = _table()
    images, labels = table[:, :-1], table[:, -1]
    draw = np.random.default_rng(seed)
    test = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        members = draw.permutation(np.flatnonzero(labels == label))
        test[members[: len(members) // 5]] = True
    x = torch.from_numpy((images / 16).astype(np.float32))
    y = torch.from_numpy(labels.astype(np.int64))
    chosen = torch.from_numpy(test)
    return Images(x[~chosen], y[~chosen], x[chosen], y[chosen])


def _table() -> np.ndarray:
    """Pixels and label of every image. Read from scikit-learn's file: to import it takes longer than to train on it."""
    package = find_spec("sklearn")
    place = Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz" if package and package.origin else None
    if place and place.is_file():
        return np.loadtxt(place, delimiter=",")
    from sklearn.datasets import load_digits  # another layout

    images, labels = load_digits(return_X_y=True)
    return np.column_stack([images, labels])
