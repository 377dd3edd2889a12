"""What every target must do, whatever it is."""

import json

import nir
import numpy as np
import pytest

import neurospin as ns

NAMES = [
    "reference",
    "loihi",
    "crossbar",
    pytest.param("lava", marks=[pytest.mark.lava, pytest.mark.xdist_group("lava")]),
]
SPIKES = (np.random.default_rng(0).random((16, 6, 12)) < 0.5).astype(np.float32)


@pytest.fixture
def net():
    blocks = [ns.Dense(12, 20, weight=ns.Binary(gain=9)), ns.LIF(20, 8e-3), ns.Dense(20, 4), ns.LI(4, 8e-3)]
    return ns.Network(blocks, dt=1e-3)


@pytest.fixture
def target(request):
    (status,) = [s for s in ns.targets() if s.name == request.param]
    if not status.available:
        pytest.skip(status.reason)
    return request.param


@pytest.mark.parametrize("target", NAMES, indirect=True)
def test_a_target_keeps_the_contract(target, net):
    graph = ns.to_graph(net)
    assert ns.check(graph, target) == []
    report = ns.deploy(graph, SPIKES, target, seed=3, record=["lif1"])
    assert report.spikes.shape == (16, 6, 4) and report.records["lif1"].shape == (16, 6, 20)
    assert np.isfinite(report.spikes).all()
    assert set(np.unique(report.records["lif1"])) <= {0, 1} and report.records["lif1"].sum() > 50
    told = json.loads(report.to_json())
    assert told["shape"] == [16, 6, 4]
    assert all(set(a) == {"node", "what", "size"} for a in told["info"]["approximations"])
    again = ns.deploy(graph, SPIKES, target, seed=3, record=["lif1"])
    np.testing.assert_array_equal(report.spikes, again.spikes)
    late, single = report.info["latency"]["lif1"], ns.simulate(graph, SPIKES, record=["lif1"])
    assert np.mean(report.records["lif1"][late:] == single.records["lif1"][: 16 - late]) > 0.9


@pytest.mark.parametrize("target", NAMES, indirect=True)
def test_a_certificate_says_what_changed(target, net):
    certificate = ns.certify(net, SPIKES, target, labels=np.arange(6) % 4)
    assert certificate.samples == 6 and certificate.steps == 16
    assert certificate.accuracy is not None and 0 <= certificate.accuracy["after"] <= 1
    assert certificate.nodes["lif1"].equal > 0.9
    assert certificate.exact == (certificate.equal == 1.0)
    assert json.loads(json.dumps(certificate.to_dict()))["target"] == target
    if target == "reference":
        assert certificate.exact and certificate.output_error["max"] == 0
        assert certificate.accuracy["before"] == certificate.accuracy["after"]


@pytest.mark.parametrize("target", ["reference", "loihi", "crossbar", "lava"])
def test_a_check_never_raises(target):
    one = np.ones(2, np.float32)
    ports = {"input": nir.Input({"input": np.array([2])}), "output": nir.Output({"output": np.array([2])})}
    edges = [("input", "s"), ("s", "s"), ("s", "output")]
    loop = nir.NIRGraph({**ports, "s": nir.Scale(scale=one)}, edges, type_check=False)
    lonely = nir.NIRGraph(ports, [], type_check=False)
    nan = ns.to_graph(ns.Network([ns.Dense(2, 2), ns.LIF(2)], dt=1e-3))
    nan.nodes["dense1"].weight[:] = np.nan
    for graph in (loop, lonely):
        problems = ns.check(graph, target)
        assert problems
        for problem in problems:
            assert "\n" not in str(problem) and "Fix:" in str(problem)
    assert target == "reference" or ns.check(nan, target)


def test_the_first_difference_is_where_it_is(net, monkeypatch):
    """A target that flips one spike: the certificate finds exactly that one."""
    from hardware_targets import reference

    run = reference.Reference.run

    def flipped(self, graph, spikes, *, dt, seed=0, record=()):
        report = run(self, graph, spikes, dt=dt, seed=seed, record=record)
        if spikes.shape[1] > 1:
            report.records["lif1"][7, 4, 13] = 1 - report.records["lif1"][7, 4, 13]
        return report

    monkeypatch.setattr(reference.Reference, "run", flipped)
    agreement = ns.certify(net, SPIKES, "reference").nodes["lif1"]
    first = agreement.first_difference
    assert first is not None
    assert (agreement.differing, first.time, first.sample, first.neuron) == (1, 7, 4, (13,))
    assert first.expected == 1 - first.got and agreement.equal == 1 - 1 / (16 * 6 * 20)


def test_an_unknown_target_is_told_with_the_nearest(net):
    words = r"expected one of crossbar, lava, loihi, reference, sanafe, got 'lohi'. Fix: did you mean 'loihi'\?"
    with pytest.raises(ns.UnknownName, match=words):
        ns.deploy(ns.to_graph(net), SPIKES, "lohi")
    with pytest.raises(ns.UnknownName, match="did you mean 'lif1'"):
        ns.deploy(ns.to_graph(net), SPIKES, "reference", record=["lif"])


def test_a_broken_outside_target_is_listed_and_not_a_traceback(monkeypatch):
    from importlib.metadata import EntryPoint

    import neurospin.target as seam

    broken = EntryPoint("broken", "no_such_package:target", seam.GROUP)
    odd = EntryPoint("odd", "math:pi", seam.GROUP)
    monkeypatch.setattr(seam, "_entries", lambda: {"broken": broken, "odd": odd})
    found = {s.name: s for s in ns.targets()}
    assert not found["broken"].available and "no_such_package" in found["broken"].reason
    assert "name, check and run" in found["odd"].reason
    with pytest.raises(ns.TargetError, match="no_such_package"):
        seam.get_target("broken")
