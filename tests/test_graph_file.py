"""NIR files: nothing is lost through them, nir reads ours, real files of other tools are read."""

import re

import nir
import numpy as np
import pytest
from hypothesis import given

import neurospin as ns
from neurospin.graph.file import GraphWarning
from tests.graphs import graphs
from tests.shared_data import shared_data


def same(a, b):
    assert type(a) is type(b)
    for field, value in vars(a).items():
        other = getattr(b, field)
        if field == "nodes":
            assert list(value) == list(other)
            for name in value:
                same(value[name], other[name])
        elif isinstance(value, np.ndarray):
            assert value.dtype == other.dtype
            np.testing.assert_array_equal(value, other)
        elif field not in ("input_type", "output_type", "metadata"):
            assert value == other, field


@given(graphs())
def test_a_graph_comes_back_as_it_was(tmp_path_factory, made):
    path = tmp_path_factory.mktemp("nir") / "g.nir"
    ns.write(path, made.graph)
    back = ns.read(path)
    same(made.graph, back)
    assert back.metadata == {"neurospin": {"dt": 1e-3}}
    same(nir.read(path), back)


def test_the_same_graph_gives_the_same_bytes(tmp_path):
    graph = ns.to_graph(ns.Network([ns.Dense(20, 30, weight=ns.Binary()), ns.LIF(30)], dt=1e-3))
    ns.write(tmp_path / "a.nir", graph)
    ns.write(tmp_path / "b.nir", graph)
    assert (tmp_path / "a.nir").read_bytes() == (tmp_path / "b.nir").read_bytes()


def test_what_crashes_nir_is_carried(tmp_path):
    one = np.ones(2, np.float32)
    nodes = {
        "input": nir.Input({"input": np.array([2])}),
        "a/b%": nir.Scale(scale=one),
        "output": nir.Output({"output": np.array([2])}),
    }
    about = {"none": None, "flag": True, "names": ["x", "y"], "deep": {"number": 3, "array": one}, "text": "täxt"}
    graph = nir.NIRGraph(nodes, [("input", "a/b%"), ("a/b%", "output")], metadata=about)
    ns.write(tmp_path / "g.nir", graph)
    back = ns.read(tmp_path / "g.nir")
    assert list(back.nodes) == ["input", "a/b%", "output"] and back.edges == graph.edges
    np.testing.assert_array_equal(back.metadata["deep"].pop("array"), one)
    about["deep"].pop("array")
    assert back.metadata == about


def test_hidden_values_travel(tmp_path):
    net = ns.Network([ns.Dense(9, 4, weight=ns.Binary(gain=3)), ns.LIF(4)], dt=1e-3)
    ns.write(tmp_path / "g.nir", ns.to_graph(net))
    about = ns.read(tmp_path / "g.nir").metadata["neurospin"]
    assert about["weights"]["dense1"]["scale"] == 1.0 and about["reset"] == "value" and about["dt"] == 1e-3
    np.testing.assert_array_equal(about["weights"]["dense1"]["hidden"], net.hidden_state()["dense1"].numpy())


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "repairs"),
    [
        ("lif_norse", ["1.v_reset: 0 is taken"]),
        ("lif_rockpool", ["v_reset: 0 is taken", r"output: shape \(1, 1, 1\) read as \(1,\)"]),
        ("two_lif_neurons", ["lif1.v_reset", "lif2.v_reset"]),
    ],
)
def test_real_files_are_read_and_repairs_are_told(name, repairs):
    path = shared_data("nir", f"{name}.nir")
    with pytest.warns(GraphWarning) as told:
        graph = ns.read(path)
    for repair in repairs:
        assert re.search(repair, str(told[0].message))
    # τ dv/dt = −v + r w, by hand: Euler until the threshold is passed
    if name != "two_lif_neurons":
        lif = next(n for n in graph.nodes.values() if isinstance(n, nir.LIF))
        weight = float(next(n for n in graph.nodes.values() if hasattr(n, "weight")).weight[0, 0])
        v, spikes = 0.0, []
        for _ in range(40):
            v += 1e-4 / float(lif.tau[0]) * (float(lif.r[0]) * weight - v)
            spikes.append(float(v > float(lif.v_threshold[0])))
            v = 0.0 if spikes[-1] else v
        out = ns.simulate(graph, np.ones((40, 1, 1)), dt=1e-4).output.ravel()
        assert sum(spikes) > 5 and out.tolist() == spikes


def test_writing_is_whole_or_not_at_all(tmp_path):
    graph = ns.to_graph(ns.Network([ns.Dense(3, 2), ns.LIF(2)], dt=1e-3))
    ns.write(tmp_path / "g.nir", graph)
    before = (tmp_path / "g.nir").read_bytes()
    graph.metadata["bad"] = {"thing": object()}
    with pytest.raises(ns.GraphError, match=r"metadata.bad.thing: expected numbers, texts, arrays, or lists"):
        ns.write(tmp_path / "g.nir", graph)
    assert (tmp_path / "g.nir").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["g.nir"]
    with pytest.raises(ns.OutputError, match="an existing folder"):
        ns.write(tmp_path / "none" / "g.nir", graph)
    with pytest.raises(ns.OutputError, match="a folder"):
        ns.write(tmp_path, ns.read(tmp_path / "g.nir"))
    with pytest.raises(ns.MissingFile, match="nothing there"):
        ns.read(tmp_path / "none.nir")
