"""Time of an analog product with 8-bit converters and read noise, and of a spiking layer behind wires.

    python experiments/benchmarks/crossbar_array.py

Interleaved medians of processor time on one thread.
"""

from __future__ import annotations

import statistics
import time

import torch

from hardware_targets.crossbar.array import Array, Wiring
from hardware_targets.crossbar.devices import BoundedLinear
from hardware_targets.crossbar.wires import effective_conductance


def medians(works: dict, repeats: int = 41) -> dict[str, float]:
    times: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(repeats + 1):
        for name, work in works.items():
            start = time.process_time()
            work()
            if turn:
                times[name].append(time.process_time() - start)
    return {name: statistics.median(each) for name, each in times.items()}


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    torch.empty(2**22).fill_(
        0
    )  # as in any longer program: the allocator then keeps freed memory instead of returning it
    generator = torch.Generator().manual_seed(0)
    w, x = torch.randn(512, 512), torch.rand(256, 512)
    other = w.mT.contiguous()
    size = {"rows": 512, "columns": 512, "dac_bits": 8, "adc_bits": 8}
    column, exact = (Array(w, BoundedLinear(), generator, noise=noise, **size) for noise in ("column", "exact"))
    for array in (column, exact):
        array.calibrate(x)
    got = medians({"product": lambda: x @ other, "column": lambda: column(x), "exact": lambda: exact(x)})
    print(f"512 x 512, batch 256: product {got['product'] * 1e3:.2f} ms, 8-bit with read noise")
    for name in ("column", "exact"):
        print(f"    noise={name!r}: {got[name] * 1e3:.2f} ms = {got[name] / got['product']:.2f} x (bar 1.5)")
    spread = (x.square() @ exact._variance[0]).sqrt()
    rough = x.square().sum(1, keepdim=True).sqrt() * exact._column[0].sqrt()
    print(f"    noise='column': standard deviation off by {float((rough / spread - 1).abs().max()):.1%} at most")

    w, spikes = torch.randn(128, 128), (torch.rand(100, 32, 128) < 0.05).float()
    g = 1e-5 + 9e-5 * torch.rand(128, 128)
    layer = Array(w, BoundedLinear(), generator, wiring=Wiring(1.0, 1.0))

    def fresh() -> None:
        layer.program(w)
        layer(spikes)

    works = {"refresh": lambda: effective_conductance(g, 1.0, 1.0), "layer": lambda: layer(spikes), "fresh": fresh}
    got = medians(works)
    print(
        f"128 x 128, 100 steps x 32, wires: refresh {got['refresh'] * 1e3:.2f} ms, layer"
        f" {got['layer'] / got['refresh']:.2f} x, programming and both refreshes included"
        f" {got['fresh'] / got['refresh']:.2f} x (bar 4)"
    )


if __name__ == "__main__":
    main()
