import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import neurospin as ns


def small(**options):
    return ns.Network(
        [ns.Dense(6, 12, weight=ns.Binary(gain=6)), ns.LIF(12, **options), ns.Dense(12, 3, bias=True), ns.LI(3)],
        dt=1e-3,
    )


@given(st.integers(1, 14))
def test_a_run_can_be_cut_anywhere(cut):
    net, x = small(), (torch.rand(15, 4, 6) < 0.5).float()
    whole = net(x)
    first = net(x[:cut])
    torch.testing.assert_close(net(x[cut:], first.state).output, whole.output[cut:], rtol=0, atol=1e-6)


def test_samples_do_not_see_each_other():
    net, x = small(), (torch.rand(15, 8, 6) < 0.5).float()
    together = net(x).output
    alone = torch.cat([net(x[:, i : i + 1]).output for i in range(8)], dim=1)
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-6)


def test_records_are_what_was_asked_for():
    net, x = small(), (torch.rand(15, 4, 6) < 0.5).float()
    assert not net(x).spikes and not net(x).voltages
    run = net(x, record=("spikes", "voltages", "currents"))
    assert list(run.spikes) == ["lif1", "li1"]
    assert run.voltages["lif1"].shape == (15, 4, 12)
    torch.testing.assert_close(run.currents["lif1"], torch.nn.functional.linear(x, net.blocks["dense1"].weight))
    assert (run.voltages["lif1"][run.spikes["lif1"] > 0] == 0).all()
    with pytest.raises(ns.UnknownName, match="did you mean 'spikes'"):
        net(x, record=("spike",))


def test_the_rate_twin_has_the_same_synapses_and_parameters():
    net = small(learn=("tau_mem", "v_threshold"))
    twin = net.rate_twin()
    assert twin.parameter_count() == net.parameter_count()
    assert list(twin.blocks) == ["dense1", "rate1", "dense2", "li1"]
    assert torch.equal(twin.blocks["dense1"].stored, net.blocks["dense1"].stored)
    assert twin.blocks["dense1"].stored is not net.blocks["dense1"].stored
    with pytest.raises(ns.GraphError, match="Rate: expected a neuron that NIR can express"):
        ns.to_graph(twin)


def test_every_learned_number_gets_a_gradient():
    net = small(learn=("tau_mem", "v_threshold"))
    net((torch.rand(15, 4, 6) < 0.5).float()).output.square().sum().backward()
    for name, p in net.named_parameters():
        assert p.grad is not None and float(p.grad.abs().sum()) > 0, name


def test_hidden_state_is_that_of_the_binary_synapses():
    net = small()
    assert list(net.hidden_state()) == ["dense1"]
    assert not net.hidden_state()["dense1"].requires_grad


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: ns.Network([], dt=1e-3), "at least one block"),
        (lambda: ns.Network([ns.Dense(3, 4), ns.LIF(5)], dt=1e-3), r"lif1: expected input of size \(4,\)"),
        (lambda: ns.Network([torch.nn.Linear(3, 4)], dt=1e-3), "neurons and synapses"),
        (lambda: ns.Network([ns.LIF(3)], dt=0), "seconds > 0"),
        (lambda: ns.Dense(0, 4), "at least 1"),
        (lambda: small()(torch.ones(5, 6)), "time, batch, 6"),
        (lambda: ns.Binary(gain=-1), "positive"),
    ],
)
def test_wrong_arguments_are_told(make, words):
    with pytest.raises(ns.NeurospinError, match=words):
        make()


def test_time_first_names_the_axes():
    x = torch.rand(2, 3, 4)
    assert ns.time_first(x, "batch time neuron").shape == (3, 2, 4)
    with pytest.raises(ns.InputError, match="time and batch"):
        ns.time_first(x, "a b c")
    with pytest.raises(ns.InputError, match="3 different axis names"):
        ns.time_first(x, "time batch")


def test_binary_weights_are_signs_with_a_straight_gradient():
    dense = ns.Dense(16, 4, weight=ns.Binary(gain=2))
    torch.testing.assert_close(dense.weight.abs(), torch.full((4, 16), 0.5))
    assert torch.equal(dense.weight > 0, dense.stored >= 0)
    (g,) = torch.autograd.grad((dense.weight * torch.arange(64.0).reshape(4, 16)).sum(), dense.stored)
    torch.testing.assert_close(g, 0.5 * torch.arange(64.0).reshape(4, 16))
