"""Convolutions of sparse spikes by events, against torch's convolution in float64."""

import pytest
import torch
from torch.nn.functional import conv2d

import neurospin as ns
from neurospin.synapses import sparse_conv
from neurospin.synapses.sparse_conv import sparse_conv2d


@pytest.fixture
def always(monkeypatch):
    """Every convolution of spikes goes by events, however small and however dense."""
    monkeypatch.setattr(sparse_conv, "SMALL", 0)
    monkeypatch.setattr(sparse_conv, "DENSEST", 1.0)


def by_events(*given):
    y = sparse_conv2d(*given)
    assert y is not None and type(y.grad_fn).__name__ == "_PatchesBackward"
    return y


@pytest.mark.parametrize("rate", [0.0, 0.05, 1.0])
@pytest.mark.parametrize(
    ("size", "outputs", "kernel", "how"),
    [
        ((1, 1, 1), 1, (1, 1), ((1, 1), (0, 0), (1, 1))),
        ((2, 9, 12), 5, (3, 2), ((1, 1), (1, 2), (1, 1))),
        ((3, 11, 8), 17, (3, 3), ((2, 3), (1, 0), (1, 1))),
        ((2, 12, 13), 4, (3, 2), ((2, 1), (3, 4), (2, 3))),
    ],
)
def test_equal_to_the_dense_convolution(always, size, outputs, kernel, how, rate):
    torch.manual_seed(0)
    x = (torch.rand(70, *size) < rate).float()
    weight = torch.randn(outputs, size[0], *kernel, requires_grad=True)
    bias = torch.randn(outputs, requires_grad=True)
    y = by_events(x, weight, bias, *how)
    w, b = weight.detach().double().requires_grad_(), bias.detach().double().requires_grad_()
    exact = conv2d(x.double(), w, b, *how)
    torch.testing.assert_close(y.double(), exact, rtol=1e-6, atol=1e-5)
    g = torch.randn_like(y)
    found = torch.autograd.grad(y, (weight, bias), g)
    wanted, terms = (torch.autograd.grad(exact, (w, b), c.double(), retain_graph=True) for c in (g, g.abs()))
    for got, value, total in zip(found, wanted, terms, strict=True):
        assert ((got.double() - value).abs() <= 1e-6 * total).all()  # total: the sum of the terms' sizes


def test_a_second_derivative_is_that_of_the_dense_convolution(always):
    torch.manual_seed(1)
    x, weight = (torch.rand(4, 2, 6, 6) < 0.2).float(), torch.randn(3, 2, 3, 3, requires_grad=True)
    how = ((1, 1), (1, 1), (1, 1))
    seconds = []
    for y in (by_events(x, weight, None, *how), conv2d(x, weight, None, *how)):
        (first,) = torch.autograd.grad(y.pow(3).sum(), weight, create_graph=True)
        seconds.append(torch.autograd.grad(first.pow(2).sum(), weight)[0])
    torch.testing.assert_close(*seconds, rtol=1e-4, atol=1e-4 * float(seconds[1].abs().max()))


def test_a_block_measures_the_activity_and_takes_the_faster_route():
    torch.manual_seed(2)
    layer = ns.Conv2d((2, 34, 34), 12, 5, bias=True)
    x = (torch.rand(10, 4, 2, 34, 34) < 0.01).float()
    y = layer(x)
    assert "Patches" in str(y.grad_fn.next_functions)
    assert layer.bias is not None
    exact = conv2d(x.flatten(0, 1).double(), layer.weight.double(), layer.bias.double()).unflatten(0, (10, 4))
    torch.testing.assert_close(y.double(), exact, rtol=1e-6, atol=1e-5)
    for other in ((torch.rand_like(x) < 0.1).float(), 0.5 * x, x.clone().requires_grad_()):
        assert "Patches" not in str(layer(other).grad_fn.next_functions)
    for same in (ns.Conv2d((2, 34, 34), 12, 5, padding="same"), ns.Conv2d((2, 34, 34), 12, 5, groups=2)):
        assert "Patches" not in str(same(x).grad_fn.next_functions)


@pytest.mark.parametrize("options", [{}, {"padding": "same"}, {"groups": 2}, {"stride": 2, "padding": 1, "bias": True}])
def test_events_are_convolved_as_the_array_they_stand_for(options):
    """Two events at one place count twice; what cannot run on events makes the array."""
    torch.manual_seed(3)
    layer = ns.Conv2d((2, 9, 7), 4, 3, **options)
    x = (torch.rand(6, 3, 2, 9, 7) < 0.1).float()
    x[2, 1, 0, 4, 4], x[0, 0, 1, 0, 0] = 2, 3
    events = ns.Events.from_dense(x)
    y, exact = layer(events), layer(x)
    assert ("Patches" in str(y.grad_fn.next_functions)) == layer.takes_events == (len(options) != 1)
    torch.testing.assert_close(y, exact, rtol=1e-6, atol=1e-6)
    g = torch.randn_like(y)
    for a, b in zip(*(torch.autograd.grad(z, list(layer.parameters()), g) for z in (y, exact)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)
    with pytest.raises(ns.InputError, match=r"Conv2d: expected events of shape \(time, batch, 2, 9, 7\)"):
        layer(ns.Events.from_dense(x[..., :6]))


def test_a_network_runs_on_events_without_their_array(monkeypatch):
    torch.manual_seed(4)
    net = ns.Network([ns.Conv2d((2, 9, 7), 4, 3), ns.LIF((4, 7, 5), v_threshold=0.05)], dt=1e-3)
    x = (torch.rand(20, 3, 2, 9, 7) < 0.1).float()
    wanted = net(x).output
    monkeypatch.setattr(ns.Events, "to_dense", None)
    assert torch.equal(net(ns.Events.from_dense(x)).output, wanted) and bool(wanted.any())
