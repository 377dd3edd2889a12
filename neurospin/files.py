"""Files that are whole or not there: written beside their place, then moved into it."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from neurospin.errors import MissingFile, OutputError

_UMASK = os.umask(0)
os.umask(_UMASK)


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary path in the folder of `path`; moved over `path` when the block ends well.

    If the block raises, the temporary file is removed and `path` is as it was.

    Raises:
        OutputError: the folder is missing or cannot be written to, or `path` is a folder.
    """
    place = Path(path)
    if place.is_dir():
        raise OutputError(str(place), "the name of a file", "a folder", "give a file name")
    if not place.parent.is_dir():
        raise OutputError(str(place), "an existing folder", f"{place.parent}, which is not there", "make the folder")
    temporary = place.with_name(f".tmp-{os.getpid()}-{place.name}")
    try:
        yield temporary
        temporary.chmod(0o666 & ~_UMASK)  # some libraries write files that only their owner can read
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(place)
    except PermissionError as error:
        raise OutputError(
            str(place), "a place that can be written to", str(error.strerror), "choose another"
        ) from error
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        got, fix = (str(error.strerror), "make room, then go on") if full else (str(error), "choose another")
        raise OutputError(str(place), "a place that can be written to", got, fix) from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def writable(path: str | os.PathLike[str]) -> None:
    """Find out before the work whether a file can be written there; nothing is left behind.

    Raises:
        OutputError: it cannot.
    """
    place = Path(path)
    if not place.is_dir() and place.parent.is_dir():
        try:
            with tempfile.TemporaryFile(dir=place.parent):
                return
        except OSError as error:
            reason = str(error.strerror)
            raise OutputError(str(place), "a place that can be written to", reason, "choose another") from error
    with replacing(place):  # tells what is wrong with the path
        pass


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a text file whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def existing(path: str | os.PathLike[str], kind: str = "file") -> Path:
    """The path, after it is found to be a readable file (or a folder, with `kind="folder"`).

    Raises:
        MissingFile: it is not there, or of the other kind.
    """
    place = Path(path)
    test: Callable[[], bool] = place.is_dir if kind == "folder" else place.is_file
    if not test():
        got = "nothing there" if not place.exists() else ("a folder" if place.is_dir() else "a file")
        raise MissingFile(str(place), f"an existing {kind}", got, "check the path")
    return place
