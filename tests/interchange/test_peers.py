"""Our files in other frameworks: where they keep to NIR their spikes are ours. Needs `NEUROSPIN_PEERS_PYTHON`."""

import importlib.util
import os
import re
from pathlib import Path

import pytest

import neurospin as ns

ROOT = Path(__file__).resolve().parents[2]
PYTHON = os.environ.get("NEUROSPIN_PEERS_PYTHON")
spec = importlib.util.spec_from_file_location("compare", ROOT / "experiments" / "interchange" / "compare.py")
compare = importlib.util.module_from_spec(spec)
spec.loader.exec_module(compare)

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
