"""Several inputs and outputs on targets; units, steps and settings of targets, in Python and on the command line."""

import copy
import json

import nir
import numpy as np
import pytest
import torch

import neurospin as ns
from hardware_targets.cases import CASES
from hardware_targets.reference import Reference
from neurospin.target import Report, adjusted
from tests.oracle import Oracle
from tests.test_cli import call, refused

X = CASES["ports"].spikes(30, 3)


def ports():
    return CASES["ports"].make()


def test_every_input_and_output_goes_by_its_name():
    graph = ports()
    report = ns.deploy(graph, X, "reference", record=["a"])
    truth = Oracle(graph, 1e-3).run(X, 30, 3)
    for name, node in (("first", "a"), ("last", "b")):
        assert 0.02 < truth[node].mean() < 0.98
        np.testing.assert_array_equal(report.outputs[name], truth[node])
    np.testing.assert_array_equal(report.spikes, report.outputs["first"])
    np.testing.assert_array_equal(report.records["a"], truth["a"])
    assert json.loads(report.to_json())["outputs"] == {"first": [30, 3, 8], "last": [30, 3, 8]}
    swapped = ns.deploy(graph, {"left": X["right"], "right": X["left"]}, "reference")
    assert (swapped.outputs["last"] != report.outputs["last"]).any()
    assert ns.deploy(CASES["LIF"].make(), CASES["LIF"].spikes(5, 2), "reference").outputs == {}


def test_a_certificate_compares_every_output():
    graph = ports()
    assert ns.certify(graph, X, "reference").exact
    net = ns.from_graph(graph)
    assert ns.certify(net, {name: torch.from_numpy(x) for name, x in X.items()}, "reference").exact
    other = ns.certify(graph, X, Reference(reset="subtract"))
    truth = ns.simulate(graph, X, reset="subtract", record=["a", "b"])
    plain = ns.simulate(graph, X, record=["a", "b"])
    assert other.differing == sum(int((truth.records[n] != plain.records[n]).sum()) for n in ("a", "b")) > 0
    assert other.output_error["max"] == 1 and other.causes[0].alone.differing == other.differing


@pytest.mark.parametrize("target", ["loihi"])
def test_a_target_with_one_input_says_so_before_it_runs(target):
    told = [str(problem) for problem in ns.check(ports(), target)]
    assert told == [
        f'graph: expected one {kind}, got 2: {names}. Fix: split the graph, or run it on "reference".'
        for kind, names in (("Input", "left, right"), ("Output", "first, last"))
    ]
    with pytest.raises(ns.TargetError, match="expected one Input, got 2: left, right"):
        ns.deploy(ports(), X, target)


def in_steps():
    graph = copy.deepcopy(CASES["LIF"].make())
    (name,) = (name for name, node in graph.nodes.items() if isinstance(node, nir.LIF))
    graph.nodes[name].tau = graph.nodes[name].tau * 1000
    graph.metadata = {}
    return graph


@pytest.mark.parametrize("target", ["reference", "loihi", "lava", "crossbar"])
def test_check_asks_for_the_unit_as_simulate_does(target):
    graph = in_steps()
    for dt in (None, 1e-3):
        (problem,) = ns.check(graph, target, dt=dt)
        assert "seconds" in problem.limit and "which may be milliseconds or steps" in problem.value
        assert "in_seconds" in problem.fix and "--time-unit" in problem.fix
    with pytest.raises(ns.GraphError, match="which may be milliseconds or steps"):
        ns.simulate(graph, CASES["LIF"].spikes(5, 2), dt=1e-3)
    assert ns.check(graph, target, dt=0.1) == []  # slow, and meant so
    assert ns.check(ns.in_seconds(graph, "ms"), target) == []
    assert ns.check(ns.in_seconds(graph, "s"), target) == []


def test_check_looks_at_the_step_that_is_given():
    graph = CASES["LIF"].make()
    graph.metadata = {}
    assert ns.check(graph, "loihi") == [] and ns.check(graph, "loihi", dt=1e-3) == []
    for target in ("loihi", "reference"):
        (problem,) = ns.check(graph, target, dt=9e-3)
        assert problem.value.startswith("0.008 s")
    assert graph.metadata == {}


