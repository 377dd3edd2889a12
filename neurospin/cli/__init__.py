"""The command line: `neurospin run | resume | sweep | config | compare | results | export | check | deploy | …`.

One family of commands a file. Heavy packages are imported inside the commands, so that `neurospin --help`
answers at once.
"""

from __future__ import annotations

import errno
import sys
import warnings

import typer

from neurospin.cli import about, graphs, runs, sweeps
from neurospin.errors import NeurospinError

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Train a spiking network once; run it on Loihi arithmetic or a crossbar; be told exactly what changed.",
)
for command in (
    runs.run, runs.resume, sweeps.sweep, runs.config, runs.compare, runs.results, runs.report, runs.cite,
    graphs.export, graphs.check, graphs.draw, graphs.calibrate, graphs.deploy, graphs.certify,
    about.targets, about.doctor,
):  # fmt: skip
    app.command()(command)

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def main() -> None:
    """Entry point: errors and warnings in one line, a traceback only with `--debug`.

    Exit status: 0 done, 1 a fault in the input, 2 a fault in the command line, 130 stopped by the keyboard.
    """
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
    except OSError as error:
        if debug or error.errno not in FULL:
            raise
        typer.echo(f"neurospin: {error.filename or 'disk'}: {error.strerror}. Fix: make room, then go on", err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        typer.echo("neurospin: stopped; neurospin resume goes on", err=True)
        sys.exit(130)


if __name__ == "__main__":
    main()
