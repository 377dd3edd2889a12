"""The compiled time loop against the plain one: equal spikes, bit for bit, and equal gradients."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import neurospin as ns
from neurospin.scan import Dynamics, reference, scan

pytest.importorskip("numba")

# every term of the time loop, in few combinations, half of them with shared coefficients, half with
# gradients of voltages: each is compiled once
KINDS = {
    "subtract": {},
    "value, gradient through the reset": {"value": True, "through": True, "surrogate": ns.Sigmoid(5.0)},
    "delayed subtract": {"delayed": True, "surrogate": ns.FastSigmoid(10.0)},
    "delayed value": {"delayed": True, "value": True, "surrogate": ns.Triangle(0.7)},
    "current": {"synapse": True, "surrogate": ns.StraightThrough(0.3)},
    "all": {"value": True, "synapse": True, "adapt": True, "refractory": True, "surrogate": ns.SuperSpike(8.0)},
    "all, subtract": {"adapt": True, "refractory": True, "through": True},
    "readout": {"spiking": False},
    "readout of a current": {"spiking": False, "synapse": True},
}


def problem(seed, size, shared, *, value=False, through=False, delayed=False, synapse=False, adapt=False,
            refractory=False, spiking=True, surrogate=None):  # fmt: skip
    """Random coefficients as leaves, and the dynamics that they make."""
    g = torch.Generator().manual_seed(seed)

    def draw(low, high):
        return (low + (high - low) * torch.rand(() if shared else size, generator=g)).requires_grad_()

    rows = {"decay": draw(0.6, 0.99), "gain": draw(0.5, 1.5), "leak": draw(-0.1, 0.1)}
    if spiking:
        rows["threshold"] = draw(0.5, 1.2)
        if value:
            rows["reset"] = draw(-0.3, 0.2)
    if synapse:
        rows |= {"synapse_decay": draw(0.5, 0.9), "synapse_gain": draw(0.2, 0.8)}
    if adapt:
        rows |= {"adapt_decay": draw(0.8, 0.99), "adaptation": draw(0.05, 0.3)}
    hold = {"refractory": draw(0, 3).detach().round()} if refractory else {}
    made = Dynamics(**rows, **hold, delayed_reset=delayed, reset_gradient=through, surrogate=surrogate or ns.ArcTan())
    return rows, made


def gradients(backend, x, states, rows, dynamics, voltage, memory="float32", seed=0):
    """Everything a scan gives, and the gradient of everything, for a dense random cotangent."""
    result = scan(x, states, dynamics, voltage=voltage, memory=memory, backend=backend)
    outputs = [result.output, *result.state, *([result.voltage] if voltage else [])]
    g = torch.Generator().manual_seed(seed)
    loss = sum((o * torch.randn(o.shape, generator=g)).sum() for o in outputs)
    inputs = [t for t in (x, *states, *rows.values()) if t.requires_grad]
    grads = torch.autograd.grad(loss, inputs, allow_unused=True)
    return [o.detach() for o in outputs], [torch.zeros(()) if v is None else v for v in grads]


def start(dynamics, shape, seed):
    g = torch.Generator().manual_seed(seed)
    states = [0.5 * torch.rand(shape, generator=g) for _ in range(dynamics.states)]
    if dynamics.refractory is not None:
        states[-2] = torch.randint(0, 3, shape, generator=g).float()
    return [s if dynamics.refractory is not None and i == len(states) - 2 else s.requires_grad_()
            for i, s in enumerate(states)]  # fmt: skip


def agree(truth, found, tolerance=1e-5):
    for a, b in zip(truth, found, strict=True):
        scale = float(a.double().norm()) / max(a.numel(), 1) ** 0.5
        assert (
            a.shape == b.shape and float((a - b).abs().max() if a.numel() else 0) <= tolerance * max(scale, 1e-6) * 10
        )
        assert float((a - b).double().norm()) <= tolerance * max(float(a.double().norm()), 1e-6)


def in_float64(x, states, rows, dynamics, voltage, spikes):
    """The gradients of `gradients` in float64, for the spikes that float32 gave."""
    x, *states = (t.detach().double().requires_grad_(t.requires_grad) for t in (x, *states))
    rows = {name: row.detach().double().requires_grad_(row.requires_grad) for name, row in rows.items()}
    hold = {} if dynamics.refractory is None else {"refractory": dynamics.refractory.double()}
    dynamics = replace(dynamics, **rows, **hold)
    given = None if dynamics.threshold is None else spikes.double()
    result = reference.scan(x, tuple(states), dynamics, voltage=voltage, spikes=given)
    outputs = [result.output, *result.state, *([result.voltage] if voltage else [])]
    g = torch.Generator().manual_seed(0)
    loss = sum((o * torch.randn(o.shape, generator=g)).sum() for o in outputs)
    inputs = [t for t in (x, *states, *rows.values()) if t.requires_grad]
    grads = torch.autograd.grad(loss, inputs, allow_unused=True)
    return [torch.zeros(()) if v is None else v for v in grads]


@pytest.mark.parametrize(
    ("kind", "learn"), [(kind, True) for kind in KINDS] + [("subtract", False), ("current", False)]
)
@settings(max_examples=12)
@given(
    seed=st.integers(0, 2**31), steps=st.sampled_from([1, 2, 17, 40]), batch=st.sampled_from([0, 1, 3]),
    size=st.sampled_from([(1,), (5,), (63,), (65,), (2, 3, 4), (1025,), ()]), strided=st.booleans(),
)  # fmt: skip
def test_cpu_equals_the_reference(kind, learn, seed, steps, batch, size, strided):
    place = list(KINDS).index(kind)
    shared, voltage = place % 2 == 0, place % 4 < 2
    rows, dynamics = problem(seed, size, shared, **KINDS[kind])
    if not learn:
        for row in rows.values():
            row.requires_grad_(False)
    g = torch.Generator().manual_seed(seed + 1)
    x = 1.5 * torch.randn((batch, steps, *size) if strided else (steps, batch, *size), generator=g)
    x = (x.transpose(0, 1) if strided else x).requires_grad_()
    states = start(dynamics, (batch, *size), seed + 2)
    truth, exact = gradients("reference", x, states, rows, dynamics, voltage)
    found, close = gradients("cpu", x, states, rows, dynamics, voltage)
    for a, b in zip(truth, found, strict=True):
        assert torch.equal(a, b)
    # 1e-5 of the norm; where float32 itself cannot (the gradient of a coefficient is a sum over time and batch whose
    # terms cancel, and each rounding costs 6e-8 of the largest), no more than twice the plain loop's own error
    best = in_float64(x, states, rows, dynamics, voltage, truth[0])
    for ideal, plain, ours in zip(best, exact, close, strict=True):
        size, error = float(ideal.norm()), float((plain.double() - ideal).norm())
        assert ours.shape == plain.shape
        assert float((ours.double() - ideal).norm()) <= max(1e-5 * size, 2 * error, 1e-11)
