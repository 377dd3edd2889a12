"""Small graphs, one for each thing that a graph can hold: what the conformance suite asks of a target."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import nir
import numpy as np

Nodes = dict[str, nir.NIRNode]
N = 8
DT = 1e-3


@dataclass(frozen=True)
class Case:
    """One graph with its input.

    Attributes:
        name: short, unique.
        what: the graph holds, in words.
        make: builds the graph.
        shape: of the input, without time and batch.
        layers: of neurons, one after the other.
        inputs: names of several inputs.
    """

    name: str
    what: str
    make: Callable[[], nir.NIRGraph]
    shape: tuple[int, ...] = (N,)
    layers: int = 1
    inputs: tuple[str, ...] = ()

    def spikes(self, steps: int, batch: int) -> np.ndarray | dict[str, np.ndarray]:
        """Independent spikes at 40 %, `(time, batch, *shape)`, float32; of several inputs, by name."""
        rng = np.random.default_rng(7)
        made = [(rng.random((steps, batch, *self.shape)) < 0.4).astype(np.float32) for _ in self.inputs or ("",)]
        return dict(zip(self.inputs, made, strict=True)) if self.inputs else made[0]


def _full(value: float, *shape: int) -> np.ndarray:
    return np.full(shape or (N,), value, np.float32)


def _weight(out: int = N, into: int = N, gain: float = 1.5, seed: int = 0) -> np.ndarray:
    """Half of them positive, so that every neuron fires now and then and margins are wide."""
    rng = np.random.default_rng(seed)
    return (gain * np.where(rng.random((out, into)) < 0.7, 1, -1)).astype(np.float32)


def _lif(*shape: int, **fields: Any) -> nir.LIF:
    size = shape or (N,)
    held = {"tau": 8e-3, "r": 1.0, "v_leak": 0.0, "v_threshold": 1.0, "v_reset": 0.0, **fields}
    arrays: dict[str, Any] = {key: np.broadcast_to(np.float32(value), size).copy() for key, value in held.items()}
    return nir.LIF(**arrays)


def _graph(
    nodes: Nodes, edges: list[tuple[str, str]], shape: tuple[int, ...] = (N,), out: tuple[int, ...] = (N,), **held: Any
) -> nir.NIRGraph:
    ends: Nodes = {"input": nir.Input({"input": np.array(shape)}), "output": nir.Output({"output": np.array(out)})}
    return nir.NIRGraph({**ends, **nodes}, edges, metadata={"neurospin": {"dt": DT, **held}})


def _chain(nodes: Nodes, shape: tuple[int, ...] = (N,), out: tuple[int, ...] = (N,), **held: Any) -> nir.NIRGraph:
    names = ["input", *nodes, "output"]
    return _graph(nodes, list(pairwise(names)), shape, out, **held)


def _one(neuron: nir.NIRNode, **held: Any) -> nir.NIRGraph:
    return _chain({"w": nir.Linear(_weight()), "n": neuron}, **held)


def _if() -> nir.NIRGraph:
    return _one(nir.IF(r=_full(130), v_threshold=_full(1), v_reset=_full(0)))


def _cuba(readout: bool) -> nir.NIRGraph:
    held: dict[str, Any] = {"tau_syn": _full(4e-3), "tau_mem": _full(8e-3), "r": _full(1), "v_leak": _full(0)}
    return _one(nir.CubaLI(**held) if readout else nir.CubaLIF(**held, v_threshold=_full(1), v_reset=_full(0)))


def _own() -> nir.NIRGraph:
    spread = np.linspace(1, 2, N)
    return _one(_lif(tau=6e-3 * spread, v_threshold=0.6 * spread, r=spread, v_leak=0.1 * spread, v_reset=-0.1 * spread))


def _skip() -> nir.NIRGraph:
    nodes: Nodes = {
        "w1": nir.Linear(_weight()), "a": _lif(), "w2": nir.Linear(_weight(seed=1, gain=2)), "skip": nir.Linear(_weight(seed=2, gain=2)),
        "b": _lif(),
    }  # fmt: skip
    edges = [("input", "w1"), ("w1", "a"), ("a", "w2"), ("w2", "b"), ("input", "skip"), ("skip", "b"), ("b", "output")]
    return _graph(nodes, edges)


def _recurrent() -> nir.NIRGraph:
    nodes: Nodes = {"w": nir.Linear(_weight()), "n": _lif(), "loop": nir.Affine(_weight(gain=0.25), _full(0.2))}
    return _graph(nodes, [("input", "w"), ("w", "n"), ("n", "loop"), ("loop", "n"), ("n", "output")])


def _nested() -> nir.NIRGraph:
    inner = _one(_lif())
    return _chain(
        {"inner": nir.NIRGraph(inner.nodes, inner.edges), "w": nir.Linear(_weight(seed=1, gain=4)), "n": _lif()}
    )


def _conv(two: bool) -> nir.NIRGraph:
    shape = (1, 6, 6) if two else (1, 12)
    out = (2, 4, 4) if two else (2, 10)
    weight = _weight(2, 9 if two else 3).reshape(2, 1, *((3, 3) if two else (3,)))
    bias = _full(0, 2)
    node = nir.Conv2d((6, 6), weight, 1, 0, 1, 1, bias) if two else nir.Conv1d(12, weight, 1, 0, 1, 1, bias)
    return _chain({"conv": node, "n": _lif(*out)}, shape, out)


def _pool(kind: str) -> nir.NIRGraph:
    held: dict[str, Any] = {"kernel_size": np.array([2, 2]), "stride": np.array([2, 2]), "padding": np.array([0, 0])}
    pool = nir.SumPool2d(**held) if kind == "sum" else nir.AvgPool2d(**held)
    flat = nir.Flatten({"input": np.array([1, 2, 2])}, 0, -1)
    nodes: Nodes = {
        "pool": pool,
        "flat": flat,
        "w": nir.Linear(_weight(N, 4, 1.5 if kind == "sum" else 5)),
        "n": _lif(),
    }
    return _chain(nodes, (1, 4, 4))


def _delay() -> nir.NIRGraph:
    delays = DT * np.arange(N).astype(np.float32)
    return _chain({"d": nir.Delay(delays), "w": nir.Linear(_weight()), "n": _lif()})


def _deep() -> nir.NIRGraph:
    nodes: Nodes = {}
    for k in range(4):
        nodes |= {f"w{k}": nir.Linear(_weight(seed=k, gain=4 if k else 2)), f"n{k}": _lif()}
    return _chain(nodes)


def _ports() -> nir.NIRGraph:
    ends = {name: nir.Input({"input": np.array([N])}) for name in ("left", "right")}
    ends |= {name: nir.Output({"output": np.array([N])}) for name in ("first", "last")}
    inner: Nodes = {"v": nir.Linear(_weight()), "w": nir.Linear(_weight(seed=1)), "a": _lif()}
    inner |= {"u": nir.Linear(_weight(seed=2, gain=4)), "b": _lif()}
    edges = [
        ("left", "v"),
        ("right", "w"),
        ("v", "a"),
        ("w", "a"),
        ("a", "first"),
        ("a", "u"),
        ("u", "b"),
        ("b", "last"),
    ]
    return nir.NIRGraph({**ends, **inner}, edges, metadata={"neurospin": {"dt": DT}})


_ALL = [
    Case("LIF", "a leaky neuron, reset to a value", lambda: _one(_lif())),
    Case("IF", "a neuron without leak", _if),
    Case("CubaLIF", "a neuron with a synaptic current", lambda: _cuba(False)),
    Case("LI", "a leaky readout", lambda: _one(nir.LI(tau=_full(8e-3), r=_full(1), v_leak=_full(0)))),
    Case("CubaLI", "a readout with a synaptic current", lambda: _cuba(True)),
    Case("I", "an integrating readout", lambda: _one(nir.I(r=_full(10)))),
    Case("constants", "r, τ, leak, threshold and reset of each neuron's own", _own),
    Case("bias", "an Affine", lambda: _chain({"w": nir.Affine(_weight(), _full(0.3)), "n": _lif()})),
    Case("depth", "four layers", _deep, layers=4),
    Case("skip", "two paths of unequal depth that meet", _skip, layers=2),
    Case("loop", "a layer that feeds itself, with a bias in the loop", _recurrent, layers=2),
    Case("nested", "a graph in a graph", _nested, layers=2),
    Case("delay", "a Delay of 0 to 7 steps", _delay),
    Case("scale", "a Scale", lambda: _chain({"w": nir.Linear(_weight()), "s": nir.Scale(_full(1.2)), "n": _lif()})),
    Case("Conv1d", "a convolution over one axis", lambda: _conv(False), (1, 12)),
    Case("Conv2d", "a convolution over two axes", lambda: _conv(True), (1, 6, 6)),
    Case("SumPool2d", "pooling by sums, then Flatten", lambda: _pool("sum"), (1, 4, 4)),
    Case("AvgPool2d", "pooling by means, then Flatten", lambda: _pool("average"), (1, 4, 4)),
    Case("subtract", "reset by subtraction, in the metadata", lambda: _one(_lif(), reset="subtract")),
    Case("ports", "two inputs and two outputs", _ports, layers=2, inputs=("left", "right")),
    Case("exponential", "decays of exp(−dt/τ), in the metadata", lambda: _one(_lif(), scheme="exponential")),
]
CASES = {case.name: case for case in _ALL}


def broken() -> list[nir.NIRGraph]:
    """Graphs that no target can run: a loop without a neuron, an output without a source."""
    ends: Nodes = {"input": nir.Input({"input": np.array([2])}), "output": nir.Output({"output": np.array([2])})}
    edges = [("input", "s"), ("s", "s"), ("s", "output")]
    loop = nir.NIRGraph({**ends, "s": nir.Scale(scale=_full(1, 2))}, edges, type_check=False)
    return [loop, nir.NIRGraph(ends, [], type_check=False)]
