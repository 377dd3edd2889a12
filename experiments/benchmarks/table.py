"""The table in Markdown: milliseconds, ratios to ours, what each library was checked against."""

from __future__ import annotations

from pathlib import Path

from experiments.benchmarks.bars import bars
from experiments.benchmarks.work import RESETS
from neurospin.files import write_text


def _grid(head: list[str], rows: list[list[str]]) -> list[str]:
    line = "|" + "---|" * len(head)
    return ["| " + " | ".join(head) + " |", line, *("| " + " | ".join(row) + " |" for row in rows), ""]


def _ms(seconds: float) -> str:
    return f"{1e3 * seconds:.3g}"


def title(cell: dict) -> str:
    """The name of a cell, as a heading."""
    return f"{cell['mode']}, T {cell['time']}, B {cell['batch']}, N {cell['size']}"


def _cell(cell: dict) -> list[str]:
    forward, both = cell["times"]["forward"], cell["times"]["both"]
    ours = both.get("ours")
    rows = []
    for name, took in sorted(both.items(), key=lambda item: item[1]["cpu"]):
        against = f"{took['cpu'] / ours['cpu']:.1f}" if ours else ""
        rows.append([
            name, _ms(forward[name]["cpu"]), _ms(took["cpu"]), _ms(took["wall"]), f"{took['spread']:.1f}", against,
            cell["agreement"].get(name, ""),
        ])  # fmt: skip
    head = ["", "forward, ms", "forward + backward, ms", "wall, ms", "slowest / fastest round", "/ ours", "spikes"]
    lines = [f"### {title(cell)}", "", *_grid(head, rows)]
    for name, why in cell["left out"].items():
        lines.append(f"- {name} is not here: {why}")
    return [*lines, ""]


def render(result: dict) -> str:
    """The whole table."""
    machine = result["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    clock = "CPU time of one thread" if machine["device"] == "cpu" else "wall time between synchronisations"
    lines = [
        f"Device: {machine['device']} ({machine['name']}). Medians of {result['rounds']} interleaved rounds, {clock}.",
        f"Versions: {versions}.",
        "",
        "Spikes were compared with a plain loop at T ≤ 40, B ≤ 4, N ≤ 64. " + " ".join(
            f"Class {key}: {text}." for key, text in RESETS.items()),
        "",
        "### Promises",
        "",
        *_grid(["", "measured", "promised", ""], [
            [b.what, f"{b.measured:.2f}", b.promised, "holds" if b.holds else "**does not hold**"] for b in bars(result)
        ]),
    ]  # fmt: skip
    for cell in result["cells"]:
        lines += _cell(cell)
    steps = result["plasticity"]
    lines += ["### One step of a rule", ""]
    rows = [[name, *(_ms(row["times"][name]["cpu"]) for row in steps)] for name in steps[0]["times"]]
    lines += _grid(["", *(f"{row['parameters']:,} parameters, ms" for row in steps)], rows)
    if result["memory"]:
        lines += ["### Peak memory of one forward and backward pass, in arrays of T x B x N float32", ""]
        sizes = result["memory"]
        found, absent = [], {}
        for name in sizes[0]["bytes"]:
            values = [row["bytes"][name] for row in sizes]
            if all(isinstance(v, int) for v in values):
                units = [4 * row["time"] * row["batch"] * row["size"] for row in sizes]
                found.append([name, *(f"{v / unit:.1f}" for v, unit in zip(values, units, strict=True))])
            else:
                absent[name] = next(v for v in values if not isinstance(v, int))
        lines += _grid(["", *(title(row) for row in sizes)], found)
        lines += [f"- {name} is not here: {why}" for name, why in absent.items()]
    return "\n".join(lines).rstrip() + "\n"


def write(result: dict, path: Path) -> str:
    """Write the table and return it."""
    text = render(result)
    write_text(path, text)
    return text
