"""The command line: `neurospin run | resume | export | check | deploy | certify | compare | report | …`.

Heavy packages are imported inside the commands, so that `neurospin --help` answers at once.
"""

from __future__ import annotations

import sys
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from neurospin.errors import NeurospinError, OutputError

if TYPE_CHECKING:
    import numpy as np

    from neurospin.runs.config import Experiment

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Train a spiking network once; run it on Loihi arithmetic or a crossbar; be told exactly what changed.",
)

Output = Annotated[Path | None, typer.Option("--output", "-o", help="Where the result goes.")]
Target = Annotated[str, typer.Option("--target", "-t", help="Name of a target; see `neurospin targets`.")]
Dt = Annotated[float | None, typer.Option("--dt", help="Step in seconds; default: the one that the graph records.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Seed of everything random on the target.")]
Run = Annotated[Path, typer.Argument(help="A run folder.", metavar="RUN")]
GraphFile = Annotated[Path, typer.Argument(help="A NIR file.", metavar="GRAPH.nir")]
Spikes = Annotated[Path, typer.Option("--input", "-i", help="npz with the array `spikes`, (time, batch, *input).")]


@app.command()
def run(
    config: Annotated[Path, typer.Argument(help="An experiment file.", metavar="EXPERIMENT.yaml")],
    output: Output = None,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="In place of the file's seed.")] = None,
    changes: Annotated[
        list[str] | None, typer.Option("--set", help="key=value, for example training.epochs=3.")
    ] = None,
) -> None:
    """Train, export, run on every target, report. A run that was stopped goes on; a finished one is shown."""
    from neurospin.runs.config import load

    experiment = load(config, changes or [], seed)
    _carry_out(experiment, output or Path("runs") / f"{experiment.name}-seed{experiment.seed}")


@app.command()
def resume(folder: Run) -> None:
    """Go on with a run that was stopped, as if it had not been."""
    from neurospin.files import existing
    from neurospin.runs.config import load

    _carry_out(load(existing(folder, "folder") / "config.yaml"), folder)


def _carry_out(experiment: Experiment, folder: Path) -> None:
    from neurospin.report.console import Console, results_table
    from neurospin.runs import experiment as experiments

    with Console() as console:
        results = experiments.run(experiment, folder, console)
    results_table(results)
    typer.echo(f"report: {folder / 'report.html'}")


@app.command()
def config(
    path: Annotated[Path, typer.Argument(help="An experiment file.", metavar="EXPERIMENT.yaml")],
    changes: Annotated[list[str] | None, typer.Option("--set", help="key=value.")] = None,
) -> None:
    """Show an experiment with every default written out."""
    from neurospin.runs.config import load

    typer.echo(load(path, changes or []).to_yaml(), nl=False)


@app.command()
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


@app.command()
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


@app.command()
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


@app.command()
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


@app.command()
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
    if figure and figure.suffix not in (".svg", ".png", ".pdf"):
        raise OutputError(str(figure), "a name that ends in .svg, .png or .pdf", figure.suffix or "none", "rename it")
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


@app.command()
def compare(runs: Annotated[list[Path], typer.Argument(help="Run folders.", metavar="RUN…")]) -> None:
    """Put the learners of several runs side by side."""
    from neurospin.report.console import comparison_table
    from neurospin.runs.experiment import read_results

    comparison_table({str(folder): read_results(folder) for folder in runs})


@app.command()
def report(folder: Run) -> None:
    """Write the report of a run anew."""
    from neurospin.report.html import write_report

    typer.echo(str(write_report(folder)))


@app.command()
def targets() -> None:
    """List every target, and why one cannot be used here."""
    from neurospin import target as seam
    from neurospin.report.console import targets_table

    targets_table(seam.targets())


@app.command()
def cite(folder: Run) -> None:
    """Print the sources of exactly what a run used."""
    from neurospin.runs.experiment import read_results

    for source in read_results(folder)["citations"]:
        typer.echo(source)


@app.command()
def doctor(
    setup_lava: Annotated[
        bool, typer.Option("--setup-lava", help="Build the Python 3.10 environment of Lava.")
    ] = False,
) -> None:
    """Tell what is installed, what can run here, and what is missing; or build what Lava needs."""
    from neurospin.report.console import doctor_table

    if setup_lava:
        from importlib.metadata import entry_points

        (entry,) = entry_points(group="neurospin.setup", name="lava")
        typer.echo(f"Lava: {entry.load()()}")
    doctor_table()


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


def main() -> None:
    """Entry point: errors and warnings in one line, a traceback only with `--debug`; exit status 1 for a fault in the input."""
    debug = "--debug" in sys.argv
    if debug:
        sys.argv.remove("--debug")
    warnings.formatwarning = lambda message, *_, **__: f"neurospin: warning: {message}\n"
    try:
        app()
    except NeurospinError as error:
        if debug:
            raise
        typer.echo(f"neurospin: {error}", err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        typer.echo("neurospin: stopped; neurospin resume goes on", err=True)
        sys.exit(130)


if __name__ == "__main__":
    main()
