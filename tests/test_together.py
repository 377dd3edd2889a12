"""Two processes under torchrun against one: the same networks, rules and losses to 1e-5, for every kind of rule."""

import json
import os
import subprocess
import sys

import pytest
import torch
import yaml
from safetensors.torch import load_file

from neurospin.continual.share import Share

LEARNERS = {
    "metaplastic": {"title": "hidden values", "m": 20.0},
    "mesu": {"title": "sampled", "rule": "mesu", "settings": {"samples": 2, "batch_size": 100}},
    "bimu": {"title": "sampled and binary", "rule": "bimu"},
    "ewc": {"title": "penalty", "rule": "ewc", "settings": {"strength": 30.0, "fisher": "empirical"}},
    "si": {"title": "penalty along the path", "rule": "si"},
    "replay": {"title": "memory", "rule": "replay", "settings": {"capacity": 50}},
    "levels": {"title": "draws in the step", "rule": "naive", "levels": {"count": 33, "bound": 2.0}},
}
EXPERIMENT = {
    "name": "together",
    "stream": {"tasks": 2, "samples": 361},
    "encode": {"steps": 4},
    "network": {"hidden": [12], "gain": [8, 16], "tau_mem": 8e-3, "tau_out": 8e-3},
    "training": {"epochs": 2, "batch_size": 60},  # the last batch is one sample: nothing is left for the second process
    "learners": LEARNERS,
    "main": "metaplastic",
    "targets": [],
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    place = tmp_path_factory.mktemp("together")
    (place / "e.yaml").write_text(yaml.safe_dump(EXPERIMENT))
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    run = ["-m", "neurospin", "run", "e.yaml", "--output"]
    several = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *run, "two"]
    for words in ([sys.executable, *run, "one"], several):
        done = subprocess.run(words, cwd=place, capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stderr[-3000:]
        assert done.stdout.count("report:") == 1  # only the first process speaks
    return place / "one", place / "two"


@pytest.mark.parametrize("learner", LEARNERS)
def test_networks_and_rules_are_those_of_one_process(folders, learner):
    one, two = (load_file(folder / "checkpoints" / f"{learner}-2.safetensors") for folder in folders)
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=0, atol=1e-5)
    rules = [folder / "checkpoints" / f"{learner}-2.rule.pt" for folder in folders]
    if learner == "metaplastic":
        return  # nothing is kept between tasks
    one, two = (torch.load(place, weights_only=True) for place in rules)
    for state, other in zip(one["state"].values(), two["state"].values(), strict=True):
        for key, value in state.items():
            if torch.is_tensor(value):
                scale = max(1.0, float(value.abs().max()))
                torch.testing.assert_close(
                    other[key], value, rtol=0, atol=1e-5 * scale, msg=lambda m, k=key: f"{k}: {m}"
                )


def test_losses_and_accuracies_are_those_of_one_process(folders):
    one, two = ([json.loads(line) for line in (f / "metrics.jsonl").read_text().splitlines()] for f in folders)
    assert len(one) == len(two) == 4 * len(LEARNERS)
    for mine, theirs in zip(one, two, strict=True):
        for key in ("learner", "task", "epoch"):
            assert mine[key] == theirs[key]
        for key in ("loss", "accuracy", "spikes_per_neuron"):
            assert theirs[key] == pytest.approx(mine[key], abs=1e-5), (mine, key)
    matrices = [
        {n: one["accuracy_matrix"] for n, one in json.loads((f / "results.json").read_text())["learners"].items()}
        for f in folders
    ]
    assert matrices[0] == matrices[1]


def test_every_sample_is_in_one_part_and_weights_add_up():
    for count in (1, 2, 7, 60):
        for world in (1, 2, 3, 8):
            parts = [Share(rank, world).part(count) for rank in range(world)]
            taken = [i for part, weight in parts if weight for i in range(count)[part]]
            assert taken == list(range(count)) and sum(weight for _, weight in parts) == pytest.approx(1)
            assert all(len(range(count)[part]) >= 1 for part, _ in parts)
