"""Reads and checks ``experiment.yaml``."""

import os
import re
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import yaml

from bentos.ctr.experiment.assignment import Assignment, Experiment, Variant
from tasks.errors import ConfigError
from tasks.schema import Schema

__all__ = ["Assignment", "Experiment", "Variant", "load_experiment"]
SHIPPED_SALT = "change me"
_OPTIONAL = ("unit", "shadows")


def load_experiment(
    path: str | Path, *, models: Collection[str], schema: Schema | None = None
) -> Experiment:
    """Return the experiment that a YAML file declares.

    Parameters
    ----------
    path
        See ``experiment.yaml`` for the keys.
    models
        The names that variants and shadows may use.
    schema
        Of the requests: its ``unit`` is used where the file names none, its missing-like constants
        count as unknown, and a unit field that it does not declare is an error.

    Raises
    ------
    ConfigError
        If the file cannot be read or contradicts itself; one line names the key.
    """
    try:
        raw = yaml.safe_load(Path(path).read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"{path}: the experiment cannot be read ({reason})") from None
    try:
        return _experiment(raw, models, schema)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def _experiment(raw: Any, models: Collection[str], schema: Schema | None) -> Experiment:
    raw = _mapping("an experiment", raw, required=("name", "salt", "variants"), optional=_OPTIONAL)
    variants = [_variant(entry, models) for entry in _list("variants", raw["variants"])]
    names = [variant.name for variant in variants]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ConfigError(f"two variants are called {twice[0]!r}; each needs its own name")
    if not any(variant.weight > 0 for variant in variants):
        raise ConfigError("variants: no weight is above 0; at least one variant must answer")
    shadows = tuple(_model(name, models) for name in _list("shadows", raw.get("shadows") or []))
    if "unit" not in raw and len(variants) > 1 and not (schema and schema.unit):
        raise ConfigError(
            "key 'unit' is missing; name the fields that identify a unit, or use [] to assign each request anew"
        )
    unknown = _units(raw.get("unit"), schema)
    return Experiment(
        _name("name", raw["name"]),
        _salt(raw["salt"]),
        tuple(unknown),
        variants,
        tuple(dict.fromkeys(shadows)),
        unknown=unknown,
        texts=_texts(unknown, schema),
    )


def _variant(entry: Any, models: Collection[str]) -> Variant:
    entry = _mapping("a variant", entry, required=("name", "weight"), optional=("model",))
    name, weight = _name("a variant's name", entry["name"]), entry["weight"]
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight < 1e9:
        raise ConfigError(
            f"variant {name!r}: weight must be a number from 0 up to 1e9, found {weight!r}"
        )
    return Variant(name, float(weight), _model(entry.get("model", name), models))


def _units(raw: Any, schema: Schema | None) -> dict[str, frozenset[str]]:
    """Return each unit field with its values that mean unknown."""
    from tasks.logs.value_text import value_text

    declared = schema.missing_values if schema else {}
    if raw is None:
        raw = list(schema.unit) if schema else []
    units = {}
    for entry in _list("unit", raw):
        field, values = (
            next(iter(entry.items()))
            if isinstance(entry, dict) and len(entry) == 1
            else (entry, [])
        )
        if not isinstance(field, str) or field in units or (schema and not _has(schema, field)):
            known = f"; the log's fields are {', '.join(schema.field_names)}" if schema else ""
            raise ConfigError(
                f"unit: expected distinct field names, as [user_id, {{device_id: [unknown]}}], found {entry!r}{known}"
            )
        try:
            read = _texts([field], schema).get(field, value_text)
            texts = [read(value) for value in _list(f"unit {field!r}", values)]
        except TypeError as error:
            raise ConfigError(f"unit {field!r}: {error}") from None
        units[field] = frozenset([*texts, *([declared[field]] if field in declared else [])])
    return units


def _texts(units: Collection[str], schema: Schema | None) -> dict[str, Callable[[Any], str]]:
    """Return how the values of unit fields become text, as those that the model hashes do."""
    from tasks.logs.value_text import FieldText

    fields = schema.fields if schema else ()
    return {spec.name: FieldText(schema, spec) for spec in fields if spec.name in units}


def _has(schema: Schema, field: str) -> bool:
    return field in schema.field_names or field == schema.id


def _salt(raw: Any) -> str:
    """Return the salt, or what the environment variable holds that stands for it: for the shipped one, CLICKLAB_SALT."""
    if raw == SHIPPED_SALT:
        return os.environ.get("CLICKLAB_SALT") or SHIPPED_SALT
    if isinstance(raw, dict) and list(raw) == ["env"]:
        found = os.environ.get(str(raw["env"]))
        if not found:
            raise ConfigError(f"salt: the environment variable {raw['env']} is not set")
        return found
    if not isinstance(raw, str) or not raw:
        raise ConfigError(
            f"salt must be text in quotes or {{env: NAME}}, found {type(raw).__name__}"
        )
    return raw


def _name(what: str, raw: Any) -> str:
    if not isinstance(raw, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", raw):
        raise ConfigError(
            f"{what} must be up to 64 letters, digits, dots, dashes, underscores, found {raw!r}"
        )
    return raw


def _model(raw: Any, models: Collection[str]) -> str:
    if not isinstance(raw, str) or raw not in models:
        raise ConfigError(f"there is no model {raw!r}; the service has {', '.join(sorted(models))}")
    return raw


def _list(what: str, raw: Any) -> list[Any]:
    if not isinstance(raw, list):
        raise ConfigError(f"{what}: expected a list, found {raw!r}")
    return raw


def _mapping(
    what: str, raw: Any, *, required: tuple[str, ...], optional: tuple[str, ...]
) -> dict[str, Any]:
    if not isinstance(raw, dict):
        raise ConfigError(f"{what} is a mapping with {', '.join(required)}, found {raw!r}")
    if wrong := [key for key in raw if key not in required + optional]:
        raise ConfigError(f"{what} has no key {wrong[0]!r}; known are {[*required, *optional]}")
    if lost := [key for key in required if key not in raw]:
        raise ConfigError(f"{what} needs the key {lost[0]!r}, found {sorted(map(str, raw))}")
    return raw
