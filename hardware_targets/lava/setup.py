"""Lava's own environment: a Python 3.10 with lava-nc, found or built."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from neurospin.errors import MissingDependency, TargetError

VARIABLE = "NEUROSPIN_LAVA_PYTHON"
PACKAGES = ("lava-nc==0.10.0", "nir==1.0.8")
CHECK = "import sys, lava.proc.lif.process; print(sys.version_info[:2] == (3, 10))"


def folders() -> list[Path]:
    """Where an environment is looked for: beside the project, then in the user's cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    project = Path(__file__).resolve().parents[2]
    return [*([project / ".lava"] if (project / "pyproject.toml").is_file() else []), cache / "neurospin" / "lava"]


def find_lava_python() -> Path | None:
    """The Python that runs Lava: `NEUROSPIN_LAVA_PYTHON`, or an environment that `setup_lava` built."""
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named) if Path(named).is_file() else None
    for folder in folders():
        if (folder / "ready").is_file():
            return folder / "bin" / "python"
    return None


def find_python310() -> Path | None:
    """A Python 3.10 that runs: on the path, or among pyenv's versions."""
    candidates = [shutil.which("python3.10")]
    candidates += sorted(map(str, (Path.home() / ".pyenv" / "versions").glob("3.10*/bin/python")), reverse=True)
    for candidate in filter(None, candidates):
        test = [candidate, "-c", "import sys, venv, ensurepip; print(sys.version_info[:2] == (3, 10))"]
        try:
            answer = subprocess.run(test, capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL)
        except (OSError, subprocess.TimeoutExpired):
            continue
        if answer.stdout.strip() == "True":  # a shim may be there and fail when it is run
            return Path(candidate)
    return None


def setup_lava(folder: Path | None = None) -> Path:
    """Build the environment of Lava with pip; does nothing when it is already there.

    Args:
        folder: where it goes; default, `.lava` beside the project, else the user's cache.

    Returns:
        Its Python.

    Raises:
        MissingDependency: no Python 3.10 is found.
        TargetError: pip failed; then nothing is left behind.
    """
    place = folder or folders()[0]
    python = place / "bin" / "python"
    if (place / "ready").is_file():
        return python
    base = find_python310()
    if base is None:
        raise MissingDependency(
            "lava", "a Python 3.10", "none on the path", "install python3.10 (for example pyenv install 3.10)"
        )
    shutil.rmtree(place, ignore_errors=True)
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        for command in (
            [str(base), "-m", "venv", str(place)],
            [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PACKAGES],
            [str(python), "-c", CHECK],
        ):
            print("+", " ".join(command), file=sys.stderr)
            subprocess.run(command, check=True, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        (place / "ready").write_text("lava-nc\n")  # last: a half-built environment is not taken for a whole one
    except subprocess.CalledProcessError as error:
        shutil.rmtree(place, ignore_errors=True)
        last = (error.stderr.strip().splitlines() or ["no message"])[-1]
        raise TargetError("lava set-up", "pip to succeed", last, "run neurospin doctor --setup-lava again") from error
    return python
