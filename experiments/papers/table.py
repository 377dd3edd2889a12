"""Make RESULTS.md and results.json of finished runs: means over seeds, beside what is published and what is wanted.

python -m experiments.papers.table runs/*
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from experiments.continual.run import cpu_seconds
from neurospin.continual.comparison import half_interval
from neurospin.files import write_text
from neurospin.plasticity import RULES
from neurospin.report.results import read_results

HERE = Path(__file__).parent
KEYS = (
    "average_accuracy", "window_accuracy", "learning_accuracy", "forgetting", "plasticity_loss",
    "bits_per_synapse", "parameters", "private_parameters_per_task",
)  # fmt: skip
HEAD = (
    "run", "rule", "told", "seeds", "accuracy, all tasks (%)", "last five tasks (%)", "just learned (%)",
    "plasticity loss (points)", "bits/synapse", "private numbers/task", "CPU s/run", "wanted (%)", "published (%)",
)  # fmt: skip


def gather(folders: list[Path]) -> dict[str, dict[str, Any]]:
    """By `experiment/learner`: the rule, the seeds, and every number by seed; runs that are not finished are left out."""
    found: dict[str, dict[str, Any]] = defaultdict(
        lambda: {"seeds": [], "cpu_seconds": [], **{key: [] for key in KEYS}}
    )
    for folder in sorted(folders):
        if not (folder / "results.json").is_file():
            continue
        results = read_results(folder)
        config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
        for name, learner in results["learners"].items():
            row = found[f"{results['name']}/{name}"]
            row["rule"] = config["learners"][name]["rule"]
            row["title"] = learner["title"]
            row["tasks"] = len(results["stream"]["tasks"])
            row["scenario"] = results["stream"]["scenario"]
            row["seeds"].append(results["seed"])
            row["cpu_seconds"].append(round(cpu_seconds(folder) / len(results["learners"]), 1))
            for key in KEYS:
                row[key].append(learner[key])
    return dict(found)


def told(row: dict[str, Any]) -> str:
    """What the learner is told of the tasks."""
    boundaries = RULES[row["rule"]].needs_task_boundaries
    return "task" if row["scenario"] == "task" else "boundaries" if boundaries else "nothing"


def spread(values: list[float]) -> str:
    """Mean in per cent, and half the 95 % interval of Student's t where there are several seeds."""
    x = 100 * np.asarray(values, dtype=float)
    if len(x) < 2:
        return f"{x.mean():.2f}"
    return f"{x.mean():.2f} ± {half_interval(x):.2f}"


def table(rows: dict[str, dict[str, Any]], beside: dict[str, dict[str, Any]]) -> str:
    """The rows as Markdown, in the order of `published.yaml`; those that it does not know last."""
    lines = ["| " + " | ".join(HEAD) + " |", "|" + "---|" * len(HEAD)]
    order = [*(key for key in beside if key in rows), *(key for key in rows if key not in beside)]
    for key in order:
        row, known = rows[key], beside.get(key, {})
        wanted = known.get("wanted")
        reached = 100 * float(np.mean(row[known.get("metric", "average_accuracy")]))
        cells = [
            key, row["title"], told(row), str(len(row["seeds"])), spread(row["average_accuracy"]),
            spread(row["window_accuracy"]), spread(row["learning_accuracy"]),
            f"{100 * np.mean(row['plasticity_loss']):+.1f}", f"{np.mean(row['bits_per_synapse']):.0f}",
            str(row["private_parameters_per_task"][0]), f"{np.mean(row['cpu_seconds']):.0f}",
            "" if wanted is None else f"{wanted}: {'reached' if reached >= wanted else f'{wanted - reached:.1f} short'}",
            str(known.get("published", "")),
        ]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write both files beside this one; rows of runs that are not given stay as they are."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    kept = HERE / "results.json"
    rows = {
        **(json.loads(kept.read_text(encoding="utf-8")) if kept.is_file() else {}),
        **gather(parser.parse_args().runs),
    }
    beside = yaml.safe_load((HERE / "published.yaml").read_text(encoding="utf-8"))
    write_text(kept, json.dumps(rows, indent=1) + "\n")
    head = "<!-- made by python -m experiments.papers.table; not to be edited -->\n\n"
    write_text(HERE / "RESULTS.md", head + table(rows, beside))


if __name__ == "__main__":
    main()
