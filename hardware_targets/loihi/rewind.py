"""The state before the start: from where steps without input lead exactly to a wanted state."""

from __future__ import annotations

import numpy as np

from hardware_targets.loihi import limits


def preimage(value: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """The smallest integer whose product with `factor / 4096`, cut towards zero, is `value`; 0 for a factor of 0."""
    size = -(-np.abs(value) * limits.DECAY_ONE // np.maximum(factor, 1))
    return np.where(factor > 0, np.sign(value) * size, 0)


def _undone(value: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """What a decay by `factor / 4096` makes `value` of; 0 for a factor of 0."""
    return np.divide(limits.DECAY_ONE * value, factor, out=np.zeros(value.shape), where=factor > 0)


def rewind(
    u: np.ndarray,
    v: np.ndarray,
    du: np.ndarray,
    dv: np.ndarray,
    bias: np.ndarray,
    ceiling: np.ndarray,
    steps: int,
    *,
    whole: bool = True,
) -> tuple[np.ndarray, np.ndarray]:
    """The state from which `steps` steps without input lead exactly to `(u, v)`, within the registers.

    Args:
        u: current wanted before the first step of the graph.
        v: voltage wanted then.
        du: register of the current's decay.
        dv: register of the voltage's decay.
        bias: added in each step.
        ceiling: voltage above which the neuron spikes; the way back stays below it.
        steps: how many steps.
        whole: whether the chip cuts; otherwise its decays are divisions, and there are no registers.
    """
    for _ in range(steps):
        v = np.minimum(v, ceiling)
        if not whole:
            v = _undone(v - u - bias, limits.DECAY_ONE - dv)
            u = _undone(u, limits.DECAY_ONE - du - 1)
            continue
        v = np.clip(preimage(v - u - bias, limits.DECAY_ONE - dv), -limits.STATE, limits.STATE)
        u = np.clip(preimage(u, limits.DECAY_ONE - du - 1), -limits.STATE, limits.STATE)
    return u, v
