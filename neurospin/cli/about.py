"""What is here: targets, and what is installed."""

from __future__ import annotations

from typing import Annotated

import typer


def targets() -> None:
    """List every target, and why one cannot be used here."""
    from neurospin import target as seam
    from neurospin.report.console import targets_table

    targets_table(seam.targets())


def doctor(
    setup_lava: Annotated[
        bool, typer.Option("--setup-lava", help="Build the Python 3.10 environment of Lava.")
    ] = False,
    setup_sanafe: Annotated[
        bool, typer.Option("--setup-sanafe", help="Build the environment of SANA-FE, which is GPL and runs apart.")
    ] = False,
) -> None:
    """Tell what is installed, what can run here, and what is missing; or build what Lava or SANA-FE needs."""
    from neurospin.report.console import doctor_table

    for name in ["lava"] * setup_lava + ["sanafe"] * setup_sanafe:
        from importlib.metadata import entry_points

        (entry,) = entry_points(group="neurospin.setup", name=name)
        typer.echo(f"{name}: {entry.load()()}")
    doctor_table()
