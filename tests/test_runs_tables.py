"""Runs side by side and in tables, against scipy's paired test and numbers made by hand."""

import json
import subprocess
import sys

import numpy as np
import pytest
from scipy.stats import ttest_rel
from typer.testing import CliRunner

import neurospin as ns
from neurospin.cli import app
from neurospin.runs.comparison import align, gain
from neurospin.runs.config import parse
from neurospin.runs.table import find, open_tables, query

duckdb = pytest.importorskip("duckdb")


def call(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def make(folder, seed, lr=1e-2, base=0.5, targets=(), finished=True):
    """A run folder with made-up results: learner a has accuracy `base` everywhere, learner b half of it."""
    learners = {"a": {"title": "A", "m": 3.0}, "b": {"title": "B", "rule": "ewc", "settings": {"strength": 2}}}
    content = {
        "name": "made", "seed": seed, "main": "a", "learners": learners, "targets": list(targets),
        "training": {"lr": lr}, "stream": {"tasks": 2},
    }  # fmt: skip
    folder.mkdir()
    (folder / "config.yaml").write_text(parse(content, "made").to_yaml())
    rows = [{"learner": n, "task": t, "epoch": 0, "loss": 1.0} for n in "ab" for t in (0, 1)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"lear')
    if finished:
        found = {}
        for name, share in (("a", 1.0), ("b", 0.5)):
            found[name] = {
                "title": name.upper(), "accuracy_matrix": [[base * share, 0.1], [base * share / 2, base * share]],
                "average_accuracy": base * share * 0.75, "learning_accuracy": base * share,
                "backward_transfer": -base * share / 2, "seconds": 1.0, "parameters": 10, "bits_per_synapse": 96,
                "forgetting": base * share / 2,
            }  # fmt: skip
        ran = {"available": True, "reason": "", "certificate": {
            "accuracy": {"before": 0.5, "after": 0.25}, "problems": [],
            "nodes": {"x": {"differing": 3, "total_spikes": 30}, "y": {"differing": 1, "total_spikes": 10}},
        }}  # fmt: skip
        missing = {"available": False, "reason": "no Python 3.10", "certificate": None}
        content = {"name": "made", "seed": seed, "main": "a", "learners": found, "versions": {"torch": "2.13.0"},
                   "targets": {name: missing if name == "lava" else ran for name in targets}}  # fmt: skip
        (folder / "results.json").write_text(json.dumps(content))
    return folder


BASE = {0: 0.6, 1: 0.7, 2: 0.9}


@pytest.fixture
def runs(tmp_path):
    """Three seeds of two step sizes, and one run that is not finished."""
    folders = [make(tmp_path / f"fast-{s}", s, 1e-2, b, ["loihi", "lava"] if s == 0 else []) for s, b in BASE.items()]
    folders += [make(tmp_path / f"slow-{s}", s, 1e-3, b - 0.1 - 0.02 * s) for s, b in BASE.items()]
    make(tmp_path / "going", 9, finished=False)
    return folders


def test_runs_that_differ_in_the_seed_alone_are_taken_together(runs):
    arms = align(runs)
    assert [arm.label for arm in arms] == ["a (lr=0.01)", "b (lr=0.01)", "a (lr=0.001)", "b (lr=0.001)"]
    assert all(arm.seeds == [0, 1, 2] for arm in arms)
    found = gain(arms[2], arms[0], "average_accuracy")
    ours, theirs = ([arm.values["average_accuracy"][s] for s in (0, 1, 2)] for arm in (arms[2], arms[0]))
    oracle = ttest_rel(ours, theirs)
    assert found.p_value == pytest.approx(oracle.pvalue, rel=1e-9)
    interval = oracle.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), rel=1e-9)
    assert found.difference == pytest.approx(-0.75 * np.mean([0.1, 0.12, 0.14]))


def test_seeds_are_paired_whatever_their_order_and_only_shared_ones_count(runs):
    arms = align([runs[2], runs[0], *runs[3:5]])
    one = gain(arms[2], arms[0], "learning_accuracy")
    assert one == pytest.approx(-0.1)  # only seed 0 is in both
    arms = align([runs[0], runs[4]])
    assert gain(arms[2], arms[0], "learning_accuracy") is None


def test_the_same_run_of_two_versions_makes_two_arms(tmp_path):
    arms = align([make(tmp_path / "old", 0, base=0.4), make(tmp_path / "new", 0, base=0.5)])
    assert [arm.label for arm in arms][::2] == [f"a ({tmp_path / 'old'})", f"a ({tmp_path / 'new'})"]


