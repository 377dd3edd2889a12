"""Quirks of the files that other tools write, and what crashes nir's writer: repaired or carried, and told."""

import warnings
from itertools import pairwise

import h5py
import nir
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import neurospin as ns
from neurospin.graph.check import shapes

ONE = np.ones((), np.float32)


def lif(shape, v_reset=0.0):
    one = np.ones(shape, np.float32)
    return nir.LIF(tau=0.02 * one, r=one, v_leak=0 * one, v_threshold=one, v_reset=v_reset * one)


def graph(*nodes, shape, out):
    named = {f"n{i}": node for i, node in enumerate(nodes)}
    ends = {"input": nir.Input({"input": np.array(shape)}), "output": nir.Output({"output": np.array(out)})}
    names = ["input", *named, "output"]
    edges = list(pairwise(names))
    return nir.NIRGraph({"input": ends["input"], **named, "output": ends["output"]}, edges, type_check=False)


def by_nir(path, made, **options):
    """A file as nir writes it, with no check; neurospin's own writer would refuse these."""
    nir.write(path, made, **options)
    return path


def told(path):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = ns.read(path)
    assert all(issubclass(warning.category, ns.GraphWarning) for warning in caught) and len(caught) <= 1
    return found, str(caught[0].message) if caught else ""


def test_norse_numbers_without_axes_are_spread_over_the_layer(tmp_path):
    made = graph(nir.Linear(np.ones((4, 3), np.float32)), lif(()), shape=[3], out=[4])
    found, text = told(by_nir(tmp_path / "x.nir", made, compression=None))
    assert "n1: constants of shape () spread over (4,)" in text
    assert found.nodes["n1"].tau.tolist() == [np.float32(0.02)] * 4
    assert shapes(found)["output"] == (4,)


@pytest.mark.parametrize("shape", [(1,), (2, 1, 1), (1, 1, 1)])
def test_one_number_a_layer_or_a_channel_is_spread_over_images(tmp_path, shape):
    conv = nir.Conv2d((6, 6), np.ones((2, 1, 3, 3), np.float32), 1, 1, 1, 1, np.zeros(2, np.float32))
    made = graph(conv, lif(shape), shape=[1, 6, 6], out=[2, 6, 6])
    made.nodes["n1"].v_threshold = np.arange(1, 1 + np.prod(shape), dtype=np.float32).reshape(shape)
    found, text = told(by_nir(tmp_path / "x.nir", made))
    assert f"n1: constants of shape {shape} spread over (2, 6, 6)" in text
    assert found.nodes["n1"].v_threshold[1, 5, 5] == (2 if shape == (2, 1, 1) else 1)


def test_what_could_be_meant_in_two_ways_is_refused(tmp_path):
    conv = nir.Conv2d((2, 2), np.ones((2, 1, 3, 3), np.float32), 1, 1, 1, 1, np.zeros(2, np.float32))
    made = graph(conv, lif((2,)), shape=[1, 2, 2], out=[2, 2, 2])  # per channel, per row, or per column?
    with pytest.raises(ns.GraphError, match=r"node n1: expected input of shape \(2,\), got shape \(2, 2, 2\)"):
        ns.read(by_nir(tmp_path / "x.nir", made))


def test_one_constant_of_a_layer_may_be_one_number(tmp_path):
    path = by_nir(tmp_path / "x.nir", graph(lif((3,)), shape=[3], out=[3]))
    with h5py.File(path, "r+") as file:
        node = file["node/nodes/n0"]
        del node["v_leak"], node["v_reset"]
        node["v_leak"] = 0.25
    found, text = told(path)
    assert "n0.v_leak: one number for (3,)" in text and "n0.v_reset: 0 is taken" in text
    assert found.nodes["n0"].v_leak.tolist() == [0.25] * 3 and found.nodes["n0"].v_reset.tolist() == [0] * 3


