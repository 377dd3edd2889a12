"""Networks that are no stacks: loops, skips, several inputs and outputs."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import neurospin as ns


def looped(bias=True):
    blocks = {
        "w": ns.Dense(6, 12, weight=ns.Float(gain=14)),
        "hidden": ns.Recurrent(ns.LIF(12, tau_mem=10e-3), ns.Dense(12, 12, bias=bias, weight=ns.Float(gain=5))),
        "out": ns.Dense(12, 3),
        "li": ns.LI(3),
    }
    return ns.Network(blocks, dt=1e-3)


def two_layer_loop():
    """Two spiking layers in one loop, a skip over both, and a second output."""
    blocks = {
        "in": ns.Dense(5, 8, weight=ns.Float(gain=15), bias=True),
        "a": ns.LIF(8),
        "ab": ns.Dense(8, 7, weight=ns.Float(gain=15)),
        "b": ns.LIF(7, tau_mem=5e-3, reset="subtract"),
        "ba": ns.Dense(7, 8, weight=ns.Float(gain=4), bias=True),
        "skip": ns.Dense(5, 7, weight=ns.Float(gain=3)),
    }
    edges = [
        ("x", "in"), ("in", "a"), ("a", "ab"), ("ab", "b"), ("b", "ba"), ("ba", "a"), ("x", "skip"), ("skip", "b"),
        ("b", "late"), ("a", "early"),
    ]  # fmt: skip
    return ns.Network(blocks, dt=1e-3, edges=edges)


def spikes(steps, batch, size):
    return (torch.rand(steps, batch, size) < 0.4).float()


def test_a_recurrent_block_is_what_its_equations_say():
    """Against the loop written out in numpy, the bias of the back edge in step 0 included."""
    net, x = looped(), spikes(30, 4, 6)
    run = net(x, record=("spikes", "voltages"))
    w, r = (net.blocks[n].weight.detach().numpy() for n in ("w", "hidden_recurrent"))
    bias = net.blocks["hidden_recurrent"].bias.detach().numpy()
    v, s = np.zeros((4, 12)), np.zeros((4, 12))
    count = 0
    for t in range(30):
        v = v + 0.1 * (x[t].numpy() @ w.T + s @ r.T + bias - v)
        s = (v > 1).astype(float)
        v = np.where(s > 0, 0, v)
        np.testing.assert_array_equal(run.spikes["hidden"][t].detach().numpy(), s)
        np.testing.assert_allclose(run.voltages["hidden"][t].detach().numpy(), v, atol=1e-5)
        count += s.sum()
    assert 50 < count < 1000


@pytest.mark.parametrize("make", [looped, two_layer_loop])
@given(cut=st.integers(1, 13))
def test_a_run_with_loops_can_be_cut_anywhere(make, cut):
    net = make()
    x = spikes(14, 3, net.input_size[0])
    whole = net(x, record=("spikes",))
    first = net(x[:cut])
    second = net(x[cut:], first.state, record=("spikes",))
    for name, all_spikes in whole.spikes.items():
        if net.neurons()[name].spiking:
            assert torch.equal(second.spikes[name], all_spikes[cut:]), name
    for name, output in whole.outputs.items():
        torch.testing.assert_close(second.outputs[name], output[cut:], rtol=0, atol=1e-6)
    assert any(name.endswith(" ->") for name in first.state)


def test_sugar_is_only_sugar():
    net = looped()
    edges = [
        ("input", "w"), ("w", "hidden"), ("hidden", "out"), ("out", "li"), ("li", "output"),
        ("hidden", "hidden_recurrent"), ("hidden_recurrent", "hidden"),
    ]  # fmt: skip
    plain = ns.Network(dict(net.named_blocks()), dt=1e-3, edges=edges)
    x = spikes(9, 2, 6)
    assert torch.equal(net(x).output, plain(x).output) and plain.edges == net.edges
    stacked = ns.Network([ns.Dense(2, 3), ns.Recurrent(ns.LIF(3), ns.Dense(3, 3))], dt=1e-3)
    assert [name for name, _ in stacked.named_blocks()] == ["dense1", "lif1", "lif1_recurrent"]


def test_gradients_flow_around_the_loop():
    """The recurrent weights get the gradient that backpropagation through the written loop gives."""
    net, x = looped(), spikes(12, 3, 6)
    net(x).output.square().sum().backward()
    found = {name: p.grad.clone() for name, p in net.named_parameters()}
    net.zero_grad()
    blocks, hidden = net.blocks, net.neurons()["hidden"]
    s, state, outputs = torch.zeros(1, 3, 12), None, []
    for t in range(12):
        s, state = hidden(blocks["w"](x[t : t + 1]) + blocks["hidden_recurrent"](s), state)
        outputs.append(s)
    blocks["li"](blocks["out"](torch.cat(outputs)))[0].square().sum().backward()
    for name, p in net.named_parameters():
        torch.testing.assert_close(found[name], p.grad, rtol=1e-4, atol=1e-6)
        assert float(p.grad.abs().sum()) > 0, name


def test_several_inputs_and_outputs_go_by_name():
    blocks = {"a": ns.Dense(3, 4), "b": ns.Dense(2, 4), "n": ns.LI(4), "c": ns.Dense(4, 2)}
    edges = [("sound", "a"), ("image", "b"), ("a", "n"), ("b", "n"), ("n", "c"), ("c", "class"), ("n", "trace")]
    net = ns.Network(blocks, dt=1e-3, edges=edges)
    assert net.input_sizes == {"sound": (3,), "image": (2,)} and net.output_sizes == {"class": (2,), "trace": (4,)}
    given = {"image": torch.rand(5, 2, 2), "sound": torch.rand(5, 2, 3)}
    run = net(given)
    both = net.blocks["a"](given["sound"]) + net.blocks["b"](given["image"])
    torch.testing.assert_close(run.outputs["trace"], net.blocks["n"](both)[0])
    torch.testing.assert_close(run.outputs["class"], net.blocks["c"](run.outputs["trace"]))
    with pytest.raises(ns.InputError, match="ask for one by its name"):
        _ = run.output
    with pytest.raises(ns.InputError, match="inputs sound, image"):
        net(given["sound"])
    with pytest.raises(ns.InputError, match="one length"):
        net({**given, "sound": torch.rand(4, 2, 3)})


@pytest.mark.parametrize("make", [looped, two_layer_loop])
def test_the_graph_of_a_network_gives_its_very_spikes(make, tmp_path):
    net = make()
    if make is two_layer_loop:
        net.neurons()["b"].reset = "value"
    x = spikes(40, 16, net.input_size[0])
    with torch.no_grad():
        run = net(x, record=("spikes",))
    assert all(0.02 < float(s.mean()) < 0.98 for n, s in run.spikes.items() if net.neurons()[n].spiking)
    ns.write(tmp_path / "g.nir", ns.to_graph(net))
    result = ns.simulate(ns.read(tmp_path / "g.nir"), x.numpy(), record=list(run.spikes))
    for name, expected in run.spikes.items():
        np.testing.assert_array_equal(result.records[name], expected.numpy())
    for name, expected in run.outputs.items():
        np.testing.assert_array_equal(result.outputs[name], expected.numpy())


def test_the_rate_twin_keeps_the_loops():
    net = looped()
    twin = net.rate_twin()
    assert twin.parameter_count() == net.parameter_count() and twin.edges == net.edges
    assert isinstance(twin.neurons()["hidden"], ns.Rate)
    assert twin(spikes(5, 2, 6)).output.shape == (5, 2, 3)


def test_names_that_torch_forbids_are_kept():
    names = ["layers.0.conv", "type", "a%b", "", "forward"]
    net = ns.Network({name: ns.Dense(2, 2) for name in names}, dt=1e-3)
    assert [name for name, _ in net.named_blocks()] == names
    assert len(net.state_dict()) == len(names)


def chain(**more):
    return {"a": ns.Dense(2, 3), "n": ns.LIF(3), "b": ns.Dense(3, 3), **more}


@pytest.mark.parametrize(
    ("blocks", "edges", "words"),
    [
        (chain(), [("x", "a"), ("a", "n"), ("n", "y")], r"Network.b: expected an edge into the block"),
        (chain(), [("x", "a"), ("a", "m"), ("m", "n"), ("n", "b"), ("b", "y")], "one of a, b, n, got 'm'"),
        (chain(), [("x", "a"), ("a", "b"), ("b", "b"), ("b", "n"), ("n", "y")], r"loop b -> .* a neuron or a Delay"),
        (chain(), [("x", "a"), ("a", "n"), ("n", "b"), ("a", "n"), ("b", "y")], "edge a -> n: expected each edge once"),
        (chain(), [("x", "a"), ("x", "n"), ("a", "n"), ("n", "b"), ("b", "y")], r"n: expected input of size \(2,\)"),
        (chain(), [("a", "n"), ("n", "b"), ("b", "a"), ("b", "y")], "an edge of an input"),
        (chain(input=ns.Dense(3, 3)), None, "other names than input and output"),
    ],
)
def test_wrong_edges_are_told(blocks, edges, words):
    with pytest.raises(ns.NeurospinError, match=words):
        ns.Network(blocks, dt=1e-3, edges=edges)
