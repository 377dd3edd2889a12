"""The tables of experiments/: what they say of tiny runs is what a count by hand says."""

import csv

import numpy as np
import pytest
import yaml

from experiments.continual import choose
from experiments.matrix import table
from experiments.papers.table import gather
from neurospin.runs import checkpoint
from neurospin.runs.config import load
from neurospin.runs.experiment import run
from neurospin.runs.train import Silent, build_code, build_stream

TINY = {
    "name": "spiking",
    "stream": {"kind": "permuted", "dataset": "digits", "tasks": 2, "samples": 300, "test": "own"},
    "encode": {"kind": "direct", "steps": 3},
    "network": {"hidden": [8], "weight": "float", "gain": [8.0, 8.0], "tau_mem": 4e-3, "tau_out": 4e-3},
    "training": {"epochs": 1, "batch_size": 50},
    "learners": {
        "naive": {"title": "Adam", "rule": "naive"},
        "metaplastic": {"title": "levels", "m": 1.0, "levels": {"count": 9, "bound": 2.0}},
    },
    "targets": [],
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    place = tmp_path_factory.mktemp("runs")
    rate = {**TINY, "name": "rate", "learners": {"naive": {"title": "Adam", "neuron": "rate", "rule": "naive"}}}
    for content in (TINY, rate):
        file = place / f"{content['name']}.yaml"
        file.write_text(yaml.safe_dump(content))
        for seed in (3, 4):
            run(load(file, seed=seed), place / f"{content['name']}-seed{seed}", Silent(), report=False)
    return place


def test_the_cost_of_an_image_is_that_counted_by_hand(runs):
    folders = [folder for folder in runs.iterdir() if folder.is_dir()]
    rows = gather(folders)
    table.cost(folders, rows)
    assert rows["spiking/naive"]["seeds"] == rows["rate/naive"]["seeds"] == [3, 4]
    every = 3 * (64 * 8 + 8 * 10)  # products of the rate network, in three steps
    updates = 3 * (8 + 10)
    wanted = [every * mac + every * read + updates * mac for mac, read in ((0.3e-12, 1.25e-12), (4.6e-12, 50e-12))]
    np.testing.assert_allclose(rows["rate/naive"]["joules_per_image"], [wanted] * 2)
    folder = runs / "spiking-seed3"
    config = load(folder / "config.yaml")
    images = build_stream(config).tasks[-1].test_x[: table.IMAGES]
    shown = build_code(config)(images)
    network = checkpoint.load(folder / "checkpoints" / "naive-2.safetensors")
    products = 8 * float((shown != 0).sum() - (shown == 1).sum())
    hidden = next(iter(network(shown, record=("spikes",)).spikes.values())).detach()
    sums = 10 * float(hidden.sum()) + 8 * float((shown == 1).sum())
    reads = products + sums
    for found, add, mac, read in zip(
        rows["spiking/naive"]["joules_per_image"][0],
        (0.1e-12, 0.9e-12),
        (0.3e-12, 4.6e-12),
        (1.25e-12, 50e-12),
        strict=True,
    ):
        by_hand = (sums * add + products * mac + reads * read) / len(images) + updates * mac
        assert found == pytest.approx(by_hand, rel=1e-9)
    assert rows["spiking/naive"]["writes_per_synapse"] == [None, None]
    assert all(0 < writes <= 12 for writes in rows["spiking/metaplastic"]["writes_per_synapse"])  # 2 tasks of 6 steps


def test_what_a_rule_gains_is_paired_over_the_seeds(runs):
    rows = gather([folder for folder in runs.iterdir() if folder.is_dir()])
    lines = table.gains(rows)
    ours, theirs = (np.array(rows[f"{name}/naive"]["average_accuracy"]) for name in ("spiking", "rate"))
    wanted = f"{100 * (ours - theirs).mean():+.1f} ["
    assert lines[2].split(" | ")[5].startswith(wanted)
    assert lines[2].split(" | ")[1] == "", "Adam is not compared with itself"
    assert table.overview(rows, "average_accuracy")[3].startswith("| levels |  | ")


def test_a_trial_is_the_run_that_it_stands_for(runs, monkeypatch, tmp_path):
    (tmp_path / "spiking.yaml").write_text((runs / "spiking.yaml").read_text())
    grid = {"spiking": {"naive": [{".training.lr": [0.01, 0.03]}], "metaplastic": [{"m": [1.0], "levels.count": [9]}]}}
    (tmp_path / "grid.yaml").write_text(yaml.safe_dump(grid, sort_keys=False))
    monkeypatch.setattr("sys.argv", ["choose", str(tmp_path / "grid.yaml"), "--seed", "3"])
    choose.main()
    choose.main()  # nothing is tried twice
    with (tmp_path / "choices.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["setting"] for row in rows] == [".training.lr=0.01", ".training.lr=0.03", "m=1.0 levels.count=9"]
    known = gather([runs / "spiking-seed3"])
    for row, learner in ((rows[0], "naive"), (rows[2], "metaplastic")):  # the file's own settings
        assert float(row["average"]) == pytest.approx(
            100 * known[f"spiking/{learner}"]["average_accuracy"][0], abs=0.005
        )
    assert rows[0]["average"] != rows[1]["average"]
