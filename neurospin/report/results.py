"""What a finished run says of itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from neurospin.errors import ConfigError


def read_results(folder: Path) -> dict[str, Any]:
    """The content of a finished run's `results.json`.

    Raises:
        ConfigError: the folder holds no finished run.
    """
    place = folder / "results.json"
    if not place.is_file():
        raise ConfigError(str(folder), "a finished run (results.json)", "none", "neurospin run, or neurospin resume")
    try:
        content = json.loads(place.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ConfigError(str(place), "JSON", str(error), "neurospin run again in a new folder") from error
    return content
