"""What is done with one graph: export, check, draw, deploy, certify."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from neurospin.cli.options import Dt, GraphFile, Output, Seed, Spikes, Target, check_figure
from neurospin.errors import NeurospinError

if TYPE_CHECKING:
    import numpy as np


def export(
    source: Annotated[Path, typer.Argument(help="A run folder, or a NIR file.", metavar="RUN|GRAPH.nir")],
    to: Annotated[
        str, typer.Option("--to", help="nir, or the name of an exporter: c writes an integer program.")
    ] = "nir",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File (nir) or folder; default RUN/network.nir or beside it.")
    ] = None,
    dt: Dt = None,
) -> None:
    """Write the network of a run as a NIR file, or a graph as a program: `--to c` gives C99 without floats or heap."""
    from neurospin import target as seam
    from neurospin.files import existing
    from neurospin.graph.build import to_graph
    from neurospin.graph.file import read, write
    from neurospin.runs.checkpoint import load

    if source.is_file():
        graph, place = read(source), source
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
    json: Annotated[Path | None, typer.Option("--json", help="Where the list of problems goes.")] = None,
) -> None:
    """Tell whether a graph fits a target, without running it; exit status 1 when it does not."""
    from neurospin import target as seam
    from neurospin.graph.file import read

    problems = seam.check(read(graph), target)
    if json:
        _write_json(json, {"graph": str(graph), "target": target, "problems": [asdict(p) for p in problems]})
    for problem in problems:
        typer.echo(str(problem))
    if problems:
        raise typer.Exit(1)
    typer.echo(f"{graph} fits {target}")


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


def deploy(
    graph: GraphFile,
    input: Spikes,
    target: Target,
    output: Annotated[Path, typer.Option("--output", "-o", help="npz that gets `spikes` and `record/NODE`.")],
    dt: Dt = None,
    seed: Seed = 0,
    record: Annotated[list[str] | None, typer.Option("--record", help="A neuron node to record; repeatable.")] = None,
    json: Annotated[Path | None, typer.Option("--json", help="Where the report goes.")] = None,
) -> None:
    """Run a graph on a target."""
    import numpy as np

    from neurospin import target as seam
    from neurospin.files import replacing, writable, write_text
    from neurospin.graph.file import read

    content = read(graph)
    spikes = _spikes(input)
    for place in filter(None, (output, json)):
        writable(place)
    report = seam.deploy(content, spikes, target, dt=dt, seed=seed, record=record or [])
    arrays = {"spikes": report.spikes, **{f"record/{name}": array for name, array in report.records.items()}}
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
    from neurospin.graph.file import read

    content = read(existing(graph / "network.nir") if graph.is_dir() else graph)
    spikes, labels = _arrays(input)
    for place in filter(None, (json, figure)):
        writable(place)
    if figure:
        check_figure(figure)
    certificate = compare_spikes(content, spikes, target, labels=labels, dt=dt, seed=seed, causes=causes)
    if json:
        _write_json(json, certificate.to_dict())
    if figure and not certificate.problems:
        from neurospin.report.certificate import certificate_figure
        from neurospin.report.plots import save

        save(certificate_figure(certificate), figure)
    typer.echo(str(certificate))
    if certificate.problems:
        raise typer.Exit(1)


def _write_json(place: Path, content: dict[str, Any]) -> None:
    import json

    from neurospin.files import write_text

    write_text(place, json.dumps(content, indent=2))


def _spikes(path: Path) -> np.ndarray:
    return _arrays(path)[0]


def _arrays(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """The arrays `spikes` and, where there is one, `labels` of an npz file."""
    import zipfile

    import numpy as np

    from neurospin.errors import InputError
    from neurospin.files import existing

    if not zipfile.is_zipfile(existing(path)):  # numpy would speak of pickles
        got = "a file of another kind"
        raise InputError(str(path), "an npz file with the array spikes", got, "write it with numpy.savez")
    try:
        with np.load(path, allow_pickle=False) as file:
            if "spikes" not in file.files:
                raise InputError(str(path), "an array named spikes", ", ".join(file.files) or "none", "name it spikes")
            return file["spikes"], file["labels"] if "labels" in file.files else None
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, AttributeError) as error:
        if isinstance(error, NeurospinError):
            raise
        raise InputError(
            str(path), "an npz file with the array spikes", str(error), "write it with numpy.savez"
        ) from error
