"""The studies of experiments/crossbar: a study that is taken up again is one that was not stopped; pairing; shares."""

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.stats

import neurospin as ns

FOLDER = Path(__file__).resolve().parents[1] / "experiments" / "crossbar"


def loaded(name):
    spec = importlib.util.spec_from_file_location(f"crossbar_{name}", FOLDER / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def studies(monkeypatch, tmp_path):
    module = loaded("continual")
    tiny = replace(module.SCALES["digits, permuted"], sizes=(64, 12, 10), steps=2, epochs=1)
    tiny = replace(tiny, stream=lambda seed: module.some(ns.continual.permuted("digits", 2, seed), 200, 50, seed))
    monkeypatch.setitem(module.SCALES, "tiny", tiny)
    cells = [
        module.Cell("tiny", learner, seed)
        for learner in ("software, metaplastic", "magneto-ionic", "plain junction")
        for seed in (0, 1)
    ]
    cells.append(module.Cell("tiny", "magneto-ionic", 0, setting="aged", ages=(0.0, 1e12)))
    monkeypatch.setattr(module, "studies", lambda: {"trial": cells})
    monkeypatch.setattr(module, "RESULTS", tmp_path)
    return module


def rows(module, *arguments):
    sys.argv = ["continual.py", "trial", *arguments]
    module.main()
    return [{k: v for k, v in row.items() if k != "cpu_seconds"} for row in module.read("trial")]


def test_a_study_that_is_taken_up_again_is_one_that_was_not_stopped(studies, tmp_path, monkeypatch):
    whole = rows(studies)
    assert len(whole) == 8 and len({row["learner"] for row in whole}) == 3
    again = tmp_path / "again"
    again.mkdir()
    monkeypatch.setattr(studies, "RESULTS", again)
    first = rows(studies, "--seeds", "1")
    assert len(first) == 3
    ran = []
    run = studies.run
    monkeypatch.setattr(studies, "run", lambda cell: ran.append(cell.key) or run(cell))
    assert rows(studies) == whole
    assert len(ran) == 4 and all(key[3] == "0" for key in ran)
    ages = [float(row["average"]) for row in whole if row["setting"] == "aged"]
    fresh = next(row for row in whole if row["learner"] == "magneto-ionic" and row["seed"] == "0")
    assert ages[0] == float(fresh["average"]) and ages[1] < 30  # after 32 000 years: chance


def test_shares_and_intervals_of_the_tables_by_hand():
    table = loaded("table")
    made = [("software, metaplastic", (70.0, 74.0)), ("plain junction", (30.0, 34.0)), ("magneto-ionic", (66.0, 70.0))]
    given = [
        {"scale": "s", "learner": name, "seed": str(seed), "average": str(value)}
        for name, values in made
        for seed, value in enumerate(values)
    ]
    ionic = table.by_seed(given, learner="magneto-ionic")
    assert ionic == {0: 66.0, 1: 70.0}
    assert table.share(given, "s", ionic) == "90 % (90 to 90)"
    assert table.share(given, "s", {0: 66.0}) == "90 %"
    # two seeds: t(0.975, 1) = 12.706, standard error 2
    assert table.told(ionic.values()) == "68.0 ± 25.4"
    assert table.difference(ionic, table.by_seed(given, learner="plain junction")) == "+36.0 (+36.0 to +36.0)"


def test_the_interval_of_a_share_holds_the_ratios_whose_difference_may_be_none():
    table = loaded("table")
    rng = np.random.default_rng(0)
    y = 10 + rng.normal(size=5)
    x = 0.9 * y + rng.normal(size=5)
    low, high = (float(part) / 100 for part in table.between(x, y).split(" to "))
    for r, inside in ((low + 0.006, True), (high - 0.006, True), (low - 0.006, False), (high + 0.006, False)):
        assert (scipy.stats.ttest_1samp(x - r * y, 0).pvalue > 0.05) == inside
    assert table.between(y - y.mean() + 1, y - y.mean() + 0.01) == "any"
