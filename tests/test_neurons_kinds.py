"""Every kind of neuron against closed forms, plain loops and snnTorch; NIR there and back."""

import nir
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import neurospin as ns
from neurospin.neurons import from_nir

SPIKING = [ns.LIF, ns.IF, ns.CubaLIF, ns.ALIF]
EVERY = [*SPIKING, ns.LI, ns.CubaLI, ns.Integrator, ns.Rate]


def strong(kind, size, **options):
    """A block that spikes often for inputs around 1."""
    return kind(size, r=300.0 if kind is ns.IF else 4.0, dt=1e-3, **options)


def test_an_integrator_sums_its_input():
    x = torch.rand(30, 2, 4)
    v, _ = ns.Integrator(4, r=torch.tensor([1.0, 2.0, 3.0, 4.0]), dt=1e-3)(x)
    torch.testing.assert_close(v, torch.cumsum(x, 0) * torch.arange(1.0, 5.0) * 1e-3)


def test_a_synaptic_current_follows_its_closed_form():
    """An impulse: i[t] = w dt/τs as^t, and v[t] = r dt/τm Σ am^(t−k) i[k]."""
    n = ns.CubaLI(1, tau_mem=20e-3, tau_syn=5e-3, w_in=3.0, r=2.0, dt=1e-3)
    x = torch.zeros(60, 1, 1)
    x[0] = 1
    t = np.arange(60)
    slow, fast = 1 - 1 / 20, 1 - 1 / 5
    truth = 2 / 20 * 3 / 5 * (slow ** (t + 1) - fast ** (t + 1)) / (slow - fast)
    np.testing.assert_allclose(n(x)[0][:, 0, 0], truth, rtol=1e-5)


def test_a_threshold_rises_with_every_spike_and_falls_back():
    """The gap between spikes grows to where what one spike adds has decayed before the next."""
    n = ns.ALIF(1, tau_mem=10e-3, tau_adapt=100e-3, adaptation=0.2, r=1.0, dt=1e-3)
    s, (a, _) = n(torch.full((1000, 1, 1), 3.0))
    times = np.flatnonzero(s[:, 0, 0])
    gaps = np.diff(times)
    assert gaps[0] < gaps[-1] and (np.diff(gaps) >= -1).all()
    truth = sum((1 - 1e-3 / 100e-3) ** (999 - int(t)) for t in times)
    assert float(a) == pytest.approx(truth, rel=1e-4)
    plain = ns.LIF(1, tau_mem=10e-3, dt=1e-3)
    quiet = ns.ALIF(1, tau_mem=10e-3, adaptation=0.0, dt=1e-3)
    x = 3 * torch.rand(200, 3, 1)
    assert torch.equal(plain(x)[0], quiet(x)[0])


@pytest.mark.parametrize("kind", SPIKING)
@pytest.mark.parametrize("reset", ["value", "subtract"])
def test_a_refractory_neuron_is_silent_and_holds_its_voltage(kind, reset):
    n = strong(kind, 3, refractory=torch.tensor([0.0, 2e-3, 5e-3]), reset=reset)
    result = n.scan(1 + torch.rand(200, 4, 3), voltage=True)
    for j, hold in enumerate((0, 2, 5)):
        for b in range(4):
            times = np.flatnonzero(result.output[:, b, j])
            assert len(times) > 5 and np.diff(times).min() >= hold + 1
            for t in times[:-1]:
                assert len(set(result.voltage[t : t + hold + 1, b, j].tolist())) == 1
    # constant drive, reset to a value: the period is that of the plain neuron plus the refractory period
    x = torch.full((200, 1, 1), 1.5)
    gaps = [
        np.diff(np.flatnonzero(ns.LIF(1, tau_mem=10e-3, refractory=k * 1e-3, dt=1e-3)(x)[0][:, 0, 0])) for k in (0, 4)
    ]
    assert set(gaps[0] + 4) == set(gaps[1])


