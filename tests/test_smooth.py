"""Gradients through imported graphs: against finite differences of the smooth mode, and the spiking one against it."""

from dataclasses import dataclass

import nir
import numpy as np
import pytest
import torch
from torch.func import functional_call

import neurospin as ns
from neurospin.surrogate import Surrogate


def ports(size):
    return {"input": nir.Input({"input": np.array([size])}), "output": nir.Output({"output": np.array([size])})}


def web(kind, reset, rng, pick):
    """Two layers in a loop over both; the second is a nested graph that feeds itself."""

    def neuron(which, size):
        options = {"v_threshold": pick("threshold", size), "v_reset": pick("reset", size)}
        if which == "if":
            return nir.IF(r=pick("rate", size), **options)
        options |= {"r": pick("r", size), "v_leak": pick("leak", size)}
        if which == "lif":
            return nir.LIF(tau=pick("tau", size), **options)
        times = {"tau_mem": pick("tau", size), "tau_syn": pick("tau", size), "w_in": pick("r", size)}
        return nir.CubaLIF(**times, **options)

    def weights(out, into):
        return nir.Affine(weight=pick("weight", (out, into)), bias=pick("leak", out))

    inner = {**ports(3), "cell": neuron(kind, 3), "w_rec": weights(3, 3)}
    loop = [("input", "cell"), ("cell", "w_rec"), ("w_rec", "cell"), ("cell", "output")]
    nodes = {
        "input": nir.Input({"input": np.array([2])}), "w1": weights(3, 2), "first": neuron("lif", 3),
        "w2": weights(3, 3), "rnn": nir.NIRGraph(inner, loop, type_check=False), "w3": weights(3, 3),
        "output": nir.Output({"output": np.array([3])}),
    }  # fmt: skip
    edges = [
        ("input", "w1"), ("w1", "first"), ("first", "w2"), ("w2", "rnn"), ("rnn", "w3"), ("w3", "first"),
        ("rnn", "output"),
    ]  # fmt: skip
    about = {"dt": 1e-3, "reset": reset}
    return nir.NIRGraph(nodes, edges, metadata={"neurospin": about}, type_check=False)


def gradients(net, x, weights):
    return torch.autograd.grad((net(x).output * weights).sum(), list(net.parameters()))


@pytest.mark.parametrize("reset", ["value", "subtract"])
@pytest.mark.parametrize("kind", ["lif", "cubalif", "if"])
def test_gradients_through_an_imported_graph_are_finite_differences(kind, reset):
    rng = np.random.default_rng(5)
    ranges = {
        "threshold": (0.5, 1), "reset": (-0.3, 0.2), "rate": (100, 400), "r": (0.7, 1.5), "leak": (-0.3, 0.3),
        "tau": (2e-3, 9e-3), "weight": (-1.5, 3),
    }  # fmt: skip
    graph = web(kind, reset, rng, lambda name, size: rng.uniform(*ranges[name], size).astype(np.float32))
    learn = ("v_threshold", "v_reset", "r", *(() if kind == "if" else ("tau_mem", "v_leak")))
    if kind == "cubalif":
        learn += ("tau_syn", "w_in")
    if reset == "subtract":
        learn = tuple(name for name in learn if name != "v_reset")
    net = ns.from_graph(graph, learn=learn, surrogate=ns.Smooth(ns.Sigmoid(3))).double()
    x = torch.from_numpy(rng.uniform(0, 6, (7, 2, 2))).requires_grad_()
    names, values = zip(*net.named_parameters(), strict=True)
    values = tuple(value.detach().clone().requires_grad_() for value in values)

    def output(x, *values):
        return functional_call(net, dict(zip(names, values, strict=True)), (x,)).output

    out = output(x, *values).detach()
    assert float(out.max() - out.min()) > 0.2 and float(out.max()) < 0.999  # neither silent nor saturated
    assert torch.autograd.gradcheck(output, (x, *values), eps=1e-6, atol=1e-7, rtol=1e-5, fast_mode=False)


