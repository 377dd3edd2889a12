"""The figure: how time grows with N, T and B, memory with T, and what layers and a training step take."""

from __future__ import annotations

from pathlib import Path

COLOURS = {
    "ours": "#c1272d", "snntorch": "#0072b2", "spikingjelly": "#e69f00", "norse": "#009e73", "sinabs": "#cc79a7",
    "rockpool": "#8c6d31", "jax scan": "#56b4e9", "spyx": "#555555", "torch.compile": "#7f3c8d",
    "limit: memory": "#000000", "ours, recompute": "#c1272d",
}  # fmt: skip
STYLES = {"limit: memory": ":", "ours, recompute": "--"}
AXES = (("size", "neurons N", "T 100, B 16"), ("time", "steps T", "B 16, N 512"), ("batch", "batch B", "T 100, N 512"))
FIXED = {"size": 512, "time": 100, "batch": 16}


def series(result: dict, axis: str) -> dict[str, tuple[list[int], list[float]]]:
    """By library: values of `axis`, and milliseconds of forward + backward, the other two axes at their base."""
    found: dict[str, tuple[list[int], list[float]]] = {}
    cells = [
        cell for cell in result["cells"]
        if cell["mode"] == "neuron" and all(cell[other] == FIXED[other] for other in FIXED if other != axis)
    ]  # fmt: skip
    for cell in sorted(cells, key=lambda cell: cell[axis]):
        for name, took in cell["times"]["both"].items():
            if name in COLOURS:
                xs, ys = found.setdefault(name, ([], []))
                xs.append(cell[axis])
                ys.append(1e3 * took["cpu"])
    return found


def peaks(result: dict) -> dict[str, tuple[list[int], list[float]]]:
    """By library: steps T, and mebibytes of one forward and backward pass at their peak."""
    found: dict[str, tuple[list[int], list[float]]] = {}
    for row in sorted(result["memory"], key=lambda row: row["time"]):
        for name, size in row["bytes"].items():
            if isinstance(size, int) and size > 0 and name in COLOURS:
                xs, ys = found.setdefault(name, ([], []))
                xs.append(row["time"])
                ys.append(size / 2**20)
    return found


def _ends(ax, lines: dict[str, tuple[list[int], list[float]]]) -> None:
    """Names at the right ends of the lines, pushed apart."""
    import math

    ends = sorted((ys[-1], name) for name, (xs, ys) in lines.items())
    bottom, top = (math.log10(limit) for limit in ax.get_ylim())
    gap, places = 0.085 * (top - bottom), []
    for y, _ in ends:
        places.append(max(math.log10(y), places[-1] + gap if places else -math.inf))
    for k in reversed(range(len(places))):  # and down again, where that went beyond the axis
        places[k] = min(places[k], places[k + 1] - gap if k + 1 < len(places) else top)
    for place, (_, name) in zip(places, ends, strict=True):
        ax.annotate(
            name, (1.02, 10**place), xycoords=("axes fraction", "data"), color=COLOURS[name], fontsize=7.5, va="center",
            fontweight="bold" if name.startswith("ours") else "normal",
        )  # fmt: skip


def draw(result: dict, path: Path) -> None:
    """Draw what was measured; a panel without data is left out."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    panels = [(label, held, "LIF scan, forward + backward, ms of CPU time", series(result, axis))
              for axis, label, held in AXES]  # fmt: skip
    panels.append(("steps T", "B 16, N 512", "peak memory, forward + backward, MiB", peaks(result)))
    panels = [panel for panel in panels if any(len(xs) > 1 for xs, _ in panel[3].values())]
    bars = [cell for cell in result["cells"] if cell["mode"] in ("layer", "recurrent", "conv", "training step")]
    bars = [c for i, c in enumerate(bars) if c["mode"] not in [d["mode"] for d in bars[:i]]]
    count = len(panels) + bool(bars)
    if count == 0:
        return
    with plt.rc_context({"font.size": 8.5, "axes.spines.top": False, "axes.spines.right": False, "svg.fonttype": "none",
                         "svg.hashsalt": "speed"}):  # fmt: skip
        figure, axes = plt.subplots(1, count, figsize=(3.7 * count + 0.6, 3.6), squeeze=False, layout="constrained")
        above = ""
        for ax, (label, held, what, lines) in zip(axes[0], panels, strict=False):
            for name, (xs, ys) in lines.items():
                ax.plot(
                    xs, ys, color=COLOURS[name], marker="" if name.startswith("limit") else "o", markersize=3,
                    linewidth=2.2 if name.startswith("ours") else 1.1, linestyle=STYLES.get(name, "-"),
                    zorder=3 if name.startswith("ours") else 2,
                )  # fmt: skip
            ax.set(xscale="log", yscale="log", xlabel=label, title=held)
            ax.set_xticks(sorted({x for xs, _ in lines.values() for x in xs}))
            ax.xaxis.set_major_formatter("{x:g}")
            ax.xaxis.set_minor_formatter("")
            ax.tick_params(axis="x", which="minor", length=0)
            ax.grid(True, which="major", linewidth=0.3, alpha=0.6)
            _ends(ax, lines)
            if what != above:
                ax.set_ylabel(what)
                above = what
        if bars:
            _ratios(axes[0][-1], bars)
        path.parent.mkdir(parents=True, exist_ok=True)
        for suffix in (".svg", ".png"):
            figure.savefig(path.with_suffix(suffix), dpi=130, metadata={"Date": None} if suffix == ".svg" else None)
        plt.close(figure)


def _ratios(ax, cells: list[dict]) -> None:
    """Whole layers and steps: how many times longer than ours."""
    for row, cell in enumerate(cells):
        both = cell["times"]["both"]
        if "ours" not in both:
            continue
        for name, took in both.items():
            if name in COLOURS:
                ax.plot(
                    took["cpu"] / both["ours"]["cpu"],
                    row,
                    "o",
                    color=COLOURS[name],
                    markersize=5 if name != "ours" else 7,
                )
    names = [f"{cell['mode']}\nT {cell['time']}, N {cell['size']}" for cell in cells]
    ax.set(xscale="log", xlabel="times ours, forward + backward", yticks=range(len(cells)), yticklabels=names)
    ax.set_ylim(len(cells) - 0.5, -0.5)
    ax.axvline(1, color=COLOURS["ours"], linewidth=0.8)
    ax.xaxis.set_major_formatter("{x:g}")
    ax.set_title("layers and a training step")
    ax.grid(True, axis="x", linewidth=0.3, alpha=0.6)
