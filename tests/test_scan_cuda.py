"""The Triton kernels against the plain loop, in Triton's interpreter, in a process of their own (no GPU needed)."""

import os
import subprocess
import sys

import pytest

import neurospin as ns

CODE = """
import torch
import neurospin as ns
from neurospin.scan import cuda, fused, scan
from tests.test_scan import agree, gradients, problem, start
from tests.test_scan_cuda import KINDS

fused._backend = lambda like: cuda
for place, kind in enumerate(KINDS):
    shared, voltage = place % 2 == 0, place % 3 == 0
    for memory in ("float32", "recompute"):
        rows, dynamics = problem(place, (47,), shared, **kind)
        rows = {name: row.requires_grad_(False) for name, row in rows.items()}
        x = (1.5 * torch.randn(3, 9, 47)).transpose(0, 1).requires_grad_()
        states = start(dynamics, (3, 47), 5)
        truth, exact = gradients("reference", x, states, {}, dynamics, voltage)
        found, close = gradients("cpu", x, states, {}, dynamics, voltage, memory)
        assert all(torch.equal(a, b) for a, b in zip(truth, found, strict=True)), kind
        assert float(exact[0].abs().sum()) > 0
        agree(exact, close)
print("equal", len(KINDS))
"""
KINDS = [
    {},
    {"value": True, "through": True, "surrogate": ns.Sigmoid(5.0)},
    {"through": True, "surrogate": ns.FastSigmoid(10.0)},
    {"value": True, "synapse": True, "surrogate": ns.Triangle(0.7)},
    {"synapse": True, "adapt": True, "surrogate": ns.StraightThrough(0.3)},
    {"value": True, "adapt": True, "surrogate": ns.SuperSpike(8.0)},
    {"spiking": False},
    {"spiking": False, "synapse": True},
]


def test_triton_equals_the_reference():
    pytest.importorskip("triton", reason="Triton comes with torch for CUDA")
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"equal {len(KINDS)}\n"