def test_compare_prints_one_table_and_draws_one_figure(runs, tmp_path):
    done = call("compare", *runs, "--figure", tmp_path / "c.svg")
    assert done.exit_code == 0, done.output
    assert "a (lr=0.001)" in done.stdout and "54.0" not in done.stdout
    assert "55.0 ± 11.5" in done.stdout  # 0.75 * (0.6, 0.7, 0.9)
    assert "not corrected for 3 comparisons" in " ".join(done.stdout.split())
    picture = (tmp_path / "c.svg").read_text()
    assert "paired with a (lr=0.01)" in picture and "accuracy on all tasks at the end (%)" in picture
    for words, told in (
        ((runs[0], runs[0]), "the same one twice"),
        ((tmp_path / "going",), "a finished run"),
        ((*runs, "--figure", tmp_path / "c.gif"), "ends in .svg, .png or .pdf"),
    ):
        refused = call("compare", *words)
        assert isinstance(refused.exception, ns.NeurospinError) and told in str(refused.exception)


def test_sql_reads_like_the_experiment_file(runs, tmp_path):
    database = open_tables(find([str(tmp_path / "*")]))
    sql = (
        "select training.lr, learner, m, avg(average_accuracy) a from results where finished group by all order by all"
    )
    names, rows = query(database, sql)
    assert names == ["lr", "learner", "m", "a"] and len(rows) == 4
    assert rows[2][:3] == (0.01, "a", 3.0) and rows[2][3] == pytest.approx(0.55)
    assert query(database, "select count(*), count(*) filter (finished) from results")[1] == [(14, 12)]
    assert query(database, "select settings->>'strength' from results where learner = 'b' limit 1")[1] == [("2",)]
    assert query(database, "select accuracy from tasks where run like '%fast-0' and learner = 'a' and after = 2")[
        1
    ] == [(0.3,), (0.6,)]
    assert query(database, "select count(*) from epochs")[1] == [(7 * 4,)]
    assert query(database, "select target, available, accuracy_after, differing, spikes from targets order by 1")[
        1
    ] == [("lava", False, None, None, None), ("loihi", True, 0.25, 4, 40)]


def test_the_parquet_file_is_what_duckdb_reads_back(runs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = call("results", "fast-*", tmp_path / "slow-*")
    assert done.exit_code == 0 and "results.parquet: 12 rows" in done.stdout
    read = duckdb.connect().execute(
        "select seed, network.hidden[1], average_accuracy from 'results.parquet' where main order by all"
    )
    assert [row[1] for row in read.fetchall()] == [256] * 6
    asked = call("results", "*-*", "--sql", "select count(*) as runs from results", "-o", "it's.csv")
    assert asked.exit_code == 0 and "12" in asked.stdout and (tmp_path / "it's.csv").read_text() == "runs\n12\n"
    left = sorted(p.name for p in tmp_path.iterdir() if p.is_file())
    assert left == ["it's.csv", "results.parquet"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("none-*",), "expected run folders, got none that match"),
        (("fast-*", "--sql", "select x from results"), "--sql: expected a query over results"),
        (("fast-*", "--sql", "selct"), "--sql: expected a query"),
        (("fast-*", "-o", "x.txt"), ".parquet, .csv, .json"),
        (("fast-*", "-o", "none/x.csv"), "an existing folder"),
    ],
)
def test_what_cannot_be_asked_is_told_in_one_line(runs, tmp_path, monkeypatch, words, told):
    monkeypatch.chdir(tmp_path)
    refused = call("results", *words)
    assert isinstance(refused.exception, ns.NeurospinError), refused.output
    assert told in str(refused.exception) and "\n" not in str(refused.exception)
    assert not list(tmp_path.glob("*.csv")) and not list(tmp_path.glob("*.txt"))


def test_a_spoilt_run_is_left_out_and_named(runs, tmp_path):
    (runs[0] / "results.json").write_text("{")
    (runs[1] / "results.json").write_text('{"learners": {}}')
    done = call("results", tmp_path / "*", "--sql", "select count(distinct run) from results")
    assert done.stderr.count("left out") == 2 and str(runs[0]) in done.stderr and "5" in done.stdout


def test_without_duckdb_the_install_line_is_told(tmp_path):
    code = "import sys; sys.modules['duckdb'] = None\nfrom neurospin.cli import main\nsys.argv[1:] = ['results', 'r']\nmain()"
    make(tmp_path / "r", 0)
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1 and "pip install 'neurospin[results]'" in done.stderr
    assert len(done.stderr.splitlines()) == 1 and not (tmp_path / "results.parquet").exists()
