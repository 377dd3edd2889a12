"""What is done with one graph: export, check, draw, deploy, certify."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from neurospin.cli.options import Dt, GraphFile, Output, Seed, Settings, Spikes, Target, Unit, check_figure

if TYPE_CHECKING:
    import nir

    from neurospin import target as seam


def export(
    source: Annotated[Path, typer.Argument(help="A run folder, or a NIR file.", metavar="RUN|GRAPH.nir")],
    to: Annotated[
        str, typer.Option("--to", help="nir, or the name of an exporter: c writes an integer program.")
    ] = "nir",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File (nir) or folder; default RUN/network.nir or beside it.")
    ] = None,
    dt: Dt = None,
    time_unit: Unit = None,
) -> None:
    """Write the network of a run as a NIR file, or a graph as a program: `--to c` gives C99 without floats or heap.

    With --time-unit and --dt, a NIR file is written anew with its times in seconds and its step.
    """
    from neurospin import target as seam
    from neurospin.files import existing
    from neurospin.graph.build import to_graph
    from neurospin.graph.file import write
    from neurospin.runs.checkpoint import load

    if source.is_file():
        graph, place = _graph(source, dt, time_unit), source
    else:
        graph = to_graph(load(existing(existing(source, "folder") / "network.safetensors")))
        place = source / "network.nir"
    if to == "nir":
        write(output or place, graph)
        typer.echo(str(output or place))
    else:
        typer.echo(str(seam.export(graph, to, output or place.with_name(f"{place.stem}-{to}"), dt=dt)))


def check(
    graph: GraphFile,
    target: Target,
    dt: Dt = None,
    time_unit: Unit = None,
    settings: Settings = None,
    json: Annotated[Path | None, typer.Option("--json", help="Where the list of problems goes.")] = None,
) -> None:
    """Tell whether a graph fits a target, without running it; exit status 1 when it does not."""
    from neurospin import target as seam
    from neurospin.graph.contract import metadata

    content = _graph(graph, dt, time_unit)
    problems = seam.check(content, _adjusted(target, settings), dt=dt)
    if json:
        _write_json(json, {"graph": str(graph), "target": target, "problems": [asdict(p) for p in problems]})
    for problem in problems:
        typer.echo(str(problem))
    if problems:
        raise typer.Exit(1)
    open_step = "" if dt is not None or "dt" in metadata(content) else "; it records no step: to run it, give --dt"
    typer.echo(f"{graph} fits {target}{open_step}")


def draw(
    graph: GraphFile,
    target: Annotated[str | None, typer.Option("--target", "-t", help="A target whose problems are shown.")] = None,
    output: Output = None,
) -> None:
    """Draw a graph as SVG, with shapes, ranges of parameters, and a target's problems in red."""
    from neurospin.files import write_text
    from neurospin.graph.file import read
    from neurospin.report.draw import draw as picture

    place = output or graph.with_suffix(".svg")
    write_text(place, picture(read(graph), target))
    typer.echo(str(place))


def calibrate(
    graph: GraphFile,
    input: Spikes,
    target: Target,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="NIR file: the graph, with its rounding in the metadata.")
    ],
    dt: Dt = None,
    time_unit: Unit = None,
    settings: Settings = None,
    seed: Seed = 0,
) -> None:
    """Search for the rounding with which a target follows a graph best on typical spikes, and write it into the graph."""
    from neurospin.files import writable
    from neurospin.graph.arrays import read_spikes
    from neurospin.graph.file import write
    from neurospin.quantise import calibrate as search

    content, chosen = _graph(graph, dt, time_unit), _adjusted(target, settings)
    spikes, _ = read_spikes(input, content)
    writable(output)
    made = search(content, spikes, chosen, dt=dt, seed=seed)
    write(output, made)
    for name, told in made.metadata["neurospin"]["quantisation"]["neurons"].items():
        typer.echo(f"{name}: error of the membrane {told['error']:.3g} thresholds (volts of a readout)")
    typer.echo(str(output))


