"""Make RESULTS.md and results.json of the runs of rule × network: what is kept, what is forgotten, what it costs.

python -m experiments.continual.run experiments/matrix/*.yaml --seeds 10 11 12
python -m experiments.matrix.table runs
"""

from __future__ import annotations

import argparse
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch

from experiments.papers.table import gather, spread, told
from neurospin import energy
from neurospin.continual import Stream, paired
from neurospin.files import write_text
from neurospin.network import Network
from neurospin.runs import checkpoint
from neurospin.runs.config import Experiment, load
from neurospin.runs.folder import Folder
from neurospin.runs.train import build_code, build_network, build_stream

HERE = Path(__file__).parent
NETWORKS = ("rate", "spiking", "binary", "device")
IMAGES = 200  # on which operations are counted
Rows = dict[str, dict[str, Any]]


def joules(config: Experiment, learner: str, network: Network, stream: Stream) -> tuple[float, float]:
    """Of one image, lowest and highest, by the 45 nm table of `neurospin.energy`."""
    images = stream.tasks[-1].test_x[:IMAGES]
    if config.learners[learner].neuron == "rate":  # all synapses are at work, whatever their weights
        twin = build_network(config.network, "lif", stream.inputs, stream.classes, 0)
        counts = energy.rate_operations(twin, steps=config.encode.steps, samples=len(images))
    else:
        counts = energy.operations(network, build_code(config)(images))
    low, high = energy.estimate(counts, energy.DIGITAL).total
    return low / len(images), high / len(images)


def writes(place: Path) -> float | None:
    """How often a synapse was written in all, in the mean, where the rule counts that."""
    if not place.is_file():
        return None
    state = torch.load(place, weights_only=True)["state"]
    counts = [one["writes"] for one in state.values() if "writes" in one]
    return float(sum(c.sum() for c in counts) / sum(c.numel() for c in counts)) if counts else None


def cost(folders: list[Path], rows: Rows) -> None:
    """Add to every row, run by run, the joules of an image and the writes of a synapse."""
    for folder in sorted(folders):
        if not (folder / "results.json").is_file():
            continue
        config = load(folder / "config.yaml")
        stream = build_stream(config)
        for learner in config.learners:
            row, place = rows[f"{config.name}/{learner}"], Folder(folder, learner)
            network = checkpoint.load(place.network(len(stream)))
            row.setdefault("joules_per_image", []).append(joules(config, learner, network, stream))
            row.setdefault("writes_per_synapse", []).append(writes(place.rule(len(stream))))


def overview(rows: Rows, value: str) -> list[str]:
    """One line a rule, one column a network: mean ± half a 95 % interval, in per cent."""
    lines = ["| rule | " + " | ".join(NETWORKS) + " |", "|" + "---|" * (1 + len(NETWORKS))]
    for rule in dict.fromkeys(key.partition("/")[2] for key in rows):
        found = [rows.get(f"{network}/{rule}") for network in NETWORKS]
        title = next(row["title"] for row in found if row)
        lines.append("| " + " | ".join([title, *(spread(row[value]) if row else "" for row in found)]) + " |")
    return lines


def whole(rows: Rows) -> list[str]:
    """Everything, one line a cell."""
    head = (
        "network", "rule", "told", "seeds", "accuracy, all tasks (%)", "just learned (%)", "forgetting (points)",
        "plasticity loss (points)", "bits/synapse", "writes/synapse", "nJ/image, 45 nm", "CPU s",
    )  # fmt: skip
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for key, row in rows.items():
        low, high = np.mean(row["joules_per_image"], axis=0)
        counted = [count for count in row["writes_per_synapse"] if count is not None]
        cells = [
            key.partition("/")[0], row["title"], told(row), str(len(row["seeds"])), spread(row["average_accuracy"]),
            spread(row["learning_accuracy"]), spread(row["forgetting"]), spread(row["plasticity_loss"]),
            f"{np.mean(row['bits_per_synapse']):.0f}", f"{np.mean(counted):.1f}" if counted else "",
            f"{1e9 * low:.0f}–{1e9 * high:.0f}", f"{np.mean(row['cpu_seconds']):.0f}",
        ]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def gains(rows: Rows) -> list[str]:
    """Paired over seeds: every rule against Adam on its network, and every network against the one before it."""
    steps = [f"{n} − {before}" for before, n in pairwise(NETWORKS)]
    lines = ["| " + " | ".join(["rule", *(f"{n}: rule − Adam" for n in NETWORKS), *steps]) + " |"]
    lines.append("|" + "---|" * (2 * len(NETWORKS)))
    for rule in dict.fromkeys(key.partition("/")[2] for key in rows):
        pairs = [(f"{n}/{rule}", f"{n}/naive") for n in NETWORKS]
        pairs += [(f"{n}/{rule}", f"{before}/{rule}") for before, n in pairwise(NETWORKS)]
        title = next(row["title"] for key, row in rows.items() if key.endswith(f"/{rule}"))
        lines.append("| " + " | ".join([title, *(_gain(rows, a, b) for a, b in pairs)]) + " |")
    return lines


def _gain(rows: Rows, one: str, other: str) -> str:
    if one not in rows or other not in rows or one == other:
        return ""
    ours, theirs = (dict(zip(rows[key]["seeds"], rows[key]["average_accuracy"], strict=True)) for key in (one, other))
    seeds = sorted(ours.keys() & theirs.keys())
    if len(seeds) < 2:
        return ""
    found = paired([ours[seed] for seed in seeds], [theirs[seed] for seed in seeds])
    return f"{100 * found.difference:+.1f} [{100 * found.low:+.1f}, {100 * found.high:+.1f}]"


def main() -> None:
    """Write both files beside this one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, help="folder of the runs")
    folders = [folder for network in NETWORKS for folder in parser.parse_args().runs.glob(f"{network}-seed*")]
    found = gather(folders)
    rows = {key: found[key] for network in NETWORKS for key in found if key.startswith(f"{network}/")}
    cost(folders, rows)
    write_text(HERE / "results.json", json.dumps(rows, indent=1) + "\n")
    seeds = ", ".join(str(seed) for seed in sorted({seed for row in rows.values() for seed in row["seeds"]}))
    parts = [
        "<!-- made by python -m experiments.matrix.table; not to be edited -->",
        f"Seeds {seeds}; mean ± half the 95 % interval of Student's t. Differences are paired over seeds, with 95 % intervals.",
        "## Accuracy on all tasks at the end (%)", "\n".join(overview(rows, "average_accuracy")),
        "## Forgetting (points)", "\n".join(overview(rows, "forgetting")),
        "## What a rule gains, and what a network costs (points of accuracy on all tasks)", "\n".join(gains(rows)),
        "## All", "\n".join(whole(rows)),
    ]  # fmt: skip
    write_text(HERE / "RESULTS.md", "\n\n".join(parts) + "\n")


if __name__ == "__main__":
    main()
