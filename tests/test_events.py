"""Products with sparse spikes, and inputs given as events, against dense products in float64."""

import numpy as np
import pytest
import torch
from torch.nn import functional

import neurospin as ns
from neurospin.scan import gather
from neurospin.synapses import product as module
from neurospin.synapses.gemm import linear
from neurospin.synapses.product import product


@pytest.fixture
def always(monkeypatch):
    """Every product of spikes goes by events, however small and however dense."""
    monkeypatch.setattr(module, "SMALL", 0)
    monkeypatch.setattr(module, "DENSEST", 1.0)


def layer(steps, batch, inputs, outputs, rate, bias=True):
    """Spikes, weight, bias and a gradient to send back."""
    x = (torch.rand(steps, batch, inputs) < rate).float()
    weight = torch.randn(outputs, inputs, requires_grad=True)
    return x, weight, torch.randn(outputs, requires_grad=True) if bias else None, torch.randn(steps, batch, outputs)


def in_double(x, weight, bias, g):
    """Output and gradients (of x, weight, bias) of the dense product in float64."""
    x = x.double().requires_grad_()
    weight = weight.detach().double().requires_grad_()
    bias = torch.zeros(len(weight), dtype=torch.double) if bias is None else bias.detach().double()
    y = functional.linear(x, weight, bias.requires_grad_())
    return y, torch.autograd.grad(y, (x, weight, bias), g.double())


SIZES = [1, 15, 16, 17, 63, 64, 65, 129]


@pytest.mark.parametrize("inputs", SIZES)
@pytest.mark.parametrize("outputs", SIZES)
def test_equal_to_the_dense_product_at_every_tail(always, inputs, outputs):
    for rate in (0.0, 0.1, 1.0):
        x, weight, bias, g = layer(3, 2, inputs, outputs, rate)
        x.requires_grad_()
        y = product(x, weight, bias)
        assert type(y.grad_fn.next_functions[0][0]).__name__ == "_GatherBackward"
        exact, gradients = in_double(x.detach(), weight, bias, g)
        scale = (1 + x.detach().sum(-1).max()) * 1e-6
        torch.testing.assert_close(y.double(), exact, rtol=0, atol=float(4 * scale))
        for got, wanted in zip(torch.autograd.grad(y, (x, weight, bias), g), gradients, strict=True):
            torch.testing.assert_close(got.double(), wanted, rtol=1e-5, atol=1e-5)


def test_sums_are_those_of_a_plain_loop_bit_for_bit(always):
    x, weight, bias, g = layer(5, 3, 70, 33, 0.3)
    y = product(x, weight, bias)
    (dw,) = torch.autograd.grad(y, weight, g)
    w, b, rows, grads = weight.detach().numpy(), bias.detach().numpy(), x.reshape(15, 70).numpy(), g.reshape(15, 33)
    for r in range(15):
        total = b.copy()
        for j in np.flatnonzero(rows[r]):
            total += w[:, j]
        assert np.array_equal(y.detach().reshape(15, 33)[r].numpy(), total)
    for j in range(70):
        total = np.zeros(33, np.float32)
        for r in np.flatnonzero(rows[:, j]):
            total += grads[r].numpy()
        assert np.array_equal(dw[:, j].numpy(), total)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_threads_share_the_outputs_and_change_no_bit(threads):
    before = torch.get_num_threads()
    x, weight, bias, g = layer(20, 20, 600, 1000, 0.15)
    (one_y, one) = (product(x, weight, bias), None)
    (one,) = torch.autograd.grad(one_y, weight, g)
    try:
        torch.set_num_threads(threads)
        y = product(x, weight, bias)
        (dw,) = torch.autograd.grad(y, weight, g)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(y, one_y) and torch.equal(dw, one)


def test_activity_and_size_choose():
    weight = torch.randn(512, 512)
    sparse = (torch.rand(300, 512) < 0.05).float()
    assert module.find_spikes(sparse, weight) is not None
    assert module.find_spikes(sparse[:3], weight) is None  # small
    assert module.find_spikes((torch.rand(300, 512) < 0.5).float(), weight) is None  # dense
    assert module.find_spikes(sparse * 2, weight) is None  # no spikes
    for odd in (float("nan"), -1.0, 0.5):
        wrong = sparse.clone()
        wrong[7, 9] = odd
        assert module.find_spikes(wrong, weight) is None
    assert module.find_spikes(sparse.double(), weight.double()) is None
    with torch.autocast("cpu", torch.bfloat16):
        assert module.find_spikes(sparse, weight) is None


