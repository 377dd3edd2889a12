"""The event-driven recurrent loop against the loop of torch operations, and against float64."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import neurospin as ns
from neurospin.scan import Dynamics
from neurospin.scan.recurrent import _reference, recurrent_scan
from neurospin.surrogate import ArcTan, Triangle


def case(
    steps=20, batch=3, neurons=70, *, surrogate=None, synapse=False, value=True, own=False, learn=False, through=False,
    delayed=False,
):  # fmt: skip
    """Current, state, dynamics, weight, bias and what the synapses give in step 0, about 10 % activity."""
    shape = (neurons,) if own else ()

    def number(low, high):
        return (low + (high - low) * torch.rand(shape)).requires_grad_(learn)

    dynamics = Dynamics(
        decay=number(0.8, 0.95), gain=number(0.8, 1.2), leak=number(0.0, 0.05), threshold=number(0.8, 1.2),
        reset=number(-0.2, 0.1) if value else None,
        synapse_decay=number(0.5, 0.8) if synapse else None, synapse_gain=number(0.3, 0.5) if synapse else None,
        delayed_reset=delayed, reset_gradient=through, surrogate=surrogate or ArcTan(),
    )  # fmt: skip
    current = (0.5 * torch.randn(steps, batch, neurons) + 0.1).requires_grad_()
    state = tuple((0.2 * torch.randn(batch, neurons)).requires_grad_() for _ in range(2 if synapse else 1))
    weight = (torch.randn(neurons, neurons) / neurons**0.5).requires_grad_()
    bias = (0.1 * torch.randn(neurons)).requires_grad_()
    first = (0.3 * torch.randn(batch, neurons)).requires_grad_()
    return current, state, dynamics, weight, bias, first


def leaves(current, state, dynamics, weight, bias, first):
    coefficients = [t for t in vars(dynamics).values() if isinstance(t, torch.Tensor) and t.requires_grad]
    return [current, *state, weight, bias, first, *coefficients]


def gradients(result, wanted, seed=0):
    """Of a random sum of spikes, voltages where there are any, and final state."""
    generator = torch.Generator().manual_seed(seed)
    total = sum(
        (y * torch.randn(y.shape, generator=generator)).sum()
        for y in (result.output, *result.state, result.voltage)
        if y is not None
    )
    return torch.autograd.grad(total, wanted, allow_unused=True, materialize_grads=True)


def same(given, **options):
    event, plain = recurrent_scan(*given, **options), _reference(*given, **{"voltage": False, **options})
    assert type(event.output.grad_fn).__name__ == "_RecurrentBackward"
    assert 0.01 < plain.output.mean() < 0.5
    assert torch.equal(event.output, plain.output)  # currents are random numbers: no voltage is at its threshold
    for a, b in zip(event.state, plain.state, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)
    wanted = leaves(*given)
    for a, b in zip(gradients(event, wanted), gradients(plain, wanted), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5 * float(b.abs().max()))


@pytest.mark.parametrize("synapse", [False, True])
@pytest.mark.parametrize("value", [False, True])
@pytest.mark.parametrize("through", [False, True])
def test_equal_to_the_plain_loop(synapse, value, through):
    torch.manual_seed(1)
    same(case(synapse=synapse, value=value, through=through, own=True, learn=True))
    same(case(synapse=synapse, value=value, through=through), voltage=True)
    same(case(synapse=synapse, value=value, through=through, own=True, learn=True), voltage=True)


@pytest.mark.parametrize("synapse", [False, True])
def test_a_delayed_subtraction_equals_the_plain_loop(synapse):
    torch.manual_seed(2)
    for learn in (False, True):
        same(case(synapse=synapse, value=False, delayed=True, own=True, learn=learn), voltage=learn)


def test_any_surrogate():
    torch.manual_seed(8)
    same(case(surrogate=Triangle(0.5), own=True, learn=True))


@pytest.mark.parametrize("neurons", [1, 2, 63, 64, 65, 127, 128, 129])
@pytest.mark.parametrize(("steps", "batch"), [(1, 1), (2, 5), (9, 1)])
def test_equal_at_every_tail(neurons, steps, batch):
    torch.manual_seed(2)
    given = case(steps, batch, neurons, own=True)
    event, plain = recurrent_scan(*given), _reference(*given, voltage=False)
    assert torch.equal(event.output, plain.output)
    wanted = leaves(*given)
    for a, b in zip(gradients(event, wanted), gradients(plain, wanted), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


def test_voltages_are_the_sums_of_a_plain_loop_bit_for_bit():
    torch.manual_seed(3)
    current, (v,), d, weight, bias, first = case(12, 2, 65, own=True)
    with torch.no_grad():
        result = recurrent_scan(current, (v,), d, weight, bias, first, voltage=True)
        w, b, v = weight.numpy(), bias.numpy(), v.numpy().copy()
        decay, gain, leak, threshold, reset = (
            getattr(d, n).numpy() for n in ("decay", "gain", "leak", "threshold", "reset")
        )
        back = first.numpy()
        for t in range(12):
            u = decay * v + (gain * (current[t].numpy() + back) + leak)
            s = u > threshold
            v = np.where(s, reset, u)
            assert np.array_equal(result.output[t].numpy(), s) and np.array_equal(result.voltage[t].numpy(), v)
            back = np.tile(b, (2, 1))
            for sample in range(2):
                for j in np.flatnonzero(s[sample]):
                    back[sample] += w[:, j]
        assert np.array_equal(result.state[-1].numpy(), v)


def test_spikes_are_those_of_float64_but_where_a_voltage_is_at_its_threshold():
    torch.manual_seed(4)
    given = case(50, 4, 200)
    given = (given[0].detach(), (given[1][0].detach(),), given[2], *(t.detach() for t in given[3:]))
    double = [
        t.double() if isinstance(t, torch.Tensor) else tuple(x.double() for x in t)
        for t in (given[0], given[1], *given[3:])
    ]
    d = Dynamics(**{k: v.double() if isinstance(v, torch.Tensor) else v for k, v in vars(given[2]).items()})
    single = recurrent_scan(*given).output.double()
    state, back, equal = double[1], double[4], 0
    for t, x in enumerate(double[0].unbind(0)):
        u = d.decay * state[0] + (d.gain * (x + back) + d.leak)
        s = (u > d.threshold).double()
        if float((u - d.threshold).abs().min()) < 2e-6:  # float32 cannot tell
            break
        assert torch.equal(single[t], s)
        equal += 1
        state, back = (torch.where(s > 0, d.reset, u),), torch.nn.functional.linear(s, double[2], double[3])
    assert equal > 10


def test_second_derivatives_are_those_of_the_plain_loop():
    torch.manual_seed(5)
    given = case(6, 2, 20, synapse=True)
    found = []
    for scan in (recurrent_scan, lambda *a: _reference(*a, voltage=False)):
        result = scan(*given)
        (dw,) = torch.autograd.grad(
            (result.output.cumsum(0) * given[0]).sum() + result.state[1].pow(3).sum(), given[3], create_graph=True
        )
        found.append(torch.autograd.grad(dw.square().sum(), (given[0], given[3])))
    assert found[0][0].abs().sum() > 0
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


def test_what_the_kernel_does_not_know_takes_the_plain_loop():
    torch.manual_seed(6)
    current, state, d, weight, bias, first = case(5, 2, 10)
    for other in (
        replace(d, delayed_reset=True),
        replace(d, refractory=torch.tensor(2.0)),
        replace(d, adapt_decay=torch.tensor(0.9), adaptation=torch.tensor(0.1)),
        replace(d, threshold=None, reset=None),
    ):
        more = (torch.zeros(2, 10),) * (other.states - 1)
        got = recurrent_scan(current, (*more, *state), other, weight, bias, first, voltage=True)
        want = _reference(current, (*more, *state), other, weight, bias, first, voltage=True)
        assert torch.equal(got.output, want.output) and torch.equal(got.voltage, want.voltage)
    got = recurrent_scan(current.double(), tuple(s.double() for s in state), d, weight.double())
    assert got.output.dtype == torch.float64


def test_no_bias_no_spikes_and_none_to_learn():
    weight = torch.randn(9, 9, requires_grad=True)
    silent = recurrent_scan(torch.zeros(4, 2, 9), (torch.zeros(2, 9),), case(1, 1, 9)[2], weight)
    assert not silent.output.any()
    (dw,) = torch.autograd.grad(silent.state[0].sum() + silent.output.sum(), weight)
    assert not dw.any()


def test_a_recurrent_network_is_cut_anywhere_with_its_gradients():
    torch.manual_seed(7)
    net = ns.Network(
        [ns.Dense(12, 40, weight=ns.Float(gain=20)), ns.network.Recurrent(ns.LIF(40), ns.Dense(40, 40, bias=True))],
        dt=1e-3,
    )
    x = (torch.rand(20, 3, 12) < 0.3).float()
    whole = net(x, record=("voltages",))
    assert type(whole.output.grad_fn).__name__ == "_RecurrentBackward"
    assert whole.output.mean() > 0.02
    first = net(x[:8])
    second = net(x[8:], first.state)
    assert torch.equal(torch.cat([first.output, second.output]), whole.output)
    for a, b in zip(
        torch.autograd.grad(whole.output.cumsum(0).sum(), list(net.parameters())),
        torch.autograd.grad(torch.cat([first.output, second.output]).cumsum(0).sum(), list(net.parameters())),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-4)


def test_torchs_threads_take_large_steps(monkeypatch):
    torch.manual_seed(2)
    given, threads = case(synapse=True, own=True, learn=True), torch.get_num_threads()
    wanted = leaves(*given)
    alone = gradients(recurrent_scan(*given, voltage=True), wanted)
    monkeypatch.setattr("neurospin.scan.recurrent._SHARED", 0)
    torch.set_num_threads(2)
    try:
        shared = gradients(recurrent_scan(*given, voltage=True), wanted)
    finally:
        torch.set_num_threads(threads)
    for a, b in zip(alone, shared, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5 * float(b.abs().max()))
