"""A sweep on a real SLURM: one job is killed, one is told that its time is out; all cells are done after."""

import json
import os
import subprocess
import sys
import time

import pytest
import yaml

from tests.cluster import Cluster
from tests.test_sweep import BASE

pytest.importorskip("submitit")
pytestmark = [pytest.mark.slurm, pytest.mark.xdist_group("slurm")]


@pytest.fixture
def cluster(tmp_path):
    cluster = Cluster(tmp_path / "slurm")
    try:
        reason = cluster.start()
        if reason:
            pytest.skip(reason)
        yield cluster
    finally:
        cluster.stop()


def test_all_cells_are_done_after_a_killed_and_a_requeued_job(cluster, tmp_path):
    (tmp_path / "e.yaml").write_text(yaml.safe_dump({**BASE, "training": {"epochs": 600, "batch_size": 300}}))
    sweep = {
        "name": "s", "experiment": "e.yaml", "grid": {"training.lr": [1e-3, 1e-2, 1e-1]}, "retries": 1,
        "slurm": {"timeout_min": 30, "array_parallelism": 2},
    }  # fmt: skip
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(sweep))
    words = [
        sys.executable,
        "-m",
        "neurospin",
        "sweep",
        "s.yaml",
        "--on",
        "slurm",
        "--poll",
        "0.5",
        "--keep-every",
        "0",
    ]
    command = {"cwd": tmp_path, "env": cluster.environment, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    folder = tmp_path / "sweeps" / "s"
    going = subprocess.Popen(words, text=True, **command)
    try:
        first = wait_for(lambda: begun(folder))  # at once: a job that is done cannot be killed
        killed = jobs_of(folder)[first]
        cluster.call("scancel", "--signal=KILL", "--full", killed)
        requeued = jobs_of(folder)[wait_for(lambda: begun(folder) - {first})]
        cluster.call("scancel", "--signal=USR2", requeued)
        told, _ = going.communicate(timeout=400)
    finally:
        going.kill()
        going.communicate()
    assert going.returncode == 0 and "3 cells done, 0 were done before, 0 failed" in told, told
    assert f"job {killed}: it was killed; tried again" in told
    log = (folder / "slurm" / f"{requeued}_0_log.err").read_text() + (
        folder / "slurm" / f"{requeued}_0_log.out"
    ).read_text()
    assert f"Requeued job {requeued}" in log
    jobs = jobs_of(folder)
    rows = [json.loads(line)["cell"] for line in (folder / "slurm/jobs.jsonl").read_text().splitlines()]
    assert sorted(rows.count(name) for name in jobs) == [1, 1, 2]  # only the killed one was submitted again
    again = subprocess.run(words, text=True, timeout=120, **command)
    assert "0 cells done, 3 were done before" in again.stdout
    assert len((folder / "slurm/jobs.jsonl").read_text().splitlines()) == 4


def test_a_cluster_that_refuses_is_told_in_one_line(tmp_path):
    """sbatch is there, and there is no cluster behind it."""
    (tmp_path / "bin").mkdir()
    sbatch = tmp_path / "bin" / "sbatch"
    sbatch.write_text("#!/bin/sh\necho 'sbatch: error: Invalid partition name' >&2\nexit 1\n")
    sbatch.chmod(0o755)
    for name in ("srun", "squeue"):
        (tmp_path / "bin" / name).write_text("#!/bin/sh\nexit 0\n")
        (tmp_path / "bin" / name).chmod(0o755)
    (tmp_path / "e.yaml").write_text(yaml.safe_dump(BASE))
    (tmp_path / "s.yaml").write_text(yaml.safe_dump({"name": "s", "experiment": "e.yaml"}))
    environment = {**os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    words = [sys.executable, "-m", "neurospin", "sweep", "s.yaml", "--on", "slurm"]
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True)
    (told,) = [line for line in done.stderr.splitlines() if line.startswith("neurospin: ")]
    assert done.returncode == 1 and "Invalid partition name" in told and "Traceback" not in done.stderr


def jobs_of(folder):
    return {row["cell"]: row["job"] for row in map(json.loads, (folder / "slurm/jobs.jsonl").read_text().splitlines())}


def begun(folder):
    """Cells that have told of an epoch."""
    return {path.parent.name for path in folder.glob("cells/*/metrics.jsonl")}


def wait_for(found, seconds=240):
    end = time.time() + seconds
    while time.time() < end:
        if got := found():
            return min(got)
        time.sleep(0.05)
    raise AssertionError("no job began")
