"""Peak memory of LIF neurons, forward and backward, in arrays of time × batch × neurons, for every memory mode.

`python -m experiments.scan_memory` (Linux) runs each mode in a process of its own: growth of the peak resident
size over one pass of a block of neurons, and of a row of eight layers (Dense + LIF, 5 % input spikes). Input and the
gradient that is handed in are not counted.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from pathlib import Path

from experiments.benchmarks.memory import status

TIME, BATCH, NEURONS = 500, 16, 512


def peak(memory: str, layers: int) -> float:
    """Arrays, in this process."""
    import torch

    import neurospin as ns

    torch.set_num_threads(1)

    def run(size: int) -> None:
        if layers:
            blocks = [(ns.Dense(size, size), ns.LIF(size, tau_mem=10e-3, r=50.0, memory=memory)) for _ in range(layers)]
            net, x = (
                ns.Network([b for pair in blocks for b in pair], dt=1e-3),
                torch.rand(TIME, BATCH, size).lt(0.05).float(),
            )
        else:
            neurons = ns.LIF(size, tau_mem=10e-3, r=10.0, dt=1e-3, memory=memory)
            x = (0.4 * torch.randn(TIME, BATCH, size)).requires_grad_()
        g = torch.randn(TIME, BATCH, size)
        gc.collect()
        before.append(status("VmRSS"))
        Path("/proc/self/clear_refs").write_text("5")
        (net(x).output if layers else neurons(x)[0]).backward(g)

    before: list[int] = []
    run(4)  # imports and compiles
    run(NEURONS)
    return (status("VmHWM") - before[-1]) / (4 * TIME * BATCH * NEURONS)


def measure(memory: str, layers: int = 0) -> float:
    """Arrays, in a process of its own; of a block of neurons alone, or of so many layers."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MALLOC_MMAP_THRESHOLD_": "65536"}
    words = [sys.executable, "-m", "experiments.scan_memory", memory, str(layers)]
    return float(subprocess.run(words, capture_output=True, text=True, env=environment, check=True).stdout)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(f"{peak(sys.argv[1], int(sys.argv[2])):.2f}")
    else:
        for mode in ("float32", "bfloat16", "recompute"):
            print(f"{mode}: neurons {measure(mode):.2f}, eight layers {measure(mode, 8):.2f}")
