"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from neurospin.errors import OutputError

Output = Annotated[Path | None, typer.Option("--output", "-o", help="Where the result goes.")]
Target = Annotated[str, typer.Option("--target", "-t", help="Name of a target; see `neurospin targets`.")]
Dt = Annotated[float | None, typer.Option("--dt", help="Step in seconds; default: the one that the graph records.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Seed of everything random on the target.")]
Run = Annotated[Path, typer.Argument(help="A run folder.", metavar="RUN")]
GraphFile = Annotated[Path, typer.Argument(help="A NIR file.", metavar="GRAPH.nir")]
Unit = Annotated[
    str | None,
    typer.Option("--time-unit", help="Unit of the graph's times, where it is not seconds: s, ms, us, steps."),
]
Settings = Annotated[
    list[str] | None, typer.Option("--set", help="A setting of the target, key=value: scheme, reset; device, wires.")
]
Spikes = Annotated[
    Path,
    typer.Option(
        "--input", "-i", help="npz with the array `spikes`, (time, batch, *input); of several inputs, by name."
    ),
]
Changes = Annotated[
    list[str] | None,
    typer.Option("--set", help="key=value with a dotted key, for example training.epochs=3; repeatable."),
]


def check_figure(path: Path) -> None:
    """Refuse a picture of a kind that cannot be drawn."""
    if path.suffix not in (".svg", ".png", ".pdf"):
        raise OutputError(str(path), "a name that ends in .svg, .png or .pdf", path.suffix or "none", "rename it")
