"""What is done with experiments and run folders: run, resume, config, compare, report, cite."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from neurospin.cli.options import Changes, Output, Run, check_figure

if TYPE_CHECKING:
    from neurospin.runs.config import Experiment

KeepEvery = Annotated[
    float, typer.Option("--keep-every", min=0, help="Seconds of training that a kill may cost, at most.")
]
Events = Annotated[bool, typer.Option("--tensorboard", help="Write events for TensorBoard into the run folder.")]


def run(
    config: Annotated[Path, typer.Argument(help="An experiment file.", metavar="EXPERIMENT.yaml")],
    output: Output = None,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="In place of the file's seed.")] = None,
    changes: Changes = None,
    keep_every: KeepEvery = 60.0,
    tensorboard: Events = False,
) -> None:
    """Train, export, run on every target, report; or carry out a study. What was stopped goes on, what is done is shown."""
    from neurospin.runs.config import load
    from neurospin.runs.yaml_file import is_study

    if is_study(config):
        _study(config, output, seed, changes)
        return
    experiment = load(config, changes or [], seed)
    _carry_out(experiment, output or Path("runs") / f"{experiment.name}-seed{experiment.seed}", keep_every, tensorboard)


def resume(folder: Run, keep_every: KeepEvery = 60.0, tensorboard: Events = False) -> None:
    """Go on with a run that was stopped, as if it had not been."""
    from neurospin.errors import ConfigError
    from neurospin.files import existing
    from neurospin.runs.config import load
    from neurospin.runs.yaml_file import is_study

    place = existing(folder, "folder") / "config.yaml"
    if not place.is_file():
        raise ConfigError(str(folder), "a run folder (config.yaml)", "none", "neurospin run EXPERIMENT.yaml begins one")
    if is_study(folder):
        _study(place, folder, None, None)
        return
    _carry_out(load(place), folder, keep_every, tensorboard)


def _study(config: Path, output: Path | None, seed: int | None, changes: list[str] | None) -> None:
    from neurospin.errors import ConfigError
    from neurospin.report.console import SweepConsole
    from neurospin.report.study import verdicts
    from neurospin.runs.study import load
    from neurospin.runs.study import run as carry_out

    if seed is not None:
        raise ConfigError("--seed", "none for a study, which has seeds of its own", str(seed), "--set seeds=[…]")
    study = load(config, changes or [])
    folder = output or Path("runs") / study.name
    with SweepConsole() as console:
        results = carry_out(study, folder, console)
    for text in verdicts(results):
        typer.echo(text)
    typer.echo(f"report: {folder / 'report.html'}")


def _carry_out(experiment: Experiment, folder: Path, keep_every: float, tensorboard: bool) -> None:
    from contextlib import nullcontext

    from neurospin.report.console import Console, results_table
    from neurospin.runs import experiment as experiments
    from neurospin.runs.tensorboard import TensorBoard

    with Console() as console:
        watched = TensorBoard(folder, experiment.training.epochs, console) if tensorboard else nullcontext(console)
        with watched as observer:
            results = experiments.run(experiment, folder, observer, every=keep_every)
    if results:  # the first of several processes
        results_table(results)
        typer.echo(f"report: {folder / 'report.html'}")


def config(
    path: Annotated[Path | None, typer.Argument(help="An experiment file.", metavar="[EXPERIMENT.yaml]")] = None,
    changes: Changes = None,
    show: Annotated[bool, typer.Option("--show", help="With a word on every key, and what it may be.")] = False,
    schema: Annotated[bool, typer.Option("--schema", help="The JSON schema of experiment files, for editors.")] = False,
) -> None:
    """Show an experiment with every default written out; without a file, the smallest experiment there is."""
    from neurospin.runs import show as texts
    from neurospin.runs.config import load, parse
    from neurospin.runs.keys import change

    if schema:
        typer.echo(texts.text(texts.schema()))
        return
    if path:
        experiment = load(path, changes or [])
    else:
        content = texts.template().model_dump(mode="json")
        for text in changes or []:
            change(content, text, type(texts.template()))
        experiment = parse(content, "config")
    typer.echo(texts.commented(experiment) if show or not path else experiment.to_yaml(), nl=False)


def compare(
    runs: Annotated[list[Path], typer.Argument(help="Run folders.", metavar="RUN…")],
    figure: Annotated[Path | None, typer.Option("--figure", help="Where the picture goes: .svg, .png or .pdf.")] = None,
) -> None:
    """Put runs side by side, in one table and one figure, with statistics paired by seed.

    Runs that differ in the seed alone are taken together; everything is compared with the first run's first learner.
    """
    from neurospin.files import writable
    from neurospin.report.comparison import comparison_figure, comparison_table
    from neurospin.report.plots import save
    from neurospin.runs.comparison import METRICS, align, gain

    if figure:
        check_figure(figure)
        writable(figure)
    first, *others = arms = align(runs)
    gains = {arm.label: [gain(arm, first, metric) for metric in METRICS] for arm in others}
    comparison_table({arm.label: [arm.values[metric] for metric in METRICS] for arm in arms}, gains)
    if figure:
        accuracies = {arm.label: arm.values[METRICS[0]] for arm in arms}
        picture, _ = comparison_figure(
            accuracies, {arm.label: arm.matrices for arm in arms}, {label: found[0] for label, found in gains.items()}
        )
        save(picture, figure)
        typer.echo(str(figure))


def results(
    runs: Annotated[list[str], typer.Argument(help="Run folders, or patterns such as 'runs/*'.", metavar="GLOB…")],
    sql: Annotated[
        str | None, typer.Option("--sql", help="A query over the tables results, tasks, epochs and targets.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help=".parquet, .csv or .json; without --sql results.parquet by default."),
    ] = None,
) -> None:
    """Many runs as tables: written as parquet, or asked in SQL (duckdb)."""
    import re

    from neurospin.files import writable
    from neurospin.report.console import rows_table, steps
    from neurospin.runs.table import TABLES, find, open_tables, query

    place = output or (None if sql else Path("results.parquet"))
    if place:
        writable(place)
    asked = sql or "from results"
    folders = find(runs)
    wanted = [name for name in TABLES if re.search(rf"\b{name}\b", asked, re.IGNORECASE)]
    with steps("reading runs", folders) as each:
        database = open_tables(each, wanted, lambda text: typer.echo(f"neurospin: warning: {text}", err=True))
    names, rows = query(database, asked, place)
    if sql:
        rows_table(names, rows)
    if place:
        typer.echo(f"{place}: {len(rows)} rows, {len(names)} columns")


def report(folder: Run) -> None:
    """Write the report of a run anew."""
    from neurospin.report.results import read_results

    if "study" in read_results(folder):
        from neurospin.runs.study import write_report
    else:
        from neurospin.report.html import write_report
    typer.echo(str(write_report(folder)))


def cite(folder: Run) -> None:
    """Print the sources of exactly what a run used."""
    from neurospin.report.results import read_results

    for source in read_results(folder)["citations"]:
        typer.echo(source)
