"""Tables and figures of the studies: `python experiments/crossbar/table.py` writes results/tables.md and figures/*.png.

Intervals are Student's t at 95 % over seeds, paired where two learners are compared. The share of the advantage is
`(magneto-ionic − plain) / (software − plain)` of the means, with Fieller's interval of such a ratio.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import matplotlib
import numpy as np
from scipy.stats import t as student

import neurospin as ns
from hardware_targets.crossbar.insitu import years
from neurospin.continual.comparison import half_interval
from neurospin.files import replacing

matplotlib.use("Agg")
import matplotlib.pyplot as plt

HERE = Path(__file__).parent
SOFT, IONIC, PLAIN = "software, metaplastic", "magneto-ionic", "plain junction"
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#777777"
Row = dict[str, str]


def read(study: str) -> list[Row]:
    """Rows of a study; none if it was not run."""
    place = HERE / "results" / f"{study}.csv"
    if not place.is_file():
        return []
    with place.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def by_seed(rows: Iterable[Row], value: str = "average", **wanted: str) -> dict[int, float]:
    """One number per seed of the rows with these entries."""
    return {int(row["seed"]): float(row[value]) for row in rows if all(row[name] == v for name, v in wanted.items())}


def told(values: Iterable[float]) -> str:
    """Mean ± half a confidence interval."""
    x = np.array(list(values))
    return f"{x.mean():.1f} ± {half_interval(x):.1f}" if len(x) > 1 else f"{x.mean():.1f}"


def difference(a: dict[int, float], b: dict[int, float]) -> str:
    """Paired difference over the seeds that both have."""
    seeds = sorted(a.keys() & b.keys())
    if len(seeds) < 2:
        return "–"
    found = ns.continual.paired([a[s] for s in seeds], [b[s] for s in seeds])
    return f"{found.difference:+.1f} ({found.low:+.1f} to {found.high:+.1f})"


def share(rows: list[Row], scale: str, ionic: dict[int, float]) -> str:
    """Share of the software rule's advantage over the plain junction, over seeds that all have, with its interval."""
    soft, plain = (by_seed(rows, scale=scale, learner=name) for name in (SOFT, PLAIN))
    seeds = sorted(soft.keys() & plain.keys() & ionic.keys())
    if not seeds:
        return "–"
    x, y = (np.array([one[s] - plain[s] for s in seeds]) for one in (ionic, soft))
    found = f"{100 * x.sum() / y.sum():.0f} %"
    return found if len(seeds) < 2 else f"{found} ({between(x, y)})"


def between(x: np.ndarray, y: np.ndarray) -> str:
    """Per cent of the 95 % interval of the ratio of two paired means: the r for which `x − r y` may have the mean 0 (Fieller)."""
    t2 = float(student.ppf(0.975, len(x) - 1)) ** 2 / len(x)
    (xx, xy), (_, yy) = np.cov(x, y)
    a, b, c = y.mean() ** 2 - t2 * yy, x.mean() * y.mean() - t2 * xy, x.mean() ** 2 - t2 * xx
    if a <= 0:  # y itself may be 0
        return "any"
    root = np.sqrt(max(0.0, b * b - a * c))
    return f"{100 * (b - root) / a:.0f} to {100 * (b + root) / a:.0f}"


def main_table() -> list[str]:
    """Accuracy and the device column."""
    out = []
    for study in ("digits", "mnist", "short"):
        rows = read(study)
        for scale in dict.fromkeys(row["scale"] for row in rows):
            here = [row for row in rows if row["scale"] == scale]
            plain = by_seed(here, learner=PLAIN)
            out += [
                f"\n### {scale}, {here[0]['updates']} updates\n",
                "| learner | seeds | all tasks, at the end, % | just learned, % | minus the plain junction, paired | share of the advantage | "
                "state pulses per synapse | gate pulses per synapse | write energy, µJ | most pulses on a device, state / gate | "
                "years at one update a second, gate of 2000 cycles |",
                "|---|---|---|---|---|---|---|---|---|---|---|",
            ]  # fmt: skip
            for learner in dict.fromkeys(row["learner"] for row in here):
                mine = by_seed(here, learner=learner)
                learned = by_seed(here, "learned", learner=learner)
                line = [
                    learner,
                    str(len(mine)),
                    told(mine.values()),
                    told(learned.values()),
                    "" if learner == PLAIN else difference(mine, plain),
                ]
                line.append(share(rows, scale, mine) if learner not in (SOFT, PLAIN) else "")
                line += devices([row for row in here if row["learner"] == learner], synapses(scale))
                out.append("| " + " | ".join(line) + " |")
    return out


def synapses(scale: str) -> int:
    """Of the network of a scale."""
    sizes = {"digits, split": (64, 256, 2), "MNIST, permuted": (784, 200, 10), "MNIST, split": (784, 200, 2)}
    a, b, c = sizes.get(scale, (64, 256, 10))
    return a * b + b * c


