"""Peak memory of one forward and backward pass, in a process of its own.

`python -m experiments.benchmarks.memory LIBRARY MODE T B N` prints bytes above what was there before.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from experiments.benchmarks.work import Work


def measure(name: str, work: Work, device: str = "cpu") -> int | str:
    """Bytes, or why there are none."""
    words = [sys.executable, "-m", "experiments.benchmarks.memory", name, work.mode]
    words += [str(work.time), str(work.batch), str(work.size), device]
    environment = {
        **os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536", "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    done = subprocess.run(words, capture_output=True, text=True, env=environment)
    if done.returncode:
        return (done.stderr.strip().splitlines() or ["failed"])[-1]
    return int(done.stdout.split()[-1])


def _status(key: str) -> int:
    found = re.search(rf"{key}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return 1024 * int(found[1])


def _peak(name: str, work: Work, device: str) -> int:
    import gc

    import torch

    from experiments.benchmarks.runners import runner

    torch.set_num_threads(1)
    runner(name, Work(work.mode, min(work.time, 20), 2, min(work.size, 32)), device).both()  # imports and compiles
    made = runner(name, work, device)
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        made.both()
        return torch.cuda.max_memory_allocated() - before
    if "jax" in name or name == "spyx":
        made.both()  # compiles at this size
    gc.collect()
    before = _status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    made.both()
    return _status("VmHWM") - before


if __name__ == "__main__":
    library, mode, *numbers, where = sys.argv[1:]
    print(_peak(library, Work(mode, *map(int, numbers)), where))