def deploy(
    graph: GraphFile,
    input: Spikes,
    target: Target,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="npz: `spikes`, `record/NODE`, of several outputs `output/NAME`.")
    ],
    dt: Dt = None,
    time_unit: Unit = None,
    settings: Settings = None,
    seed: Seed = 0,
    record: Annotated[list[str] | None, typer.Option("--record", help="A neuron node to record; repeatable.")] = None,
    json: Annotated[Path | None, typer.Option("--json", help="Where the report goes.")] = None,
) -> None:
    """Run a graph on a target."""
    import numpy as np

    from neurospin import target as seam
    from neurospin.files import replacing, writable, write_text
    from neurospin.graph.arrays import read_spikes

    content, chosen = _graph(graph, dt, time_unit), _adjusted(target, settings)
    spikes, _ = read_spikes(input, content)
    for place in filter(None, (output, json)):
        writable(place)
    report = seam.deploy(content, spikes, chosen, dt=dt, seed=seed, record=record or [])
    arrays = {"spikes": report.spikes, **{f"record/{name}": array for name, array in report.records.items()}}
    arrays |= {f"output/{name}": array for name, array in report.outputs.items()}
    with replacing(output) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)
    if json:
        write_text(json, report.to_json())
    typer.echo(f"{output}: {tuple(report.spikes.shape)}, latency {report.latency_steps} steps")
    if report.energy:
        low, high = (sum(part[k] for part in report.energy.values()) for k in (0, 1))
        typer.echo(f"energy: {low:.3g} to {high:.3g} joules in all, after {report.info['energy_source']}")


def certify(
    graph: Annotated[Path, typer.Argument(help="A NIR file, or a run folder.", metavar="GRAPH.nir|RUN")],
    input: Annotated[
        Path, typer.Option("--input", "-i", help="npz with `spikes`, (time, batch, *input), and perhaps `labels`.")
    ],
    target: Target,
    dt: Dt = None,
    time_unit: Unit = None,
    settings: Settings = None,
    seed: Seed = 0,
    causes: Annotated[
        bool, typer.Option(help="Run the target again with each cause alone, and with all but each.")
    ] = True,
    json: Annotated[Path | None, typer.Option("--json", help="Where the certificate goes.")] = None,
    figure: Annotated[Path | None, typer.Option("--figure", help="Where the picture goes: .svg, .png or .pdf.")] = None,
) -> None:
    """Compare a graph on a target with its definition, spike by spike, and tell which cause costs how much."""
    from neurospin.certificate import certify as compare_spikes
    from neurospin.files import existing, writable
    from neurospin.graph.arrays import read_spikes

    content = _graph(existing(graph / "network.nir") if graph.is_dir() else graph, dt, time_unit)
    chosen = _adjusted(target, settings)
    spikes, labels = read_spikes(input, content)
    for place in filter(None, (json, figure)):
        writable(place)
    if figure:
        check_figure(figure)
    certificate = compare_spikes(content, spikes, chosen, labels=labels, dt=dt, seed=seed, causes=causes)
    if json:
        _write_json(json, certificate.to_dict())
    if figure and not certificate.problems:
        from neurospin.report import plots

        plots.save(plots.certificate(certificate)[0], figure)
    typer.echo(str(certificate))
    if certificate.problems:
        raise typer.Exit(1)


def _write_json(place: Path, content: dict[str, Any]) -> None:
    import json

    from neurospin.files import write_text

    write_text(place, json.dumps(content, indent=2))


def _graph(path: Path, dt: float | None, time_unit: str | None) -> nir.NIRGraph:
    """A NIR file, with the answer to the question which unit its times are in."""
    from neurospin.graph.file import read
    from neurospin.graph.units import in_seconds

    graph = read(path)
    return graph if time_unit is None else in_seconds(graph, time_unit, dt)


def _adjusted(target: str, settings: list[str] | None) -> str | seam.Target:
    """A target by name, or itself with other settings."""
    if not settings:
        return target
    import yaml

    from neurospin.errors import ConfigError
    from neurospin.target import adjusted

    values = {}
    for setting in settings:
        key, sign, text = setting.partition("=")
        if not sign or not key:
            raise ConfigError("--set", "key=value", repr(setting), "for example --set scheme=exponential")
        try:
            values[key] = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ConfigError(f"--set {key}", "a YAML value", repr(text), "quote the value") from error
        if isinstance(values[key], str):  # YAML 1.1 takes 1e-3 and none for text
            try:
                values[key] = None if values[key].lower() == "none" else float(values[key])
            except ValueError:
                continue
    return adjusted(target, values)
