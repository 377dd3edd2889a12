"""At which size and activity a layer by events is faster than by a dense product: Dense + LIF, forward + backward.

Sets `SMALL` and `DENSEST` of `neurospin.synapses.product`. The gradient goes to the weights; where the input needs one,
too, both routes have the same dense product more.
Run: OMP_NUM_THREADS=1 python -m experiments.benchmarks.event_driven
"""

from collections.abc import Callable

import torch

import neurospin as ns
from experiments.benchmarks.timing import interleaved
from neurospin.synapses import product

SHAPES = ((10, 8, 64, 64), (10, 100, 200, 10), (20, 16, 128, 128), (10, 100, 784, 200), (100, 16, 512, 512),
          (100, 16, 2048, 512))  # fmt: skip
RATES = (0.01, 0.05, 0.1, 0.2, 0.3, 0.4)


def route(net: ns.Network, x: torch.Tensor, g: torch.Tensor, small: float) -> Callable[[], None]:
    """Forward and backward, by events where there are more than `small` products."""

    def run() -> None:
        product.SMALL = small
        net.zero_grad()
        net(x).output.backward(g)

    return run


def main() -> None:
    torch.set_num_threads(1)
    product.DENSEST = 1.0
    for steps, batch, inputs, outputs in SHAPES:
        net = ns.Network([ns.Dense(inputs, outputs), ns.LIF(outputs)], dt=1e-3)
        g, told = torch.randn(steps, batch, outputs), []
        for rate in RATES:
            x = (torch.rand(steps, batch, inputs) < rate).float()
            calls = {"dense": route(net, x, g, float("inf")), "events": route(net, x, g, 0.0)}
            times = interleaved(calls, 5, lasts=0.02)
            told.append(f"{100 * rate:.0f} %: {times['dense'].cpu / times['events'].cpu:.2f}")
        number = steps * batch * inputs * outputs
        print(
            f"T {steps}, B {batch}, {inputs} to {outputs} ({number / 2**20:.1f} Mi products): dense / events",
            *told,
            sep="; ",
        )


if __name__ == "__main__":
    main()
