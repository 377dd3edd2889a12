"""What the README and `docs/speed.md` say of speed: written by the benchmark itself, between two marks."""

from __future__ import annotations

from pathlib import Path

from experiments.benchmarks.bars import bars, ratio
from neurospin.files import write_text

BEGIN, END = "<!-- written by make benchmarks -->", "<!-- end -->"
ROWS = [
    ("LIF, T 100, B 16, N 512", "neuron", 100, 512),
    ("LIF, T 500, B 16, N 512", "neuron", 500, 512),
    ("LIF, T 100, B 16, N 2048", "neuron", 100, 2048),
    ("Linear + LIF, T 100, B 16, N 512, 5 % spikes", "layer", 100, 512),
    ("Linear + LIF, T 100, B 16, N 2048, 5 % spikes", "layer", 100, 2048),
    ("recurrent LIF, T 100, B 16, N 512", "recurrent", 100, 512),
    ("convolution + LIF, T 40, B 16", "conv", 40, 2048),
    ("training step, 784-200-10, T 10, B 100", "training step", 10, 200),
]
NAMES = {
    "snntorch": "snnTorch", "spikingjelly": "SpikingJelly", "norse": "Norse", "sinabs": "sinabs", "jax scan": "jax scan",
}  # fmt: skip
README = ("LIF, T 100, B 16, N 512", "LIF, T 500, B 16, N 512", "Linear + LIF, T 100, B 16, N 512, 5 % spikes",
          "training step, 784-200-10, T 10, B 100")  # fmt: skip


def _cells(result: dict, row: tuple[str, str, int, int], names: list[str]) -> list[str]:
    what, mode, time, size = row
    found = [ratio(result, mode, time, size, "both", name) for name in names]
    return [what, *("–" if x is None else f"{x:.3g} ×" for x in found)]


def _table(result: dict, rows: list[tuple[str, str, int, int]], names: list[str]) -> list[str]:
    head = ["forward + backward", *(NAMES[name] for name in names)]
    found = [cells for cells in (_cells(result, row, names) for row in rows) if set(cells[1:]) != {"–"}]
    return [f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *found)]


def readme(result: dict) -> str:
    """A few ratios."""
    return "\n".join(_table(result, [row for row in ROWS if row[0] in README], list(NAMES)))


def page(result: dict) -> str:
    """The machine, every ratio, and the promises that do not hold."""
    machine = result["machine"]
    told = bars(result)
    missed = [bar for bar in told if not bar.holds]
    lines = [
        f"Measured on {machine['name']} ({machine['device']}), {machine['threads']} thread, medians of "
        f"{result['rounds']} interleaved rounds of CPU time; there was no GPU: nothing is said of one.",
        "",
        *_table(result, ROWS, list(NAMES)),
        "",
        f"Of {len(told)} promises {len(told) - len(missed)} hold." + (" These do not:" if missed else ""),
        "",
        *(f"- {bar.what}: {bar.measured:.3g}, promised {bar.promised.replace('>=', 'at least').replace('<=', 'at most')}"
          for bar in missed),
    ]  # fmt: skip
    return "\n".join(lines).rstrip()


def between(text: str, new: str) -> str:
    """The text with what is between the marks replaced."""
    head, rest = text.split(BEGIN + "\n")
    return head + BEGIN + "\n\n" + new + "\n\n" + END + rest.split(END, 1)[1]


def update(result: dict, root: Path) -> None:
    """Rewrite the two pages."""
    for path, new in ((root / "README.md", readme(result)), (root / "docs/speed.md", page(result))):
        write_text(path, between(path.read_text(encoding="utf-8"), new))
