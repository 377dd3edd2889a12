"""The matrix of a node against the node itself, and a convolution that no dense matrix could hold."""

from __future__ import annotations

import tracemalloc

import nir
import numpy as np
import pytest
import torch
from torch.nn import functional

import neurospin as ns
from hardware_targets.loihi.compiler import compile
from hardware_targets.loihi.maps import linear
from neurospin.errors import GraphError
from neurospin.graph.operators import operator

RNG = np.random.default_rng(0)
PLANES = (4, 7, 6)
NODES = {
    "Affine": (nir.Affine(RNG.normal(size=(3, 5)), RNG.normal(size=3)), (5,)),
    "Affine along the last axis": (nir.Affine(RNG.normal(size=(3, 5)), RNG.normal(size=3)), (2, 5)),
    "Linear, one for each row": (nir.Linear(RNG.normal(size=(2, 3, 5))), (2, 5)),
    "Linear with zeros": (nir.Linear(RNG.normal(size=(3, 5)) * (RNG.random((3, 5)) < 0.4)), (5,)),
    "Scale": (nir.Scale(RNG.normal(size=(2, 3))), (2, 3)),
    "Flatten": (nir.Flatten({"input": np.array(PLANES)}, 0, -1), PLANES),
    "Conv1d": (nir.Conv1d(11, RNG.normal(size=(4, 3, 2)), 2, 1, 2, 1, RNG.normal(size=4)), (3, 11)),
    "Conv1d, same, groups": (nir.Conv1d(11, RNG.normal(size=(4, 2, 4)), 1, "same", 1, 2, RNG.normal(size=4)), (4, 11)),
    "Conv2d": (
        nir.Conv2d((7, 6), RNG.normal(size=(3, 4, 3, 2)), (2, 1), (1, 2), (1, 2), 1, RNG.normal(size=3)),
        PLANES,
    ),
    "Conv2d, groups": (nir.Conv2d((7, 6), RNG.normal(size=(6, 2, 3, 3)), 1, "valid", 1, 2, RNG.normal(size=6)), PLANES),
    "Conv2d, same, even": (nir.Conv2d((7, 6), RNG.normal(size=(2, 4, 2, 4)), 1, "same", 2, 1, np.zeros(2)), PLANES),
    "SumPool2d": (nir.SumPool2d(np.array([2, 3]), np.array([2, 1]), np.array([1, 0])), PLANES),
    "AvgPool2d": (nir.AvgPool2d(np.array([3, 2]), np.array([2, 2]), np.array([1, 1])), PLANES),
}


@pytest.mark.parametrize("kind", NODES)
def test_the_matrix_gives_what_the_node_gives(kind: str) -> None:
    node, shape = NODES[kind]
    matrix, constant, out = linear("n", node, shape)
    x = np.random.default_rng(1).normal(size=(5, *shape))
    wanted = operator("n", node, torch.float64)(torch.from_numpy(x)).numpy()
    assert wanted.shape[1:] == out
    np.testing.assert_allclose((matrix @ x.reshape(5, -1).T).T + constant, wanted.reshape(5, -1), rtol=0, atol=1e-12)
    assert (matrix.data != 0).all()


def test_an_input_of_another_shape_is_refused() -> None:
    for kind, (node, shape) in NODES.items():
        if "last axis" not in kind and kind != "Flatten" and "SumPool" not in kind and "AvgPool" not in kind:
            with pytest.raises(GraphError, match="n: expected"):
                linear("n", node, (*shape[:-1], shape[-1] + 1, 2, 2, 2))
    with pytest.raises(GraphError, match="a linear map"):
        linear("n", nir.Threshold(np.ones(3)), (3,))


def test_a_convolution_is_never_unfolded_to_a_dense_matrix() -> None:
    """2 × 128 × 128 inputs on 4 × 64 × 64 neurons: 0.3 million synapses, where a dense matrix has 537 million."""
    rng = np.random.default_rng(0)
    weight, size = rng.normal(0.3, 1.0, (4, 2, 3, 3)).astype(np.float32), (4, 64, 64)
    nodes = {
        "input": nir.Input({"input": np.array([2, 128, 128])}),
        "conv": nir.Conv2d((128, 128), weight, 2, 1, 1, 1, np.zeros(4, np.float32)),
        "lif": nir.LIF(*(np.full(size, v, np.float32) for v in (8e-3, 8.0, 0.0, 1.0, 0.0))),
        "output": nir.Output({"output": np.array(size)}),
    }
    graph = nir.NIRGraph(nodes, [("input", "conv"), ("conv", "lif"), ("lif", "output")])
    spikes = (rng.random((6, 2, 2, 128, 128)) < 0.1).astype(np.float32)
    tracemalloc.start()
    report = ns.deploy(graph, spikes, "loihi", dt=1e-3)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 200e6  # the dense matrix of bytes alone is 537 MB
    taps = functional.conv2d(torch.ones(1, 2, 128, 128), torch.ones(4, 2, 3, 3), stride=2, padding=1)
    zeroed = sum(note["size"] for note in report.info["approximations"] if "rounded to zero" in note["what"])
    assert report.info["synapses"] + zeroed == int(taps.sum())
    (p,), (q,) = (compiled := compile(graph, 1e-3)).populations, compiled.projections
    own = q.weights.toarray()[64 * 32 + 32].reshape(2, 128, 128)[:, 63:66, 63:66] * 2.0 ** (q.exponent + 6)
    np.testing.assert_allclose(own / p.scale[64 * 32 + 32], weight[0], atol=0.01 * np.abs(weight[0]).max())
    exact = ns.simulate(graph, spikes, dt=1e-3).output
    late = report.spikes[1:]
    assert exact.mean() > 0.05 and (late != exact[:-1]).mean() < 2e-3
