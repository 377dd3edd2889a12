"""Spikes on smooth random manifolds: as many classes as wanted, each as hard as wanted."""

from __future__ import annotations

import numpy as np

from neurospin.errors import InputError


def randman(
    classes: int = 10, *, samples: int = 200, inputs: int = 50, steps: int = 50, dimensions: int = 1, alpha: float = 2.0,
    cutoff: int = 100, seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Spike trains in which every neuron fires once, at a time that is a smooth random function of a point.

    Each class has a manifold: the points `u` are uniform in `[0, 1]^dimensions`, and the time of neuron n is, before it is
    scaled to `[0, 1]` over the class::

        Π_d Σ_k k^(−alpha) a_dk sin(2π (k b_dk u_d + c_dk)),    a, b, c uniform in [0, 1], anew for every neuron

    Args:
        classes: how many.
        samples: of each class.
        inputs: neurons.
        steps: time steps.
        dimensions: of the manifolds, default 1; more are harder.
        alpha: smoothness, default 2; smaller is rougher and harder.
        cutoff: the largest k.
        seed: of everything random.

    Returns:
        Spikes `(classes · samples, steps, inputs)`, uint8, and labels `(classes · samples,)`, class after class.

    Source: Zenke & Vogels, Neural Computation 33:899, 2021, doi:10.1162/neco_a_01367.
    """
    for name, value in (("classes", classes), ("samples", samples), ("inputs", inputs), ("steps", steps)):
        if value < 1:
            raise InputError(f"randman.{name}", "at least 1", str(value), "give a positive number")
    times = np.concatenate([
        _times(np.random.default_rng([seed, number]), samples, inputs, dimensions, alpha, cutoff)
        for number in range(classes)
    ])  # fmt: skip
    spikes = np.zeros((len(times), steps, inputs), np.uint8)
    at = np.minimum((times * steps).astype(int), steps - 1)
    np.put_along_axis(spikes, at[:, None, :], 1, axis=1)
    return spikes, np.repeat(np.arange(classes), samples)


def _times(
    draw: np.random.Generator, samples: int, inputs: int, dimensions: int, alpha: float, cutoff: int
) -> np.ndarray:
    """Spike times of one class in `[0, 1]`, `(samples, inputs)`."""
    points = draw.random((samples, dimensions))
    k = np.arange(1, cutoff + 1)
    found = np.ones((samples, inputs))
    for d in range(dimensions):
        a, b, c = draw.random((3, inputs, cutoff))
        for n in range(inputs):
            found[:, n] *= np.sin(2 * np.pi * (points[:, d, None] * k * b[n] + c[n])) @ (a[n] * k**-alpha)
    low, high = found.min(0), found.max(0)
    return (found - low) / np.where(high > low, high - low, 1)
