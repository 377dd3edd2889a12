"""N-MNIST: MNIST shown to an event camera, as spikes in time steps."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from neurospin.data.digits import Images
from neurospin.data.images import home
from neurospin.errors import InputError
from neurospin.files import existing

SIDE, STEP, STEPS = 34, 10_000, 32  # pixels; microseconds; steps, which the longest recording of 336 ms takes up


def nmnist(seed: int = 0, folder: str | os.PathLike[str] | None = None) -> Images:
    """The first 1000 and 100 recordings: spikes `(samples, 32 steps of 10 ms, 2 · 34 · 34)`, uint8.

    A neuron for every polarity, row and column spikes in a step in which its pixel had at least one such event; what
    comes after 320 ms is left out.

    Args:
        seed: not used; the split is that of the authors.
        folder: of `nmnist_small_1000_100.npz`, with `{train,test}_{x,y,p,t,off,label}`: columns, rows, polarities and
            microseconds of all events, where each sample's begin, and labels. Default `nmnist` in `NEUROSPIN_DATA`.

    Raises:
        MissingFile: no such file.
        InputError: an array is missing.

    Source: Orchard et al., Frontiers in Neuroscience 9:437, 2015, doi:10.3389/fnins.2015.00437.
    """
    del seed
    place = existing((Path(folder) if folder is not None else home() / "nmnist") / "nmnist_small_1000_100.npz")
    with np.load(place, allow_pickle=False) as file:
        wanted = [f"{part}_{name}" for part in ("train", "test") for name in ("x", "y", "p", "t", "off", "label")]
        missing = [name for name in wanted if name not in file.files]
        if missing:
            raise InputError(str(place), f"the arrays {', '.join(wanted)}", f"no {missing[0]}", "take another file")
        train, test = (
            _spikes({n: file[f"{part}_{n}"] for n in ("x", "y", "p", "t", "off")}) for part in ("train", "test")
        )
        labels = [torch.from_numpy(file[f"{part}_label"].astype(np.int64)) for part in ("train", "test")]
    return Images(train, labels[0], test, labels[1])


def _spikes(events: dict[str, np.ndarray]) -> Tensor:
    samples = len(events["off"]) - 1
    sample = np.repeat(np.arange(samples), np.diff(events["off"]))
    step, inside = events["t"] // STEP, events["t"] < STEP * STEPS
    at = (sample, step, events["p"], events["y"], events["x"])
    spikes = np.zeros((samples, STEPS, 2, SIDE, SIDE), np.uint8)
    spikes[tuple(index[inside] for index in at)] = 1
    return torch.from_numpy(spikes.reshape(samples, STEPS, -1))
