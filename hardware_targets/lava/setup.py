"""Builds the Python 3.10 environment in which lava-nc runs.

lava-nc 0.10 demands Python 3.10 and numpy 1; the environment takes nine wheels, no compiler and under a
minute.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from neurospin.errors import MissingDependency, OutputError

PYTHON310 = "NEUROSPIN_PYTHON310"
PACKAGES = ("lava-nc==0.10.0", "nir==1.0.8")
PROBE = "import sys; assert sys.version_info[:2] == (3, 10); import venv, ensurepip"
READY = "import lava.proc.lif.process, lava.proc.dense.process, lava.proc.sparse.process"


def default_folder() -> Path:
    """Where the environment is built by default: `neurospin/lava` in the user's cache folder."""
    cache = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(cache) if cache else Path.home() / ".cache") / "neurospin" / "lava"


def interpreter(folder: Path) -> Path:
    """The Python of an environment."""
    return folder / "bin" / "python"


def find_python310() -> str | None:
    """A Python 3.10 that runs, or `None`.

    Looked for in this order: the environment variable NEUROSPIN_PYTHON310, `python3.10` on the PATH, the
    versions that pyenv built (newest first). A pyenv shim can be there and not run: each is tried.
    """
    candidates = [os.environ.get(PYTHON310, ""), shutil.which("python3.10") or ""]
    versions = Path(os.environ.get("PYENV_ROOT", "") or Path.home() / ".pyenv") / "versions"
    built = sorted(versions.glob("3.10*/bin/python"), key=_patch, reverse=True)
    candidates += [str(path) for path in built]
    return next((found for found in candidates if found and _runs(found, PROBE)), None)


def _patch(path: Path) -> int:
    last = path.parts[-3].split(".")[-1]
    return int(last) if last.isdigit() else -1


def _runs(python: str, code: str) -> bool:
    try:
        done = subprocess.run([python, "-I", "-c", code], capture_output=True, timeout=120, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def setup_lava(folder: Path | str | None = None) -> Path:
    """Create the environment, unless it is there and runs; afterwards the target "lava" finds it.

    Args:
        folder: where; default, `default_folder()`.

    Returns:
        The path of its Python.

    Raises:
        MissingDependency: there is no Python 3.10 to build on.
        OutputError: the environment could not be built; nothing is left behind.
    """
    place = Path(folder) if folder is not None else default_folder()
    python = interpreter(place)
    if python.is_file() and _runs(str(python), READY):
        return python
    base = find_python310()
    if base is None:
        fix = f"install Python 3.10 (pyenv install 3.10), or set {PYTHON310} to one"
        raise MissingDependency("lava", "a Python 3.10", "none that runs", fix)
    old = place.with_name(f"{place.name}.old-{os.getpid()}")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        build = Path(tempfile.mkdtemp(prefix=f".{place.name}-", dir=place.parent))
    except OSError as error:
        raise OutputError(str(place), "a folder that can be written", str(error), "choose another folder") from error
    try:
        _build(base, build)
        replace = place.exists()
        if replace:
            place.rename(old)
        try:
            build.rename(place)
        except OSError:
            if replace:
                old.rename(place)
            raise
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(str(place), "an environment that builds", str(error), "choose another folder") from error
    finally:
        shutil.rmtree(build, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
    return python


def _build(base: str, folder: Path) -> None:
    """The environment with its packages, checked; it runs from any folder through `bin/python`."""
    python = str(interpreter(folder))
    for command in (
        [base, "-m", "venv", str(folder)],
        [
            python,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--only-binary=:all:",
            *PACKAGES,
        ],
        [python, "-I", "-c", READY],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            last = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
            got = last[-1].strip() if last else f"exit code {done.returncode}"
            raise OutputError(str(folder), "an environment that builds", got, "check the network and pip's index")
