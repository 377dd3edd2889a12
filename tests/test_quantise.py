"""`quantise`: the forward pass is the target's, spike by spike; the backward pass is the network's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

import neurospin as ns
from neurospin.errors import InputError, TargetError
from neurospin.target import Explainable, get_target
from neurospin.weights import Levels


def network(kind: str, seed: int, weight: ns.Weight | None = None, tau: float = 9.3e-3, inputs: int = 6) -> ns.Network:
    torch.manual_seed(seed)
    neuron = ns.CubaLIF(17, tau, 3.7e-3) if kind == "cuba" else ns.LIF(17, tau, v_reset=0.0)
    last = ns.CubaLI(4) if kind == "cuba" else ns.LIF(4, tau)
    net = ns.Network(
        [
            ns.Dense(inputs, 17, weight=weight, bias=weight is None),
            ns.Recurrent(neuron, ns.Dense(17, 17, weight=weight)),
            ns.Dense(17, 4, weight=weight),
            last,
        ],
        dt=1e-3,
    )
    with torch.no_grad():
        for name, block in net.named_blocks():
            if isinstance(block, ns.Dense) and weight is None:
                block.stored.mul_({"dense1": 6, "dense2": 16}.get(name, 2))
    return net


def spikes(seed: int, steps: int = 40, batch: int = 5, inputs: int = 6) -> Tensor:
    return (torch.rand((steps, batch, inputs), generator=torch.Generator().manual_seed(seed)) < 0.4).float()


@pytest.mark.parametrize("kind", ["lif", "cuba"])
@pytest.mark.parametrize("seed", range(3))
def test_every_spike_is_the_emulators(kind: str, seed: int) -> None:
    net, x = network(kind, seed), spikes(seed)
    run = ns.quantise(net, "loihi")(x, record=["spikes"])
    names = list(net.neurons())
    tail = len(names)
    silent = torch.zeros((tail, *x.shape[1:]))
    report = ns.deploy(ns.to_graph(net), torch.cat([x, silent]).numpy(), "loihi", record=names)
    for name in names:
        late = report.info["latency"][name]
        chip = report.records[name][late : late + len(x)]
        assert np.array_equal(run.spikes[name].detach().numpy(), chip)
        assert chip.any()
    output = report.spikes[report.latency_steps :][: len(x)]
    assert np.array_equal(run.output.detach().numpy(), output)


@pytest.mark.parametrize("kind", ["lif", "cuba"])
def test_where_nothing_is_rounded_gradients_are_the_networks_own(kind: str) -> None:
    """On the reference target the forward pass is the network's, so that the backward pass must be, too."""
    net, x = network(kind, 1), spikes(1)
    found = []
    for model in (net, ns.quantise(net, "reference")):
        net.zero_grad()
        output = model(x).output
        (output * torch.linspace(-1, 1, output.numel()).reshape(output.shape)).sum().backward()
        found.append([p.grad.clone() for p in net.parameters() if p.grad is not None])
    assert len(found[0]) == 4 and all(float(g.abs().max()) > 0 for g in found[0])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(theirs, ours, rtol=1e-3, atol=1e-4 * float(ours.abs().max()))


def test_training_what_runs_lowers_what_runs() -> None:
    torch.manual_seed(0)
    net, x = network("cuba", 2), spikes(5, batch=24)
    labels = torch.arange(24) % 4
    model = ns.quantise(net, "loihi")
    optimiser = torch.optim.Adam(model.parameters(), lr=4e-2)
    losses = []
    for _ in range(30):
        loss = torch.nn.functional.cross_entropy(20 * model(x).output.mean(0), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]


@pytest.mark.parametrize("weight", [ns.Binary(gain=7.3), ns.Binary(gain=12.0), Levels(3, 11.0)])
@pytest.mark.parametrize("seed", range(3))
def test_binary_and_few_level_networks_lose_nothing(weight: ns.Weight, seed: int) -> None:
    """A decay that the chip holds, and weights on a grid: every rounding is without loss."""
    net = network("lif", seed, weight, tau=8e-3)
    x = spikes(seed)
    ours, chip = net(x, record=["spikes"]), ns.quantise(net, "loihi")(x, record=["spikes"])
    for name in net.neurons():
        assert torch.equal(ours.spikes[name], chip.spikes[name])
        assert 0.01 < ours.spikes[name].mean().item() < 0.9


@pytest.mark.parametrize("weight", [ns.Binary(gain=7.3), Levels(15, 16.0), Levels((-1.0, -0.25, 0.5, 1.0), 14.0)])
def test_few_levels_round_to_themselves(weight: ns.Weight) -> None:
    """Weights of a population that share one grid are met exactly, and no rounding but the state's moves a spike."""
    loihi = get_target("loihi")
    assert isinstance(loihi, Explainable)
    net, x = network("lif", 4, weight, tau=8e-3, inputs=17), spikes(4, inputs=17)
    report = ns.deploy(ns.to_graph(net), x.numpy(), "loihi")
    assert not [note for note in report.info["approximations"] if "weights" in note["what"]]
    runs = [
        ns.quantise(net, loihi.only(causes))(x, record=["spikes"]).spikes
        for causes in ((), ("weights",), ("weights", "decays", "thresholds"))
    ]
    for name in net.neurons():
        assert torch.equal(runs[0][name], runs[1][name])
        assert torch.equal(runs[0][name], runs[2][name])
        assert 0.01 < runs[0][name].mean().item() < 0.9


def test_what_does_not_fit_is_refused_at_once() -> None:
    subtract = ns.Network([ns.Dense(3, 2), ns.LIF(2, reset="subtract")], dt=1e-3)
    with pytest.raises(TargetError, match="reset"):
        ns.quantise(subtract, "loihi")
    two = ns.Network(
        {"a": ns.Dense(3, 2), "lif": ns.LIF(2)}, 1e-3,
        [("input", "a"), ("a", "lif"), ("lif", "out1"), ("lif", "out2")],
    )  # fmt: skip
    with pytest.raises(InputError, match="one output"):
        ns.quantise(two, "loihi")
