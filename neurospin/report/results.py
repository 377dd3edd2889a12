"""What a finished run says of itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from neurospin.errors import ConfigError


def read_results(folder: Path) -> dict[str, Any]:
    """The content of `results.json` of a finished run of an experiment or of a study.

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
    if not isinstance(content, dict) or not content.keys() & {"learners", "study"}:
        raise ConfigError(str(place), "the results of a run", "something else", "neurospin run again in a new folder")
    return content


def read_run(folder: Path) -> dict[str, Any]:
    """The same of an experiment, which has learners, a stream and a seed.

    Raises:
        ConfigError: the folder holds no finished run of an experiment.
    """
    content = read_results(folder)
    if "study" in content:
        raise ConfigError(str(folder), "a run of an experiment", "a study over many seeds", "see its report.html")
    return content
