"""Kill −9: at a write, in the middle of a write, at any time. What is gone on with is what would have been, bit for bit."""

import random
import signal
import time

import pytest

from experiments.kill_and_resume import content
from neurospin.runs import config, experiment
from neurospin.runs.train import Silent
from tests.killing import TINY, finish, start

pytestmark = pytest.mark.xdist_group("kill")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that nobody stops: what it holds, and how many writes it took without its report."""
    folder = tmp_path_factory.mktemp("kill") / "whole"
    assert finish(start(folder, report=True)) == 0
    assert finish(start(folder.with_name("again"))) == 0
    return content(folder), int(folder.with_name("again.writes").read_text())


def equal(folder, whole, report=False):
    found = content(folder)
    wanted = {name: value for name, value in whole.items() if report or not name.endswith(".svg")}
    assert found.keys() == wanted.keys()
    assert [name for name in wanted if found[name] != wanted[name]] == []
    assert (folder / "report.html").is_file() == report


@pytest.mark.parametrize("share", [0.01, 0.1, 0.3, 0.55, 0.75, 0.9, 0.99])
def test_killed_at_a_write(whole, tmp_path, share):
    folder, at = tmp_path / "run", max(1, round(share * whole[1]))
    assert finish(start(folder, die_at=at)) == -signal.SIGKILL
    assert finish(start(folder)) == 0
    equal(folder, whole[0])


@pytest.mark.parametrize(
    ("largest", "torn"), [(300, "config.yaml"), (4_000, "checkpoints"), (15_600, ".svg"), (90_000, "report.html")]
)
def test_killed_in_the_middle_of_a_write(whole, tmp_path, largest, torn):
    folder, report = tmp_path / "run", largest > 4_000
    if report:
        assert finish(start(folder)) == 0
    assert finish(start(folder, largest=largest, report=report)) == -signal.SIGXFSZ
    left = [p for p in folder.rglob(".tmp-*") if p.is_file()]
    assert len(left) == 1 and torn in str(left[0]) and left[0].stat().st_size == largest
    assert finish(start(folder, report=report)) == 0
    equal(folder, whole[0], report)


def test_killed_while_a_line_of_metrics_is_written(whole, tmp_path):
    folder = tmp_path / "run"
    assert finish(start(folder, die_at=whole[1] // 2)) == -signal.SIGKILL
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"learner": "a", "task": 1, "ep')
    assert finish(start(folder)) == 0
    equal(folder, whole[0])


def test_killed_again_and_again_at_any_time(whole, tmp_path):
    folder, chance = tmp_path / "run", random.Random(0)
    metrics, deaths = folder / "metrics.jsonl", 0
    for rows in (0, 1, 2, 4, 5, 7):  # of eight epochs
        child = start(folder)
        while child.is_alive() and (len(metrics.read_text().splitlines()) if metrics.is_file() else 0) < rows:
            time.sleep(0.002)
        time.sleep(chance.uniform(0, 0.03))
        child.kill()
        deaths += finish(child) == -signal.SIGKILL
    assert deaths >= 2
    assert finish(start(folder)) == 0
    equal(folder, whole[0])


@pytest.mark.parametrize("largest", [300, 4_000])
def test_a_full_disk_is_told_and_room_mends_it(whole, tmp_path, largest):
    folder = tmp_path / "run"
    assert finish(start(folder, largest=largest, full=True)) == 1
    told = folder.with_name("run.log").read_text().strip().splitlines()
    assert len(told) == 1 and "File too large. Fix: make room, then go on" in told[0], told
    assert not list(folder.rglob(".tmp-*"))
    assert finish(start(folder)) == 0
    equal(folder, whole[0])


def test_a_spoilt_checkpoint_is_told_and_the_one_before_is_taken(whole, tmp_path):
    folder = tmp_path / "run"
    assert finish(start(folder, die_at=round(0.9 * whole[1]))) == -signal.SIGKILL
    for name in ("a-2.safetensors", "b-2.rule.pt"):
        place = folder / "checkpoints" / name
        place.write_bytes(place.read_bytes()[:-200])
    with pytest.warns(UserWarning, match=r"-2.* The task before is taken instead"):
        experiment.run(config.parse(TINY, "test"), folder, Silent(), report=False)
    equal(folder, whole[0])
    for name in ("a-1.safetensors", "a-2.safetensors"):
        (folder / "checkpoints" / name).write_bytes(b"")
    (folder / "results.json").unlink()
    with (
        pytest.warns(UserWarning, match="The task before"),
        pytest.raises(Exception, match=r"expected a state to go on from.* Fix: remove .*checkpoints to begin again"),
    ):
        experiment.run(config.parse(TINY, "test"), folder, Silent(), report=False)


def test_two_processes_in_one_folder(whole, tmp_path):
    folder = tmp_path / "run"
    first = start(folder)
    while not (folder / "metrics.jsonl").is_file():
        time.sleep(0.01)
    first_is_at = f"process {first.pid} on"
    with pytest.raises(Exception, match=rf"nothing else is at work, got one held by {first_is_at}"):
        experiment.run(config.parse(TINY, "test"), folder, Silent(), report=False)
    assert finish(first) == 0
    equal(folder, whole[0])
