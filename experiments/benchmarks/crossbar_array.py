"""Time of an analog product with 8-bit converters and read noise, of a write event, and of a spiking layer behind wires.

    python experiments/benchmarks/crossbar_array.py

Interleaved medians of processor time on one thread.
"""

from __future__ import annotations

import statistics
import time

import torch

from hardware_targets.crossbar import codes
from hardware_targets.crossbar.array import Array, Wiring
from hardware_targets.crossbar.devices import BoundedLinear, MagnetoIonicMTJ, Pulse
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
    size = {"rows": 512, "columns": 512, "adc_bits": 8}
    arrays = {
        "8-bit DAC and ADC, read noise exact in law": Array(w, BoundedLinear(), generator, dac_bits=8, **size),
        "ideal DAC, noise='column'": Array(w, BoundedLinear(), generator, noise="column", **size),
        "ideal DAC, noise='exact'": Array(w, BoundedLinear(), generator, **size),
    }
    for array in arrays.values():
        array.calibrate(x)
    got = medians({"product": lambda: x @ other, **{name: lambda a=a: a(x) for name, a in arrays.items()}})
    print(f"512 x 512, batch 256: product {got['product'] * 1e3:.2f} ms; integer products: {codes.available()}")
    for name in arrays:
        print(f"    {name}: {got[name] * 1e3:.2f} ms = {got[name] / got['product']:.2f} x (bar 1.5)")

    device = MagnetoIonicMTJ()
    state = device.initial((512, 512), generator)
    state["parallel"] = (torch.rand(512, 512, generator=generator) < 0.5).float()
    along = torch.rand(512, 512, generator=generator) < 0.5
    against = torch.where(state["parallel"] > 0.5, -0.285, 0.44) * ~along
    pulse = Pulse(against, 10e-9, 3.0 * along, 1e-2)
    held = [*state.values(), against, pulse.gate_volts]
    into = [torch.empty_like(t) for t in held]

    def one_pass() -> None:
        for source, copy in zip(held, into, strict=True):
            copy.copy_(source)

    got = medians({"pass": one_pass, "event": lambda: device.write(state, pulse, generator)})
    print(
        f"metaplastic write event, 512 x 512: {got['event'] * 1e3:.2f} ms, copying what it holds"
        f" {got['pass'] * 1e3:.2f} ms = {got['event'] / got['pass']:.1f} x (bar 6)"
    )

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
