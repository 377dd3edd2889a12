"""One population as the chip counts: its constants in float64, and how far it can go."""

from __future__ import annotations

from dataclasses import dataclass

import nir
import numpy as np

from hardware_targets.loihi import limits
from hardware_targets.loihi.sparse import Matrix, row_sums
from neurospin.graph.order import SPIKING

MARGIN = 0.98
"""Part of a register that the scale may fill before weights are rounded."""


@dataclass(frozen=True)
class Model:
    """One population in float64, as the chip counts: voltage from the reset value, current in volts a step.

    Attributes:
        decay_u: share of the current that is lost in each step.
        decay_v: share of the voltage that is lost in each step.
        gain: current per unit of weighted input.
        bias: added to the voltage in each step.
        u0: current before the first step.
        v0: voltage before the first step.
        threshold: voltage of the spike; infinite for a readout.
        zero: voltage of the graph at which the chip's is 0.
    """

    decay_u: np.ndarray
    decay_v: np.ndarray
    gain: np.ndarray
    bias: np.ndarray
    u0: np.ndarray
    v0: np.ndarray
    threshold: np.ndarray
    zero: np.ndarray


def model(node: nir.NIRNode, drive: np.ndarray, dt: float) -> Model:
    """The exact float mapping of a neuron node.

    A constant input of a neuron with a synaptic current is a bias of `input / decay_u` and a current
    that starts at minus as much: their sum rises as the synaptic current does.

    Args:
        node: IF, LIF, CubaLIF, LI or CubaLI.
        drive: constant input, `(size,)`.
        dt: step in seconds.
    """

    def get(key: str, default: float) -> np.ndarray:
        value = getattr(node, key, None)
        array = np.asarray(default if value is None else value, np.float64)
        return np.array(np.broadcast_to(array.reshape(-1), drive.shape))

    tau = "tau" if hasattr(node, "tau") else "tau_mem"
    leaky = hasattr(node, tau)
    rate = np.minimum(dt / get(tau, 1.0), 1.0) if leaky else np.zeros(drive.shape)
    synapse = np.minimum(dt / get("tau_syn", dt), 1.0)
    gain = (rate if leaky else dt) * get("r", 1.0) * synapse * get("w_in", 1.0)
    zero = get("v_reset", 0.0)
    constant = gain * drive / synapse
    return Model(
        decay_u=synapse, decay_v=rate, gain=gain, bias=rate * (get("v_leak", 0.0) - zero) + constant,
        u0=np.where(synapse < 1, -constant, 0.0), v0=-zero,
        threshold=get("v_threshold", np.inf) - zero if isinstance(node, SPIKING) else np.full(drive.shape, np.inf),
        zero=zero,
    )  # fmt: skip


def decays(neuron: Model) -> tuple[np.ndarray, np.ndarray]:
    """The registers `du` and `dv` of a population."""
    du = np.clip(np.rint(neuron.decay_u * limits.DECAY_ONE).astype(np.int64) - 1, 0, limits.DECAY_ONE - 1)
    dv = np.clip(np.rint(neuron.decay_v * limits.DECAY_ONE).astype(np.int64), 0, limits.DECAY_ONE - 1)
    return du, dv


def threshold_register(threshold: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """The register `vth`: cut, not rounded, which is exact for voltages that are whole multiples of 64.

    What is added first is the rounding of float32, so that 2.9999999 is 3.
    """
    cut = np.floor(threshold * scale / (1 << limits.SHIFT) * (1 + 2.0**-23))
    return np.clip(cut, 0, limits.THRESHOLD)


@dataclass(frozen=True)
class Reach:
    """How far a population can go at most, when every source spikes in every step; volts, `(size,)`.

    Attributes:
        current: largest magnitude of the current.
        low: voltage below the reset; infinite for an integrator without leak that can be inhibited.
        high: voltage above the reset, were there no threshold.
    """

    current: np.ndarray
    low: np.ndarray
    high: np.ndarray


def reach(neuron: Model, matrices: list[Matrix]) -> Reach:
    """How far a population can go at most."""
    du, dv = decays(neuron)
    decay_u = (du + 1) / limits.DECAY_ONE
    decay_v = np.where(dv > 0, dv / limits.DECAY_ONE, neuron.decay_v)
    start = np.abs(neuron.u0)
    ends = []
    for sign in (-1, 1):
        current = sum((row_sums(m, np.maximum(sign * m.data, 0)) for m in matrices), np.zeros_like(decay_u)) / decay_u
        drive = current + start + np.maximum(sign * neuron.bias, 0)
        voltage = np.divide(drive, decay_v, out=np.full_like(drive, np.inf), where=decay_v > 0)
        ends.append((current, np.where(drive > 0, voltage, 0.0) + np.abs(neuron.v0)))
    return Reach(np.maximum(ends[0][0], ends[1][0]), ends[0][1], ends[1][1])


def largest_scale(neuron: Model, matrices: list[Matrix], depth: int, headroom: float) -> np.ndarray:
    """The scale at which the first register is full."""
    most = reach(neuron, matrices)
    spiking = np.isfinite(neuron.threshold)
    kept = headroom * np.maximum(np.where(spiking, neuron.threshold, 0.0), np.abs(neuron.v0))
    u_before, v_before = _before(neuron, depth)
    low = np.maximum(most.low, np.abs(v_before))
    current = most.current + np.abs(u_before)
    bounds = [
        # a start that lies far back must not cost the precision of all that follows
        (
            limits.STATE,
            np.where(spiking, np.minimum(current, np.maximum(most.current + np.abs(neuron.u0), kept)), current),
        ),
        (limits.STATE, np.where(spiking, np.minimum(low, kept), low)),
        (
            limits.THRESHOLD << limits.SHIFT,
            np.where(spiking, neuron.threshold, np.maximum(most.low, most.high)),
        ),
        (limits.BIAS_MANTISSA << limits.BIAS_EXPONENT, np.abs(neuron.bias)),
    ]
    scales = [np.divide(cap, size, out=np.full(size.shape, np.inf), where=size > 0) for cap, size in bounds]
    scale = np.min(scales, axis=0)
    return np.where(np.isfinite(scale) & (scale > 0), MARGIN * scale, 1.0)


def _before(neuron: Model, depth: int) -> tuple[np.ndarray, np.ndarray]:
    """Current and voltage `depth` input-free steps before the start, in float."""
    u, v = neuron.u0, neuron.v0
    keep_u, keep_v = 1 - neuron.decay_u, 1 - neuron.decay_v
    for _ in range(depth):
        v = np.divide(v - u - neuron.bias, keep_v, out=np.zeros_like(v), where=keep_v > 0)
        u = np.divide(u, keep_u, out=np.zeros_like(u), where=keep_u > 0)
    return u, v
