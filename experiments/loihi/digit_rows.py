"""A recurrent CubaLIF network that reads MNIST row by row, in float and in Loihi's fixed point.

    NEUROSPIN_DATA=FOLDER python experiments/loihi/digit_rows.py train --seed 0     # one seed, minutes; OUT/0.json
    python experiments/loihi/digit_rows.py table                                    # all of OUT, into digit_rows.md

28 pixels a row, two steps a row, as Bernoulli spikes; 60 000 digits for training, the 10 000 test digits for testing, on
the same spikes every time. Trained in float, then rounded in each of four ways, then fine-tuned with
`ns.quantise` on a third of the digits (`--fine 0` leaves that out). Calibration looks at 64 training digits and at no label.
An interrupted run goes on after its last epoch.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import nir
import numpy as np
import torch
from scipy import stats
from torch import Tensor, nn

import neurospin as ns

HOLD, HIDDEN, TYPICAL = 2, 128, 64
HERE = Path(__file__).resolve().parent
WAYS = {
    "one scale a layer": {"scaling": "layer"},
    "one scale a neuron (default)": {},
    "the same, calibrated": {"calibrated": "yes"},
    "the same, calibrated, stochastic rounding": {"calibrated": "yes", "rounding": "stochastic"},
}
TUNED = "fine-tuned, float", "fine-tuned, fixed point"


def rows(images: Tensor, generator: torch.Generator) -> Tensor:
    """Spikes `(56, batch, 28)` of images `(batch, 784)`."""
    line = images.reshape(-1, 28, 28).permute(1, 0, 2).repeat_interleave(HOLD, 0)
    return (torch.rand(line.shape, generator=generator) < 0.8 * line).float()


def network(seed: int) -> ns.Network:
    torch.manual_seed(seed)
    net = ns.Network(
        [
            ns.Dense(28, HIDDEN, bias=True),
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


def train(model: nn.Module, x: Tensor, y: Tensor, epochs: int, lr: float, seed: int, place: Path) -> None:
    optimiser = torch.optim.Adam(model.parameters(), lr=lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs)
    parts, done = (model, optimiser, schedule), 0
    if place.exists():
        *states, done = torch.load(place, weights_only=True)
        for part, state in zip(parts, states, strict=True):
            part.load_state_dict(state)
    for epoch in range(done, epochs):
        total, draw = 0.0, torch.Generator().manual_seed(1000 * seed + epoch)
        for batch in torch.randperm(len(x), generator=draw).split(128):
            logits = model(rows(x[batch], draw)).output[-HOLD:].mean(0) * 10
            loss = nn.functional.cross_entropy(logits, y[batch])
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            total += loss.item() * len(batch)
        schedule.step()
        torch.save([*(part.state_dict() for part in parts), epoch + 1], place)
        print(f"  epoch {epoch + 1}: loss {total / len(x):.4f}", flush=True)


def percent(output: np.ndarray, labels: np.ndarray) -> float:
    return 100 * float((output[-HOLD:].mean(0).argmax(-1) == labels).mean())


def floats(net: ns.Network, x: Tensor, y: np.ndarray) -> tuple[float, np.ndarray]:
    """Accuracy, and the hidden spikes."""
    with torch.no_grad():
        run = net(x, record=["spikes"])
    return percent(run.output.numpy(), y), next(iter(run.spikes.values())).numpy()


def fixed(graph: nir.NIRGraph, x: Tensor, y: np.ndarray, true: np.ndarray, **settings: Any) -> dict[str, float]:
    """Accuracy on the chip's arithmetic, and how many of 100 hidden spikes differ."""
    tail = x.new_zeros((2, *x.shape[1:]))
    report = ns.deploy(graph, torch.cat([x, tail]).numpy(), "loihi", record=["cubalif1"], **settings)
    late = report.info["latency"]["cubalif1"]
    hidden = report.records["cubalif1"][late : late + len(x)]
    output = report.spikes[report.latency_steps :][: len(x)]
    return {"accuracy": percent(output, y), "differ": 100 * float((hidden != true).sum() / true.sum())}


