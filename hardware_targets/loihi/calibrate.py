"""Scales and rounding that follow the graph's membrane voltages best, on spikes that are typical for it.

The graph runs once in exact fractions. Then every population is tried alone on the spikes that reached it there, and on
its own spikes of there, so that each voltage says what rounding did to it and not what earlier mistakes did; what is
minimised is the mean square of its distance from the threshold, minus the true one. Neurons do not disturb each other, so
that each takes its own best, or all take the best common scale.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import nir
import numpy as np

from hardware_targets.loihi import emulator, fractions, quantise
from hardware_targets.loihi.compiler import CAUSES, Layer, layers, program
from hardware_targets.loihi.quantise import EXACT, Grid, Laid, Scheme, Way

TRIED = 16
"""Scales of every way to spend the bits, evenly from the largest to half of it."""
DRAWS = 8
"""Random draws of stochastic rounding from which every neuron takes its best."""
BETTER = 0.99
"""What a scale must lower the error to, for the one of the least weight error to be left."""

Arrays = dict[str, np.ndarray]


def calibrate(graph: nir.NIRGraph, spikes: np.ndarray, dt: float, scheme: Scheme) -> dict[str, Any]:
    """The best rounding of every population, as metadata of the graph; `compile` keeps to it.

    Args:
        graph: a NIR graph that fits the chip; what its metadata tell of rounding is tried like the rest.
        spikes: zeros and ones, `(time, batch, *input)`.
        dt: step in seconds.
        scheme: what may be chosen; `stochastic` tries draws beside rounding to the nearest.

    Returns:
        `{"neurons": {NAME: {"scale", "exponents", …, "error"}}}`; the error is the root of the mean square, in thresholds
        (in volts for a readout).

    Raises:
        TargetError: the graph does not fit the chip.
    """
    wiring, found = layers(graph, dt, scheme)
    exact = program(wiring, found, dt, ())
    names = tuple(layer.name for layer in found)
    run = emulator.run(exact, spikes.reshape(*spikes.shape[:2], -1), (exact.input, *names), (), names)
    told = {}
    for layer in found:
        true = run.before_reset[layer.name] / exact.population(layer.name).scale
        laid, error = _best(layer, run.spikes, true, scheme)
        told[layer.name] = {**laid.grid.to_dict(), "error": float(np.sqrt(error.mean()))}
    return {"neurons": told}


def _best(layer: Layer, spikes: Arrays, true: np.ndarray, scheme: Scheme) -> tuple[Laid, np.ndarray]:
    """The best grid of a population, and the mean square of each neuron's error."""
    measure = _measure(layer, spikes, true)
    best = layer.laid
    error = measure(best)
    if best.error < EXACT:
        return best, error
    for way in quantise.ways(layer.neuron, layer.matrices, layer.depth, scheme):
        scale, least = _scale(layer, way, measure, scheme)
        if least.mean() < BETTER * error.mean():
            grid = Grid(scale, way.exponents, np.zeros(scale.shape, np.int64), scheme.scaling == "layer")
            best, error = quantise.laid(layer.neuron, layer.matrices, grid), least
    for draw in range(scheme.draw, scheme.draw + DRAWS) if scheme.draw else ():
        tried = replace(best.grid, draw=np.full(best.grid.draw.shape, draw))
        found = measure(quantise.laid(layer.neuron, layer.matrices, tried))
        draws = np.where(found < error, draw, best.grid.draw)
        best = quantise.laid(layer.neuron, layer.matrices, replace(best.grid, draw=draws))
        error = np.minimum(found, error)
    return best, error


def _scale(
    layer: Layer, way: Way, measure: Callable[[Laid], np.ndarray], scheme: Scheme
) -> tuple[np.ndarray, np.ndarray]:
    """The best scale of each neuron, or of all, and the errors there."""
    shared = scheme.scaling == "layer"
    scale, least = way.limit, np.full(way.limit.shape, np.inf)
    tried = list(way.scales(layer.matrices, shared))
    for candidate, there in tried[:: max(1, len(tried) // TRIED)]:
        grid = Grid(candidate, way.exponents, np.zeros(scale.shape, np.int64), shared)
        found = measure(quantise.laid(layer.neuron, layer.matrices, grid))
        better = there & (found < least)
        if shared:
            better = np.full(scale.shape, found.mean() < least.mean())
        scale, least = np.where(better, candidate, scale), np.where(better, found, least)
    return scale, least


def _measure(layer: Layer, spikes: Arrays, true: np.ndarray) -> Callable[[Laid], np.ndarray]:
    """What gives the mean square error of every neuron, `(size,)`, for weights that were laid on a grid."""
    from hardware_targets.loihi import kernel

    steps, batch, size = true.shape
    level = np.where(np.isfinite(layer.neuron.threshold), layer.neuron.threshold, 0.0)
    wanted = np.ascontiguousarray(true - level)
    fired = np.ascontiguousarray(spikes[layer.name] if layer.spiking else np.zeros(true.shape), np.uint8)
    rounded = frozenset(CAUSES) - {"start"}

    def measure(laid: Laid) -> np.ndarray:
        current = np.zeros(true.shape)
        for projection in layer.projections(laid, rounded):
            fractions.Synapses(projection, whole=True).add_all(spikes[projection.source], current)
        registers = emulator.registers(layer.population(laid, rounded)[0])
        if not layer.spiking:
            registers[kernel.THRESHOLD] = 0
        error = np.zeros(size)
        kernel.deviation(
            current.astype(np.int32), fired, wanted, 1 / laid.scale, registers, layer.depth, error,
        )  # fmt: skip
        return error / (batch * max(steps - layer.depth, 1)) / np.where(level > 0, np.square(level), 1.0)

    return measure
