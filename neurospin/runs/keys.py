"""Keys of a file that pydantic reads: what is known where, the nearest known one, and `key=value` changes."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from neurospin.errors import ConfigError
from neurospin.runs import yaml_file


def below(part: Any, name: str) -> Any:
    """The type that stands under a key of a model, or of a mapping of models; None where anything may."""
    if _is_model(part):
        field = part.model_fields.get(name)
        return _part(field.annotation) if field else None
    return _values(part)


def told(error: ValidationError, where: str, model: type[BaseModel], content: Mapping[str, Any]) -> Exception:
    """The first fault in one line, with the nearest known key where the key is unknown."""
    first = error.errors()[0]
    path = [str(part) for part in first["loc"]]
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    at = f"{where}: {'.'.join(path)}".rstrip(": ")
    if first["type"] == "extra_forbidden":
        found = unknown_key(at, path, model, content)
        return ConfigError(found.where, found.expected, found.got + more, found.fix)
    if first["type"] == "missing":
        return ConfigError(at, "a value", f"none{more}", f"add {path[-1]}")
    expected = str(first["msg"]).removeprefix("Value error, ").removeprefix("Input should be ")
    if first["type"] == "value_error":  # our own words: "KEY: EXPECTED, not GOT"
        expected, _, got = expected.partition(", not ")
        return ConfigError(at, expected, f"{got}{more}", "change the value")
    return ConfigError(at, expected, f"{first['input']!r}{more}", "change the value")


def unknown_key(where: str, path: list[str], model: type[BaseModel], content: Mapping[str, Any]) -> ConfigError:
    """The error for a key that does not exist, with the nearest one anywhere in the file."""
    part, here = model, content
    for name in path[:-1]:
        known = _known(part, here)
        if known is not None and name not in known:
            break
        part, here = below(part, name), _child(here, name)
    known = sorted(_known(part, here) or [])
    fix = f"did you mean {near!r}?" if (near := nearest(".".join(path), list(paths(model, content)))) else "choose one"
    return ConfigError(where, f"one of {', '.join(known)}", repr(path[-1]), fix)


def nearest(path: str, known: list[str]) -> str | None:
    """The known path that was most likely meant: a misspelt part, or the right key in the wrong place."""
    last = path.rpartition(".")[2]
    moved = [other for other in known if other.rpartition(".")[2] == last]
    if len(moved) == 1:
        return moved[0]
    depth = path.count(".")
    for others in ([o for o in known if o.count(".") == depth], moved, known):
        if found := difflib.get_close_matches(path, others, n=1, cutoff=0.6):
            return found[0]
    leaves = {other.rpartition(".")[2]: other for other in reversed(known)}
    found = difflib.get_close_matches(last, leaves, n=1, cutoff=0.7)
    return leaves[found[0]] if found else None


def paths(part: Any, content: Mapping[str, Any], before: str = "") -> Iterator[str]:
    """Every dotted key of a model, with the names that the content gives to its mappings."""
    for name in _known(part, content) or []:
        yield before + name
        yield from paths(below(part, name), _child(content, name), f"{before}{name}.")


def change(content: dict[str, Any], text: str, model: type[BaseModel]) -> None:
    """Carry out one `key=value` with a dotted key, in place.

    A name in a mapping of parts, such as a learner's, must be there already, unless a whole part is given.

    Raises:
        ConfigError: no `=`, no YAML, a key below something that has no parts, or no such key; then the fix
            names the nearest one.
    """
    key, sign, given = text.partition("=")
    if not sign or not key:
        raise ConfigError("--set", "key=value", repr(text), "for example --set training.epochs=3")
    where = f"--set {key}"
    put(content, key, yaml_file.value(given, where), where, model)


def put(content: dict[str, Any], key: str, value: Any, where: str, model: type[BaseModel]) -> None:
    """Give a dotted key a value, in place; errors as of `change`, at `where`."""
    names = key.split(".")
    part, here = model, content
    for depth, name in enumerate(names):
        known, last = _known(part, here), depth == len(names) - 1
        if known is not None and name not in known and (_is_model(part) or not last):
            raise unknown_key(where, names[: depth + 1] if not last else names, model, content)
        if last:
            here[name] = value
            return
        if here.get(name) is None:
            here[name] = {}
        if not isinstance(here[name], dict):
            raise ConfigError(where, "a key with parts", f"{name}, which has none", "change the key")
        part, here = below(part, name), here[name]


def _known(part: Any, content: Mapping[str, Any]) -> list[str] | None:
    """The keys that may stand here; None where any may."""
    if _is_model(part):
        return list(part.model_fields)
    return [str(name) for name in content] if _values(part) else None


def _child(content: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    child = content.get(name)
    return child if isinstance(child, Mapping) else {}


def _is_model(part: Any) -> bool:
    return isinstance(part, type) and issubclass(part, BaseModel)


def _part(annotation: Any) -> Any:
    """The model of `Model | None`; any other annotation as it is."""
    models = [a for a in get_args(annotation) if _is_model(a)]
    return models[0] if models and not _values(annotation) else annotation


def _values(annotation: Any) -> Any:
    """The model that a mapping's values are; None for anything else."""
    arguments = get_args(annotation)
    if getattr(annotation, "__origin__", None) is dict and len(arguments) == 2 and _is_model(arguments[1]):
        return arguments[1]
    return None
