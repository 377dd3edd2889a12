"""Every primitive of NIR as a block and back, number by number; and against plain numpy."""

import nir
import numpy as np
import pytest
import torch

import neurospin as ns
from neurospin.graph.order import flatten
from tests.graphs import neuron
from tests.oracle import Oracle

RNG = np.random.default_rng(3)


def f32(*shape, scale=1.0):
    return (scale * RNG.normal(size=shape)).astype(np.float32)


def conv(weight, shape, stride=1, padding=0, dilation=1, groups=1):
    make = nir.Conv1d if weight.ndim == 3 else nir.Conv2d
    return make(
        input_shape=shape, weight=weight, stride=stride, padding=padding, dilation=dilation, groups=groups,
        bias=f32(len(weight)),
    )  # fmt: skip


def shaped(kind, *shape):
    """Random neurons of a shape of several axes."""
    flat = neuron(kind, int(np.prod(shape)), RNG)
    names = [n for n in vars(flat) if n not in ("input_type", "output_type", "metadata")]
    return type(flat)(**{n: getattr(flat, n).reshape(shape) for n in names})


def pool(kind, size, stride, padding):
    return kind(kernel_size=np.array(size), stride=np.array(stride), padding=np.array(padding))


# primitive: input shape, node, output shape
PRIMITIVES = {
    "affine": ((5,), nir.Affine(weight=f32(4, 5), bias=f32(4)), (4,)),
    "linear": ((5,), nir.Linear(weight=f32(4, 5)), (4,)),
    "banks": ((3, 5), nir.Affine(weight=f32(3, 4, 5), bias=f32(3, 4)), (3, 4)),
    "scale": ((2, 3), nir.Scale(scale=f32(2, 3)), (2, 3)),
    "conv1d": ((2, 9), conv(f32(4, 1, 3), 9, 2, 1, 2, 2), (4, 4)),
    "conv1d same": ((2, 9), conv(f32(3, 2, 4), 9, 1, "same"), (3, 9)),
    "conv2d": ((2, 10, 20), conv(f32(4, 2, 3, 5), (10, 20)), (4, 8, 16)),
    "conv2d groups": ((4, 8, 9), conv(f32(6, 2, 3, 2), (8, 9), (2, 1), (1, 2), (1, 3), 2), (6, 4, 10)),
    "conv2d same": ((2, 6, 7), conv(f32(3, 2, 2, 5), (6, 7), 1, "same", 2), (3, 6, 7)),
    "conv2d valid": ((2, 6, 7), conv(f32(3, 2, 2, 5), None, (2, 2), "valid"), (3, 3, 2)),
    "sum": ((2, 7, 6), pool(nir.SumPool2d, (3, 2), (2, 2), (1, 1)), (2, 4, 4)),
    "avg": ((2, 7, 6), pool(nir.AvgPool2d, (3, 2), (2, 1), (1, 0)), (2, 4, 5)),
    "flatten": ((2, 3, 4), nir.Flatten(input_type={"input": np.array([2, 3, 4])}, start_dim=0), (24,)),
    "flatten inner": ((2, 3, 4), nir.Flatten(input_type={"input": np.array([2, 3, 4])}, start_dim=1), (2, 12)),
    "delay": ((3,), nir.Delay(delay=np.array([0, 2e-3, 5e-3])), (3,)),
    "threshold": ((3,), nir.Threshold(threshold=np.array([0.2, 0.5, 0.9])), (3,)),
    "i": ((4,), nir.I(r=f32(4)), (4,)),
    "if": ((2, 3), shaped("if", 2, 3), (2, 3)),
    "li": ((4,), neuron("li", 4, RNG), (4,)),
    "lif": ((2, 3, 2), shaped("lif", 2, 3, 2), (2, 3, 2)),
    "cubali": ((4,), neuron("cubali", 4, RNG), (4,)),
    "cubalif": ((2, 2), shaped("cubalif", 2, 2), (2, 2)),
}


def alone(shape, node, out, **metadata):
    nodes = {
        "in put": nir.Input({"input": np.array(shape)}),
        "the.node": node,
        "output": nir.Output({"output": np.array(out)}),
    }
    edges = [("in put", "the.node"), ("the.node", "output")]
    return nir.NIRGraph(nodes, edges, metadata={"neurospin": {"dt": 1e-3}, **metadata}, type_check=False)


def same(a, b, where="graph"):
    """Structure, kinds, parameters bit for bit in their dtype, metadata of other tools, and edges."""
    assert type(a) is type(b), where
    for name, value in vars(a).items():
        other = getattr(b, name)
        if name == "nodes":
            assert list(value) == list(other), where
            for key in value:
                same(value[key], other[key], f"{where}.{key}")
        elif isinstance(value, np.ndarray):
            assert value.dtype == other.dtype and value.shape == other.shape, f"{where}.{name}"
            assert value.tobytes() == other.tobytes(), f"{where}.{name}"
        elif name not in ("input_type", "output_type", "metadata"):
            assert value == other, f"{where}.{name}"


