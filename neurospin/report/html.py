"""The report: one self-contained HTML file, made of nothing but the run folder."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from jinja2 import Environment
from markupsafe import Markup

from neurospin.certificate import Certificate
from neurospin.files import existing, write_text
from neurospin.graph.file import read
from neurospin.report import plots
from neurospin.report.draw import draw
from neurospin.report.numbers import numbers
from neurospin.report.results import read_run

MANY = 12  # tasks whose hidden values are told apart by shades


def write_report(run: Path) -> Path:
    """Write `report.html` and the figures of a run folder.

    Returns:
        The path of the report.

    Raises:
        MissingFile: no such folder.
        ConfigError: the folder holds no finished run.
    """
    folder = existing(run, "folder")
    results = read_run(folder)
    config_text = (folder / "config.yaml").read_text(encoding="utf-8") if (folder / "config.yaml").is_file() else ""
    config = yaml.safe_load(config_text) or {}
    dt = float(config.get("network", {}).get("dt", 1e-3))
    arrays = _arrays(folder)
    figures = {
        **_learning(results, folder, config), **_hidden(results, arrays), **_activity(results, arrays, dt),
        **_targets(results, folder),
    }  # fmt: skip
    (folder / "figures").mkdir(exist_ok=True)
    for name, figure in figures.items():
        write_text(folder / "figures" / f"{name}.svg", figure)
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(files("neurospin.report").joinpath("report.html.j2").read_text("utf-8"))
    certificates = _certificates(results)
    html = template.render(
        r=results,
        main=results["learners"].get(results["main"]),
        plain=_plain(results, config),
        numbers=numbers(results["learners"].values()),
        figures={name: Markup(_embedded(figure, name)) for name, figure in figures.items()},
        certificates=certificates,
        config=config_text,
        folder=folder.name,
        complete=bool(arrays),
        hidden=any(name.startswith("hidden-") for name in figures),
        sources=[_source(text) for text in results["citations"]],
    )
    write_text(folder / "report.html", html)
    return folder / "report.html"


def _embedded(figure: str, name: str) -> str:
    """A figure for a page with others: only names that it uses itself, and those its own; and no more than is drawn."""
    used = set(re.findall(r"(?:url\(#|href=\"#)([^\")]+)", figure))
    figure = re.sub(r' id="([^"]+)"', lambda m: f' id="{name}-{m[1]}"' if m[1] in used else "", figure)
    figure = re.sub(r"(url\(#|href=\"#)([^\")]+)", lambda m: f"{m[1]}{name}-{m[2]}", figure)
    figure = _slim(figure).replace(' role="img"', "", 1)
    return figure.replace("<svg ", f'<svg role="img" aria-label="{name}" ', 1)


def _slim(figure: str) -> str:
    """A figure of matplotlib without its metadata, empty groups, and digits beyond a hundredth of a point: half of it.

    Its style for all elements stands once in the page.
    """
    figure = re.sub(
        r"<metadata>.*?</metadata>|<!--.*?-->|<style type=\"text/css\">\*\{.*?</style>", "", figure, flags=re.S
    )
    figure = re.sub(r"<defs></defs>|<g/>", "", re.sub(r">\s+<", "><", figure))
    figure = re.sub(
        r' (?:d|x|y|width|height|transform|points)="[^"]*"',
        lambda m: re.sub(r"(\.\d\d)\d+", r"\1", re.sub(r"\s+", " ", m[0])), figure,
    )  # fmt: skip
    kept: list[str] = []
    groups: list[bool] = []  # whether each open one is kept
    for part in re.split(r"(</?g\b[^>]*>)", figure):
        if part.startswith("<g"):
            groups.append(part != "<g>")
        if part != "<g>" and (part != "</g>" or groups.pop()):
            kept.append(part)
    return "".join(kept)


def _source(citation: str) -> tuple[str, str]:
    """A citation without its address, and the address: of a DOI or of arXiv."""
    found = re.search(r",? (doi:|arXiv:)(\S+)$", citation)
    if not found:
        return citation, ""
    place = "https://doi.org/" if found[1] == "doi:" else "https://arxiv.org/abs/"
    return citation[: found.start()], place + found[2]


def _certificates(results: dict[str, Any]) -> dict[str, Any]:
    """The certificates that compared something, by target."""
    found = {name: t["certificate"] for name, t in results["targets"].items() if t["available"]}
    return {name: c for name, c in found.items() if not c["problems"]}


def _differing(certificate: dict[str, Any]) -> float:
    """Entries that differ per spike of the reference."""
    nodes = certificate["nodes"].values()
    return sum(node["differing"] for node in nodes) / max(1, sum(node["total_spikes"] for node in nodes))


def _arrays(folder: Path) -> dict[str, np.ndarray]:
    place = folder / "figures" / "arrays.npz"
    if not place.is_file():
        return {}
    with np.load(place, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def _plain(results: dict[str, Any], config: dict[str, Any]) -> dict[str, Any] | None:
    """The learner that is compared with the main one: same neurons, no metaplasticity."""
    learners = config.get("learners", {})
    if results["main"] is None:
        return None
    kind = learners.get(results["main"], {}).get("neuron")
    for name, learner in learners.items():
        alone = learner.get("m") == 0 and learner.get("rule", "metaplastic") == "metaplastic"
        if learner.get("neuron") == kind and alone and name in results["learners"]:
            return results["learners"][name]
    return None


def _learning(results: dict[str, Any], folder: Path, config: dict[str, Any]) -> dict[str, str]:
    tasks = results["stream"]["tasks"]
    drawn = {}
    for name, learner in results["learners"].items():
        matrix = np.array(learner["accuracy_matrix"], dtype=float)
        drawn[f"matrix-{name}"] = plots.svg(plots.accuracy_matrix(matrix, tasks, title=learner["title"])[0])
    matrices = {
        learner["title"]: np.array(learner["accuracy_matrix"], dtype=float) for learner in results["learners"].values()
    }
    drawn["forgetting"] = plots.svg(plots.forgetting_curves(matrices)[0])
    place = folder / "metrics.jsonl"
    if place.is_file():
        losses: dict[str, list[float]] = {}
        for line in place.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            title = results["learners"].get(row["learner"], {}).get("title", row["learner"])
            losses.setdefault(title, []).append(row["loss"])
        epochs = int(config.get("training", {}).get("epochs", 1))
        drawn["losses"] = plots.svg(plots.learning_curves(losses, epochs)[0])
    return drawn


def _hidden(results: dict[str, Any], arrays: dict[str, np.ndarray]) -> dict[str, str]:
    tasks = results["stream"]["tasks"]
    numbers = [name.removeprefix("task ") for name in tasks]
    drawn = {}
    for name, learner in results["learners"].items():
        layers = sorted({key.split("/")[2] for key in arrays if key.startswith(f"hidden/{name}/")})
        layers = [] if len(tasks) > MANY else layers
        for layer in layers:
            values = [arrays[f"hidden/{name}/{layer}/{number + 1}"] for number in range(len(tasks))]
            figure, _ = plots.hidden_values(values, tasks, title=f"{learner['title']}: {layer}")
            drawn[f"hidden-{name}-{layer}"] = plots.svg(figure)
            if len(values) > 1:
                figure, _ = plots.synapses(values, numbers, title=f"{learner['title']}: {layer}")
                drawn[f"synapses-{name}-{layer}"] = plots.svg(figure)
    return drawn


def _activity(results: dict[str, Any], arrays: dict[str, np.ndarray], dt: float) -> dict[str, str]:
    drawn = {}
    own = {k.removeprefix("raster/"): v for k, v in arrays.items() if k.startswith("raster/") and k.count("/") == 1}
    if own:
        drawn["raster"] = plots.svg(plots.raster(own, dt, title="network")[0])
    for name in [name for name, found in _certificates(results).items() if not found["exact"]]:
        there = {k.split("/")[2]: v for k, v in arrays.items() if k.startswith(f"raster/{name}/")}
        if there:
            drawn[f"raster-{name}"] = plots.svg(
                plots.raster(own, dt, against=there, names=("network", name), title=name)[0]
            )
    spiking = [key for key in arrays if key.startswith("trace/")]
    if spiking:
        node = spiking[0].removeprefix("trace/")
        busy = np.argsort(-arrays[f"raster/{node}"].sum(0), kind="stable")[:3]
        figure, _ = plots.traces(
            arrays[f"trace/{node}"][:, busy], dt, threshold=1.0, spikes=arrays[f"raster/{node}"][:, busy],
            names=[f"{node}[{n}]" for n in busy],
        )  # fmt: skip
        drawn["traces"] = plots.svg(figure)
    if "output" in arrays:
        names = [f"class {n}" for n in range(arrays["output"].shape[1])]
        drawn["output"] = plots.svg(plots.traces(arrays["output"], dt, names=names)[0])
    return drawn


def _targets(results: dict[str, Any], folder: Path) -> dict[str, str]:
    drawn = {}
    certificates = _certificates(results)
    decided = {name: c for name, c in certificates.items() if c["accuracy"]}
    if decided:
        differing = {name: _differing(c) for name, c in decided.items()}
        accuracy = {name: (c["accuracy"]["before"], c["accuracy"]["after"]) for name, c in decided.items()}
        drawn["agreement"] = plots.svg(plots.agreement(differing, accuracy)[0])
    energy = {}
    for name, c in decided.items():
        low, high = (sum(part[k] for part in c["energy"].values()) / c["samples"] for k in (0, 1))
        if low > 0:
            energy[name] = (low, high)
    if len(energy) > 1:
        after = {name: decided[name]["accuracy"]["after"] for name in energy}
        drawn["pareto"] = plots.svg(plots.pareto(energy, after)[0])
    for name, c in certificates.items():
        if c.get("causes") or c.get("trace"):  # runs of older versions have neither
            drawn[f"certificate-{name}"] = plots.svg(plots.certificate(Certificate.from_dict(c))[0])
    if (folder / "network.nir").is_file():
        drawn["graph"] = draw(read(folder / "network.nir"))
    return drawn
