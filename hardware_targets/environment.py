"""Python environments of their own, for packages that cannot or must not be imported here."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from neurospin.errors import OutputError


def default_folder(name: str) -> Path:
    """Where an environment is built by default: `neurospin/NAME` in the user's cache folder."""
    cache = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(cache) if cache else Path.home() / ".cache") / "neurospin" / name


def interpreter(folder: Path) -> Path:
    """The Python of an environment."""
    return folder / "bin" / "python"


def runs(python: str, code: str) -> bool:
    """Whether an interpreter runs some code to its end."""
    try:
        done = subprocess.run([python, "-I", "-c", code], capture_output=True, timeout=120, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def build(place: Path, base: str, packages: Sequence[str], ready: str) -> Path:
    """Create an environment, or replace one; what was there stays where that fails.

    Args:
        place: its folder.
        base: the Python that it is built on.
        packages: what pip installs, wheels only.
        ready: code that runs when all is there.

    Returns:
        The path of its Python.

    Raises:
        OutputError: the environment could not be built; nothing is left behind.
    """
    old = place.with_name(f"{place.name}.old-{os.getpid()}")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=f".{place.name}-", dir=place.parent))
    except OSError as error:
        raise OutputError(str(place), "a folder that can be written", str(error), "choose another folder") from error
    try:
        _fill(base, fresh, packages, ready)
        replace = place.exists()
        if replace:
            place.rename(old)
        try:
            fresh.rename(place)
        except OSError:
            if replace:
                old.rename(place)
            raise
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(str(place), "an environment that builds", str(error), "choose another folder") from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
    return interpreter(place)


def _fill(base: str, folder: Path, packages: Sequence[str], ready: str) -> None:
    """The environment with its packages, checked; it runs from any folder through `bin/python`."""
    python = str(interpreter(folder))
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary=:all:", *packages]
    for command in ([base, "-m", "venv", str(folder)], pip, [python, "-I", "-c", ready]):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            last = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
            got = last[-1].strip() if last else f"exit code {done.returncode}"
            raise OutputError(str(folder), "an environment that builds", got, "check the network and pip's index")
