"""What the chip can hold, and what of a graph it cannot.

Widths of weights, decays, thresholds, biases and states: the process models of lava-nc 0.10
(`lava.proc.lif`, `lava.proc.dense`), which follow the chip's registers. Delays of 6 bits: Davies et al. 2018, "Loihi:
a neuromorphic manycore processor with on-chip learning", doi:10.1109/MM.2018.112130359. Cores: see `cores`.
"""

from __future__ import annotations

import math

import nir
import numpy as np

from hardware_targets.loihi import cores
from hardware_targets.loihi.wiring import POPULATION, Wiring, fold, node_shape
from neurospin.errors import NeurospinError
from neurospin.graph.contract import metadata
from neurospin.graph.order import SPIKING, flatten
from neurospin.graph.scheme import scheme_of
from neurospin.target import Problem

WEIGHT_SIGNED = 254
"""Largest weight where signs are mixed: 8 bits, the lowest of them lost to the sign."""
WEIGHT_ONE_SIGN = 255
"""Largest weight where all have one sign."""
WEIGHT_EXPONENT = (-8, 7)
"""Exponent shared by all weights of a projection."""
DECAY_ONE = 4096
"""A decay of 1; decays have 12 bits."""
THRESHOLD = (1 << 17) - 1
"""Largest threshold, in units of 64."""
BIAS_MANTISSA = (1 << 12) - 1
"""Largest mantissa of a bias (13 bits with sign)."""
BIAS_EXPONENT = 7
"""Largest exponent of a bias."""
STATE = (1 << 23) - 1
"""Largest magnitude of current and voltage."""
SHIFT = 6
"""Inputs and thresholds stand this many bits above the lowest bit of the voltage."""
DELAY = 63
"""Largest extra delay of a synapse: 6 bits."""
LINEAR = (
    nir.Input, nir.Output, nir.Affine, nir.Linear, nir.Scale, nir.Flatten, nir.Conv1d, nir.Conv2d,
    nir.SumPool2d, nir.AvgPool2d, nir.Delay,
)  # fmt: skip
"""Nodes without state that are folded into the synapses."""


def check(graph: nir.NIRGraph, dt: float | None = None) -> list[Problem]:
    """Every reason why a graph cannot be compiled; never raises, never runs.

    Args:
        graph: a NIR graph.
        dt: step in seconds; default, the one that the graph records. Without either, what depends on
            the step (a time constant shorter than it) is not looked at.
    """
    return examined(graph, dt)[0]


def examined(graph: nir.NIRGraph, dt: float | None) -> tuple[list[Problem], Wiring | None]:
    """The same, and the folded graph where no node stood in the way of folding it."""
    try:
        problems = _nodes(graph, dt)
        if problems:
            return problems, None
        step = dt if dt is not None else metadata(graph).get("dt")
        # without a step every delay is less than one, so that none is too long
        wiring = fold(graph, step if step is not None else math.inf)
        return _delays(wiring) + cores.problems(_placed(wiring)), wiring
    except NeurospinError as error:
        return [Problem(error.where, error.expected, error.got, error.fix)], None
    except Exception as error:  # a malformed graph must not break the list of problems
        got = f"{type(error).__name__}: {error}"
        return [Problem("", "a well-formed graph", got, "check the graph's nodes")], None


def _placed(wiring: Wiring) -> list[cores.Core]:
    sizes = {name: int(np.prod(node_shape(node))) for name, node in wiring.nodes.items()}
    links = [cores.Link(w.source, w.target, w.matrix, w.held > w.back) for w in wiring.wires]
    return cores.partition(sizes, links)


def _nodes(graph: nir.NIRGraph, dt: float | None) -> list[Problem]:
    recorded = metadata(graph)
    step = dt if dt is not None else recorded.get("dt")
    nodes, _ = flatten(graph)
    euler = scheme_of(graph) == "euler"  # exact decays are never below 0
    problems = [problem for name, node in nodes.items() for problem in _node(name, node, step if euler else None)]
    for name, told in (recorded.get("neurons") or {}).items():
        if isinstance(told, dict) and np.any(np.asarray(told.get("refractory", 0.0)) > 0):
            problems.append(Problem(name, "no refractory period", "one in the metadata", "train without it"))
    if recorded.get("reset") == "subtract":
        fix = "train with reset to a value (reset='value')"
        problems.append(Problem("", "reset to a value", "reset by subtraction", fix))
    used = sum(math.ceil(np.prod(node_shape(n)) / cores.NEURONS) for n in nodes.values() if isinstance(n, POPULATION))
    if used > cores.CORES:
        fix = "make the network smaller or spread it over chips"
        problems.append(Problem("", f"{cores.CORES} cores of {cores.NEURONS} neurons", f"{used} cores", fix))
    return problems


def _node(name: str, node: nir.NIRNode, dt: float | None) -> list[Problem]:
    kind = type(node).__name__
    if not isinstance(node, (*LINEAR, *POPULATION)):
        return [Problem(name, "a linear map, IF, LIF, CubaLIF, LI or CubaLI", kind, "replace the node")]
    found = []
    for key, value in vars(node).items():
        if isinstance(value, np.ndarray) and value.dtype.kind == "f" and not np.isfinite(value).all():
            found.append(Problem(f"{name}.{key}", "finite numbers", "nan or infinity", "train or clean the node"))
    if isinstance(node, POPULATION) and not found:
        found += _neuron(name, node, dt)
    return found


def _neuron(name: str, node: nir.NIRNode, dt: float | None) -> list[Problem]:
    found = []
    for key in ("tau", "tau_syn", "tau_mem"):
        tau = getattr(node, key, None)
        if tau is None:
            continue
        shortest = float(np.min(tau))
        if shortest <= 0:
            found.append(Problem(f"{name}.{key}", "a positive time constant", f"{shortest:g} s", "use a longer one"))
        elif dt is not None and shortest < dt * (1 - 1e-6):
            got = f"{shortest:g} s with dt = {dt:g} s"
            found.append(Problem(f"{name}.{key}", "a time constant of a step or more", got, "use a smaller dt"))
    if isinstance(node, SPIKING):
        gap = float(np.min(np.asarray(node.v_threshold) - _reset(node)))
        if gap < 0:
            got = f"a threshold {-gap:g} below it"
            found.append(Problem(f"{name}.v_threshold", "a threshold at or above v_reset", got, "raise v_threshold"))
    return found


def _reset(node: nir.NIRNode) -> np.ndarray:
    value = getattr(node, "v_reset", None)
    return np.zeros(1) if value is None else np.asarray(value)


def _delays(wiring: Wiring) -> list[Problem]:
    longest = max((wire.held for wire in wiring.wires), default=0)
    if longest <= DELAY:
        return []
    node = next(w.target for w in wiring.wires if w.held == longest)
    return [Problem(node, f"delays of at most {DELAY} steps", f"{longest} steps", "shorten the delay")]
