"""Our files in other frameworks: where they keep to NIR their spikes are ours. Needs `NEUROSPIN_PEERS_PYTHON`."""

import importlib.util
import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch

import neurospin as ns

ROOT = Path(__file__).resolve().parents[2]
PYTHON = os.environ.get("NEUROSPIN_PEERS_PYTHON")


def _script(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "experiments" / "interchange" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


compare, theirs = _script("compare"), _script("theirs")

EQUAL = {
    "LIF": ["spikingjelly", "norse"],
    "LIF, bias": ["spikingjelly", "norse"],
    "LIF, r = τ/dt": ["spikingjelly"],
    "LIF, τ of each neuron": ["norse"],
    "CubaLIF": ["norse"],
    "CubaLIF, r = τ/dt, w_in = τ_syn/dt": ["spikingjelly", "norse"],
    "recurrent LIF": ["spikingjelly", "norse"],
    "recurrent CubaLIF": ["norse"],
    "Conv2d, SumPool2d": ["spikingjelly"],
    "Conv2d, AvgPool2d": ["spikingjelly"],
}


@pytest.fixture(scope="module")
def found():
    if not PYTHON:
        pytest.skip("NEUROSPIN_PEERS_PYTHON names no Python; make interchange builds one")
    return compare.measured(PYTHON, list(compare.CASES), (*compare.PEERS, "norse-batch"))


@pytest.mark.peers
def test_their_spikes_are_ours_or_what_their_rules_make_of_the_graph(found):
    for case, results in found.items():
        assert results["rate"] > 0.005  # enough spikes to differ in
        for peer in compare.PEERS:
            value = results[peer]
            assert (value == 0) == (peer in EQUAL.get(case, ())), (case, peer, value)
            assert isinstance(value, str) or results[f"{peer}, emulated"] == 0, (case, peer)


@pytest.mark.peers
def test_norse_counts_the_batch_as_an_axis(found):
    flat, lost = found["Conv2d, SumPool2d"], found["Conv2d, AvgPool2d"]
    assert "cannot be multiplied (1x512 and 64x5)" in flat["norse"] and flat["norse-batch"] == 0
    assert isinstance(lost["norse-batch"], str)  # it does not know AvgPool2d at all


@pytest.mark.peers
def test_the_graphs_of_other_tools_give_their_own_activity():
    """sinabs to the bit in spikes, to rounding in voltages; Rockpool with the constants that its exporter should write."""
    if not PYTHON:
        pytest.skip("NEUROSPIN_PEERS_PYTHON names no Python; make interchange builds one")
    found = theirs.theirs(PYTHON)
    for name in ("sinabs: convolutions, IAF, SumPool2d", "sinabs: LIF, LIF", "rockpool: LIF, r and w_in mended"):
        assert found[name]["differ"] == 0 and 0.02 < found[name]["mean"] < 0.9, (name, found[name])
    readout = found["sinabs: LIF, ExpLeak"]
    assert readout["largest"] < 1e-6 < 1e-2 < abs(readout["mean"])
    assert found["rockpool: LIF"]["differ"] > 0.1  # r and w_in of another step than Rockpool's own
    for name in ("rockpool: recurrent LIF", "rockpool: recurrent LIF, r and w_in mended"):
        assert found[name]["differ"] > 0.01 and not found[name]["loops"]  # the loop is not in the file
    assert "input: shape (4, 50, 6) read as (6,)" in found["rockpool: LIF"]["repairs"][0]


@pytest.mark.parametrize("name", ["sinabs_convolutions_iaf_sumpool2d", "sinabs_lif_lif", "sinabs_lif_expleak"])
def test_recorded_activity_of_graphs_that_sinabs_made(name):
    """The same, from files: `python experiments/interchange/theirs.py tests/interchange` wrote them."""
    graph = ns.read(ROOT / "tests" / "interchange" / f"{name}.nir")
    with np.load(ROOT / "tests" / "interchange" / f"{name}.npz") as file:
        spikes, output = file["spikes"].astype(np.float32), file["output"]
    how = {"reset": "subtract"} if "iaf" in name else {"scheme": "exponential"}
    graph.metadata["neurospin"] = {"dt": 1.0, **how}
    ours, run = ns.simulate(graph, spikes).output, ns.from_graph(graph)(torch.from_numpy(spikes))
    np.testing.assert_array_equal(ours, run.output.detach().numpy())
    if "expleak" in name:
        np.testing.assert_allclose(ours, output, atol=1e-6)
        assert np.abs(output).max() > 0.1
    else:
        np.testing.assert_array_equal(ours, output)
        assert 0.02 < output.mean() < 0.9


@pytest.mark.parametrize("name", list(compare.CASES))
def test_the_graphs_of_the_table_come_back(tmp_path, name):
    graph = compare.CASES[name]()
    ns.write(tmp_path / "x.nir", graph)
    assert ns.read(tmp_path / "x.nir").edges == graph.edges


def test_the_page_has_every_row_and_no_equality_that_is_not_tested():
    page = (ROOT / "docs" / "interchange.md").read_text()
    rows = re.findall(r"^\| (.*?) \| [\d.]+ \| (.*) \|$", page, re.M)
    assert [case for case, _ in rows] == list(compare.CASES)
    told = {
        case: [peer for peer, cell in zip(compare.PEERS, cells.split(" | "), strict=True) if cell == "equal"]
        for case, cells in rows
    }
    assert {case: peers for case, peers in told.items() if peers} == EQUAL
