"""Weights of few levels: against plain numpy, through files, in training, and as integers of the chip."""

import nir
import numpy as np
import pytest
import torch

import neurospin as ns
from hardware_targets.loihi.compiler import compile


@pytest.mark.parametrize("levels", [2, 3, 4, 15, 16, 255, (-1.0, -0.25, 0.0, 0.5, 2.0)])
def test_the_nearest_level_acts_and_the_gradient_passes(levels):
    weight = ns.Levels(levels, gain=1.5)
    fan_in = 9
    c = 1.5 / 3
    values = c * (np.linspace(-1, 1, levels) if isinstance(levels, int) else np.array(levels))
    rng = np.random.default_rng(0)
    stored = rng.uniform(-1.2, 1.2, (50, fan_in)).astype(np.float32)
    stored[0, :2] = values[0], values[-1]
    nearest = values[np.abs(stored[..., None].astype(float) - values).argmin(-1)]
    h = torch.tensor(stored, requires_grad=True)
    acting = weight.value(h)
    np.testing.assert_allclose(acting.detach().numpy(), nearest, rtol=1e-6, atol=1e-8)
    assert len(np.unique(acting.detach().numpy())) == min(len(values), len(np.unique(nearest)))
    slope = torch.randn(acting.shape, generator=torch.Generator().manual_seed(1))
    (acting * slope).sum().backward()
    np.testing.assert_array_equal(h.grad.numpy(), slope.numpy())
    fresh = weight.initial((200, fan_in), torch.Generator().manual_seed(0))
    assert 0.95 * c < float(fresh.abs().max()) <= c


def test_two_levels_are_binary_weights():
    h = torch.randn(7, 16, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(ns.Levels(2, gain=8).value(h), ns.Binary(gain=8).value(h), rtol=0, atol=0)


def network(levels, seed=0):
    rng = torch.Generator().manual_seed(seed)
    kind = ns.Levels(levels, gain=6.0)
    return ns.Network(
        {
            "conv": ns.Conv2d((1, 6, 6), 3, 3, weight=kind, generator=rng),
            "flat": ns.Flatten((3, 4, 4)),
            "a": ns.LIF(48, tau_mem=10e-3, r=6.0),
            "rnn": ns.Recurrent(ns.CubaLIF(48, r=20.0), ns.Dense(48, 48, weight=kind, generator=rng)),
            "out": ns.Dense(48, 5, bias=True, weight=kind, generator=rng),
            "b": ns.LIF(5, tau_mem=5e-3),
        },
        dt=1e-3,
    )


@pytest.mark.parametrize("levels", [15, (-1.0, 0.0, 0.5, 1.5)])
def test_they_go_through_a_file_with_their_hidden_values_and_train_on(tmp_path, levels):
    net = network(levels)
    graph = ns.to_graph(net)
    told = graph.metadata["neurospin"]["weights"]["out"]
    assert (told["kind"], told["levels"], told["gain"]) == ("levels", levels, 6.0)
    assert told["scale"] == pytest.approx(6 / np.sqrt(48)) and told["hidden"].shape == (5, 48)
    ns.write(tmp_path / "n.nir", graph)
    back = ns.from_graph(ns.read(tmp_path / "n.nir"))
    assert all(
        block.kind == ns.Levels(levels, gain=6.0) for n, block in back.named_blocks() if hasattr(block, "stored")
    )
    x = (torch.rand(20, 4, 1, 6, 6, generator=torch.Generator().manual_seed(3)) < 0.5).float()
    torch.testing.assert_close(back(x).output, net(x).output, rtol=0, atol=0)
    again = ns.to_graph(back).metadata["neurospin"]["weights"]
    for name, about in graph.metadata["neurospin"]["weights"].items():
        np.testing.assert_array_equal(again[name].pop("hidden"), about.pop("hidden"))
        assert again[name] == about
    other = network(levels, seed=9)
    for model in (net, back):  # one step of training is the same before and after the file, and moves weights
        optimiser = torch.optim.SGD(model.parameters(), lr=0.05)
        (model(x).output.mean(0) - 0.3).pow(2).sum().backward()
        optimiser.step()
    trained = dict(back.named_parameters())
    for name, one in net.named_parameters():
        torch.testing.assert_close(one, trained.pop(name), rtol=0, atol=0)
        assert float(one.grad.abs().max()) > 0
    other.load_state_dict(net.state_dict())
    torch.testing.assert_close(other(x).output, net(x).output, rtol=0, atol=0)
    assert set(net.hidden_state()) == {"conv", "rnn_recurrent", "out"}


@pytest.mark.parametrize("levels", [3, 15, 16, 31, 127, 128, 255])
def test_the_chip_holds_every_level_as_a_multiple_of_one_integer(levels):
    rng = np.random.default_rng(levels)
    net = ns.Network(
        [ns.Dense(40, 6, weight=ns.Levels(levels, gain=5.0)), ns.LIF(6, tau_mem=4 * 1e-3, v_threshold=0.7)], dt=1e-3
    )
    net.blocks["dense1"].stored.data = torch.from_numpy(rng.uniform(-1, 1, (6, 40)).astype(np.float32))
    graph = ns.to_graph(net)
    c = 5 / np.sqrt(40)
    index = np.rint((graph.nodes["dense1"].weight / c + 1) / 2 * (levels - 1)) * 2 - (levels - 1)
    (projection,) = compile(graph, 1e-3).projections
    integers = projection.weights.toarray().astype(float)
    unit = np.abs(integers).max(1, keepdims=True) / np.abs(index).max(1, keepdims=True)
    np.testing.assert_array_equal(integers, index * unit)
    x = (rng.random((60, 8, 40)) < 0.2).astype(np.float32)
    certificate = ns.certify(net, x, "loihi")
    (cost,) = [cause for cause in certificate.causes if cause.name == "weights"]
    assert cost.alone.differing == 0


@pytest.mark.parametrize("options", [{"levels": 1}, {"levels": (1.0,)}, {"levels": (1.0, 0.5)}, {"levels": (0, np.nan)},
                                     {"gain": 0.0}])  # fmt: skip
def test_what_no_levels_are_is_refused(options):
    with pytest.raises(ns.InputError, match=r"^Levels\.(levels|gain): expected "):
        ns.Levels(**options)


def test_a_weight_that_is_no_level_is_taken_as_it_is():
    graph = ns.to_graph(ns.Network({"w": ns.Dense(3, 2, weight=ns.Levels(5)), "n": ns.LIF(2)}, dt=1e-3))
    graph.nodes["w"] = nir.Linear(weight=graph.nodes["w"].weight + np.float32(0.01))
    with pytest.warns(ns.GraphWarning, match="not what the recorded 'levels' values give"):
        net = ns.from_graph(graph)
    assert net.blocks["w"].kind == ns.Float()
