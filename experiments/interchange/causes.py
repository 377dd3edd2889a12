"""What the other tools compute in place of NIR's definition, in plain numpy: each of their rules, and nothing else.

`emulated(TOOL, graph, spikes, dt)` gives every output value of that tool; `compare.py` counts where it does not.
"""

from __future__ import annotations

import nir
import numpy as np
import torch

from neurospin.graph.operators import operator

STATEFUL = (nir.LIF, nir.CubaLIF)


def spikingjelly(node, x, state, dt):
    """NIR's own step; but the voltage starts at the reset potential."""
    tau, syn = _times(node)
    i, v = state or (np.zeros_like(x), np.zeros_like(x) + node.v_reset)
    if syn is not None:
        x = i = i + dt / syn * (node.w_in * x - i)
    v = v + dt / tau * (node.v_leak - v + node.r * x)
    z = (v > node.v_threshold).astype(x.dtype)
    return z, (i, np.where(z > 0, node.v_reset, v))


def norse(node, x, state, dt):
    """r of a LIF is 1, the reset potential 0, the voltage starts at the leak; a synaptic current leaks to it, too."""
    tau, syn = _times(node)
    i, v = state or (np.zeros_like(x) + node.v_leak, np.zeros_like(x) + node.v_leak)
    if syn is not None:
        i = i + dt / syn * (node.v_leak - i + node.w_in * x)
        x = node.r * i
    v = v + dt / tau * (node.v_leak - v + x)
    z = (v > node.v_threshold).astype(x.dtype)
    return z, (i, np.where(z > 0, 0, v))


def spyx(node, x, state, dt, feedback=None):
    """The voltage of the step before decides the spike; its subtraction comes before the decay of a CubaLIF, after a LIF's.

    The input counts as it is, without r, w_in and the share of the time constants; no leak, no reset potential.
    """
    tau, syn = _times(node)
    i, v = state or (np.zeros_like(x), np.zeros_like(x))
    z = (v > node.v_threshold).astype(x.dtype)
    if feedback is not None:
        x = x + feedback(z)
    if syn is None:
        return z, (i, (1 - dt / tau) * v + x - z * node.v_threshold)
    i = (1 - dt / syn) * i + x
    return z, (i, (1 - dt / tau) * (v - z * node.v_threshold) + i)


def _times(node):
    return (node.tau_mem, node.tau_syn) if isinstance(node, nir.CubaLIF) else (node.tau, None)


RULES = {"spikingjelly": spikingjelly, "norse": norse, "spyx": spyx}


def emulated(tool: str, graph: nir.NIRGraph, spikes: np.ndarray, dt: float) -> np.ndarray:
    """Output of a chain, one of whose layers may feed itself through the node `loop`, `(time, batch, *output)`."""
    chain = [name for name in graph.nodes if name not in ("input", "output", "loop")]
    looped = next((a for a, b in graph.edges if b == "loop"), None)
    state, before, found = {}, None, []
    for x in spikes:
        for name in chain:
            node = graph.nodes[name]
            if not isinstance(node, STATEFUL):
                x = _map(tool, node, x)
            elif name != looped:
                x, state[name] = RULES[tool](node, x, state.get(name), dt)
            elif tool == "spyx":  # spikes return in the step that shows them, and without the bias
                weight = graph.nodes["loop"].weight.T
                x, state[name] = spyx(node, x, state.get(name), dt, lambda z, weight=weight: z @ weight)
            else:  # nothing returns in the first step, not even the bias
                back = 0 if before is None else _map(tool, graph.nodes["loop"], before)
                before, state[name] = RULES[tool](node, x + back, state.get(name), dt)
                x = before
        found.append(x)
    return np.stack(found).astype(np.float32)


def _map(tool: str, node: nir.NIRNode, x: np.ndarray) -> np.ndarray:
    if tool == "spyx" and isinstance(node, nir.Flatten):  # it keeps channels last, and flattens them so
        x = np.moveaxis(x, 1, -1)
        return x.reshape(len(x), -1)
    with torch.no_grad():
        return operator("node", node, torch.float32)(torch.from_numpy(np.ascontiguousarray(x, np.float32))).numpy()