def devices(rows: list[Row], count: int) -> list[str]:
    """Pulses, energy and wear, means over seeds (the largest for wear)."""
    if not rows[0].get("pulses"):
        return ["", "", "", "", ""]
    mean = lambda name: float(np.mean([float(row[name]) for row in rows]))  # noqa: E731
    worst = {name: max(float(row[name]) for row in rows) for name in ("most_pulses", "most_gate_pulses")}
    joules = mean("joules") + mean("gate_joules")
    lasting = years(worst["most_gate_pulses"], 2000, int(rows[0]["updates"]))
    return [
        f"{mean('pulses') / count:.1f}",
        f"{mean('gate_pulses') / count:.1f}",
        f"{1e6 * joules:.3f}",
        f"{worst['most_pulses']:.0f} / {worst['most_gate_pulses']:.0f}",
        "" if np.isinf(lasting) else f"{lasting:.2g} ({lasting * 365.25 * 24:.1f} hours)",
    ]


def factors() -> list[str]:
    """Share of the advantage by what is spread, what is trimmed, and the gain of the gate."""
    digits, out = read("digits"), []
    known = {IONIC: "as published, gain 2.5", f"{IONIC}, trimmed": "trimmed, gain 1.75"}
    rows = read("factors")
    rows += [{**row, "setting": known[row["learner"]]} for row in digits if rows and row["learner"] in known]
    for scale in dict.fromkeys(row["scale"] for row in rows):
        here = [row for row in rows if row["scale"] == scale]
        gains = sorted({row["setting"].split(", gain ")[1] for row in here}, key=float)
        out += [
            f"\n### {scale}: spread of write voltages against the gain of the gate\n",
            "| write voltages | " + " | ".join(f"gain {gain}" for gain in gains) + " |", "|---|" + "---|" * len(gains),
        ]  # fmt: skip
        for name in ("as published", "trimmed", "voltages alike"):
            found = [by_seed(here, setting=f"{name}, gain {gain}") for gain in gains]
            cells = [f"{told(one.values())}: {share(digits, scale, one)}" if one else "–" for one in found]
            out.append(f"| {name} | " + " | ".join(cells) + " |")
    return out


def sweeps() -> list[str]:
    """Tables of the sweeps."""
    known = read("short") + read("digits")
    out = []
    heads = {
        "spread": "spread between devices and pulses, one other than published (coefficient of variation)",
        "pulses": "cycles that the gate lives (then h stays)",
        "retention": "retention of h, in units of a rest after each task",
        "barrier": "M of the barrier 2 ln cosh(M h): top of the barrier at h = 1, kT",
        "schemes": "pulse scheme",
    }
    for study, head in heads.items():
        rows = read(study)
        if not rows:
            continue
        scale = rows[0]["scale"]
        soft, ionic, plain = (by_seed(known, scale=scale, learner=name) for name in (SOFT, IONIC, PLAIN))
        out += [f"\n### {study}: {head} ({scale})\n", "| setting | seeds | all tasks, at the end, % | minus as published, paired | share of the advantage |", "|---|---|---|---|---|"]  # fmt: skip
        for setting in dict.fromkeys(row["setting"] for row in rows):
            mine = by_seed(rows, setting=setting)
            name = f"{setting}: {2 * np.log(np.cosh(float(setting))):.1f} kT" if study == "barrier" else setting
            out.append(
                f"| {name} | {len(mine)} | {told(mine.values())} | {difference(mine, ionic)} | {share(known, scale, mine)} |"
            )
        used = sorted(by_seed(rows))
        for name, mine in (("as published", ionic), ("plain junction", plain), ("software rule", soft)):
            mine = {s: mine[s] for s in used if s in mine}
            out.append(f"| *{name}* | {len(mine)} | {told(mine.values())} | | |")
    rows = read("ageing")
    if rows:
        out += ["\n### ageing: per cent of all tasks, after a time at 300 K\n", "| Δ | " + " | ".join(AGES) + " |", "|---|" + "---|" * len(AGES)]  # fmt: skip
        for delta in dict.fromkeys(row["setting"] for row in rows):
            ages = sorted({float(row["age"]) for row in rows})
            values = [
                told(float(r["average"]) for r in rows if r["setting"] == delta and float(r["age"]) == age)
                for age in ages
            ]
            out.append(f"| {delta} | " + " | ".join(values) + " |")
    return out


AGES = ("fresh", "1 hour", "1 day", "30 days", "1 year", "10 years")


def wires() -> list[str]:
    """Table of the wires."""
    rows = read("wires")
    if not rows:
        return []
    cures, sides = dict.fromkeys(row["cure"] for row in rows), sorted({int(row["side"]) for row in rows})
    out = [f"\n### wires: per cent right, {len({r['seed'] for r in rows})} seeds, 2.5 Ω per segment\n", "| lines of a tile | " + " | ".join(cures) + " |", "|---|" + "---|" * len(cures)]  # fmt: skip
    for side in sides:
        cells = [told(by_seed(rows, "accuracy", side=str(side), cure=cure).values()) for cure in cures]
        out.append(f"| {side} | " + " | ".join(cells) + " |")
    return out


