"""Synapses and neurons in one loop, against the product and the scan one after the other, bit for bit."""

import copy

import numpy as np
import pytest
import torch

import neurospin as ns
from experiments import scan_memory
from neurospin.scan import reference
from neurospin.synapses import layer as module
from neurospin.synapses import product as products

pytest.importorskip("numba")


@pytest.fixture(autouse=True)
def always(monkeypatch):
    """Every product of spikes goes by events, however small and however dense."""
    monkeypatch.setattr(products, "SMALL", 0)
    monkeypatch.setattr(products, "DENSEST", 1.0)


@pytest.fixture
def joined(monkeypatch):
    """How often the two ran as one."""
    calls, run = [], module._run
    monkeypatch.setattr(module, "_run", lambda *a, **k: calls.append(a) or run(*a, **k))
    return calls


def network(outputs, inputs=50, bias=True, **options):
    net = ns.Network([ns.Dense(inputs, outputs, bias=bias), ns.LIF(outputs, **options)], dt=1e-3)
    net.blocks["dense1"].stored.data.mul_(60)  # type: ignore[union-attr]
    return net


def gradients(net, x, g, state=None, **options):
    """Spikes, last voltages and every gradient."""
    run = net(x, state, **options)
    v = run.state["lif1"][0]
    inputs = [t for t in (x, *net.parameters()) if isinstance(t, torch.Tensor) and t.requires_grad]
    return [run.output.detach(), v.detach(), *torch.autograd.grad((run.output * g).sum() + v.square().sum(), inputs)]


@pytest.mark.parametrize("outputs", [1, 15, 16, 17, 63, 64, 65, 129])
@pytest.mark.parametrize("reset", ["value", "subtract"])
def test_one_loop_is_the_product_and_the_scan(joined, outputs, reset):
    """The networks that record currents run the two apart."""
    spikes = 0
    for tau, bias in ((5e-3, True), (5e-3 + 0.01 * torch.rand(outputs), False)):
        net = network(outputs, bias=bias, tau_mem=tau, reset=reset, v_leak=0.2, v_threshold=0.8, v_reset=-0.1)
        x, g = (torch.rand(30, 3, 50) < 0.1).float().requires_grad_(), torch.randn(30, 3, outputs)
        state = {"lif1": (torch.rand(3, outputs),)}
        one, count = gradients(net, x, g, state), len(joined)
        two = gradients(net, x, g, state, record=("currents",))
        assert count and len(joined) == count and len(one) == len(two)
        assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))
        with torch.no_grad():
            assert torch.equal(net(x, state).output, one[0])
        events = gradients(net, ns.Events.from_dense(x), g, state)
        assert all(torch.equal(a, b) for a, b in zip(events, [*one[:2], *one[3:]], strict=True))
        spikes += float(one[0].sum())
    assert spikes > outputs


def test_one_loop_follows_the_reference_in_float64():
    net, x, g = network(70, tau_mem=5e-3), (torch.rand(40, 2, 50) < 0.1).float(), torch.randn(40, 2, 70)
    s, v, *found = gradients(net, x, g)
    dense, lif = dict(net.named_blocks()).values()
    weight, bias = (p.detach().double().requires_grad_() for p in (dense.stored, dense.bias))
    current = x.double() @ weight.T + bias
    truth = reference.scan(current, (torch.zeros(2, 70, dtype=torch.double),), lif.dynamics(), spikes=s.double())
    loss = (truth.output * g).sum() + truth.state[0].square().sum()
    torch.testing.assert_close(v.double(), truth.state[0].detach(), rtol=1e-5, atol=1e-6)
    for a, b in zip(found, torch.autograd.grad(loss, (weight, bias)), strict=True):
        assert float((a.double() - b).norm() / b.norm()) < 1e-5


def test_threads_share_the_outputs(monkeypatch):
    net, x, g = network(600, 600), (torch.rand(60, 40, 600) < 0.05).float(), torch.randn(60, 40, 600)
    alone = gradients(net, x, g)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    assert all(torch.equal(a, b) for a, b in zip(alone, gradients(net, x, g), strict=True))


def test_what_it_cannot_do_runs_apart(joined):
    x = (torch.rand(10, 2, 50) < 0.1).float()
    for options in (
        {"refractory": 2e-3}, {"reset_delay": True}, {"reset_gradient": True}, {"learn": ("tau_mem",)},
        {"memory": "bfloat16"}, {"surrogate": ns.Smooth(ns.ArcTan())},
    ):  # fmt: skip
        network(9, **options)(x)
    assert not joined
    blocks = {"a": ns.Dense(50, 9), "b": ns.LIF(9), "c": ns.LIF(9)}
    shared = ns.Network(blocks, 1e-3, [("i", "a"), ("a", "b"), ("a", "c"), ("b", "o"), ("c", "p")])
    shared(x)  # two neuron blocks read one current
    ns.Network(blocks, 1e-3, [("i", "a"), ("a", "b"), ("b", "c"), ("c", "o"), ("a", "p")])(x)  # an output reads it
    assert not joined
    net = network(9)
    net(x, record=("spikes",))
    assert len(joined) == 1
    net(x, record=("voltages",))
    net(x * 0.5)
    assert len(joined) == 1


