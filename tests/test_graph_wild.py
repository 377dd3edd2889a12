"""Graphs as other tools publish them, through everything: read, check, simulate, train, export, deploy.

Structure and names are those of the files of the NIR paper (Pedersen et al., Nature Communications 15:8122, 2024,
doi:10.1038/s41467-024-52259-9) and of the exporters; the numbers are random, and the truth is `tests.oracle`.
"""

import itertools
import warnings

import nir
import numpy as np
import pytest
import torch

import neurospin as ns
from neurospin.target import get_target
from tests.frontends_tools import quiet
from tests.oracle import Oracle
from tests.test_graph_build import same

DT = 1e-4


def f32(rng, *shape, scale=1.0, shift=0.0):
    return (shift + scale * rng.normal(size=shape)).astype(np.float32)


def cuba(rng, size):
    """As snnTorch says it: r = τ/dt, w_in = τ_syn/dt, a reset to 0."""
    mem, syn = (DT / (1 - rng.uniform(0.4, 0.95, size)) for _ in range(2))
    one = np.ones(size)
    return nir.CubaLIF(
        tau_syn=syn, tau_mem=mem, r=mem / DT, v_leak=0 * one, v_threshold=one, w_in=syn / DT, v_reset=0 * one
    )


def braille(nested=True, hidden=38):
    """Braille letters: 12 sensors, one recurrent layer, 7 letters."""
    rng = np.random.default_rng(4)
    cell = cuba(rng, hidden)
    w_rec = nir.Affine(f32(rng, hidden, hidden, scale=0.08), f32(rng, hidden, scale=0.02))
    outer = {
        "fc1": nir.Affine(f32(rng, hidden, 12, scale=0.5), f32(rng, hidden, scale=0.02)),
        "fc2": nir.Affine(f32(rng, 7, hidden, scale=0.25), f32(rng, 7, scale=0.02)), "lif2": cuba(rng, 7),
        "input": nir.Input({"input": np.array([12])}), "output": nir.Output({"output": np.array([7])}),
    }  # fmt: skip
    if not nested:  # flattened, as later versions of the paper's code wrote it
        edges = [
            ("fc1", "lif1.lif"), ("fc2", "lif2"), ("input", "fc1"), ("lif1.lif", "fc2"), ("lif1.lif", "lif1.w_rec"),
            ("lif1.w_rec", "lif1.lif"), ("lif2", "output"),
        ]  # fmt: skip
        return nir.NIRGraph({**outer, "lif1.lif": cell, "lif1.w_rec": w_rec}, edges)
    inner = {
        "input": nir.Input({"input": np.array([hidden])}), "lif": cell, "w_rec": w_rec,
        "output": nir.Output({"output": np.array([hidden])}),
    }  # fmt: skip
    loop = [("input", "lif"), ("lif", "w_rec"), ("w_rec", "lif"), ("lif", "output")]
    edges = [("fc1", "lif1"), ("fc2", "lif2"), ("input", "fc1"), ("lif1", "fc2"), ("lif2", "output")]
    return nir.NIRGraph({**outer, "lif1": nir.NIRGraph(inner, loop)}, edges)


def images():
    """N-MNIST as sinabs writes it: numbered nodes, integrate-and-fire, sums over windows."""
    rng = np.random.default_rng(5)

    def conv(out, into, size, shape, stride, padding):
        weight = f32(rng, out, into, size, size, scale=0.25, shift=0.03)
        return nir.Conv2d(shape, weight, (stride, stride), (padding, padding), (1, 1), 1, np.zeros(out, np.float32))

    def fire(*shape):
        return nir.IF(r=np.ones(shape), v_threshold=np.ones(shape), v_reset=np.zeros(shape))

    def pool():
        return nir.SumPool2d(kernel_size=np.array([2, 2]), stride=np.array([2, 2]), padding=np.array([0, 0]))

    def affine(out, into):
        return nir.Affine(f32(rng, out, into, scale=0.15, shift=0.01), np.zeros(out, np.float32))

    layers = [
        conv(4, 2, 5, (34, 34), 2, 1), fire(4, 16, 16), conv(4, 4, 3, (16, 16), 1, 1), fire(4, 16, 16), pool(),
        conv(4, 4, 3, (8, 8), 1, 1), fire(4, 8, 8), pool(), nir.Flatten({"input": np.array([4, 4, 4])}, 0, -1),
        affine(32, 64), fire(32), affine(10, 32), fire(10),
    ]  # fmt: skip
    nodes = {"input": nir.Input({"input": np.array([2, 34, 34])}), **{str(i): n for i, n in enumerate(layers)}}
    nodes["output"] = nir.Output({"output": np.array([10])})
    names = ["input", *map(str, range(len(layers))), "output"]
    return nir.NIRGraph(nodes, list(itertools.pairwise(names)), type_check=False)


