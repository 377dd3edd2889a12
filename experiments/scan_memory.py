"""Peak memory of a LIF scan, forward and backward, in arrays of time × batch × neurons, for every memory mode.

`python -m experiments.scan_memory` (Linux) runs each mode in a process of its own: growth of the peak resident
size over one pass, the input and the gradient that is handed in not counted.
"""

from __future__ import annotations

import gc
import os
import re
import subprocess
import sys
from pathlib import Path

TIME, BATCH, NEURONS = 500, 16, 512


def _status(key: str) -> int:
    found = re.search(rf"{key}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return 1024 * int(found[1])


def peak(memory: str) -> float:
    """Arrays, in this process."""
    import torch

    import neurospin as ns

    torch.set_num_threads(1)

    def run(size: int) -> None:
        neurons = ns.LIF(size, tau_mem=10e-3, r=10.0, dt=1e-3, memory=memory)
        x = (0.4 * torch.randn(TIME, BATCH, size)).requires_grad_()
        g = torch.randn(TIME, BATCH, size)
        gc.collect()
        before.append(_status("VmRSS"))
        Path("/proc/self/clear_refs").write_text("5")
        neurons(x)[0].backward(g)

    before: list[int] = []
    run(4)  # imports and compiles
    run(NEURONS)
    return (_status("VmHWM") - before[-1]) / (4 * TIME * BATCH * NEURONS)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(f"{peak(sys.argv[1]):.2f}")
    else:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "MALLOC_MMAP_THRESHOLD_": "65536"}
        for mode in ("float32", "bfloat16", "recompute"):
            words = [sys.executable, "-m", "experiments.scan_memory", mode]
            print(
                mode, subprocess.run(words, capture_output=True, text=True, env=environment, check=True).stdout.strip()
            )
