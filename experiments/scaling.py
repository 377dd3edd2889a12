"""What grows with what: processor seconds of training and of testing by network size, time, tasks and seeds.

    python experiments/scaling.py

One core, digits (1437 training and 360 test images of 64 pixels), batches of 100. Every number is the median of three.
"""

import statistics
import time

import torch

from neurospin.continual import learn, permuted
from neurospin.continual.learner import accuracy
from neurospin.encode import Rate
from neurospin.plasticity import make
from neurospin.runs.config import NetworkConfig
from neurospin.runs.train import build_network


def spent(work):
    work()
    found = []
    for _ in range(3):
        before = time.process_time()
        work()
        found.append(time.process_time() - before)
    return statistics.median(found)


def row(hidden, steps, rule="metaplastic"):
    stream, encode = permuted("digits", 1), Rate(steps, 1.0)
    config = NetworkConfig(hidden=hidden, gain=[8.0] * (len(hidden) + 1), tau_mem=8e-3, tau_out=8e-3)
    network = build_network(config, "lif", stream.inputs, stream.classes, 0)
    optimizer = make(rule, network.parameters())
    epoch = spent(lambda: learn(network, stream, optimizer, encode=encode, epochs=1, batch_size=100))
    test = spent(lambda: accuracy(network, stream.tasks[0], encode, 0))
    synapses = sum(p.numel() for p in network.parameters())
    state = optimizer.state_bits_per_synapse * synapses / 8e6
    print(f"{hidden!s:12} {steps:5} {synapses:9} {epoch - test:9.2f} {test:8.3f} {state:9.2f}", flush=True)


def main():
    torch.set_num_threads(1)
    print("hidden       steps  synapses  epoch (s) test (s) state (MB)")
    for hidden in ([64], [256], [1024], [256, 256]):
        row(hidden, 20)
    for steps in (5, 10, 40, 80):
        row([256], steps)


if __name__ == "__main__":
    main()