def test_rectangular_kernels_that_nir_types_wrongly(tmp_path):
    conv = nir.Conv2d((10, 20), np.ones((2, 1, 3, 5), np.float32), 1, 0, 1, 1, np.zeros(2, np.float32))
    assert conv.output_type["output"].tolist() == [2, 8, 18]  # nir's; torch gives 8 x 16
    flat = nir.Flatten({"input": np.array([2, 8, 18])}, 0, -1)
    made = graph(conv, flat, nir.Linear(np.ones((3, 256), np.float32)), shape=[1, 10, 20], out=[3])
    found, text = told(by_nir(tmp_path / "x.nir", made))
    assert "n1.input_type: (2, 8, 18) read as (2, 8, 16)" in text
    made = graph(conv, shape=[1, 10, 20], out=[2, 8, 18])
    found, text = told(by_nir(tmp_path / "y.nir", made))
    assert "output: shape (2, 8, 18) read as (2, 8, 16)" in text
    ns.write(tmp_path / "z.nir", found)
    assert told(tmp_path / "z.nir")[1] == ""


def test_a_flattening_that_counts_the_batch(tmp_path):
    pool = nir.SumPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0]))
    flat = nir.Flatten({"input": np.array([2, 2, 3])}, 1, -1)
    made = graph(pool, flat, nir.Linear(np.ones((3, 12), np.float32)), shape=[2, 4, 6], out=[3])
    found, text = told(by_nir(tmp_path / "x.nir", made))
    assert "n1.start_dim: 1, which counts the batch, read as 0" in text and shapes(found)["n1"] == (12,)
    made = graph(pool, flat, nir.Linear(np.ones((2, 3, 6), np.float32)), shape=[2, 4, 6], out=[2, 3])
    found, text = told(by_nir(tmp_path / "y.nir", made))  # one matrix a channel: it does not
    assert text == "" and shapes(found)["n1"] == (2, 6)


def test_an_image_told_the_other_way_round(tmp_path):
    conv = nir.Conv2d((20, 10), np.ones((1, 1, 3, 3), np.float32), 1, 1, 1, 1, np.zeros(1, np.float32))
    found, text = told(by_nir(tmp_path / "x.nir", graph(conv, shape=[1, 10, 20], out=[1, 10, 20])))
    assert "n0.input_shape: (20, 10) read as (10, 20)" in text and found.nodes["n0"].input_shape == (10, 20)
    conv = nir.Conv2d((7, 7), np.ones((1, 1, 3, 3), np.float32), 1, 1, 1, 1, np.zeros(1, np.float32))
    with pytest.raises(ns.GraphError, match=r"n0.input_shape: expected \(10, 20\), got \(7, 7\)"):
        ns.read(by_nir(tmp_path / "y.nir", graph(conv, shape=[1, 10, 20], out=[1, 10, 20])))


def test_a_batch_of_one_in_a_port(tmp_path):
    made = graph(nir.Linear(np.ones((4, 3), np.float32)), lif((4,)), shape=[1, 3], out=[1, 4])
    found, text = told(by_nir(tmp_path / "x.nir", made))
    assert "input: shape (1, 3) read as (3,)" in text and "output: shape (1, 4) read as (4,)" in text
    assert shapes(found) == {"input": (3,), "n0": (4,), "n1": (4,), "output": (4,)}


def test_missing_ports_are_added_as_nir_adds_them(tmp_path):
    path = by_nir(tmp_path / "x.nir", graph(lif((3,)), shape=[3], out=[3]))
    with h5py.File(path, "r+") as file:
        del file["node/nodes/input"], file["node/nodes/output"], file["node/edges"]
    found, text = told(path)
    assert "input_n0 is added" in text and "output_n0 is added" in text
    assert set(found.edges) == {("input_n0", "n0"), ("n0", "output_n0")}


