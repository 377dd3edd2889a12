"""Many runs: sweep."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Place(StrEnum):
    """Where cells run."""

    local = "local"
    slurm = "slurm"


def sweep(
    file: Annotated[Path | None, typer.Argument(help="A sweep file.", metavar="SWEEP.yaml")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The sweep folder; default sweeps/NAME.")
    ] = None,
    on: Annotated[Place, typer.Option("--on", help="Processes of this machine, or job arrays of SLURM.")] = Place.local,
    workers: Annotated[int | None, typer.Option("--workers", min=1, help="In place of the file's.")] = None,
    keep_every: Annotated[
        float, typer.Option("--keep-every", min=0, help="Seconds of training that a kill may cost, at most.")
    ] = 60.0,
    poll: Annotated[float, typer.Option("--poll", min=0.1, help="Seconds between two looks at SLURM's queue.")] = 10.0,
    show: Annotated[bool, typer.Option("--list", help="List the cells and how each stands; run nothing.")] = False,
    schema: Annotated[bool, typer.Option("--schema", help="The JSON schema of sweep files, for editors.")] = False,
) -> None:
    """Run an experiment over a grid or a search, and over seeds; what is done is never done again.

    Stop it at any time and call it again. Failed cells are tried again, and listed at the end; then the exit status is 1.
    """
    from neurospin.report.console import SweepConsole, outcome_table
    from neurospin.runs.sweep import Grid, hold, prepare
    from neurospin.runs.sweep import sweep as carry_out
    from neurospin.runs.sweep_file import load_sweep

    if schema:
        from neurospin.runs.show import sweep_schema, text

        typer.echo(text(sweep_schema()))
        return
    if file is None:
        raise typer.BadParameter("missing", param_hint="'SWEEP.yaml'")
    plan = load_sweep(file)
    folder = output or Path("sweeps") / plan.sweep.name
    if show:
        known = folder / "cells"  # of a search, those that were asked for so far
        begun = sorted(p.name for p in known.iterdir()) if plan.sweep.search and known.is_dir() else []
        for name in begun if plan.sweep.search else [cell.name for cell in plan.cells()]:
            typer.echo(f"{_state(known / name):7}{name}")
        return
    cells = [] if plan.sweep.search else plan.cells()  # refused before anything is written
    with hold(folder):
        prepare(plan, folder)
        if plan.sweep.search:
            from neurospin.runs.search import Search

            source = Search(plan, folder)
        else:
            source = Grid(cells)
        if on is Place.slurm:
            from neurospin.runs.slurm import Slurm

            runner = Slurm(folder, plan.sweep.slurm, keep_every, poll)
        else:
            from neurospin.runs.local import Local

            runner = Local(folder / "cells", workers or plan.sweep.workers or os.cpu_count() or 1, keep_every)
        with SweepConsole() as console:
            outcome = carry_out(plan, folder, source, runner, console)
    outcome_table(outcome.failed)
    typer.echo(f"{len(outcome.done)} cells done, {len(outcome.before)} were done before, {len(outcome.failed)} failed")
    if plan.sweep.search and (best := source.best()):  # type: ignore[union-attr]
        typer.echo(f"best: {best[0]:.6g} with {', '.join(f'{key}={value}' for key, value in best[1].items())}")
    typer.echo(f"ask them: neurospin results '{folder}/cells/*' --sql '…'")
    if outcome.failed:
        raise typer.Exit(1)


def _state(place: Path) -> str:
    from neurospin.runs.sweep import ERROR, is_done

    if is_done(place):
        return "done"
    if (place / ERROR).is_file():
        return "failed"
    return "begun" if place.is_dir() else "to do"
