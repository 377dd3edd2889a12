"""Builds the environment in which SANA-FE runs: it is GPL, so that it runs as a program of its own and is never imported."""

from __future__ import annotations

import sys
from pathlib import Path

from hardware_targets.environment import build, default_folder, interpreter, runs

PACKAGES = ("sanafe==2.2.9", "numpy==2.4.6")
READY = "import numpy, sanafe"


def setup_sanafe(folder: Path | str | None = None) -> Path:
    """Create the environment, unless it is there and runs; afterwards the target "sanafe" finds it.

    Args:
        folder: where; default, `neurospin/sanafe` in the user's cache folder.

    Returns:
        The path of its Python.

    Raises:
        OutputError: the environment could not be built; nothing is left behind.
    """
    place = Path(folder) if folder is not None else default_folder("sanafe")
    python = interpreter(place)
    if python.is_file() and runs(str(python), READY):
        return python
    return build(place, sys.executable, PACKAGES, READY)