def jelly():
    """A convolution and constants without axes, as spikingjelly writes them."""
    rng = np.random.default_rng(6)
    one = np.float32(1)

    def lif():
        return nir.LIF(
            tau=np.array(2 * DT), r=np.array(one), v_leak=np.array(0 * one), v_threshold=np.array(one),
            v_reset=np.array(0 * one),
        )  # fmt: skip

    nodes = {
        "input": nir.Input({"input": np.array([1, 8, 8])}),
        "0": nir.Conv2d((8, 8), f32(rng, 4, 1, 3, 3, shift=0.7), 1, 1, 1, 1, np.zeros(4, np.float32)), "1": lif(),
        "2": nir.AvgPool2d(kernel_size=np.array([2, 2]), stride=np.array([2, 2]), padding=np.array([0, 0])),
        "3": nir.Flatten({"input": np.array([4, 4, 4])}, 0, -1), "4": nir.Linear(f32(rng, 10, 64, scale=0.6, shift=0.1)), "5": lif(),
        "output": nir.Output({"output": np.array([10])}),
    }  # fmt: skip
    names = list(nodes)
    return nir.NIRGraph(nodes, list(itertools.pairwise(names)), type_check=False)


def lava():
    """Time in steps, and a neuron per block, as lava-dl counts them."""
    rng = np.random.default_rng(7)

    def cubalif(n):
        one = np.ones(n, np.float32)
        return nir.CubaLIF(
            tau_syn=4 * one, tau_mem=8 * one, r=8 * one, v_leak=0 * one, v_threshold=1.25 * one, w_in=4 * one,
            v_reset=0 * one,
        )  # fmt: skip

    nodes = {
        "input": nir.Input({"input": np.array([20])}), "blocks.0.synapse": nir.Linear(f32(rng, 16, 20, scale=0.3)),
        "blocks.0.neuron": cubalif(16), "blocks.1.synapse": nir.Linear(f32(rng, 4, 16, scale=0.3, shift=0.1)),
        "blocks.1.neuron": cubalif(4), "output": nir.Output({"output": np.array([4])}),
    }  # fmt: skip
    names = list(nodes)
    return nir.NIRGraph(nodes, list(itertools.pairwise(names)))


def in_order(graph):
    """Nodes and edges by name: their order says nothing."""
    nodes = {n: in_order(m) if isinstance(m, nir.NIRGraph) else m for n, m in sorted(graph.nodes.items())}
    return nir.NIRGraph(nodes, sorted(graph.edges), metadata=graph.metadata, type_check=False)