def test_only_needed_gradients_and_none_without_grad(always):
    x, weight, bias, g = layer(4, 2, 20, 30, 0.2)
    with torch.no_grad():
        assert product(x, weight, bias).grad_fn is None
    y = product(x.requires_grad_(), weight.detach(), None)
    (dx,) = torch.autograd.grad(y, x, g)
    torch.testing.assert_close(dx, g @ weight.detach())


def test_second_derivatives_are_those_of_the_dense_product(always):
    x, weight, bias, _ = layer(4, 2, 20, 30, 0.2)

    def penalty(multiply, given):
        y = multiply(given, weight, bias)
        (dw,) = torch.autograd.grad(y.pow(3).sum(), weight, create_graph=True)
        return torch.autograd.grad(dw.square().sum(), weight)[0]

    wanted = penalty(functional.linear, x)
    torch.testing.assert_close(penalty(product, x), wanted, rtol=1e-5, atol=1e-2)
    torch.testing.assert_close(penalty(product, ns.Events.from_dense(x)), wanted, rtol=1e-5, atol=1e-2)


def test_transforms_and_compilation_take_the_dense_product(always):
    x, weight, _, _ = layer(4, 2, 20, 30, 0.2, bias=False)
    w = weight.detach()

    def loss(w, x):
        return product(x, w).square().sum()

    torch.testing.assert_close(torch.func.grad(loss)(w, x), 2 * (x @ w.T).flatten(0, 1).T @ x.flatten(0, 1))
    each = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 1))(w, x.unsqueeze(2))
    torch.testing.assert_close(each.sum(0), torch.func.grad(loss)(w, x))
    torch._dynamo.reset()
    compiled = torch.compile(product, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(x, weight), x @ w.T)


@pytest.mark.parametrize("weight", [ns.Float(), ns.Binary(gain=3)])
def test_a_dense_layer_learns_the_same_by_events(always, weight):
    dense = ns.Dense(50, 40, bias=True, weight=weight)
    x, _, _, g = layer(6, 3, 50, 40, 0.1)
    y = dense(x)
    got = torch.autograd.grad(y, (dense.stored, dense.bias), g)
    plain = functional.linear(x, dense.weight, dense.bias)
    torch.testing.assert_close(y, plain)
    for a, b in zip(got, torch.autograd.grad(plain, (dense.stored, dense.bias), g), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


def test_a_layer_that_is_fed_by_gradients_in_any_layout(always):
    x, weight, bias, _ = layer(4, 3, 20, 30, 0.3)
    product(x.transpose(0, 1), weight, bias).sum().backward()  # an expanded gradient, a transposed input
    torch.testing.assert_close(weight.grad, x.sum((0, 1)).expand(30, 20))
    torch.testing.assert_close(bias.grad, torch.full((30,), 12.0))


def test_events_stand_for_the_dense_array():
    x = torch.poisson(torch.full((7, 3, 4, 5), 0.4))
    events = ns.Events.from_dense(x)
    assert len(events) == int(x.sum()) and events.ndim == 4
    assert torch.equal(events.to_dense(), x)
    shuffled = torch.randperm(len(events))
    mixed = ns.Events(events.time[shuffled], events.batch[shuffled], events.index[shuffled].int(), (7, 3, 4, 5))
    assert torch.equal(mixed.to_dense(), x)
    assert all(np.array_equal(a, b) for a, b in zip(mixed.rows(), events.rows(), strict=True))
    none = torch.zeros(0, dtype=torch.long)
    assert torch.equal(ns.Events(none, none, none, (2, 3, 4)).to_dense(), torch.zeros(2, 3, 4))


def test_a_network_runs_on_events_as_on_the_dense_input():
    x = torch.poisson(torch.full((12, 3, 40), 0.2))
    net = ns.Network(
        [ns.Dense(40, 30, bias=True, weight=ns.Float(gain=60)), ns.LIF(30), ns.Dense(30, 5), ns.LI(5)], dt=1e-3
    )
    gradients = []
    for given in (x, ns.Events.from_dense(x)):
        net.zero_grad()
        run = net(given)
        run.output.square().sum().backward()
        gradients.append((run.output.detach(), *(p.grad.clone() for p in net.parameters())))
    assert gradients[0][0].abs().sum() > 0
    for dense, event in zip(*gradients, strict=True):
        torch.testing.assert_close(event, dense, rtol=1e-5, atol=1e-5)
    straight = ns.Network([ns.LIF(40, r=30.0)], dt=1e-3)  # a neuron takes no events: they become dense
    assert torch.equal(straight(ns.Events.from_dense(x)).output, straight(x).output)
    double = ns.Dense(40, 30).double()
    torch.testing.assert_close(double(ns.Events.from_dense(x)), double(x.double()))


def test_the_same_graph_and_network_agree_in_every_spike_by_events(always):
    net = ns.Network([ns.Dense(40, 60, weight=ns.Binary(gain=12)), ns.LIF(60), ns.Dense(60, 5), ns.LI(5)], dt=1e-3)
    x = (torch.rand(30, 4, 40) < 0.3).float()
    run = net(x, record=("spikes",))
    assert run.spikes["lif1"].mean() > 0.01
    assert torch.equal(torch.as_tensor(ns.simulate(ns.to_graph(net), x, dt=1e-3).output), run.output)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda i: ns.Events(i, i, i, (3, 3)), "time, batch"),
        (lambda i: ns.Events(i, i, i.float(), (3, 3, 3)), "Events.index: expected whole numbers"),
        (lambda i: ns.Events(i, i[:2], i, (3, 3, 3)), "Events.batch: expected 3 events"),
        (lambda i: ns.Events(i, i, i, (2, 3, 3)), "Events.time: expected 0 to 1, got 2"),
        (lambda i: ns.Events(i, i, i - 1, (3, 3, 3)), "Events.index: expected 0 to 2, got -1"),
        (lambda i: ns.Events.from_dense(torch.full((1, 1, 2), 0.5)), "whole numbers"),
        (lambda i: ns.Events.from_dense(torch.ones(1, 2)), "time"),
        (lambda i: ns.Dense(4, 2)(ns.Events(i, i, i, (3, 3, 3))), "time, batch, 4"),
    ],
)
def test_wrong_events_are_told(make, words):
    with pytest.raises(ns.InputError, match=words):
        make(torch.arange(3))


