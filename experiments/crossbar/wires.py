"""What wires cost a trained network, against the side of the arrays, and what three cures give back.

    nice python experiments/crossbar/wires.py
    python experiments/crossbar/table.py        # table and figure

Digits (scikit-learn), 64-256-10 LIF neurons with float weights, trained in software for 15 epochs. Weights are pairs of
conductances in the range of the 78 nm junction (109 to 297 µS), in tiles of at most N × N with 2.5 Ω per segment. As
programmed; with a least-squares line per column, from 200 training images; with conductances that allow for the
wires (arrays made for weights twice as large, so that there is head room); and after three epochs of training
through the wires. Finished cells are kept.
"""

from __future__ import annotations

import argparse
import csv
import fcntl
from collections.abc import Iterator
from pathlib import Path

import torch
from rich.progress import Progress
from torch.nn.functional import cross_entropy

import neurospin as ns
from hardware_targets.crossbar.array import Array, Wiring
from hardware_targets.crossbar.compensation import Chip, calibrate_columns, predistort
from hardware_targets.crossbar.devices import BoundedLinear
from neurospin.continual.learner import accuracy, child_seed
from neurospin.encode import Rate
from neurospin.files import replacing
from neurospin.plasticity import Through

PLACE = Path(__file__).parent / "results" / "wires.csv"
DEVICE = BoundedLinear(g_min=1 / 9199.2, g_max=1 / 3363.7, levels=None, programming_noise=0.0, read_noise=0.0)
WIRING = Wiring(2.5, 2.5)
SIDES, SEEDS = (8, 16, 32, 64, 128, 256), range(3)
COLUMNS = ("side", "seed", "cure", "accuracy", "matrix_error")


def made(seed: int) -> tuple[ns.Network, list[ns.Dense]]:
    """An untrained network, and its layers of weights."""
    generator = torch.Generator().manual_seed(child_seed(seed, 1))
    weights = [
        ns.Dense(a, b, weight=ns.Float(2.0), generator=generator) for a, b in ((64, 256), (256, 10))
    ]  # fmt: skip
    network = ns.Network(
        [weights[0], ns.LIF(256, 8e-3, surrogate=ns.ArcTan(5.0)), weights[1], ns.LI(10, 8e-3)], 1e-3
    )  # fmt: skip
    return network, weights


def train(network: ns.Network, rule: torch.optim.Optimizer, task, epochs: int, seed: int) -> None:
    """Passes over the training images."""
    generator, encode = torch.Generator().manual_seed(child_seed(seed, 2)), Rate(10, 1.0)
    for _ in range(epochs):
        for chosen in torch.randperm(len(task.train_y), generator=generator).split(100):
            spikes = encode(task.train_x[chosen], generator)
            rule.zero_grad()
            with rule.sampling() if isinstance(rule, Through) else torch.enable_grad():
                cross_entropy(network(spikes).output.mean(0), task.train_y[chosen]).backward()
            rule.step()


def measured(
    network: ns.Network,
    layers: list[ns.Dense],
    acting: list[torch.Tensor],
    task,
    seed: int,
    offsets: list | None = None,
) -> float:
    """Per cent of test images that the network decides rightly with other weights, and offsets of their columns."""
    kept = [layer.stored.detach().clone() for layer in layers]
    for layer, weight, offset in zip(layers, acting, offsets or [None, None], strict=True):
        layer.stored.data.copy_(weight)
        layer.bias = None if offset is None else torch.nn.Parameter(offset)
    right = accuracy(network, task, Rate(10, 1.0), child_seed(seed, 3))
    for layer, weight in zip(layers, kept, strict=True):
        layer.stored.data.copy_(weight)
        layer.bias = None
    return 100 * right


def cells(seed: int, sides: list[int]) -> Iterator[list[dict[str, object]]]:
    """All cures at one size after another, for a network that is trained once."""
    task = ns.continual.permuted("digits", tasks=1, seed=child_seed(seed, 0)).tasks[0]
    network, layers = made(seed)
    train(network, torch.optim.Adam(network.parameters(), lr=5e-3), task, 15, seed)
    exact = [layer.stored.detach().clone() for layer in layers]
    spikes = Rate(10, 1.0)(task.train_x[:200], torch.Generator().manual_seed(child_seed(seed, 4)))
    hidden = network(spikes, record=("spikes",)).spikes
    inputs = [spikes.flatten(0, 1), next(iter(hidden.values())).detach().flatten(0, 1)]
    for side in sides:
        for layer, weight in zip(layers, exact, strict=True):
            layer.stored.data.copy_(weight)
        yield cell(side, seed, task, network, layers, exact, inputs)


def cell(side: int, seed: int, task, network, layers, exact, inputs) -> list[dict[str, object]]:
    """All cures at one size."""
    settings = {"rows": side, "columns": side, "wiring": WIRING, "adc_bits": None}
    drawn = torch.Generator().manual_seed(child_seed(seed, 5))
    plain = [Array(w, DEVICE, drawn, **settings) for w in exact]
    roomy = [Array(2 * w, DEVICE, drawn, **settings) for w in exact]
    for array, w in zip(roomy, exact, strict=True):
        predistort(array, w, rounds=12)
    lines = [calibrate_columns(array, w, x) for array, w, x in zip(plain, exact, inputs, strict=True)]
    results = {
        "no wires": (exact, None),
        "as programmed": ([array.matrix() for array in plain], None),
        "a line per column": (
            [array.matrix() * line.gain[:, None] for array, line in zip(plain, lines, strict=True)],
            [line.offset for line in lines],
        ),
        "conductances for the wires": ([array.matrix() for array in roomy], None),
    }
    rows: list[dict[str, object]] = []
    for cure, (acting, offsets) in results.items():
        error = sum(float((a - w).square().sum()) for a, w in zip(acting, exact, strict=True))
        error = (error / sum(float(w.square().sum()) for w in exact)) ** 0.5
        score = measured(network, layers, acting, task, seed, offsets)
        rows.append(
            {"side": side, "seed": seed, "cure": cure, "accuracy": round(score, 3), "matrix_error": round(error, 5)}
        )
    chip = Chip(DEVICE, WIRING, side, side)
    train(network, Through(torch.optim.Adam(network.parameters(), lr=5e-3), chip), task, 3, child_seed(seed, 6))
    acting = [chip(layer.stored.detach(), drawn) for layer in layers]
    score = measured(network, layers, acting, task, seed)
    rows.append({"side": side, "seed": seed, "cure": "trained through the wires", "accuracy": round(score, 3)})
    return rows


def read() -> list[dict[str, object]]:
    """Rows of the sizes that are finished."""
    if not PLACE.is_file():
        return []
    with PLACE.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def keep(rows: list[dict[str, object]]) -> None:
    """Add rows to the file, whole or not at all; several processes may work on different seeds."""
    with PLACE.with_name(".tmp-wires.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        every = sorted([*read(), *rows], key=lambda row: (int(str(row["seed"])), int(str(row["side"]))))
        with replacing(PLACE) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            out = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            out.writeheader()
            out.writerows(every)


def main() -> None:
    torch.set_num_threads(1)
    given = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    given.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS), help="only these")
    seeds = given.parse_args().seeds
    done = {(int(str(row["seed"])), int(str(row["side"]))) for row in read()}
    with Progress() as bars:
        for seed in seeds:
            sides = [side for side in SIDES if (seed, side) not in done]
            if sides:
                for rows in bars.track(cells(seed, sides), total=len(sides), description=f"wires, seed {seed}"):
                    keep(rows)


if __name__ == "__main__":
    main()
