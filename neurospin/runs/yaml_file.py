"""YAML that cannot surprise: no tags, aliases or duplicate keys, and nothing is executed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml

from neurospin.errors import ConfigError
from neurospin.files import existing

LARGEST_FILE = 1_000_000


class _Loader(yaml.SafeLoader):
    """Safe YAML without aliases and duplicate keys."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()
            raise yaml.constructor.ConstructorError(None, None, "an alias (*), which is refused", event.start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"the key {key.value!r} twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def read(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The keys and values of a YAML file.

    Raises:
        MissingFile: no such file.
        ConfigError: the file is larger than 1 MB, no YAML, or no mapping with text as keys.
    """
    place = existing(path)
    if place.stat().st_size > LARGEST_FILE:
        raise ConfigError(str(path), "at most 1 MB", f"{place.stat().st_size} bytes", "give an experiment file")
    try:
        content = yaml.load(place.read_text(encoding="utf-8"), Loader=_Loader)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}, line {mark.line + 1}" if mark else str(path)
        raise ConfigError(where, "YAML", getattr(error, "problem", None) or str(error), "mend the file") from error
    if not isinstance(content, dict):
        raise ConfigError(str(path), "keys and values", type(content).__name__, "see experiments/quickstart.yaml")
    return content


def is_study(path: str | os.PathLike[str]) -> bool:
    """Whether a file, or the configuration of a run folder, is that of a study."""
    place = Path(path)
    return "study" in read(place / "config.yaml" if place.is_dir() else place)


def value(text: str, where: str) -> Any:
    """One value in YAML, for example `1e-3` or `[1, 2]`.

    Raises:
        ConfigError: not YAML.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise ConfigError(where, "a YAML value", repr(text), "quote the value") from error
