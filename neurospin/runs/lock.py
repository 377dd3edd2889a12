"""One process at a time in a folder."""

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