@pytest.mark.parametrize("name", PRIMITIVES)
def test_a_primitive_is_simulated_imported_trained_and_exported(name):
    shape, node, out = PRIMITIVES[name]
    graph = alone(shape, node, out)
    x = (RNG.random((12, 5, *shape)) * (9 if "lif" in name else 2)).astype(np.float32)
    truth = Oracle(graph, 1e-3).run({"in put": x}, 12, 5)["output"]
    double = ns.simulate(graph, x, dtype="float64").output
    np.testing.assert_allclose(double, truth, rtol=1e-12, atol=1e-12)
    assert truth.shape[2:] == out and np.abs(truth).max() > 0
    net = ns.from_graph(graph)
    run = net(torch.from_numpy(x))
    np.testing.assert_array_equal(run.output.detach().numpy(), ns.simulate(graph, x).output)
    back = ns.to_graph(net)
    same(graph, back)
    made = back.nodes["the.node"]
    assert tuple(made.input_type["input"]) == shape and tuple(made.output_type["output"]) == out
    for weight in net.parameters():
        assert weight.requires_grad
        (gradient,) = torch.autograd.grad(run.output.sum(), weight, retain_graph=True)
        assert float(gradient.abs().sum()) > 0


def test_what_was_trained_is_exported_and_the_rest_is_as_it_was():
    graph = alone((5,), nir.Affine(weight=f32(4, 5).astype(np.float64), bias=np.arange(4, dtype=np.int8)), (4,))
    net = ns.from_graph(graph)
    with torch.no_grad():
        net.blocks["the%2Enode"].stored.add_(1)
    node = ns.to_graph(net).nodes["the.node"]
    np.testing.assert_array_equal(node.weight, graph.nodes["the.node"].weight.astype(np.float32) + 1)
    assert node.bias.dtype == np.int8 and node.weight.dtype == np.float32


def test_learned_constants_are_chosen_by_name_and_come_back_unchanged():
    shape, node, out = PRIMITIVES["cubalif"]
    graph = alone(shape, node, out)
    net = ns.from_graph(graph, learn=("tau_mem", "v_threshold"))
    assert [n for n, _ in net.named_parameters()] == [
        "blocks.the%2Enode.free_tau_mem",
        "blocks.the%2Enode.free_v_threshold",
    ]
    same(graph, ns.to_graph(net))
    with torch.no_grad():
        net.neurons()["the.node"].free_tau_mem.add_(0.1)
    changed = ns.to_graph(net).nodes["the.node"]
    assert (changed.tau_mem > node.tau_mem).all() and changed.v_threshold is node.v_threshold
    with pytest.raises(ns.UnknownName, match="did you mean 'tau_mem'"):
        ns.from_graph(graph, learn=("tau_men",))


def recurrent(bias=True, nested=True):
    """As other tools write it: a graph `lif` that holds the neuron and its recurrent weights."""
    inner = {
        "input": nir.Input({"input": np.array([6])}),
        "lif": neuron("cubalif", 6, RNG),
        "w_rec": nir.Affine(weight=f32(6, 6, scale=3), bias=f32(6)) if bias else nir.Linear(weight=f32(6, 6, scale=3)),
        "output": nir.Output({"output": np.array([6])}),
    }
    loop = [("input", "lif"), ("lif", "w_rec"), ("w_rec", "lif"), ("lif", "output")]
    nodes = {
        "input": nir.Input({"input": np.array([5])}),
        "fc1": nir.Affine(weight=f32(6, 5, scale=9), bias=f32(6)),
        "lif1": nir.NIRGraph(inner, loop, metadata={"tool": "other"}),
        "fc2": nir.Linear(weight=f32(3, 6)),
        "lif2": neuron("lif", 3, RNG),
        "output": nir.Output({"output": np.array([3])}),
    }
    edges = [("input", "fc1"), ("fc1", "lif1"), ("lif1", "fc2"), ("fc2", "lif2"), ("lif2", "output")]
    return nir.NIRGraph(nodes, edges, metadata={"tool": {"name": "other"}})


def test_a_nested_recurrent_graph_stays_nested():
    graph = recurrent()
    net = ns.from_graph(graph, dt=1e-3)
    assert list(net.neurons()) == ["lif1.lif", "lif2"]
    back = ns.to_graph(net)
    same(graph, back)
    assert back.metadata["tool"] == {"name": "other"} and back.nodes["lif1"].metadata == {"tool": "other"}
    assert back.check_types()
    x = (RNG.random((40, 8, 5)) < 0.5).astype(np.float32)
    result = ns.simulate(graph, x, dt=1e-3, record=["lif1.lif", "lif2"])
    assert 0.02 < result.records["lif1.lif"].mean() < 0.98
    truth = Oracle(graph, 1e-3).run({"input": x}, 40, 8)
    run = net(torch.from_numpy(x), record=("spikes",))
    for name in ("lif1.lif", "lif2"):
        np.testing.assert_array_equal(result.records[name], truth[name])
        np.testing.assert_array_equal(run.spikes[name].detach().numpy(), result.records[name])


