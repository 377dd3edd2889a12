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
) -> None:
    """Tell what is installed, what can run here, and what is missing; or build what Lava needs."""
    from neurospin.report.console import doctor_table

    if setup_lava:
        from importlib.metadata import entry_points

        (entry,) = entry_points(group="neurospin.setup", name="lava")
        typer.echo(f"Lava: {entry.load()()}")
    doctor_table()
