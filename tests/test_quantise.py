"""`quantise`: the forward pass is the target's, spike by spike; the backward pass is the network's."""

from __future__ import annotations

from pathlib import Path

import nir
import numpy as np
import pytest
import torch
from scipy.sparse import csr_array
from torch import Tensor

import neurospin as ns
from hardware_targets.loihi.compiler import compile
from hardware_targets.loihi.program import Program
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


def grids(graph: nir.NIRGraph) -> dict:
    return graph.metadata["neurospin"]["quantisation"]["neurons"]


@pytest.mark.parametrize("kind", ["lif", "cuba"])
def test_a_graph_carries_the_rounding_that_it_was_trained_with(kind: str, tmp_path: Path) -> None:
    net, x = network(kind, 3), spikes(3)
    model = ns.quantise(net, "loihi")
    ns.write(tmp_path / "g.nir", model.to_graph())
    graph = ns.read(tmp_path / "g.nir")
    assert graph.metadata["neurospin"]["quantisation"]["target"] == "loihi" and set(grids(graph)) == set(net.neurons())
    chosen = compile(ns.to_graph(net), 1e-3)
    assert same_program(compile(graph, 1e-3), chosen)
    assert same_program(compile(model.to_graph(), 1e-3), chosen)
    plain = ns.to_graph(net)
    for target in ("reference", "crossbar"):  # to others it says nothing
        ours, other = (ns.deploy(g, x.numpy(), target).spikes for g in (graph, plain))
        np.testing.assert_array_equal(ours, other)
    back = ns.to_graph(ns.from_graph(graph))
    assert all(np.array_equal(grids(back)[name]["scale"], grids(graph)[name]["scale"]) for name in grids(graph))
    other = ns.from_graph(graph)
    with torch.no_grad():
        next(other.parameters()).add_(0.1)
    assert "quantisation" not in ns.to_graph(other).metadata["neurospin"]  # it was that of other weights


def same_program(one: Program, two: Program) -> bool:
    pairs = [*zip(one.populations, two.populations, strict=True), *zip(one.projections, two.projections, strict=True)]
    return all(np.array_equal(plain(a), plain(b)) for p, q in pairs
               for a, b in zip(vars(p).values(), vars(q).values(), strict=True))  # fmt: skip


def plain(value: object) -> np.ndarray:
    return value.toarray() if isinstance(value, csr_array) else np.asarray(value)


def test_the_recorded_scale_is_the_one_that_rounds() -> None:
    net = network("lif", 4)
    graph = ns.quantise(net, "loihi").to_graph()
    scale = grids(graph)["lif2"]["scale"] = 0.83 * grids(graph)["lif2"]["scale"]
    (projection,) = [p for p in compile(graph, 1e-3).projections if p.target == "lif2"]
    (exponent,) = grids(graph)["lif2"]["exponents"]
    weight = graph.nodes["dense2"].weight.astype(float) * 1e-3 / graph.nodes["lif2"].tau[:, None].astype(float)
    truth = 2 * np.rint(weight * scale[:, None] / 2.0 ** (exponent + 7))  # mixed signs: even numbers, times 64
    assert projection.exponent == exponent and np.abs(truth).max() > 50
    np.testing.assert_array_equal(projection.weights.toarray(), truth)
    again = ns.quantise(ns.from_graph(graph), "loihi")  # and it stays so
    np.testing.assert_array_equal(grids(again.to_graph())["lif2"]["scale"], scale)


@pytest.mark.parametrize(
    "wrong", [{"scale": 1e9}, {"scale": -1.0}, {"scale": np.nan}, {"exponents": [0, 0]}, {"exponents": [99]}, {}]
)
def test_a_recorded_rounding_that_does_not_fit_is_chosen_anew_and_told(wrong: dict) -> None:
    net, x = network("lif", 5), spikes(5).numpy()
    graph = ns.quantise(net, "loihi").to_graph()
    entry = grids(graph)["lif2"]
    full = {key: np.full_like(entry["scale"], value) if key == "scale" else value for key, value in wrong.items()}
    grids(graph)["lif2"] = {**entry, **full} if wrong else {}
    report, plain = ns.deploy(graph, x, "loihi"), ns.deploy(ns.to_graph(net), x, "loihi")
    np.testing.assert_array_equal(report.spikes, plain.spikes)
    told = [note["node"] for note in report.info["approximations"] if "chosen anew" in note["what"]]
    assert told == ["lif2"] and ns.check(graph, "loihi") == []


def test_a_target_that_does_not_say_how_it_rounds_leaves_its_name() -> None:
    assert ns.quantise(network("lif", 6), "reference").to_graph().metadata["neurospin"]["quantisation"] == {
        "target": "reference"
    }
