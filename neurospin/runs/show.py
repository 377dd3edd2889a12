"""An experiment for people (YAML with a word on every key) and for editors (JSON schema)."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator, Mapping
from typing import Any

import yaml
from pydantic import BaseModel

from neurospin.plasticity.registry import RULES
from neurospin.runs.config import Experiment, LearnerConfig
from neurospin.runs.keys import below
from neurospin.runs.sweep_file import Sweep

WIDTH = 40


def template() -> Experiment:
    """The smallest experiment: one learner, everything else as it is by default."""
    return Experiment(name="experiment", learners={"learner": LearnerConfig(title="one learner")}, main="learner")


def commented(experiment: Experiment) -> str:
    """The experiment as YAML with every default written out, and beside each key what it is and may be."""
    definitions = schema()
    return "\n".join(_lines(Experiment, experiment.model_dump(mode="json"), definitions, "")) + "\n"


def _lines(model: Any, content: Mapping[str, Any], definitions: dict[str, Any], before: str) -> Iterator[str]:
    for name, value in content.items():
        field = model.model_fields[name] if isinstance(model, type) and issubclass(model, BaseModel) else None
        told = _told(definitions, model, name, field.description) if field else ""
        if isinstance(value, dict) and value:
            yield f"{before}{name}:" + (f"  # {told}" if told else "")
            yield from _lines(below(model, name), value, definitions, before + "  ")
        else:
            text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10**6).strip()
            text = f"{before}{name}: {text.removesuffix('...').strip()}"
            yield f"{text:{WIDTH}}  # {told}" if told else text


def _told(definitions: dict[str, Any], model: type[BaseModel], name: str, description: str | None) -> str:
    """What a key is, and the values that it may have."""
    about = definitions if model is Experiment else definitions["$defs"][model.__name__]
    allowed = _allowed(about["properties"][name])
    return " ".join(filter(None, (description, f"({allowed})" if allowed else "")))


def _allowed(about: Mapping[str, Any]) -> str:
    signs = {"exclusiveMinimum": ">", "minimum": ">=", "exclusiveMaximum": "<", "maximum": "<="}
    bounds = [f"{sign} {about[key]:g}" for key, sign in signs.items() if key in about]
    return " | ".join(about["enum"]) if "enum" in about else ", ".join(bounds)


def schema() -> dict[str, Any]:
    """JSON schema (draft 2020-12) of an experiment file: keys, defaults, bounds, rules and the settings of each."""
    content = Experiment.model_json_schema()
    learner = content["$defs"]["LearnerConfig"]
    learner["properties"]["rule"]["enum"] = sorted(RULES)
    learner["allOf"] = [
        {
            "if": {"properties": {"rule": {"const": name}}, "required": ["rule"]},
            "then": {"properties": {"settings": {"properties": _settings(rule), "additionalProperties": False}}},
        }
        for name, rule in sorted(RULES.items())
    ]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **_in_words_of_json_schema(content)}


WORDS = {"gt": "exclusiveMinimum", "ge": "minimum", "lt": "exclusiveMaximum", "le": "maximum"}


def _in_words_of_json_schema(content: Any) -> Any:
    """Pydantic leaves its own words for bounds where a validator of ours comes first."""
    if isinstance(content, list):
        return [_in_words_of_json_schema(value) for value in content]
    if not isinstance(content, dict):
        return content
    bounds = {WORDS[k]: v for k, v in content.items() if k in WORDS and isinstance(v, int | float)}
    return bounds | {
        k: _in_words_of_json_schema(v) for k, v in content.items() if not (k in WORDS and isinstance(v, int | float))
    }


def sweep_schema() -> dict[str, Any]:
    """JSON schema of a sweep file; below `set`, `grid` and `search.space` it knows the keys of experiment files."""
    content = _in_words_of_json_schema(Sweep.model_json_schema())
    experiment = schema()
    content["$defs"] |= experiment["$defs"]
    keys = dict(_keys(experiment, experiment["$defs"]))
    for part, wrapped in (
        (content["properties"]["set"], lambda one: one),
        (content["properties"]["grid"], lambda one: {"type": "array", "minItems": 1, "items": one}),
        (content["$defs"]["SearchConfig"]["properties"]["space"], lambda one: {"$ref": "#/$defs/Variable"}),
    ):
        part["properties"] = {key: wrapped(one) for key, one in keys.items()}
        part["patternProperties"] = {r"^learners\.": wrapped({})}
        part["additionalProperties"] = False
    return {"$schema": experiment["$schema"], **content}


def _keys(about: Mapping[str, Any], definitions: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Every dotted key that has a fixed name, with its schema."""
    for name, one in about["properties"].items():
        yield before + name, one
        part = one.get("$ref", "").rpartition("/")[2]
        if part:
            yield from _keys(definitions[part], definitions, f"{before}{name}.")


def text(content: Mapping[str, Any]) -> str:
    """A schema as text."""
    return json.dumps(content, indent=2, ensure_ascii=False)


def _settings(rule: type) -> dict[str, Any]:
    """The settings of a rule with their defaults."""
    found = {}
    for name, parameter in inspect.signature(rule).parameters.items():
        if name not in ("params", "base", "betas"):
            default = parameter.default
            known = isinstance(default, int | float | str) and default not in (float("inf"),)
            found[name] = {"default": default} if known else {}
    return found
