"""A whole training step (forward, backward, Adam) of a snnTorch model, as its user wrote it and accelerated.

784-256-10, Leaky neurons with snnTorch's defaults, T = 25, B = 128, as in snnTorch's fifth tutorial.
Run: OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 python experiments/benchmarks/accelerate_training_step.py
"""

import statistics
import time
import warnings

import torch
from torch import nn

import neurospin as ns

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import snntorch as snn

STEPS, BATCH, ROUNDS = 25, 128, 9


class Net(nn.Module):
    """As in the tutorial, with an input that changes over time."""

    def __init__(self):
        super().__init__()
        self.fc1, self.lif1 = nn.Linear(784, 256), snn.Leaky(0.9)
        self.fc2, self.lif2 = nn.Linear(256, 10), snn.Leaky(0.9)

    def forward(self, x):
        mem1, mem2 = self.lif1.init_leaky(), self.lif2.init_leaky()
        spikes, membranes = [], []
        for step in range(x.size(0)):
            spk1, mem1 = self.lif1(self.fc1(x[step]), mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            spikes.append(spk2)
            membranes.append(mem2)
        return torch.stack(spikes), torch.stack(membranes)


def main():
    torch.manual_seed(0)
    torch.set_num_threads(1)
    net = Net()
    x, y = (torch.rand(STEPS, BATCH, 784) < 0.1).float(), torch.randint(0, 10, (BATCH,))
    fast = ns.accelerate(net, x)
    print(fast.report)
    with torch.no_grad():
        print("spikes that differ:", int((net(x)[0] != fast(x)[0]).sum()), "of", net(x)[0].numel())
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-4)

    def train(model):
        start = time.process_time()
        spikes, membranes = model(x)
        loss = nn.functional.cross_entropy(membranes.flatten(0, 1), y.repeat(STEPS)) + 0 * spikes.sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return 1e3 * (time.process_time() - start)

    def loops(model):  # the neurons alone: what is left is the matrix products, which both have
        current = torch.randn(STEPS, BATCH, 256, requires_grad=True)
        start = time.process_time()
        model(current).sum().backward()
        return 1e3 * (time.process_time() - start)

    alone = nn.Sequential(snn.Leaky(0.9, init_hidden=True))
    fast_alone = ns.accelerate(alone, torch.zeros(2, 256))

    def looped(current):
        alone[0].reset_mem()
        return torch.stack([alone(c) for c in current])

    pairs = {"training step": (train, net, fast), "256 neurons alone": (loops, looped, fast_alone)}
    for name, (measure, theirs, ours) in pairs.items():
        for model in (theirs, ours):
            measure(model)
        rounds = [(measure(theirs), measure(ours)) for _ in range(ROUNDS)]
        a, b = (statistics.median(column) for column in zip(*rounds, strict=True))
        print(f"{name}: {a:.1f} ms as written, {b:.1f} ms accelerated, {a / b:.1f} times faster (CPU time, one thread)")


if __name__ == "__main__":
    main()
