"""Time of pulsed updates of 512 × 512 devices.

    python experiments/benchmarks/crossbar_updates.py

Medians of processor time on one thread. aihwkit 1.2.0 (SoftBounds, 31 slots) took 2.65 s for the batch of 256 and 3.4 ms
for 32 samples of 5 % spikes on such a core (measured once, outside this repository; it needs a compiler to install).
"""

from __future__ import annotations

import statistics
import time

import torch

from hardware_targets.crossbar.updates import pulsed_update

PEER = {"dense": 2.65, "sparse": 3.4e-3}


def median(work, repeats: int) -> float:
    work()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return statistics.median(times)


def main() -> None:
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    w = 0.1 * torch.randn(512, 512, generator=generator)
    x, d = torch.rand(256, 512, generator=generator), torch.randn(256, 512, generator=generator)
    spikes, error = (torch.rand(32, 512, generator=generator) < 0.05).float(), d[:32]
    a, b = torch.rand(512, 512), torch.rand(512, 512)
    product = median(lambda: a @ b, 15)
    for name, batch in (("dense", (x, d)), ("sparse", (spikes, error))):
        took = median(lambda batch=batch: pulsed_update(w, *batch, generator, lr=0.01), 7)
        print(
            f"{name}, batch {len(batch[0])}: {took * 1e3:.1f} ms = {took / product:.0f} products of 512 x 512 x 512, "
            f"aihwkit {PEER[name] * 1e3:.1f} ms = {PEER[name] / took:.1f} x"
        )


if __name__ == "__main__":
    main()
