"""At which activity a convolution by events is faster than torch's: forward + weight gradient, in one thread.

Run: OMP_NUM_THREADS=1 python -m experiments.benchmarks.sparse_conv
"""

import torch
from torch.nn.functional import conv2d

from experiments.benchmarks.timing import interleaved
from neurospin.synapses import sparse_conv

SHAPES = ((320, 2, 34, 12, 5), (640, 16, 16, 16, 3), (160, 32, 16, 64, 3))  # samples, channels, size, outputs, kernel


def main():
    torch.set_num_threads(1)
    sparse_conv.DENSEST = 1.0
    for samples, channels, size, outputs, kernel in SHAPES:
        how = ((1, 1), (kernel // 2, kernel // 2), (1, 1))
        weight = torch.randn(outputs, channels, kernel, kernel, requires_grad=True)
        for rate in (0.01, 0.02, 0.05, 0.1):
            x = (torch.rand(samples, channels, size, size) < rate).float()
            routes = {"dense": conv2d, "events": sparse_conv.sparse_conv2d}
            g = torch.randn_like(conv2d(x, weight, None, *how))

            def gradient(route, x=x, w=weight, g=g, how=how):
                return torch.autograd.grad(route(x, w, None, *how), w, g)[0]

            dense, events = (gradient(route) for route in routes.values())
            torch.testing.assert_close(events, dense, rtol=1e-4, atol=1e-4 * float(dense.abs().max()))
            calls = {name: lambda route=route, run=gradient: run(route) for name, route in routes.items()}
            times = interleaved(calls, 5)
            a, b = (1e3 * times[name].cpu for name in calls)
            shape = f"{channels} x {size} x {size} to {outputs}, kernel {kernel}"
            print(f"{shape}, {100 * rate:.0f} % ones: dense {a:.1f} ms, events {b:.1f} ms, {a / b:.1f} times")


if __name__ == "__main__":
    main()
