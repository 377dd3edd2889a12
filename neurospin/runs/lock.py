"""A folder to work in: made, found empty or ours, and held by one process at a time."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from neurospin.errors import ConfigError, OutputError

NAME = ".lock"


class Busy(ConfigError):
    """Another process is at work in the folder."""


def make_folder(folder: Path) -> None:
    """Make a folder, unless it is there.

    Raises:
        OutputError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            str(folder), "a folder that can be made", str(error.strerror), "choose another --output"
        ) from error


def make_run_folder(folder: Path) -> None:
    """Make a run folder, unless it is one: then it has a `config.yaml`.

    Raises:
        OutputError: it cannot be made, or holds something else.
    """
    if folder.exists() and not (folder / "config.yaml").is_file():
        need_empty(folder)
    make_folder(folder)


def need_empty(folder: Path) -> None:
    """Find that a folder holds nothing but what a process leaves there before its first file is whole.

    Raises:
        OutputError: it holds something else, or is a file.
    """
    if not folder.is_dir() or any(p.name != NAME and not p.name.startswith(".tmp-") for p in folder.iterdir()):
        raise OutputError(str(folder), "a new or empty folder", "something else", "choose another --output")


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Hold a folder while the block runs; a process that is killed lets go of it.

    On file systems without locks nothing is held.

    Raises:
        Busy: another process holds it.
        OutputError: nothing can be written there.
    """
    import fcntl

    place = folder / NAME
    try:
        file = place.open("a+", encoding="utf-8")
    except OSError as error:
        raise OutputError(
            str(folder), "a folder that can be written to", str(error.strerror), "choose another"
        ) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            holder = file.read(200).strip() or "another process"
            raise Busy(
                str(folder), "a folder in which nothing else is at work", f"one held by {holder}",
                "wait for it, or choose another --output",
            ) from error  # fmt: skip
        except OSError:  # a network file system without locks
            yield
            return
        with suppress(OSError):  # a full disk: the lock holds all the same
            file.truncate(0)
            file.write(f"process {os.getpid()} on {socket.gethostname()}")
            file.flush()
        yield


def sweep_out(folder: Path) -> None:
    """Remove what a killed process was writing; only for the one that holds the folder."""
    for left in folder.rglob(".tmp-*"):
        with suppress(OSError):
            left.unlink()
