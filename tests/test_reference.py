"""The reference target with another scheme or reset, and graphs whose constants are one number a layer."""

import copy
import warnings

import nir
import numpy as np
import pytest
import torch

import neurospin as ns
from hardware_targets.reference import Reference
from neurospin.target import Explainable
from tests.graphs import neuron
from tests.oracle import Oracle


def graph(reset="value"):
    rng = np.random.default_rng(1)
    nodes = {
        "input": nir.Input({"input": np.array([5])}),
        "w": nir.Linear((6 * rng.normal(size=(8, 5)) + 3).astype(np.float32)),
        "a": neuron("cubalif", 8, rng),
        "r": nir.Linear((3 * rng.normal(size=(8, 8))).astype(np.float32)),
        "u": nir.Linear((6 * rng.normal(size=(4, 8)) + 3).astype(np.float32)),
        "b": neuron("lif", 4, rng),
        "output": nir.Output({"output": np.array([4])}),
    }
    edges = [("input", "w"), ("w", "a"), ("a", "r"), ("r", "a"), ("a", "u"), ("u", "b"), ("b", "output")]
    return nir.NIRGraph(nodes, edges, metadata={"neurospin": {"dt": 1e-3, "reset": reset}})


def spikes(shape=(5,)):
    return (np.random.default_rng(2).random((60, 4, *shape)) < 0.5).astype(np.float32)


@pytest.mark.parametrize("recorded", ["value", "subtract"])
def test_what_another_scheme_or_reset_costs_is_counted_cause_by_cause(recorded):
    """Against a plain numpy interpreter of each variant."""
    made, x = graph(recorded), spikes()
    other = "subtract" if recorded == "value" else "value"
    target = Reference(scheme="exponential", reset=other)
    assert isinstance(target, Explainable) and target.causes == ("discretisation", "reset mode")
    certificate = ns.certify(made, x, target)

    def truth(scheme, reset):
        run = Oracle(made, 1e-3, scheme=scheme, reset=reset).run({"input": x}, *x.shape[:2])
        return np.concatenate([run["a"], run["b"]], -1)

    plain = truth("euler", recorded)
    counts = {(s, r): int((truth(s, r) != plain).sum()) for s in ("euler", "exponential") for r in (recorded, other)}
    assert min(count for key, count in counts.items() if key != ("euler", recorded)) > 0
    assert certificate.differing == counts["exponential", other]
    scheme, reset = certificate.causes
    assert (scheme.name, scheme.alone.differing, scheme.without.differing) == (
        "discretisation", counts["exponential", recorded], counts["euler", other],
    )  # fmt: skip
    assert (reset.name, reset.alone.differing, reset.without.differing) == (
        "reset mode", counts["euler", other], counts["exponential", recorded],
    )  # fmt: skip
    assert certificate.unexplained.differing == 0
    told = {(a["node"], a["what"]) for a in certificate.approximations}
    assert ("a", f"reset: {other} in place of {recorded}") in told
    assert ("b", "exponential decay: largest difference") in told


def test_the_graph_s_own_scheme_and_reset_are_no_cause_of_anything():
    made, x = graph("subtract"), spikes()
    certificate = ns.certify(made, x, Reference(scheme="euler", reset="subtract"))
    assert certificate.exact and certificate.approximations == []
    assert [cause.alone.differing for cause in certificate.causes] == [0, 0]
    assert ns.certify(made, x, "reference").causes == []
    with pytest.raises(ns.UnknownName, match="did you mean 'exponential'"):
        Reference(scheme="exponental")
    with pytest.raises(ns.UnknownName, match=r"Reference.reset"):
        Reference(reset="zero")


def thin(made):
    """As snnTorch and the NIR paper export a layer: one number for all its neurons."""
    result = copy.deepcopy(made)
    for name in ("a", "b"):
        node = result.nodes[name]
        fields = [f for f in vars(node) if f not in ("input_type", "output_type", "metadata")]
        result.nodes[name] = type(node)(**{f: getattr(node, f)[:1] for f in fields})
    return result


def wide(made):
    result = copy.deepcopy(made)
    for name, size in (("a", 8), ("b", 4)):
        node = result.nodes[name]
        fields = [f for f in vars(node) if f not in ("input_type", "output_type", "metadata")]
        result.nodes[name] = type(node)(**{f: np.repeat(getattr(node, f), size) for f in fields})
    return result


@pytest.mark.parametrize(
    "use",
    [
        lambda g, x: ns.draw(g, engine="layers"),
        lambda g, x: ns.simulate(g, x, record=["a"]).records["a"],
        lambda g, x: ns.from_graph(g)(torch.from_numpy(x)).output.numpy(force=True),
        lambda g, x: ns.deploy(g, x, "reference").spikes,
        lambda g, x: ns.deploy(g, x, "loihi").spikes,
        lambda g, x: ns.certify(g, x, "loihi").to_dict(),
        lambda g, x: ns.check(g, "loihi"),
        lambda g, x: [list(map(str, ns.check(g, "crossbar")))],
    ],
)
def test_one_number_a_layer_in_memory_is_spread_as_from_a_file_and_told_once(use):
    made = thin(graph())
    before = copy.deepcopy(made)
    x = spikes()
    with pytest.warns(ns.GraphWarning) as caught:
        got = use(made, x)
    assert len(caught) == 1 and caught[0].filename == __file__
    text = str(caught[0].message)
    assert "a: constants of shape (1,) spread over (8,)" in text and "b: constants of shape (1,) spread" in text
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_equal(got, use(wide(made), x))
    assert made.nodes["a"].r.shape == before.nodes["a"].r.shape == (1,)  # the user's graph is as it was
    assert made.nodes["a"].input_type["input"].tolist() == [1]


def test_what_is_written_is_repaired(tmp_path):
    with pytest.warns(ns.GraphWarning, match=r"a: constants of shape \(1,\) spread over \(8,\)"):
        ns.write(tmp_path / "thin.nir", thin(graph()))
    ns.write(tmp_path / "wide.nir", wide(thin(graph())))
    assert (tmp_path / "thin.nir").read_bytes() == (tmp_path / "wide.nir").read_bytes()


def test_what_cannot_be_repaired_is_refused_as_before():
    made = wide(thin(graph()))
    made.nodes["w"] = nir.Linear(np.ones((8, 3), np.float32))
    with pytest.raises(ns.GraphError, match=r"^node w: expected input of shape \(3,\), got shape \(5,\)"):
        ns.simulate(made, spikes())
    for use in (ns.simulate, ns.certify, ns.deploy):
        with pytest.raises(ns.GraphError, match=r"^graph: expected a nir.NIRGraph, got str. Fix: read the file first"):
            use("net.nir", spikes(), **({} if use is ns.simulate else {"target": "loihi"}))
    with pytest.raises(ns.GraphError, match=r"^graph: expected a nir.NIRGraph, got NoneType"):
        ns.from_graph(None)
    assert ns.check(None, "reference") and ns.check("net.nir", "loihi")
    made = wide(thin(graph()))
    made.nodes["w"] = None
    assert ns.check(made, "reference")
