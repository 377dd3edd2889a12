"""What is done with experiments and run folders: run, resume, config, compare, report, cite."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from neurospin.cli.options import Changes, Output, Run

if TYPE_CHECKING:
    from neurospin.runs.config import Experiment


def run(
    config: Annotated[Path, typer.Argument(help="An experiment file.", metavar="EXPERIMENT.yaml")],
    output: Output = None,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="In place of the file's seed.")] = None,
    changes: Changes = None,
) -> None:
    """Train, export, run on every target, report. A run that was stopped goes on; a finished one is shown."""
    from neurospin.runs.config import load

    experiment = load(config, changes or [], seed)
    _carry_out(experiment, output or Path("runs") / f"{experiment.name}-seed{experiment.seed}")


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


def config(
    path: Annotated[Path, typer.Argument(help="An experiment file.", metavar="EXPERIMENT.yaml")],
    changes: Changes = None,
) -> None:
    """Show an experiment with every default written out."""
    from neurospin.runs.config import load

    typer.echo(load(path, changes or []).to_yaml(), nl=False)


def compare(runs: Annotated[list[Path], typer.Argument(help="Run folders.", metavar="RUN…")]) -> None:
    """Put the learners of several runs side by side."""
    from neurospin.report.console import comparison_table
    from neurospin.runs.experiment import read_results

    comparison_table({str(folder): read_results(folder) for folder in runs})


def report(folder: Run) -> None:
    """Write the report of a run anew."""
    from neurospin.report.html import write_report

    typer.echo(str(write_report(folder)))


def cite(folder: Run) -> None:
    """Print the sources of exactly what a run used."""
    from neurospin.runs.experiment import read_results

    for source in read_results(folder)["citations"]:
        typer.echo(source)
