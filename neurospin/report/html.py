"""The report: one self-contained HTML file, made of nothing but the run folder."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from jinja2 import Environment
from markupsafe import Markup

from neurospin.certificate import Certificate
from neurospin.errors import ConfigError
from neurospin.files import existing, write_text
from neurospin.report import plots

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
    results = _results(folder)
    config_text = (folder / "config.yaml").read_text(encoding="utf-8") if (folder / "config.yaml").is_file() else ""
    config = yaml.safe_load(config_text) or {}
    dt = float(config.get("network", {}).get("dt", 1e-3))
    arrays = _arrays(folder)
    figures = {**_learning(results, folder, config), **_hidden(results, arrays), **_activity(results, arrays, dt)}
    (folder / "figures").mkdir(exist_ok=True)
    for name, figure in figures.items():
        write_text(folder / "figures" / f"{name}.svg", figure)
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(files("neurospin.report").joinpath("report.html.j2").read_text("utf-8"))
    html = template.render(
        r=results,
        main=results["learners"].get(results["main"]),
        plain=_plain(results, config),
        figures={name: Markup(figure) for name, figure in figures.items()},
        config=config_text,
        folder=folder.name,
        complete=bool(arrays),
        hidden=any(name.startswith("hidden-") for name in figures),
    )
    write_text(folder / "report.html", html)
    return folder / "report.html"


def _results(folder: Path) -> dict[str, Any]:
    place = folder / "results.json"
    try:
        return json.loads(existing(place).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(str(folder), "a finished run (results.json)", "none", "neurospin resume") from error
    except json.JSONDecodeError as error:
        raise ConfigError(str(place), "JSON", str(error), "run again in a new folder") from error


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
    drawn = {}
    for name, learner in results["learners"].items():
        layers = sorted({key.split("/")[2] for key in arrays if key.startswith(f"hidden/{name}/")})
        layers = [] if len(tasks) > MANY else layers
        for layer in layers:
            values = [arrays[f"hidden/{name}/{layer}/{number + 1}"] for number in range(len(tasks))]
            figure, _ = plots.hidden_values(values, tasks, title=f"{learner['title']}: {layer}")
            drawn[f"hidden-{name}-{layer}"] = plots.svg(figure)
    return drawn


def _activity(results: dict[str, Any], arrays: dict[str, np.ndarray], dt: float) -> dict[str, str]:
    drawn = {}
    own = {k.removeprefix("raster/"): v for k, v in arrays.items() if k.startswith("raster/") and k.count("/") == 1}
    if own:
        drawn["raster"] = plots.svg(plots.raster(own, dt, title="network")[0])
    for name in results["targets"]:
        there = {k.split("/")[2]: v for k, v in arrays.items() if k.startswith(f"raster/{name}/")}
        if there:
            layers = {"input": own["input"], **there}
            drawn[f"raster-{name}"] = plots.svg(plots.raster(layers, dt, title=name)[0])
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
    ran = {
        n: t["certificate"] for n, t in results["targets"].items() if t["available"] and t["certificate"]["accuracy"]
    }
    if ran:
        differing = {
            name: sum(node["differing"] for node in c["nodes"].values())
            / max(1, sum(node["total_spikes"] for node in c["nodes"].values()))
            for name, c in ran.items()
        }
        accuracy = {name: (c["accuracy"]["before"], c["accuracy"]["after"]) for name, c in ran.items()}
        drawn["agreement"] = plots.svg(plots.agreement(differing, accuracy)[0])
    for name, c in ran.items():
        if c.get("causes") or c.get("trace"):  # runs of older versions have neither
            drawn[f"certificate-{name}"] = plots.svg(plots.certificate(Certificate.from_dict(c))[0])
    return drawn
