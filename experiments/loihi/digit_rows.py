"""A recurrent CubaLIF network that reads digits row by row, in float and in Loihi's fixed point.

    nice python experiments/loihi/digit_rows.py [--epochs 40] [--fine 3] [--seed 0]

The 8 × 8 digits of scikit-learn, one row of eight pixels for six steps after another, as Bernoulli spikes: 1437
digits for training, the others for testing, drawn five times each, so that a tenth of a point is more than one
sample. Trained in float, then run on the emulator, then fine-tuned with `ns.quantise`.
"""

from __future__ import annotations

import argparse
import time

import torch
from torch import Tensor, nn

import neurospin as ns

HOLD, DRAWS, HIDDEN = 6, 5, 96


def rows(x: Tensor, generator: torch.Generator) -> Tensor:
    """Spikes `(48, batch, 8)` of images `(batch, 64)`."""
    line = x.reshape(-1, 8, 8).permute(1, 0, 2).repeat_interleave(HOLD, 0)
    return (torch.rand(line.shape, generator=generator) < 0.8 * line).float()


def network(seed: int) -> ns.Network:
    torch.manual_seed(seed)
    net = ns.Network(
        [
            ns.Dense(8, HIDDEN, bias=True),
            ns.Recurrent(ns.CubaLIF(HIDDEN, tau_mem=20e-3, tau_syn=5e-3), ns.Dense(HIDDEN, HIDDEN)),
            ns.Dense(HIDDEN, 10),
            ns.CubaLI(10, tau_mem=20e-3, tau_syn=5e-3),
        ],
        dt=1e-3,
    )
    for name, block in net.named_blocks():
        if isinstance(block, ns.Dense):
            block.stored.data.mul_({"dense1": 16, "dense2": 16}.get(name, 4))
    return net


def train(model: nn.Module, x: Tensor, y: Tensor, epochs: int, lr: float, seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(model.parameters(), lr=lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs)
    for epoch in range(epochs):
        total = 0.0
        for batch in torch.randperm(len(x), generator=draw).split(64):
            logits = model(rows(x[batch], draw)).output[-HOLD:].mean(0) * 10
            loss = nn.functional.cross_entropy(logits, y[batch])
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            total += loss.item() * len(batch)
        schedule.step()
        print(f"  epoch {epoch + 1}: loss {total / len(x):.4f}", flush=True)


def compare(net: ns.Network, x: Tensor, y: Tensor) -> str:
    """Accuracy in float and in fixed point, on the same spikes, and how many hidden spikes differ."""
    with torch.no_grad():
        ours, chip = net(x, record=["spikes"]), ns.quantise(net, "loihi")(x, record=["spikes"])
    accuracy = [100 * (run.output[-HOLD:].mean(0).argmax(-1) == y).float().mean().item() for run in (ours, chip)]
    name = next(iter(net.neurons()))
    differ = (ours.spikes[name] != chip.spikes[name]).float().sum() / ours.spikes[name].sum()
    return (
        f"float {accuracy[0]:.2f} %, fixed point {accuracy[1]:.2f} % ({accuracy[1] - accuracy[0]:+.2f} points) of "
        f"{len(y)} samples; {100 * differ.item():.1f} hidden spikes differ of 100"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--fine", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    torch.set_num_threads(1)
    data = ns.data.digits(given.seed)
    net, start = network(given.seed), time.process_time()
    train(net, data.train_x, data.train_y, given.epochs, 1e-2, given.seed + 1)
    draw = torch.Generator().manual_seed(given.seed + 2)
    x = torch.cat([rows(data.test_x, draw) for _ in range(DRAWS)], 1)
    y = data.test_y.repeat(DRAWS)
    print(f"trained in float ({time.process_time() - start:.0f} s of processor): {compare(net, x, y)}", flush=True)
    start = time.process_time()
    train(ns.quantise(net, "loihi"), data.train_x, data.train_y, given.fine, 1e-3, given.seed + 3)
    print(f"fine-tuned on loihi ({time.process_time() - start:.0f} s): {compare(net, x, y)}")


if __name__ == "__main__":
    main()
