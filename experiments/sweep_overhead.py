"""What a sweep costs beside its cells: processor time of `neurospin sweep` against the same runs in warm loops.

    python experiments/sweep_overhead.py [--cells 200] [--workers 2] [--epochs 8]

The loops are as many processes as the sweep has workers, at the same time, so that both share the machine in the same way;
half of them run before the sweep and half after it, because machines drift. Of a loop the runs alone are counted; of the
sweep everything is: the command, its imports, and all that it starts.
"""

import argparse
import contextlib
import ctypes
import multiprocessing
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

from neurospin.runs.experiment import run
from neurospin.runs.sweep_file import load_sweep
from neurospin.runs.train import Silent

EXPERIMENT = {
    "name": "cell", "stream": {"tasks": 2}, "network": {"hidden": [64], "gain": [8, 16], "tau_mem": 8e-3, "tau_out": 8e-3},
    "learners": {"a": {"title": "A", "m": 25.0}}, "main": "a", "targets": [],
}  # fmt: skip


def loop(experiments, folder):
    """Processor seconds of each run, after one that is not counted."""
    run(experiments[0], Path(folder) / "warm", Silent(), report=False)
    found = []
    for number, experiment in enumerate(experiments):
        before = time.process_time()
        run(experiment, Path(folder) / str(number), Silent(), report=False)
        found.append(time.process_time() - before)
    return found


def loops(experiments, workers, folder):
    shares = [experiments[k::workers] for k in range(workers)]
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        found = pool.starmap(loop, [(share, str(folder / str(k))) for k, share in enumerate(shares) if share])
    return [seconds for share in found for seconds in share]


def sweep(folder, workers):
    """Processor seconds of the command and of everything that it started, and seconds by the clock."""
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER: what the sweep leaves behind is counted here, too
    before, began = spent(), time.perf_counter()
    words = [sys.executable, "-m", "neurospin", "sweep", "s.yaml", "--workers", str(workers)]
    subprocess.run(words, cwd=folder, check=True)
    wall = time.perf_counter() - began
    with contextlib.suppress(ChildProcessError):
        while True:
            os.waitpid(-1, 0)
    return spent() - before, wall


def spent():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=200)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=8, help="of each of two tasks: the size of a cell")
    given = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "e.yaml").write_text(yaml.safe_dump({**EXPERIMENT, "training": {"epochs": given.epochs}}))
        seeds = list(range(given.cells))
        (folder / "s.yaml").write_text(yaml.safe_dump({"name": "s", "experiment": "e.yaml", "seeds": seeds}))
        cells = [cell.experiment for cell in load_sweep(folder / "s.yaml").cells()]
        half = given.cells // 2
        bare = loops(cells[:half], given.workers, folder / "before")
        swept, wall = sweep(folder, given.workers)
        bare += loops(cells[half:], given.workers, folder / "after")
        told = f"{given.cells} cells of {statistics.median(bare):.2f} s, {given.workers} workers"
        print(f"{told}: loops {sum(bare):.1f} s, sweep {swept:.1f} s of processor time: {swept / sum(bare) - 1:+.1%}")
        print(f"the sweep by the clock: {wall:.1f} s; load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
