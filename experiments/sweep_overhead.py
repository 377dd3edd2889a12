"""What a sweep costs beside its cells: processor time of `neurospin sweep` against the same runs in one warm loop.

    python experiments/sweep_overhead.py [--cells 200] [--workers 2]

Both are counted in processor seconds, children and imports of the sweep among them; of the loop, imports are not
counted. Cells are small on purpose (about a second): for longer ones the share is smaller.
"""

import argparse
import contextlib
import ctypes
import os
import resource
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
    "training": {"epochs": 8}, "learners": {"a": {"title": "A", "m": 25.0}}, "main": "a", "targets": [],
}  # fmt: skip


def spent(who):
    used = resource.getrusage(who)
    return used.ru_utime + used.ru_stime


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=200)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "e.yaml").write_text(yaml.safe_dump(EXPERIMENT))
        sweep = {"name": "s", "experiment": "e.yaml", "seeds": list(range(given.cells))}
        (folder / "s.yaml").write_text(yaml.safe_dump(sweep))
        cells = load_sweep(folder / "s.yaml").cells()
        run(cells[0].experiment, folder / "warm", Silent(), report=False)
        half = max(1, given.cells // 2)

        def loop(some, name):
            before = spent(resource.RUSAGE_SELF)
            for number, cell in enumerate(some):
                run(cell.experiment, folder / f"{name}{number}", Silent(), report=False)
            return spent(resource.RUSAGE_SELF) - before

        bare = loop(cells[:half], "first")  # half of the loop before the sweep, half after: the machine drifts
        before, began = spent(resource.RUSAGE_CHILDREN), time.perf_counter()
        words = [sys.executable, "-m", "neurospin", "sweep", "s.yaml", "--workers", str(given.workers)]
        ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER: what the sweep forked is counted here, too
        subprocess.run(words, cwd=folder, check=True)
        with contextlib.suppress(ChildProcessError):
            while True:
                os.waitpid(-1, 0)
        swept, wall = spent(resource.RUSAGE_CHILDREN) - before, time.perf_counter() - began
        bare += loop(cells[half:], "second")
        print(f"{given.cells} cells: loop {bare:.1f} s, sweep {swept:.1f} s of processor time: {swept / bare - 1:+.1%}")
        print(f"sweep with {given.workers} workers: {wall:.1f} s by the clock; load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