@pytest.mark.parametrize(("version", "words"), [("0.2.0", ""), ("1.0.8", ""), ("2.5", "version '2.5'")])
def test_versions(tmp_path, version, words):
    path = by_nir(tmp_path / "x.nir", graph(lif((3,)), shape=[3], out=[3]))
    with h5py.File(path, "r+") as file:
        del file["version"]
        file["version"] = version
    text = told(path)[1]
    assert words in text and bool(words) == bool(text)


def test_sum_pooling_flatten_and_string_padding_come_back(tmp_path):
    conv = nir.Conv2d(None, np.ones((2, 1, 3, 3)), 1, "same", 1, 1, np.zeros(2))
    pool = nir.SumPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0]))
    made = graph(
        conv, pool, nir.Flatten({"input": None}, 0, -1), nir.Linear(np.ones((3, 18))), shape=[1, 6, 6], out=[3]
    )
    ns.write(tmp_path / "x.nir", made)
    found, text = told(tmp_path / "x.nir")
    assert text == "" and found.nodes["n0"].padding == "same" and found.nodes["n0"].weight.dtype == np.float64
    assert nir.read(tmp_path / "x.nir").nodes["n2"].input_type["input"].tolist() == [2, 3, 3]


SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False)
NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=30) | st.sampled_from(
    [".", "..", "/", "%", "%2F", "a/b", "%list", "%tuple", "0", "type", "nodes"]
)
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
ARRAYS = st.sampled_from(
    [
        np.float32(0.1),
        np.float16(2),
        np.int8(3),
        np.arange(200),
        np.zeros((0, 3)),
        np.array([True, False]),
        np.ones(2) * 1j,
    ]
)
VALUES = st.recursive(
    SCALARS | TEXTS | ARRAYS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.lists(inner, max_size=3).map(tuple) | st.dictionaries(NAMES, inner, max_size=3)
    ),
    max_leaves=8,
)


def alike(a, b):
    assert type(a) is type(b), (a, b)
    if isinstance(a, dict):
        assert sorted(a) == sorted(b)
        for key in a:
            alike(a[key], b[key])
    elif isinstance(a, list | tuple):
        assert len(a) == len(b)
        for one, other in zip(a, b, strict=True):
            alike(one, other)
    elif isinstance(a, np.ndarray | np.generic):
        assert a.dtype == b.dtype and a.shape == b.shape
        np.testing.assert_array_equal(a, b)
    else:
        assert a == b


@given(st.dictionaries(NAMES, VALUES, max_size=4), NAMES, NAMES)
def test_any_metadata_and_any_name_come_back(tmp_path_factory, about, first, second):
    path = tmp_path_factory.mktemp("nir") / "x.nir"
    names = ["input", f"1{first}", f"2{second}", "output"]
    nodes = dict(zip(names, graph(lif(()), lif(()), shape=[], out=[]).nodes.values(), strict=True))
    nodes[names[1]].metadata = about
    made = nir.NIRGraph(nodes, list(pairwise(names)), metadata=about)
    ns.write(path, made)
    found = ns.read(path)
    assert list(found.nodes) == names and found.edges == made.edges
    alike(found.metadata, about)
    alike(found.nodes[names[1]].metadata, about)
    assert found.nodes[names[1]].tau.shape == ()  # 0-d stays 0-d
    assert list(nir.read(path).nodes) == [name.replace("%", "%25").replace("/", "%2F") for name in names]


@pytest.mark.parametrize(
    ("about", "words"),
    [
        ({"x": b"bytes"}, "metadata.x: expected numbers, texts"),
        ({"x": {"y": [1, {2}]}}, "metadata.x.y.1: expected numbers, texts"),
        ({"x": 2**70}, "metadata.x: expected numbers"),
        ({"x": "a\0b"}, "metadata.x: expected numbers"),
        ({3: 1}, "metadata: expected a printable name"),
        ({"": 1}, "metadata: expected a printable name"),
        ({"a\nb": 1}, "metadata: expected a printable name"),
        ({"x" * 201: 1}, "metadata: expected a printable name"),
    ],
)
def test_what_a_file_cannot_hold_is_refused(tmp_path, about, words):
    made = graph(lif((3,)), shape=[3], out=[3])
    made.metadata = about
    with pytest.raises(ns.GraphError, match=words):
        ns.write(tmp_path / "x.nir", made)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a\nb", "", "x" * 201, "\u202eabc", 3])