def one(seed: int, epochs: int, fine: int, images: int, out: Path) -> dict[str, object]:
    data, net = ns.data.mnist(), network(seed)
    train_x, train_y = data.train_x.flatten(1)[:images], data.train_y[:images]
    train(net, train_x, train_y, epochs, 4e-3, 2 * seed, out / f"{seed}.pt")
    draw = torch.Generator().manual_seed(seed + 2)
    x, y = rows(data.test_x.flatten(1), draw), data.test_y.numpy()
    typical = rows(train_x[:TYPICAL], draw).numpy()
    parts = out / f"{seed}.part"  # what an interrupted run has found
    found: dict[str, object] = json.loads(parts.read_text()) if parts.exists() else {}
    accuracy, hidden = floats(net, x, y)
    found |= {"seed": seed, "epochs": epochs, "fine": fine, "float": accuracy}
    for name, given in WAYS.items():
        if name not in found:
            settings: dict[str, Any] = {key: value for key, value in given.items() if key != "calibrated"}
            graph = ns.to_graph(net)
            if "calibrated" in given:
                graph = ns.calibrate(graph, typical, "loihi", **settings)
            found[name] = fixed(graph, x, y, hidden, **settings)
            parts.write_text(json.dumps(found))
            print(f"  {name}: {found[name]}", flush=True)
    if not fine:
        return found
    model = ns.quantise(net, "loihi")
    train(model, train_x[: images // 3], train_y[: images // 3], fine, 5e-4, 2 * seed + 1, out / f"{seed}-fine.pt")
    found[TUNED[0]], hidden = floats(net, x, y)
    found[TUNED[1]] = fixed(model.to_graph(), x, y, hidden)
    return found


def interval(values: list[float]) -> str:
    """Mean and half of the 95 % interval (Student's t)."""
    half = float(stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values)))
    return f"{np.mean(values):+.2f} ± {half:.2f}"


def table(folder: Path) -> str:
    runs = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    lines = [
        f"{len(runs)} seeds, {runs[0]['epochs']} epochs in float, {runs[0]['fine']} of fine-tuning; 10 000 test digits; per cent, "
        "and points of difference (mean ± half of the 95 % interval over seeds).",
        "",
        "| network | accuracy, each seed | minus float | hidden spikes that differ, of 100 |",
        "|---|---|---|---|",
    ]
    tuned = [(TUNED[0], TUNED[1:])] if all(TUNED[0] in run for run in runs) else []
    for base, names in [("float", tuple(WAYS)), *tuned]:
        lines.append(f"| {base} | {' '.join(f'{run[base]:.2f}' for run in runs)} | | |")
        for name in names:
            each = " ".join(f"{run[name]['accuracy']:.2f}" for run in runs)
            gap = interval([run[name]["accuracy"] - run[base] for run in runs])
            lines.append(f"| {name} | {each} | {gap} | {np.mean([run[name]['differ'] for run in runs]):.1f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["train", "table"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--fine", type=int, default=0)
    parser.add_argument("--images", type=int, default=60_000)
    parser.add_argument("--out", type=Path, default=HERE / "results")
    given = parser.parse_args()
    torch.set_num_threads(1)
    given.out.mkdir(exist_ok=True)
    if given.what == "train":
        found = one(given.seed, given.epochs, given.fine, given.images, given.out)
        (given.out / f"{given.seed}.json").write_text(json.dumps(found, indent=1))
        return
    text = table(given.out)
    head = (
        "# Digits row by row, in Loihi's fixed point\n\nWritten by `python experiments/loihi/digit_rows.py table`.\n\n"
    )
    (HERE / "digit_rows.md").write_text(head + text + "\n")
    print(text)


if __name__ == "__main__":
    main()
