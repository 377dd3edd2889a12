"""The report of a study: figures, and one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment
from markupsafe import Markup
from matplotlib.figure import Figure

from neurospin.files import write_text
from neurospin.report import plots
from neurospin.report.html import _embedded, _source
from neurospin.twins.flexible import Followed

FORMS = {"rate": "rate", "lif": "spiking (LIF)"}
TITLES = {
    "accuracy": "accuracy",
    "signal_dimension": "dimension",
    "participation_ratio": "dimension of all trials",
    "ccgp": "generalisation (CCGP)",
    "shattering_dimension": "shattering",
    "class_radius": "class radius",
    "spikes": "activity per neuron",
    "operations": "operations per trial",
}
CHANCE = {TITLES[name]: 0.5 for name in ("accuracy", "ccgp", "shattering_dimension")}


def write_study(folder: Path, results: Mapping[str, Any], followed: Mapping[str, Followed]) -> Path:
    """Write `report.html` and the figures of a study.

    Args:
        folder: of the run.
        results: content of `results.json`.
        followed: by name of the learner, `FORM_RULE[_mM]_seedSEED`.

    Returns:
        The path of the report.
    """
    figures = {name: plots.svg(figure) for name, figure in drawn(results, followed).items()}
    (folder / "figures").mkdir(exist_ok=True)
    for name, figure in figures.items():
        write_text(folder / "figures" / f"{name}.svg", figure)
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(files("neurospin.report").joinpath("study.html.j2").read_text("utf-8"))
    html = template.render(
        r=results,
        forms=FORMS,
        titles=TITLES,
        verdicts=verdicts(results),
        figures={name: Markup(_embedded(figure, name)) for name, figure in figures.items()},
        config=(folder / "config.yaml").read_text(encoding="utf-8"),
        sources=[_source(text) for text in results["citations"]],
    )
    write_text(folder / "report.html", html)
    return folder / "report.html"


def verdicts(results: Mapping[str, Any]) -> list[str]:
    """What the intervals say, in sentences."""
    said = []
    for effect in results["effects"]:
        low, high = effect["low"], effect["high"]
        number = f"{effect['difference']:+.2f} [{low:+.2f}, {high:+.2f}]"
        if effect["question"] == "compression or expansion":
            rule = effect["what"].partition(",")[0]
            word = "expands the representation" if low > 0 else "compresses it" if high < 0 else "shows neither"
            said.append(f"{FORMS[effect['neuron']]}, type {rule}: learning {word}, {number} dimensions.")
    return said


def drawn(results: Mapping[str, Any], followed: Mapping[str, Followed]) -> dict[str, Figure]:
    """All figures by name."""
    forms, seeds = list(results["rules"]), results["seeds"]
    rules = list(results["rules"][forms[0]])
    strengths = list(results["switches"][forms[0]])
    epochs = int(followed[f"{forms[0]}_{rules[0]}_seed{seeds[0]}"].epochs[-1])

    def line(prefix: str, name: str) -> tuple[np.ndarray, np.ndarray]:
        every = [followed[f"{prefix}_seed{seed}"] for seed in seeds]
        return every[0].epochs, np.stack([one.values[name] for one in every])

    def scratch(names: tuple[str, ...]) -> dict[str, Any]:
        return {
            TITLES[name]: {FORMS[f]: {f"type {r}": line(f"{f}_{r}", name) for r in rules} for f in forms}
            for name in names
        }

    def switching(names: tuple[str, ...]) -> dict[str, Any]:
        return {
            TITLES[name]: {FORMS[f]: {f"m = {m}": line(f"{f}_switches_m{m}", name) for m in strengths} for f in forms}
            for name in names
        }

    one = followed[f"{forms[0]}_switches_m{strengths[0]}_seed{seeds[0]}"]
    tasks = len(one.matrix)
    ends = [epochs * number for number in range(1, tasks)]
    matrices = {
        f"{FORMS[f]}, m = {m}": np.stack([followed[f"{f}_switches_m{m}_seed{s}"].matrix for s in seeds])
        for f in forms
        for m in strengths
    }
    found = {"dimension": plots.over_learning(scratch(("accuracy", "signal_dimension")), chance=CHANCE)[0]}
    rest = ("ccgp", "shattering_dimension", "class_radius", "spikes")
    found["geometry"] = plots.over_learning(scratch(rest), chance=CHANCE)[0]
    found["changes"] = plots.changes(
        {
            FORMS[f]: [
                (e["what"].partition(",")[0], e["difference"], e["low"], e["high"])
                for e in results["effects"]
                if e["question"] == "compression or expansion" and e["neuron"] == f
            ]
            for f in forms
        },
        label="change of dimension by learning, with its 95 % interval",
    )[0]
    found["switches"] = plots.over_learning(
        switching(("accuracy", "signal_dimension", "ccgp", "operations")), switches=ends, names=results["order"],
        chance=CHANCE,
    )[0]  # fmt: skip
    found["kept"] = plots.forgetting_curves(matrices)[0]
    return found