def test_names_that_deceive_are_refused(tmp_path, name):
    nodes = {
        "input": nir.Input({"input": np.array([3])}),
        name: lif((3,)),
        "output": nir.Output({"output": np.array([3])}),
    }
    made = nir.NIRGraph(nodes, [("input", name), (name, "output")], type_check=False)
    with pytest.raises(ns.GraphError, match="name of a node: expected a printable name"):
        ns.write(tmp_path / "x.nir", made)


def test_a_dotted_name_does_not_hide_a_nested_node(tmp_path):
    inner = graph(lif((3,)), shape=[3], out=[3])
    made = graph(inner, lif((3,)), shape=[3], out=[3])
    made.nodes = {("n0.n0" if name == "n1" else name): node for name, node in made.nodes.items()}
    made.edges = [("input", "n0"), ("n0", "n0.n0"), ("n0.n0", "output")]
    with pytest.raises(ns.GraphError, match="a nested node with the name of another"):
        ns.write(tmp_path / "x.nir", made)


@pytest.mark.parametrize("before", [(50,), (4, 50)])
def test_batch_and_time_in_a_port_and_tensors_of_torch_in_the_nodes(tmp_path, before):
    """As sinabs and Rockpool hand a graph over; a shape of another layer is no shape with batch and time before it."""
    rng = np.random.default_rng(3)

    def graph(shape, kind=np.asarray):
        weight = kind((4 * rng.normal(size=(5, 3))).astype(np.float32))
        one = kind(np.ones(5, np.float32))
        lif = nir.LIF(tau=0.01 * one, r=one, v_leak=0 * one, v_threshold=one, v_reset=np.zeros(5, np.float32))
        ends = nir.Input({"input": np.array([*shape, 3])}), nir.Output({"output": np.array([*shape, 5])})
        nodes = {"input": ends[0], "w": nir.Linear(weight), "n": lif, "output": ends[1]}
        edges = [("input", "w"), ("w", "n"), ("n", "output")]
        return nir.NIRGraph(nodes, edges, metadata={"neurospin": {"dt": 1e-3}}, type_check=False)

    x = (rng.random((30, 2, 3)) < 0.5).astype(np.float32)
    rng = np.random.default_rng(4)
    truth = ns.simulate(graph(()), x).output
    assert 0.01 < truth.mean() < 0.9
    rng = np.random.default_rng(4)
    odd = graph(before, lambda array: torch.from_numpy(array).requires_grad_())
    told = rf"input: shape \({', '.join(map(str, (*before, 3)))}\) read as \(3,\); output: .* read as \(5,\)"
    with pytest.warns(ns.GraphWarning, match=told):
        np.testing.assert_array_equal(ns.simulate(odd, x).output, truth)
    with pytest.warns(ns.GraphWarning, match=told):
        np.testing.assert_array_equal(ns.simulate(ns.in_seconds(odd, "s"), x).output, truth)
    with pytest.warns(ns.GraphWarning, match=told):
        ns.write(tmp_path / "g.nir", odd)
    np.testing.assert_array_equal(ns.simulate(ns.read(tmp_path / "g.nir"), x).output, truth)
    with pytest.warns(ns.GraphWarning, match=told):
        np.testing.assert_array_equal(ns.from_graph(odd)(torch.from_numpy(x)).output.detach().numpy(), truth)
    for wrong in ((2, 3, 4), (3,), ()):
        other = graph(())
        other.nodes["input"] = nir.Input({"input": np.array([*wrong, 4])})
        with pytest.raises(ns.GraphError, match=r"node w: expected input of shape \(3,\)"):
            ns.simulate(other, np.zeros((5, 2, *wrong, 4), np.float32))
