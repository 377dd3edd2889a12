"""Builds the Python 3.10 environment in which lava-nc runs.

lava-nc 0.10 demands Python 3.10 and numpy 1; the environment takes nine wheels, no compiler and under a
minute.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from hardware_targets.environment import build, default_folder, interpreter, runs
from neurospin.errors import MissingDependency

PYTHON310 = "NEUROSPIN_PYTHON310"
PACKAGES = ("lava-nc==0.10.0", "nir==1.0.8")
PROBE = "import sys; assert sys.version_info[:2] == (3, 10); import venv, ensurepip"
READY = "import lava.proc.lif.process, lava.proc.dense.process, lava.proc.sparse.process"


def find_python310() -> str | None:
    """A Python 3.10 that runs, or `None`.

    Looked for in this order: the environment variable NEUROSPIN_PYTHON310, `python3.10` on the PATH, the
    versions that pyenv built (newest first). A pyenv shim can be there and not run: each is tried.
    """
    candidates = [os.environ.get(PYTHON310, ""), shutil.which("python3.10") or ""]
    versions = Path(os.environ.get("PYENV_ROOT", "") or Path.home() / ".pyenv") / "versions"
    built = sorted(versions.glob("3.10*/bin/python"), key=_patch, reverse=True)
    candidates += [str(path) for path in built]
    return next((found for found in candidates if found and runs(found, PROBE)), None)


def _patch(path: Path) -> int:
    last = path.parts[-3].split(".")[-1]
    return int(last) if last.isdigit() else -1


def setup_lava(folder: Path | str | None = None) -> Path:
    """Create the environment, unless it is there and runs; afterwards the target "lava" finds it.

    Args:
        folder: where; default, `neurospin/lava` in the user's cache folder.

    Returns:
        The path of its Python.

    Raises:
        MissingDependency: there is no Python 3.10 to build on.
        OutputError: the environment could not be built; nothing is left behind.
    """
    place = Path(folder) if folder is not None else default_folder("lava")
    python = interpreter(place)
    if python.is_file() and runs(str(python), READY):
        return python
    base = find_python310()
    if base is None:
        fix = f"install Python 3.10 (pyenv install 3.10), or set {PYTHON310} to one"
        raise MissingDependency("lava", "a Python 3.10", "none that runs", fix)
    return build(place, base, PACKAGES, READY)
