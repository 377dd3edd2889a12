"""Random graphs, and an interpreter of them that shares no code with neurospin.

The generator knows which edges go back, because it builds the graph layer by layer; the interpreter
goes neuron by neuron in plain numpy, one step after the other.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import nir
import numpy as np
from hypothesis import strategies as st


@dataclass
class Made:
    """A graph with what its maker knows."""

    graph: nir.NIRGraph
    sequence: list[str]
    back: set[tuple[str, str]] = field(default_factory=set)
    dt: float = 1e-3

    @property
    def inputs(self) -> int:
        return int(self.graph.nodes["input"].input_type["input"][0])

    def spiking(self) -> list[str]:
        return [n for n in self.sequence if isinstance(self.graph.nodes[n], nir.LIF | nir.IF | nir.CubaLIF)]


def neuron(kind: str, size: int, rng: np.random.Generator, *, plain: bool = False) -> nir.NIRNode:
    """A random neuron node with constants of its own in every neuron."""

    def uniform(low: float, high: float) -> np.ndarray:
        values = rng.uniform(low, high, size)
        return np.full(size, values[0], np.float32) if plain else values.astype(np.float32)

    r, leak = uniform(0.5, 2), uniform(-0.3, 0.3)
    theta, reset = uniform(0.5, 1.5), uniform(-0.4, 0.2)
    if kind == "if":
        return nir.IF(r=uniform(50, 200), v_threshold=theta, v_reset=reset)
    if kind == "lif":
        return nir.LIF(tau=uniform(3e-3, 40e-3), r=r, v_leak=leak, v_threshold=theta, v_reset=reset)
    if kind == "li":
        return nir.LI(tau=uniform(3e-3, 40e-3), r=r, v_leak=leak)
    times = {"tau_mem": uniform(3e-3, 40e-3), "tau_syn": uniform(2e-3, 20e-3)}
    if kind == "cubalif":
        return nir.CubaLIF(**times, r=r, v_leak=leak, v_threshold=theta, v_reset=reset, w_in=uniform(0.5, 2))
    return nir.CubaLI(**times, r=r, v_leak=leak, w_in=uniform(0.5, 2))


@st.composite
def graphs(draw, *, loops: bool = True, skips: bool = False, readout: bool = True, largest: int = 8) -> Made:
    """One to three layers of random neurons; a layer may feed itself, and may skip the next."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    sizes = [draw(st.integers(1, largest)) for _ in range(1 + draw(st.integers(1, 3)))]
    nodes: dict[str, nir.NIRNode] = {"input": nir.Input({"input": np.array([sizes[0]])})}
    edges: list[tuple[str, str]] = []
    sequence, back, before = ["input"], set(), "input"
    layers: list[str] = []
    for layer, (a, b) in enumerate(pairwise(sizes), start=1):
        last = layer == len(sizes) - 1
        kinds = ["lif", "cubalif", "if"] + (["li", "cubali"] if last and readout else [])
        name, weights = f"n{layer}", f"w{layer}"
        nodes[weights] = _weights(b, a, rng, draw(st.booleans()))
        nodes[name] = neuron(draw(st.sampled_from(kinds)), b, rng)
        edges += [(before, weights), (weights, name)]
        sequence += [weights, name]
        if loops and draw(st.booleans()) and not isinstance(nodes[name], nir.LI | nir.CubaLI):
            nodes[f"r{layer}"] = _weights(b, b, rng, draw(st.booleans()))
            edges += [(name, f"r{layer}"), (f"r{layer}", name)]
            sequence.append(f"r{layer}")
            back.add((f"r{layer}", name))
        if skips and len(layers) >= 2 and draw(st.booleans()):
            source = layers[-2]
            count = len(np.ravel(nodes[source].r))
            nodes[f"s{layer}"] = _weights(b, count, rng, False)
            edges += [(source, f"s{layer}"), (f"s{layer}", name)]
            sequence.insert(sequence.index(name), f"s{layer}")
        layers.append(name)
        before = name
    nodes["output"] = nir.Output({"output": np.array([sizes[-1]])})
    edges.append((before, "output"))
    sequence.append("output")
    graph = nir.NIRGraph(nodes, edges, metadata={"neurospin": {"dt": 1e-3}})
    return Made(graph, sequence, back)


def _weights(out: int, into: int, rng: np.random.Generator, bias: bool) -> nir.NIRNode:
    weight = (rng.normal(size=(out, into)) * 7 / np.sqrt(into)).astype(np.float32)
    if bias:
        return nir.Affine(weight=weight, bias=(0.5 * rng.normal(size=out)).astype(np.float32))
    return nir.Linear(weight=weight)


def interpret(made: Made, spikes: np.ndarray, kind: type = np.float64) -> dict[str, np.ndarray]:
    """What every node gives, `(time, batch, size)`, by the definition of NIR and Euler's method."""
    graph, dt = made.graph, kind(made.dt)
    batch = spikes.shape[1]
    out: dict[str, list[np.ndarray]] = {name: [] for name in made.sequence}
    state: dict[str, list[np.ndarray]] = {}
    for t in range(len(spikes)):
        now: dict[str, np.ndarray] = {}
        for name in made.sequence:
            node = graph.nodes[name]
            if name == "input":
                now[name] = spikes[t].astype(kind)
                continue
            total = 0
            for a, b in graph.edges:
                if b != name:
                    continue
                if (a, b) in made.back:
                    silent = np.broadcast_to(getattr(graph.nodes[a], "bias", 0.0), (batch, len(node.r)))
                    total = total + (out[a][t - 1] if t else silent.astype(kind))
                else:
                    total = total + now[a]
            now[name] = _apply(node, total, state.setdefault(name, []), dt, kind)
        for name, value in now.items():
            out[name].append(value)
    return {name: np.stack(values) for name, values in out.items()}


def _apply(node, x, state: list[np.ndarray], dt, kind) -> np.ndarray:
    if isinstance(node, nir.Output):
        return x
    if isinstance(node, nir.Affine | nir.Linear):
        y = x @ node.weight.T.astype(kind)
        return y + node.bias.astype(kind) if isinstance(node, nir.Affine) else y

    def get(field: str, default: float) -> np.ndarray:
        return np.asarray(getattr(node, field, default)).astype(kind)

    if not state:
        state += [np.zeros_like(x), np.zeros_like(x)]
    v, i = state
    if hasattr(node, "tau_syn"):
        x = i + dt / get("tau_syn", 1) * (-i + get("w_in", 1) * x)
        state[1] = x
    if isinstance(node, nir.IF):
        v = v + dt * get("r", 1) * x
    else:
        tau = get("tau", 1) if hasattr(node, "tau") else get("tau_mem", 1)
        v = v + dt / tau * ((get("v_leak", 0) - v) + get("r", 1) * x)
    if not hasattr(node, "v_threshold"):
        state[0] = v
        return v
    fired = v > get("v_threshold", 1)
    state[0] = np.where(fired, get("v_reset", 0), v)
    return fired.astype(kind)


def random_spikes(made: Made, steps: int, batch: int, seed: int = 0, rate: float = 0.4) -> np.ndarray:
    """Independent spikes for a graph's input."""
    rng = np.random.default_rng(seed)
    return (rng.random((steps, batch, made.inputs)) < rate).astype(np.float32)
