"""Time of the exact wire solver against a matrix product of 100·N³ operations, and against other solvers.

    python experiments/benchmarks/crossbar_wires.py [--peers PYTHON]

Interleaved medians of processor time on one thread. PYTHON is an interpreter that has badcrossbar. CrossSim 3.2.0 (not on
PyPI; default settings, tolerance 1e-3) took 0.28 s for 256 inputs at 64 and 5.8 s at 128 on such a core, measured once,
outside this repository.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import time

import torch

from hardware_targets.crossbar.wires import effective_conductance

CROSSSIM = {128: 5.8}

PEER = """
import sys, time, unittest.mock
sys.modules["cairo"] = unittest.mock.MagicMock()  # only its plots need it
import logging; logging.disable(logging.CRITICAL)
import numpy as np, badcrossbar
r = np.random.default_rng(0)
n = int(sys.argv[1])
resistances, volts = 1 / (1e-5 + 9e-5 * r.random((n, n))), r.random((n, 256))
best = 1e9
for _ in range(3):
    start = time.process_time()
    badcrossbar.compute(volts, resistances, 1.0)
    best = min(best, time.process_time() - start)
print(best)
"""


def seconds(work) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def medians(works: dict, repeats: int) -> dict[str, float]:
    for work in works.values():
        work()
    times = [{name: seconds(work) for name, work in works.items()} for _ in range(repeats)]
    return {name: statistics.median(t[name] for t in times) for name in works}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", help="a Python with badcrossbar")
    parser.add_argument("--repeats", type=int, default=15)
    given = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    torch.empty(2**22).fill_(
        0
    )  # as in any longer program: the allocator then keeps freed memory instead of returning it
    for n, bar in ((128, 6.0), (256, 5.0), (512, 3.2)):
        side = round((100 * n**3 / 2) ** (1 / 3))
        a, g = torch.rand(side, side), 1e-5 + 9e-5 * torch.rand(n, n)
        learned = g.clone().requires_grad_()

        def train(g=learned) -> None:
            effective_conductance(g, 1.0, 1.0).sum().backward()

        works = {
            "product": lambda a=a: a @ a,
            "g_eff": lambda g=g: effective_conductance(g, 1.0, 1.0),
            "forward + backward": train,
        }
        got = medians(works, given.repeats if n < 512 else max(3, given.repeats // 3))
        single, double = effective_conductance(g, 1.0, 1.0), effective_conductance(g.double(), 1.0, 1.0)
        error = float((single - double).abs().max() / double.abs().max())
        print(
            f"{n} x {n}: product {got['product'] * 1e3:.1f} ms, g_eff {got['g_eff'] * 1e3:.1f} ms"
            f" = {got['g_eff'] / got['product']:.2f} x (bar {bar}), forward + backward"
            f" {got['forward + backward'] / got['g_eff']:.2f} x g_eff (bar 6), float32 error {error:.1e}"
        )
        if n in CROSSSIM:
            print(f"    CrossSim, 256 inputs: {CROSSSIM[n]} s as measured once = {CROSSSIM[n] / got['g_eff']:.0f} x")
        if given.peers and n <= 256:
            told = subprocess.run([given.peers, "-c", PEER, str(n)], capture_output=True, text=True, check=True)
            print(
                f"    badcrossbar, 256 inputs: {float(told.stdout):.2f} s = {float(told.stdout) / got['g_eff']:.0f} x"
            )


if __name__ == "__main__":
    main()
