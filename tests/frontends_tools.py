"""What the tests of the front ends share: models with weights whose sums are exact in any order."""

import warnings

import torch
from torch import nn


def quiet(name):
    """Import a library whose import warns."""
    import importlib

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module(name)


def exact_(module, generator, low=-40, high=56):
    """Weights in 1/64: a sum of spikes times weights is then exact, whatever the order of a matrix product."""
    for m in module.modules():
        if isinstance(m, nn.Linear | nn.Conv2d | nn.Conv1d):
            for p in m.parameters():
                p.data = torch.randint(low, high, p.shape, generator=generator) / 64
    return module


def inputs(generator, steps, batch, *size, rate=0.4):
    return (torch.rand((steps, batch, *size), generator=generator) < rate).float()


def first_difference(ours, theirs):
    """The first step in which any spike differs, or None."""
    wrong = (ours != theirs).flatten(1).any(1).nonzero()
    return int(wrong[0]) if len(wrong) else None
