"""The chip's number formats, and what a graph must be to run on it.

Formats: lava-nc 0.10, `lava.proc.lif` and `lava.proc.dense`, models tagged `fixed_pt`; Davies et al.,
IEEE Micro 38, 2018, doi:10.1109/MM.2018.112130359.
"""

from __future__ import annotations

import nir
import numpy as np

from neurospin.errors import NeurospinError
from neurospin.graph.contract import metadata, ports
from neurospin.graph.order import SPIKING, order
from neurospin.target import Problem

DECAY_UNITY = 4096  # decays are 12-bit fractions
ALIGN = 6  # activations and thresholds are shifted by this much against u and v
STATE_LIMIT = 2**23  # u wraps here; v clips one below
THRESHOLD_MAX = 2**17 - 1
BIAS_MANTISSA_MAX = 2**12 - 1
BIAS_EXPONENT_MAX = 7
WEIGHT_MAX_MIXED = 254  # mixed signs: even numbers
WEIGHT_MAX_ONE_SIGN = 255
WEIGHT_EXPONENT_MAX = 7

NEURONS = (*SPIKING, nir.LI, nir.CubaLI)
LINEAR = (
    nir.Affine, nir.Linear, nir.Scale, nir.Flatten, nir.Conv1d, nir.Conv2d, nir.SumPool2d, nir.AvgPool2d,
    nir.Input, nir.Output,
)  # fmt: skip


def check(graph: nir.NIRGraph) -> list[Problem]:
    """Every reason why a graph cannot be compiled; never raises, never runs anything."""
    try:
        plan = order(graph)
    except NeurospinError as error:
        return [Problem(error.where, error.expected, error.got, error.fix)]
    problems = []
    for kind, word in ((nir.Input, "one Input"), (nir.Output, "one Output")):
        if len(ports(graph, kind)) != 1:
            problems.append(Problem("", word, str(len(ports(graph, kind))), "split the graph"))
    if metadata(graph).get("reset") == "subtract":
        problems.append(
            Problem("", "reset to a value", "reset by subtraction", 'train with reset="value", which the chip has')
        )
    for name, node in plan.nodes.items():
        if isinstance(node, nir.Delay):
            if np.unique(np.asarray(node.delay)).size > 1:
                problems.append(Problem(name, "one delay for all lines", "several", "use one Delay per value"))
        elif not isinstance(node, NEURONS + LINEAR):
            kinds = "IF, LIF, CubaLIF, LI, CubaLI and linear nodes"
            problems.append(Problem(name, kinds, type(node).__name__, "replace the node"))
        for field in ("weight", "bias", "r", "w_in", "v_threshold"):
            value = getattr(node, field, None)
            if value is not None and not np.isfinite(np.asarray(value, dtype=np.float64)).all():
                problems.append(Problem(name, f"finite {field}", "a value that is not", "train again"))
    if not any(isinstance(node, NEURONS) for node in plan.nodes.values()):
        problems.append(Problem("", "at least one neuron", "none", "add neurons"))
    return problems
