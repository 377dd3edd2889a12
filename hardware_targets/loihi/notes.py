"""What a compiled population differs in from the graph's, each with its size."""

from __future__ import annotations

from typing import Any

import numpy as np

from hardware_targets.loihi import limits, quantise
from hardware_targets.loihi.neuron import Model, reach
from hardware_targets.loihi.program import Population, Projection
from hardware_targets.loihi.sparse import Matrix, row_largest, row_of, with_values

Approximation = dict[str, Any]


def weight_notes(matrix: Matrix, projection: Projection, scale: np.ndarray) -> list[Approximation]:
    """Of the weights of one projection, whose true values are `matrix`, in volts a step."""
    notes: list[Approximation] = []
    unit = 2.0 ** (projection.exponent + limits.SHIFT)
    weights = projection.weights
    off = abs(with_values(weights, weights.data * (unit / scale[row_of(weights)])) - matrix)
    largest = row_largest(matrix)
    relative = float(np.divide(row_largest(off), largest, out=np.zeros_like(largest), where=largest > 0).max(initial=0))
    source = f"from {projection.source}"
    if relative > quantise.EXACT:
        what = f"weights {source} rounded to 8 bits: largest error, of the neuron's largest weight"
        notes.append({"node": projection.target, "what": what, "size": relative})
    zeroed = matrix.nnz - weights.nnz
    if zeroed:
        notes.append({"node": projection.target, "what": f"weights {source} rounded to zero: count", "size": zeroed})
    if projection.exponent < 0:
        what = f"summed weights {source} shifted right: bits cut"
        notes.append({"node": projection.target, "what": what, "size": -projection.exponent})
    return notes


def neuron_notes(
    neuron: Model, matrices: list[Matrix], population: Population, start_u: np.ndarray, start_v: np.ndarray
) -> list[Approximation]:
    """Of the registers of a population that should start from these integers after its latency."""
    notes: list[Approximation] = []

    def note(what: str, off: np.ndarray, scale: np.ndarray) -> None:
        size = np.divide(np.abs(off), np.abs(scale), out=np.abs(off).astype(float), where=scale != 0)
        if size.size and float(size.max()) > 1e-6:
            notes.append({"node": population.name, "what": what, "size": float(size.max())})

    one = limits.DECAY_ONE
    note("current decay rounded to 12 bits: relative error", (population.du + 1) / one - neuron.decay_u, neuron.decay_u)
    note("voltage decay rounded to 12 bits: relative error", population.dv / one - neuron.decay_v, neuron.decay_v)
    ends = neuron.threshold if population.spiking else limits.STATE / population.scale
    note("bias rounded to 13 bits: error, of the voltage range", population.bias / population.scale - neuron.bias, ends)
    if population.spiking:
        threshold = (population.vth << limits.SHIFT) / population.scale
        note("threshold rounded to 17 bits: relative error", threshold - neuron.threshold, neuron.threshold)
    u, v, fired = _forward(population)
    off = np.where(population.du + 1 < one, u - start_u, 0) + v - start_v
    note("start not wound back exactly: error, of the voltage range", off / population.scale, ends)
    if fired:
        what = "neurons spike before their input starts: count"
        notes.append({"node": population.name, "what": what, "size": fired})
    clips = reach(neuron, matrices).low * population.scale > limits.STATE
    if population.spiking and clips.any():
        what = "voltage stops where inhibition goes on, this many thresholds below the reset"
        size = float((limits.STATE / (population.vth * (1 << limits.SHIFT)))[clips].min())
        notes.append({"node": population.name, "what": what, "size": size})
    return notes


def _forward(population: Population) -> tuple[np.ndarray, np.ndarray, int]:
    """The state after `depth` steps without input, and how many neurons spiked on the way."""
    one = limits.DECAY_ONE
    u, v, fired = population.u0, population.v0, np.zeros(population.size, bool)
    for _ in range(population.depth):
        u = np.sign(u) * (np.abs(u) * (one - population.du - 1) // one)
        v = np.sign(v) * (np.abs(v) * (one - population.dv) // one) + u + population.bias
        v = np.clip(v, -limits.STATE, limits.STATE)
        spike = (v > population.vth << limits.SHIFT) & population.spiking
        fired |= spike
        v = np.where(spike, 0, v)
    return u, v, int(fired.sum())