def bars() -> None:
    """Every scale: software, magneto-ionic, plain, with seeds as dots."""
    rows = read("digits") + read("mnist")
    scales = list(dict.fromkeys(row["scale"] for row in rows))
    if not scales:
        return
    figure, axes = plt.subplots(1, len(scales), figsize=(3.1 * len(scales), 3.2), sharey=True, squeeze=False)
    for axis, scale in zip(axes[0], scales, strict=True):
        for at, (name, color) in enumerate(((SOFT, BLUE), (IONIC, GREEN), (PLAIN, ORANGE))):
            values = np.array(list(by_seed(rows, scale=scale, learner=name).values()))
            if not len(values):
                continue
            axis.bar(at, values.mean(), color=color, alpha=0.55, yerr=half_interval(values), capsize=4)
            axis.plot(at + np.linspace(-0.15, 0.15, len(values)), values, "o", color=color, ms=4)
        axis.set_xticks(range(3), ["software\nrule", "magneto-\nionic", "plain\njunction"])
        axis.set_title(scale, fontsize=10)
        axis.set_ylim(0, 100)
    axes[0][0].set_ylabel("all tasks, at the end (%)")
    save(figure, "continual.png")


def curves() -> None:
    """The sweeps with numbers, between the software rule and the plain junction."""
    panels = [
        ("pulses", "cycles that the gate lives"),
        ("retention", "retention of h (rests between tasks)"),
        ("barrier", "barrier at h = 1 (kT)"),
        ("ageing", "time after learning"),
    ]
    panels = [panel for panel in panels if read(panel[0])]
    if not panels:
        return
    short = read("short")
    figure, axes = plt.subplots(1, len(panels), figsize=(3.1 * len(panels), 3.0), sharey=True, squeeze=False)
    for axis, (study, label) in zip(axes[0], panels, strict=True):
        lines: dict[str, dict[float, list[float]]] = defaultdict(lambda: defaultdict(list))
        used = {row["seed"] for row in read(study)}
        for row in read(study):
            if study == "ageing":
                lines[f"Δ = {row['setting']}"][float(row["age"])].append(float(row["average"]))
            else:
                lines["magneto-ionic"][float(row["setting"])].append(float(row["average"]))
        x = sorted({one for points in lines.values() for one in points})
        for number, (name, points) in enumerate(lines.items()):
            values = [np.array(points[one]) for one in x]
            style = {"color": (GREEN, "#CC79A7")[number], "marker": "os"[number], "capsize": 3, "label": name}
            axis.errorbar(range(len(x)), [v.mean() for v in values], [half_interval(v) for v in values], **style)
        for name, color, text in (
            (SOFT, BLUE, "software rule"),
            (PLAIN, ORANGE, "plain junction"),
            (IONIC, GREY, "as published"),
        ):
            level = [float(row["average"]) for row in short if row["learner"] == name and row["seed"] in used]
            if level:
                axis.axhline(float(np.mean(level)), color=color, ls="--", lw=1, label=text)
        ticks = [f"{2 * np.log(np.cosh(one)):.1f}" for one in x] if study == "barrier" else [f"{one:g}" for one in x]
        axis.set_xticks(
            range(len(x)), [age.replace(" ", "\n") for age in AGES] if study == "ageing" else ticks, fontsize=8
        )
        axis.set_xlabel(label)
    axes[0][0].set_ylabel("all tasks, at the end (%)")
    axes[0][0].set_ylim(0, 100)
    axes[0][0].legend(fontsize=7)
    axes[0][-1].legend(fontsize=7)
    save(figure, "sweeps.png")


def wired() -> None:
    """Accuracy against the side of the tiles."""
    rows = read("wires")
    if not rows:
        return
    figure, axis = plt.subplots(figsize=(4.6, 3.2))
    styles = {"no wires": (GREY, ":"), "as programmed": (ORANGE, "-"), "a line per column": (BLUE, "-"), "conductances for the wires": (GREEN, "-"), "trained through the wires": ("#CC79A7", "--")}  # fmt: skip
    sides = sorted({int(row["side"]) for row in rows})
    for cure, (color, line) in styles.items():
        values = [np.array(list(by_seed(rows, "accuracy", side=str(side), cure=cure).values())) for side in sides]
        axis.errorbar(sides, [v.mean() for v in values], [half_interval(v) for v in values], color=color, ls=line, capsize=3, marker="o", ms=4, label=cure)  # fmt: skip
    axis.set_xscale("log", base=2)
    axis.set_xticks(sides, [str(side) for side in sides])
    axis.set(xlabel="lines of a tile (2.5 Ω per segment)", ylabel="digits decided rightly (%)", ylim=(0, 100))
    axis.legend(fontsize=7)
    save(figure, "wires.png")


def save(figure: plt.Figure, name: str) -> None:
    """Write a picture."""
    folder = HERE / "figures"
    folder.mkdir(exist_ok=True)
    figure.tight_layout()
    figure.savefig(folder / name, dpi=110)
    plt.close(figure)


def main() -> None:
    lines = ["<!-- written by experiments/crossbar/table.py -->", *main_table(), *factors(), *sweeps(), *wires()]
    with replacing(HERE / "results" / "tables.md") as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
    bars()
    curves()
    wired()


if __name__ == "__main__":
    main()
