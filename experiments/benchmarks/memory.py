"""Peak memory of one forward and backward pass, each library in a process of its own.

`python -m experiments.benchmarks.memory LIBRARY MODE B N DEVICE T...` prints, for each number of steps T, the bytes
above what was there before.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from experiments.benchmarks.work import Work


def measure(name: str, works: Sequence[Work], device: str = "cpu") -> list[int] | str:
    """Bytes of every cell, which differ in time only; or why there are none."""
    first = works[0]
    words = [sys.executable, "-m", "experiments.benchmarks.memory", name, first.mode]
    words += [str(first.batch), str(first.size), device, *(str(work.time) for work in works)]
    environment = {
        **os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536", "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    done = subprocess.run(words, capture_output=True, text=True, env=environment)
    if done.returncode:
        return (done.stderr.strip().splitlines() or ["failed"])[-1]
    return json.loads(done.stdout.splitlines()[-1])


def status(key: str) -> int:
    """Bytes that the kernel tells of this process: `VmRSS` now, `VmHWM` at most."""
    found = re.search(rf"{key}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return 1024 * int(found[1])


def _peak(name: str, work: Work, device: str) -> int:
    import gc

    import torch

    from experiments.benchmarks.runners import runner
    from neurospin.scan import pool

    made = runner(name, work, device)
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        made.both()
        return torch.cuda.max_memory_allocated() - before
    if "jax" in name or name == "spyx":
        made.both()  # compiles at this size
    pool.clear()
    gc.collect()
    before = status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    made.both()
    return status("VmHWM") - before


def main(name: str, mode: str, batch: int, size: int, device: str, times: list[int]) -> None:
    """Measure every number of steps after a small pass that imports and compiles."""
    import torch

    from experiments.benchmarks.runners import runner

    torch.set_num_threads(1)
    runner(name, Work(mode, min(times[0], 20), 2, min(size, 32)), device).both()
    print(json.dumps([_peak(name, Work(mode, time, batch, size), device) for time in times]))


if __name__ == "__main__":
    library, mode, batch, size, where, *times = sys.argv[1:]
    main(library, mode, int(batch), int(size), where, [int(time) for time in times])