def test_the_fast_library_route_is_the_same_product(monkeypatch):
    from neurospin.synapses import gemm

    monkeypatch.setattr(gemm, "_fast", True)
    monkeypatch.setattr(gemm, "LARGE", 0)
    x, weight, bias, g = layer(1, 70, 65, 33, 0.5)
    x, g = (x + torch.randn_like(x))[0].requires_grad_(), g[0]
    y = linear(x, weight, bias)
    assert type(y.grad_fn.next_functions[0][0]).__name__ == "_LinearBackward"
    exact, gradients = in_double(x.detach(), weight, bias, g)
    torch.testing.assert_close(y.double(), exact, rtol=1e-5, atol=1e-5)
    for got, wanted in zip(torch.autograd.grad(y, (x, weight, bias), g, retain_graph=True), gradients, strict=True):
        torch.testing.assert_close(got.double(), wanted, rtol=1e-5, atol=1e-5)
    (first,) = torch.autograd.grad(y.pow(3).sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), weight)
    plain = functional.linear(x, weight, bias)
    (first,) = torch.autograd.grad(plain.pow(3).sum(), x, create_graph=True)
    torch.testing.assert_close(second, torch.autograd.grad(first.sum(), weight)[0], rtol=1e-4, atol=1e-2)


def test_the_choice_of_library_is_measured(monkeypatch):
    from neurospin.synapses import gemm

    monkeypatch.setattr(gemm, "_fast", None)
    assert gemm.onednn_pays() is gemm._fast is not None
    monkeypatch.setattr(gemm, "_onednn", lambda x, w: (x @ w.T).bfloat16().float())
    assert not gemm._measure()  # however fast: it is not accurate


def test_spikes_are_listed_up_to_a_share_and_nothing_but_ones():
    x = np.zeros((4, 70), np.float32)
    x[[0, 0, 1, 3, 3, 3], [0, 63, 69, 5, 64, 65]] = 1
    index, start = gather.find(x, 6 / 280)
    assert index.tolist() == [0, 63, 69, 5, 64, 65] and start.tolist() == [0, 2, 3, 3, 6]
    assert gather.find(x, 5 / 280) is None and gather.find(np.ones((4, 70), np.float32), 0.99) is None
    assert len(gather.find(np.ones((4, 70), np.float32), 1.0)[0]) == 280
    assert gather.find(np.zeros((0, 3), np.float32), 0.2)[0].size == 0
    for place in (1, 66):  # inside and beyond a whole vector
        for wrong in (0.5, -1.0, 2.0, np.nan, np.inf):
            x[2, place] = wrong
            assert gather.find(x, 1.0) is None
        x[2, place] = 0