def through_everything(path, dt, runs_on, spikes=None, steps=40):
    """Read it, run it, train it, write it, deploy it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ns.GraphWarning)
        graph = ns.read(path)
    shape = tuple(int(n) for n in next(n for n in graph.nodes.values() if isinstance(n, nir.Input)).input_type["input"])
    rng = np.random.default_rng(0)
    x = (rng.random((steps, 2, *shape)) < 0.3).astype(np.float32)
    double = ns.simulate(graph, x, dt=dt, dtype="float64").output
    truth = Oracle(graph, dt).run({name: x for name, n in graph.nodes.items() if isinstance(n, nir.Input)}, steps, 2)
    (output,) = truth.keys() & {name for name, n in graph.nodes.items() if isinstance(n, nir.Output)}
    np.testing.assert_array_equal(double, truth[output])
    assert 0.005 < truth[output].mean() < 0.9, truth[output].mean()
    single = ns.simulate(graph, x, dt=dt).output
    net = ns.from_graph(graph, dt=dt)
    np.testing.assert_array_equal(net(torch.from_numpy(x)).output.detach().numpy(), single)
    written = ns.to_graph(net)
    same(in_order(graph), in_order(written))
    np.testing.assert_array_equal(ns.simulate(written, x).output, single)
    before = [p.detach().clone() for p in net.parameters()]
    optimiser = torch.optim.SGD(net.parameters(), lr=0.1)
    (net(torch.from_numpy(x)).output.mean() - 0.5).pow(2).backward()
    optimiser.step()
    assert any(bool((p != b).any()) for p, b in zip(net.parameters(), before, strict=True))
    trained = ns.to_graph(net)
    ns.write(path, trained)
    after = ns.simulate(ns.read(path), x).output
    np.testing.assert_array_equal(after, net(torch.from_numpy(x)).output.detach().numpy())
    for target in ("reference", "loihi", "crossbar"):
        problems = ns.check(trained, target)
        assert (problems == []) == (target in runs_on), (target, problems)
        if problems:
            assert all(problem.fix and problem.limit for problem in problems)
            continue
        # the noise of a crossbar has tests of its own
        report = ns.deploy(trained, x, target if target != "crossbar" else get_target(target).only([]))
        assert report.spikes.shape == after.shape
        if target == "reference":
            np.testing.assert_array_equal(report.spikes, after)
        else:
            late = report.latency_steps
            assert np.mean(report.spikes[late:] != after[: steps - late]) < (0.2 if target == "loihi" else 0.02)
    return graph


EVERY = ("reference", "loihi", "crossbar")
CNN = ("reference", "loihi", "crossbar")
MADE = {
    "braille nested": (braille, DT, EVERY),
    "braille flat": (lambda: braille(nested=False, hidden=40), DT, EVERY),
    "n-mnist sinabs": (images, 1.0, CNN),
    "spikingjelly": (jelly, DT, CNN),
}


@pytest.mark.parametrize("name", MADE)
def test_a_published_structure_goes_through_everything(tmp_path, name):
    make, dt, runs_on = MADE[name]
    graph = make()
    nir.write(tmp_path / "x.nir", graph, compression=None)
    through_everything(tmp_path / "x.nir", dt, runs_on, steps=10 if "mnist" in name else 40)


def test_time_in_steps_is_a_question_and_then_an_answer(tmp_path):
    nir.write(tmp_path / "x.nir", lava())
    graph = ns.read(tmp_path / "x.nir")
    x = np.ones((5, 1, 20), np.float32)
    with pytest.raises(ns.GraphError, match=r"milliseconds or steps\. Fix: say what they are.*in_seconds"):
        ns.simulate(graph, x, dt=1e-3)
    ns.write(tmp_path / "x.nir", ns.in_seconds(graph, "steps", 1e-3))
    through_everything(tmp_path / "x.nir", 1e-3, EVERY)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["RLeaky", "RSynaptic", "Leaky", "Synaptic"])
def test_what_snntorch_exports_goes_through_everything(tmp_path, kind):
    snn, export = quiet("snntorch"), quiet("snntorch.export_nir")
    torch.manual_seed(0)
    size, beta = 14, torch.linspace(0.5, 0.95, 14)
    options = {
        "beta": beta,
        "threshold": torch.linspace(0.8, 1.2, size),
        "init_hidden": True,
        "reset_mechanism": "zero",
    }
    if "Synaptic" in kind:
        options["alpha"] = torch.linspace(0.3, 0.8, size)
    if kind.startswith("R"):
        options |= {"linear_features": size}
    model = torch.nn.Sequential(
        torch.nn.Linear(12, size), getattr(snn, kind)(**options), torch.nn.Linear(size, 5),
        snn.Leaky(beta=torch.full((5,), 0.8), threshold=torch.full((5,), 0.5), init_hidden=True, output=True),
    )  # fmt: skip
    graph = export.export_to_nir(model, torch.randn(1, 12), ignore_dims=[0])
    nir.write(tmp_path / "x.nir", graph)
    through_everything(tmp_path / "x.nir", DT, EVERY)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["LIFCell", "LIFBoxCell", "IAFCell"])
def test_what_norse_exports_goes_through_everything(tmp_path, kind):
    norse = quiet("norse.torch")
    torch.manual_seed(1)
    model = norse.SequentialState(
        torch.nn.Linear(12, 14), getattr(norse, kind)(), torch.nn.Linear(14, 5), getattr(norse, kind)()
    )
    for module in model.modules():
        if isinstance(module, torch.nn.Linear):
            module.weight.data = module.weight.data.abs() * (0.3 if kind == "IAFCell" else 6)
    graph = norse.to_nir(model, torch.randn(1, 12), dt=1.0)  # it writes dt/(1/τ) for τ
    nir.write(tmp_path / "x.nir", graph, compression=None)
    through_everything(tmp_path / "x.nir", 1.0 if kind == "IAFCell" else 1e-3, EVERY)