def test_a_second_derivative_is_that_of_the_two_apart():
    net, x, g = network(20), (torch.rand(12, 2, 50) < 0.1).float(), torch.randn(12, 2, 20)
    found = []
    for options in ({}, {"record": ("currents",)}):
        run = net(x, **options)
        loss = (run.output * g).sum() + run.state["lif1"][0].square().sum()
        first = torch.autograd.grad(loss, list(net.parameters()), create_graph=True)
        found.append(torch.autograd.grad(sum(f.square().sum() for f in first), list(net.parameters())))
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-6)
        assert bool(a.any())


KINDS = [
    (ns.LIF, {}), (ns.LIF, {"reset": "subtract", "reset_gradient": True, "refractory": 3e-3}),
    (ns.CubaLIF, {"tau_syn": 4e-3}), (ns.ALIF, {"tau_adapt": 30e-3}),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "options"), KINDS)
@pytest.mark.parametrize("given", ["spikes", "events", "counts"])
def test_what_runs_again_gives_the_same(kind, options, given):
    """Spikes, last states and every gradient, in a row of two layers that starts in a state of its own."""
    x, g = (torch.rand(25, 3, 50) < 0.1).float(), torch.randn(25, 3, 7)
    found = []
    for memory in ("float32", "recompute"):
        torch.manual_seed(3)
        layers = [ns.Dense(50, 9, bias=True), kind(9, memory=memory, **options), ns.Dense(9, 7), kind(7, memory=memory)]
        net = ns.Network(layers, dt=1e-3)
        for dense in ("dense1", "dense2"):
            net.blocks[dense].stored.data.mul_(60)  # type: ignore[union-attr]
        state = {name: tuple(0.2 * torch.rand_like(s) for s in n.initial(3)) for name, n in net.neurons().items()}
        state = {name: tuple(s.requires_grad_() for s in parts) for name, parts in state.items()}
        x_ = (
            x.clone().requires_grad_() if given == "spikes" else ns.Events.from_dense(x) if given == "events" else 2 * x
        )
        run = net(x_, state)
        loss = (run.output * g).sum() + sum(parts[-1].square().sum() for parts in run.state.values())
        leaves = [*net.parameters(), *(s for parts in state.values() for s in parts)]
        leaves += [x_] if given == "spikes" else []
        gradients = torch.autograd.grad(loss, leaves, allow_unused=True)
        found.append([run.output.detach(), *(s.detach() for parts in run.state.values() for s in parts), *gradients])
        assert bool(run.output.any()) and all(bool(a.any()) for a in gradients[:3])  # of both weights and a bias
    for a, b in zip(*found, strict=True):
        assert a is b is None or torch.equal(a, b)


def test_a_second_derivative_of_what_runs_again():
    found = []
    for memory in ("float32", "recompute"):
        torch.manual_seed(5)
        net = ns.Network(
            [ns.Dense(50, 20), ns.LIF(20, memory=memory), ns.Dense(20, 4), ns.LIF(4, memory=memory)], dt=1e-3
        )
        for dense in ("dense1", "dense2"):
            net.blocks[dense].stored.data.mul_(60)  # type: ignore[union-attr]
        x, g = (torch.rand(12, 2, 50) < 0.1).float(), torch.randn(12, 2, 4)
        first = torch.autograd.grad((net(x).output * g).sum(), list(net.parameters()), create_graph=True)
        found.append(torch.autograd.grad(sum(f.square().sum() for f in first), list(net.parameters())))
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-6)
        assert bool(a.any())


def test_eight_layers_that_run_again_keep_bits():
    """Peak of one pass, in arrays of one layer: spikes and voltages of all eight are two arrays a layer."""
    kept, again = (scan_memory.measure(memory, layers=8) for memory in ("float32", "recompute"))
    assert kept > 16
    assert again < kept - 8


def test_a_network_whose_blocks_change_runs_the_new_ones():
    net, x = network(9), (torch.rand(30, 2, 50) < 0.2).float()
    before, twin = net(x).output, copy.deepcopy(net)
    other = ns.LIF(9, v_threshold=0.1, dt=1e-3)
    net.blocks["lif1"] = other
    assert net(x).output.sum() > before.sum()
    twin.blocks["dense1"].stored.data.mul_(-1)
    assert torch.equal(twin.blocks["dense1"].stored, -net.blocks["dense1"].stored)
    assert not np.array_equal(twin(x).output.detach(), before.detach())