@dataclass(frozen=True)
class Touching(Surrogate):
    """A smooth function that equals the step at every multiple of `grid` but 0, with ArcTan's derivative there."""

    grid: float

    def value(self, distance):
        wave = torch.sin(2 * np.pi / self.grid * distance) * self.grid / (2 * np.pi)
        return (distance > 0).to(distance.dtype) + wave * self.derivative(distance)

    def derivative(self, distance):
        return ns.ArcTan().derivative(distance)


@pytest.mark.parametrize("reset", ["value", "subtract"])
@pytest.mark.parametrize("kind", ["lif", "cubalif", "if"])
def test_the_spiking_gradient_is_that_of_the_smooth_mode_where_their_spikes_agree(kind, reset):
    """Constants are powers of two, so that every voltage lies on a grid, and the smooth function touches the step."""
    rng = np.random.default_rng(2)
    steps = 5

    def pick(name, size):
        if name == "tau":
            return np.full(size, 2 * 2.0**-10)  # decays of 1/2
        if name == "rate":
            return np.full(size, 2.0**10)
        if name == "r":
            return np.full(size, 2.0)
        if name == "threshold":
            return np.full(size, 1 + 2.0**-8)  # no voltage meets it exactly
        low, high = {"reset": (-2, 2), "leak": (0, 4), "weight": (-5, 9)}[name]
        return rng.integers(low, high, size) / 4

    graph = web(kind, reset, rng, pick)
    graph.metadata["neurospin"]["dt"] = 2.0**-10
    x = torch.from_numpy(rng.integers(0, 3, (steps, 3, 2)).astype(np.float64))
    smooth = ns.from_graph(graph, surrogate=ns.Smooth(Touching(2.0**-18))).double()
    spiking = ns.from_graph(graph, surrogate=ns.ArcTan()).double()
    for neuron in spiking.neurons().values():
        neuron.reset_gradient = True
    one, other = smooth(x, record=("spikes", "voltages")), spiking(x, record=("spikes", "voltages"))
    for name, spikes in other.spikes.items():
        torch.testing.assert_close(one.spikes[name], spikes, rtol=0, atol=1e-9)
        torch.testing.assert_close(one.voltages[name], other.voltages[name], rtol=0, atol=1e-9)
        assert 3 < int(spikes.sum()) <= spikes.numel() - 3
    weights = torch.from_numpy(rng.normal(size=tuple(one.output.shape)))
    for a, b in zip(gradients(smooth, x, weights), gradients(spiking, x, weights), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-6)
        assert float(b.abs().max()) > 1e-2
    for neuron in spiking.neurons().values():
        neuron.reset_gradient = False
    assert any(
        float((a - b).abs().max()) > 1e-3
        for a, b in zip(gradients(smooth, x, weights), gradients(spiking, x, weights), strict=True)
    )


def test_the_smooth_mode_is_the_same_in_float32_loops_and_is_refused_where_it_means_nothing():
    rng = np.random.default_rng(0)
    blocks = {
        "in": ns.Dense(3, 4),
        "rnn": ns.Recurrent(ns.LIF(4, r=8.0, surrogate=ns.Smooth(ns.ArcTan())), ns.Dense(4, 4)),
    }
    net = ns.Network(blocks, dt=1e-3)
    x = torch.from_numpy(rng.random((9, 2, 3)).astype(np.float32))
    single = net(x).output.detach()
    assert float(single.min()) > 0 and float(single.max()) < 1
    torch.testing.assert_close(single, net.double()(x.double()).output.detach().float(), rtol=1e-5, atol=1e-6)
    sharp = ns.Network({"w": ns.Dense(3, 4), "n": ns.LIF(4, r=8.0, surrogate=ns.Triangle(2))}, dt=1e-3)
    again = ns.from_graph(ns.to_graph(sharp), surrogate=ns.Smooth(ns.ArcTan()))  # over what the graph records
    assert again.neurons()["n"].surrogate == ns.Smooth(ns.ArcTan())
    with pytest.raises(ns.GraphError, match=r"rnn.surrogate: expected spikes, got Smooth"):
        ns.to_graph(net)
    for options in ({"refractory": 3e-3}, {"reset_delay": True}):
        with pytest.raises(ns.InputError, match=r"LIF.surrogate: expected spikes, .* got Smooth"):
            ns.LIF(4, surrogate=ns.Smooth(ns.ArcTan()), **options)