def test_several_inputs_and_outputs():
    nodes = {
        "a": nir.Input({"input": np.array([3])}),
        "b": nir.Input({"input": np.array([2])}),
        "wa": nir.Linear(weight=f32(4, 3)),
        "wb": nir.Linear(weight=f32(4, 2)),
        "n": neuron("li", 4, RNG),
        "y": nir.Output({"output": np.array([4])}),
        "z": nir.Output({"output": np.array([4])}),
    }
    edges = [("a", "wa"), ("b", "wb"), ("wa", "n"), ("wb", "n"), ("n", "y"), ("wa", "z"), ("wb", "z"), ("n", "z")]
    graph = nir.NIRGraph(nodes, edges, metadata={"neurospin": {"dt": 1e-3}}, type_check=False)
    given = {"a": RNG.random((5, 2, 3)).astype(np.float32), "b": RNG.random((5, 2, 2)).astype(np.float32)}
    truth = Oracle(graph, 1e-3).run(given, 5, 2)
    result = ns.simulate(graph, given)
    run = ns.from_graph(graph)({name: torch.from_numpy(x) for name, x in given.items()})
    for name in ("y", "z"):
        np.testing.assert_allclose(result.outputs[name], truth[name], rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(run.outputs[name].detach().numpy(), result.outputs[name])
    same(graph, ns.to_graph(ns.from_graph(graph)))
    with pytest.raises(ns.GraphError, match="one Output"):
        _ = result.output
    with pytest.raises(ns.GraphError, match="one Input"):
        ns.simulate(graph, given["a"])
    with pytest.raises(ns.InputError, match="inputs a, b"):
        ns.simulate(graph, {"a": given["a"]})


def trained(**options):
    return ns.Network(
        [
            ns.Conv2d((1, 6, 8), 3, (3, 2), weight=ns.Binary(gain=30), bias=True), ns.LIF((3, 4, 7), **options),
            ns.AvgPool2d((3, 4, 7), 2), ns.Flatten((3, 2, 3)), ns.Scale(18, 2.0), ns.Dense(18, 5, weight=ns.Binary(gain=120)),
            ns.CubaLIF(5, surrogate=ns.Triangle(0.5), refractory=2e-3), ns.Delay(5, 2e-3), ns.Dense(5, 2), ns.LI(2),
        ],
        dt=1e-3,
    )  # fmt: skip


@pytest.mark.parametrize("reset", ["value", "subtract"])
def test_a_network_comes_back_from_the_disk_with_all_that_nir_lacks(tmp_path, reset):
    net = trained(reset=reset)
    x = (torch.rand(30, 4, 1, 6, 8) < 0.5).float()
    with torch.no_grad():
        run = net(x, record=("spikes",))
    assert all(float(s.mean()) > 0.01 for n, s in run.spikes.items() if n != "li1")
    ns.write(tmp_path / "g.nir", ns.to_graph(net))
    graph = ns.read(tmp_path / "g.nir")
    back = ns.from_graph(graph)
    assert back.hidden_state().keys() == net.hidden_state().keys()
    for name, hidden in net.hidden_state().items():
        assert torch.equal(hidden, back.hidden_state()[name])
    assert back.neurons()["cubalif1"].surrogate == ns.Triangle(0.5) and back.neurons()["lif1"].reset == reset
    with torch.no_grad():
        again = back(x, record=("spikes",))
    result = ns.simulate(graph, x.numpy(), record=["lif1", "cubalif1"])
    for name in ("lif1", "cubalif1"):
        assert torch.equal(again.spikes[name], run.spikes[name])
        np.testing.assert_array_equal(result.records[name], run.spikes[name].numpy())
    assert torch.equal(again.output, run.output)


def test_weights_that_changed_behind_the_metadata_are_taken_as_they_are():
    graph = ns.to_graph(ns.Network([ns.Dense(4, 3, weight=ns.Binary()), ns.LIF(3)], dt=1e-3))
    graph.nodes["dense1"].weight = graph.nodes["dense1"].weight * 2
    with pytest.warns(UserWarning, match="dense1.weight: not what the recorded 'binary' values give"):
        net = ns.from_graph(graph)
    np.testing.assert_array_equal(net.blocks["dense1"].weight.detach().numpy(), graph.nodes["dense1"].weight)


def test_a_network_with_every_block_is_saved_and_loaded(tmp_path):
    from neurospin.runs.checkpoint import load, save

    for number, net in enumerate([trained(), ns.from_graph(recurrent(), dt=1e-3)]):
        path = tmp_path / f"{number}.safetensors"
        save(net, path)
        back = load(path)
        x = (torch.rand(9, 2, *net.input_size) < 0.5).float()
        assert torch.equal(net(x).output, back(x).output) and back.edges == net.edges
        assert list(flatten(ns.to_graph(back))[0]) == list(flatten(ns.to_graph(net))[0])