def test_the_command_line_takes_several_inputs_units_and_settings(tmp_path):
    ns.write(tmp_path / "p.nir", ports())
    np.savez(tmp_path / "x.npz", **X)
    out, place = tmp_path / "out.npz", tmp_path / "p.nir"
    done = call("deploy", place, "-i", tmp_path / "x.npz", "-t", "reference", "-o", out, "--set", "reset=subtract")
    assert done.returncode == 0, done.stderr
    truth = ns.deploy(ports(), X, Reference(reset="subtract"))
    with np.load(out) as file:
        assert sorted(file.files) == ["output/first", "output/last", "spikes"]
        for name, values in truth.outputs.items():
            np.testing.assert_array_equal(file[f"output/{name}"], values)
    np.savez(tmp_path / "one.npz", left=X["left"])
    refused(
        call("deploy", place, "-i", tmp_path / "one.npz", "-t", "reference", "-o", tmp_path / "no.npz"),
        "expected inputs left, right, got left",
    )
    both = "certify", place, "-i", tmp_path / "x.npz", "-t"
    done = call(*both, "reference", "--set", "scheme=exponential", "--json", tmp_path / "c.json")
    assert done.returncode == 0 and "discretisation" in done.stdout, done.stderr
    wanted = ns.certify(ports(), X, Reference(scheme="exponential"))
    assert json.loads((tmp_path / "c.json").read_text())["nodes"] == json.loads(json.dumps(wanted.to_dict()))["nodes"]
    refused(call(*both, "reference", "--set", "schem=euler"), "did you mean 'scheme'")
    refused(call(*both, "reference", "--set", "scheme=heun"), "expected one of euler, exponential, got 'heun'")
    refused(call(*both, "reference", "--set", "scheme"), "expected key=value")
    refused(call(*both, "loihi", "--set", "scheme=euler"), "expected one of rounding, scaling, got 'scheme'")
    assert not (tmp_path / "no.npz").exists()


def test_the_command_line_answers_which_unit_it_is(tmp_path):
    ns.write(tmp_path / "g.nir", in_steps())
    np.savez(tmp_path / "x.npz", spikes=CASES["LIF"].spikes(20, 3))
    graph, run = tmp_path / "g.nir", ("-i", tmp_path / "x.npz", "-t", "loihi", "-o", tmp_path / "o.npz")
    done = call("check", graph, "-t", "loihi")
    assert done.returncode == 1 and "--time-unit" in done.stdout
    done = call("check", graph, "-t", "loihi", "--time-unit", "ms")
    assert done.returncode == 0 and done.stdout.strip().endswith("records no step: to run it, give --dt")
    refused(call("deploy", graph, *run, "--dt", "1e-3"), "which may be milliseconds", "--time-unit")
    refused(call("deploy", graph, *run, "--dt", "1e-3", "--time-unit", "msec"), "did you mean 'ms'")
    assert call("deploy", graph, *run, "--dt", "1e-3", "--time-unit", "steps").returncode == 0
    done = call("export", graph, "-o", tmp_path / "s.nir", "--dt", "1e-3", "--time-unit", "ms")
    assert done.returncode == 0, done.stderr
    plain = ns.deploy(ns.read(tmp_path / "s.nir"), CASES["LIF"].spikes(20, 3), "loihi")
    with np.load(tmp_path / "o.npz") as file:
        np.testing.assert_array_equal(file["spikes"], plain.spikes)


def test_what_is_no_graph_no_target_and_no_unit_is_told(tmp_path):
    for graph, word in ((tmp_path / "g.nir", "neurospin.read"), ("g.nir", "neurospin.read"), (None, "give a graph")):
        (problem,) = ns.check(graph, "loihi")
        assert problem.limit == "a nir.NIRGraph" and word in problem.fix
    with pytest.raises(ns.GraphError, match=r"expected a nir.NIRGraph, got str. Fix: read the file first"):
        ns.in_seconds("g.nir", "ms")
    with pytest.raises(ns.UnknownName, match="expected one of ms, s, steps, us, got 'None'"):
        ns.in_seconds(ports(), None)
    for target in (5, ["loihi"]):
        with pytest.raises(ns.TargetError, match="expected a name, or an object with name, check and run"):
            ns.deploy(ports(), X, target)


def test_a_third_party_s_target_needs_no_more_than_its_protocol():
    class Mine:
        name = "mine"

        def check(self, graph):
            return []

        def run(self, graph, spikes, *, dt, seed=0, record=()):
            return Report(np.asarray(spikes))

    case = CASES["LIF"]
    assert ns.deploy(case.make(), {"input": case.spikes(5, 2)}, Mine()).spikes.shape == (5, 2, 8)
    with pytest.raises(ns.TargetError, match=r"mine: graph: expected one Input, got 2: left, right \(and 1 more"):
        ns.deploy(ports(), X, Mine())
    with pytest.raises(ns.TargetError, match="expected a target with settings"):
        adjusted(Mine(), {"scheme": "euler"})