@pytest.mark.filterwarnings("ignore")
@given(st.integers(0, 2**31), st.floats(0.3, 0.98), st.booleans())
def test_a_delayed_reset_is_that_of_snntorch(seed, beta, subtract):
    snntorch = pytest.importorskip("snntorch")
    x = 3 * torch.rand((40, 5, 7), generator=torch.Generator().manual_seed(seed)) - 1
    ours = ns.LIF(7, tau_mem=1e-3 / (1 - beta), r=1 / (1 - beta), reset="subtract" if subtract else "value",
                  reset_delay=True, dt=1e-3)  # fmt: skip
    theirs = snntorch.Leaky(beta=float(ours.dynamics().decay), reset_mechanism="subtract" if subtract else "zero")
    mem, spikes, voltages = theirs.init_leaky(), [], []
    for t in range(40):
        s, mem = theirs(x[t], mem)
        spikes.append(s)
        voltages.append(mem)
    result = ours.scan(x, voltage=True)
    same = result.output == torch.stack(spikes)
    assert same.float().mean() > 0.999  # float32: the gain r dt/τ is 1 only to rounding
    if same.all():
        torch.testing.assert_close(result.voltage, torch.stack(voltages), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", EVERY)
@pytest.mark.parametrize("size", [(), (3,), (2, 3, 4)])
def test_state_carries_over_in_any_shape(kind, size):
    options = {"refractory": 3e-3} if kind in SPIKING else {}
    n = strong(kind, size, **options)
    x = 3 * torch.rand(20, 2, *size)
    whole, end = n(x)
    first, state = n(x[:7])
    second, last = n(x[7:], state)
    assert torch.equal(whole, torch.cat([first, second]))
    assert all(torch.equal(a, b) for a, b in zip(end, last, strict=True))
    assert whole.shape == x.shape and float(whole.abs().sum()) > 0


@pytest.mark.parametrize("kind", EVERY)
def test_every_constant_can_be_learned(kind):
    names = [name for name in kind(3)._names if name != "refractory"]
    n = strong(kind, 3, learn=names, **({"reset_gradient": True} if kind in SPIKING else {}))
    twin = n.rate_twin() if kind is not ns.IF else n
    out, _ = n(2 * torch.rand(50, 4, 3))
    (out * torch.randn(50, 4, 3)).sum().backward()
    assert len(list(n.parameters())) == len(names)
    for name, parameter in n.named_parameters():
        assert parameter.grad is not None and float(parameter.grad.abs().sum()) > 0, name
    assert twin(torch.rand(3, 1, 3))[0].shape == (3, 1, 3)


def shaped(*values):
    return [np.array(v, np.float32) for v in values]


@pytest.mark.parametrize(
    "node",
    [
        nir.I(r=np.float32([1, -2])),
        nir.IF(*shaped([100, 200], [1.0, 1.5], [-0.2, 0.1])),
        nir.LI(*shaped([5e-3, 20e-3], [1, 2], [0.1, -0.1])),
        nir.LIF(*shaped([5e-3, 20e-3], [1, 2], [0.1, -0.1], [1, 0.5], [0, -0.5])),
        nir.CubaLI(*shaped([5e-3, 20e-3], [9e-3, 7e-3], [1, 2], [0.1, -0.1], [2, 0.5])),
        nir.CubaLIF(*shaped([5e-3, 20e-3], [9e-3, 7e-3], [1, 2], [0.1, -0.1], [1, 0.5], [0, -0.5], [2, 0.5])),
    ],
    ids=lambda node: type(node).__name__,
)
def test_nir_there_and_back(node):
    neuron = from_nir(node, dt=1e-3)
    back = neuron.to_nir(1e-3)
    assert type(back) is type(node)
    for name, value in node.to_dict().items():
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(back.to_dict()[name], value)
    x = 5 * torch.rand(40, 3, 2)
    shape = {"input": nir.Input({"input": np.array([2])}), "n": node, "output": nir.Output({"output": np.array([2])})}
    graph = nir.NIRGraph(shape, [("input", "n"), ("n", "output")])
    np.testing.assert_array_equal(ns.simulate(graph, x.numpy(), dt=1e-3).output, neuron(x)[0])


def test_delays_shift_per_neuron_and_carry_over():
    block = ns.Delay(3, torch.tensor([0.0, 2e-3, 5e-3]), dt=1e-3)
    x = torch.rand(12, 2, 3, requires_grad=True)
    y = block(x)
    for j, k in enumerate((0, 2, 5)):
        assert (y[:k, :, j] == 0).all() and torch.equal(y[k:, :, j], x[: 12 - k, :, j])
    for cut in (1, 4, 11):
        first, _, state = block.scan(x[:cut])
        second, _, _ = block.scan(x[cut:], state)
        assert torch.equal(y, torch.cat([first, second]))
    net = ns.Network([ns.Dense(3, 3), ns.Delay(3, 2e-3), ns.LIF(3)], dt=1e-3)
    whole = net(x)
    first = net(x[:5])
    assert torch.equal(whole.output, torch.cat([first.output, net(x[5:], first.state).output]))
    (g,) = torch.autograd.grad(y.sum(), x)
    assert g[:, 0, 0].sum() == 12 and g[:, 0, 1].sum() == 10 and g[:, 0, 2].sum() == 7
    graph = nir.NIRGraph({"i": nir.Input({"input": np.array([3])}), "d": block.to_nir(),
                          "o": nir.Output({"output": np.array([3])})}, [("i", "d"), ("d", "o")])  # fmt: skip
    np.testing.assert_array_equal(ns.simulate(graph, x.detach().numpy(), dt=1e-3).output, y.detach())


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: ns.LIF(3, refractory=-1e-3), "refractory: expected fixed seconds"),
        (lambda: ns.LIF(3, learn=("refractory",)), "refractory: expected fixed seconds"),
        (lambda: ns.LIF(3, refractory=1e-4, dt=1e-3), "at least dt"),
        (lambda: ns.ALIF(3, reset_delay=True), "reset_delay: expected False"),
        (lambda: ns.LIF(3, reset_delay=True, dt=1e-3).to_nir(1e-3), "as in NIR"),
        (lambda: ns.ALIF(3, dt=1e-3).to_nir(1e-3), "which NIR lacks"),
        (lambda: ns.IF(3).rate_twin(), "a neuron with a leak"),
        (lambda: from_nir(nir.Delay(np.ones(2))), "one of CubaLI, CubaLIF, I"),
        (lambda: ns.LIF(3, dt=1e-3)(torch.ones(2, 4, 3), (torch.zeros(3, 3),)), "state: expected 1 of shape"),
        (lambda: ns.Delay(3, -1e-3), "seconds ≥ 0"),
        (lambda: ns.Delay(3, 1e-3)(torch.ones(2, 1, 3)), "a step in seconds"),
    ],
)  # fmt: skip
def test_wrong_arguments_are_told_in_one_line(make, words):
    with pytest.raises(ns.NeurospinError, match=words) as caught:
        make()
    assert "\n" not in str(caught.value)
