"""Neurons against closed forms, snnTorch and Norse."""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import neurospin as ns


def test_a_leaky_integrator_follows_its_closed_form():
    """Constant input: v[t] = v_leak + r i − (v_leak + r i)(1 − dt/τ)^(t+1)."""
    n = ns.LI(3, tau_mem=torch.tensor([5e-3, 10e-3, 20e-3]), r=2.0, v_leak=0.25, dt=1e-3)
    v, _ = n(torch.full((50, 1, 3), 0.7))
    t = torch.arange(1, 51, dtype=torch.float64)[:, None]
    decay = 1 - 1e-3 / torch.tensor([5e-3, 10e-3, 20e-3], dtype=torch.float64)
    torch.testing.assert_close(v[:, 0].double(), 1.65 * (1 - decay**t), rtol=1e-5, atol=1e-6)


def test_a_constant_current_fires_at_the_period_of_theory():
    """From reset 0 with r i = 1.5 and threshold 1: first step k with 1.5 (1 − (1 − dt/τ)^k) > 1."""
    s, _ = ns.LIF(1, tau_mem=10e-3, dt=1e-3)(torch.full((100, 1, 1), 1.5))
    period = int(np.floor(np.log(1 - 1 / 1.5) / np.log(0.9))) + 1
    assert np.flatnonzero(s[:, 0, 0]).tolist() == list(range(period - 1, 100, period))


@pytest.mark.filterwarnings("ignore")
@given(st.integers(0, 2**31), st.floats(0.3, 0.98), st.booleans())
def test_lif_equals_snntorch(seed, beta, subtract):
    snntorch = pytest.importorskip("snntorch")
    generator = torch.Generator().manual_seed(seed)
    # below 1, so that no voltage stays above the threshold after a reset (snnTorch would then subtract twice)
    x = 1.5 * torch.rand((40, 5, 7), generator=generator) - 0.5
    tau = 1e-3 / (1 - beta)
    ours = ns.LIF(7, tau_mem=tau, r=tau / 1e-3, reset="subtract" if subtract else "value", dt=1e-3)
    theirs = snntorch.Leaky(
        beta=1 - 1e-3 / ours.tau_mem, reset_mechanism="subtract" if subtract else "zero", reset_delay=False
    )
    mem, spikes = theirs.init_leaky(), []
    for t in range(40):
        s, mem = theirs(x[t], mem)
        spikes.append(s)
    same = (ours(x)[0] == torch.stack(spikes)).float().mean()
    assert same > 0.999  # float32: the gain r dt/τ is 1 only to rounding


@pytest.mark.filterwarnings("ignore")
def test_lif_equals_norse():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        norse = pytest.importorskip("norse.torch")
    x = 2 * torch.rand(60, 4, 9)
    parameters = norse.LIFBoxParameters(tau_mem_inv=torch.tensor(100.0), v_th=torch.tensor(1.0))
    theirs, state = norse.LIFBoxCell(parameters, dt=1e-3), None
    spikes = []
    for t in range(60):
        s, state = theirs(x[t], state)
        spikes.append(s)
    ours, _ = ns.LIF(9, tau_mem=10e-3, dt=1e-3)(x)
    assert float(ours.sum()) > 50
    torch.testing.assert_close(ours, torch.stack(spikes))


@given(st.integers(1, 19))
def test_state_carries_over(cut):
    for neuron in (ns.LIF(6, dt=1e-3), ns.LI(6, dt=1e-3), ns.Rate(6, dt=1e-3)):
        x = 3 * torch.rand(20, 4, 6)
        whole, end = neuron(x)
        first, state = neuron(x[:cut])
        second, last = neuron(x[cut:], state)
        assert torch.equal(whole, torch.cat([first, second])) and torch.equal(end[0], last[0])


def test_training_cannot_make_a_constant_illegal():
    n = ns.LIF(4, tau_mem=2e-3, v_threshold=0.5, v_reset=0.2, learn=("tau_mem", "v_threshold"), dt=1e-3)
    optimizer = torch.optim.SGD(n.parameters(), lr=50.0)
    for _ in range(50):
        optimizer.zero_grad()
        (n.constant("tau_mem") + n.constant("v_threshold")).sum().backward()
        optimizer.step()
    tau, threshold = (float(n.constant(name).detach()) for name in ("tau_mem", "v_threshold"))
    assert 1e-3 <= tau < 2e-3 and 0.2 <= threshold < 0.5


def test_gradients_match_finite_differences_where_nothing_spikes():
    """Below threshold a LIF is a linear filter: the gradient of its voltage is exact."""
    n = ns.LIF(3, tau_mem=10e-3, v_threshold=50.0, dt=1e-3)
    x = torch.rand((8, 2, 3), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda y: n.scan(y, (torch.zeros(2, 3, dtype=torch.float64),), voltage=True).voltage, (x,)
    )


def test_a_rate_neuron_is_rectified():
    x = torch.randn(30, 2, 5)
    v, _ = ns.LI(5, dt=1e-3)(x)
    torch.testing.assert_close(ns.Rate(5, v_threshold=0.05, dt=1e-3)(x)[0], torch.relu(v - 0.05))
    soft = ns.Rate(5, activation="softplus", dt=1e-3)(x)[0]
    torch.testing.assert_close(soft, torch.log1p(torch.exp(v)))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: ns.LIF(3, tau_mem=-1.0), "tau_mem: expected seconds > 0"),
        (lambda: ns.LIF(3, tau_mem=float("nan")), "finite"),
        (lambda: ns.LIF(3, tau_mem=0.99e-3, dt=1e-3), "at least dt"),
        (lambda: ns.LIF(3, tau_mem=1e-3, learn=("tau_mem",), dt=1e-3), "more than dt = 0.001 s, to be learned"),
        (lambda: ns.LIF(3, v_threshold=0.0), "more than v_reset"),
        (lambda: ns.LIF(3, tau_mem=torch.ones(4)), "one number or shape"),
        (lambda: ns.LIF(3, learn=("tau_men",)), "did you mean 'tau_mem'"),
        (lambda: ns.LIF(3, reset="zero"), "one of subtract, value"),
        (lambda: ns.LIF(3)(torch.ones(2, 1, 3)), "a step in seconds"),
        (lambda: ns.LIF(3, dt=1e-3)(torch.ones(2, 1, 4)), "time, batch, 3"),
        (lambda: ns.LIF(3, dt=1e-3)(torch.ones(0, 1, 3)), "at least one step"),
        (lambda: ns.LIF(3, dt=1e-3).bind(2e-3), "make a new neuron"),
    ],
)
def test_wrong_arguments_are_told_in_one_line(make, words):
    with pytest.raises(ns.NeurospinError, match=words) as caught:
        make()
    assert "\n" not in str(caught.value)
