"""The knobs of a run: ``env.yaml``, and files such as ``env.tiny.yaml`` that hold only what differs from it.

All knobs are read here, so that every command refuses the same mistakes, in one line with file, line
and key, before anything starts. What a knob may be is declared in :mod:`tasks.knobs.declaration`.
"""

import os
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from tasks.errors import ConfigError
from tasks.evaluation.gates import REPLACED
from tasks.knobs.declaration import Knobs
from tasks.knobs.domain import Declared, all_knobs, declared, keys_of
from tasks.knobs.model_tasks import model_problems
from tasks.schema import load_schema
from tasks.storage.workspace import resolve
from tasks.storage.yaml_mapping import KeyPath, YamlMapping, dotted, read_mapping

BASE = "env.yaml"
ALLOW_OTHER_DATA = (
    "ALLOW_OTHER_DATA"  # environment variable: one run may replace a champion of other data
)
_METHODS = "halving, fixed, grid, optuna"


def read_env(
    path: str | Path,
    *,
    data: str | None = None,
    changes: Mapping[str, str] | None = None,
    ask_models: bool = True,
) -> dict[str, Any]:
    """Return the knobs of an env file, laid over the ``env.yaml`` beside it, once all of them are sound.

    Parameters
    ----------
    path
        ``env.yaml`` itself, or a file of differences.
    data
        Another log than the one the file names.
    changes
        Further changes of single knobs, as text: ``{"hash.bits": "16"}``.
    ask_models
        Whether the classes of the models, whose import takes seconds, judge their parameters; what trains no model
        does without.

    Raises
    ------
    ConfigError
        If a file cannot be read as a mapping, or a knob is unknown, missing, of another type, or out of its
        domain.
    """
    path = Path(path)
    if not path.exists():
        raise ConfigError(
            f"{path} not found; run this in the folder that holds env.yaml, or name the file with --env"
        )
    base = path.parent / BASE
    env = read_mapping(path, holds="a mapping of knobs")
    if path.name != BASE and base.is_file():
        env = overlay(read_mapping(base, holds="a mapping of knobs"), env)
    if data:  # the name in the file belongs to the data in the file
        env = _with(_with(env, ("data",), data, "--data"), ("origin",), None, "--data")
    for name, text in (changes or {}).items():
        env = _with(env, tuple(name.split(".")), _typed(text), f"--env--{name.replace('.', '--')}")
    if os.environ.get(ALLOW_OTHER_DATA, "") not in ("", "0"):
        env = _with(env, ("gates", "allow_other_data"), True, ALLOW_OTHER_DATA)
    check(env, ask_models=ask_models)
    return env.values


def check(env: YamlMapping, *, ask_models: bool = True) -> None:
    """Raise ConfigError for the first knob, in the order of the file, that cannot be used."""
    try:
        Knobs.model_validate(env.values)
    except ValidationError as error:
        raise ConfigError(_first(error, env)) from None
    if not ask_models:
        return
    for path, problem in model_problems(env.values["models"], weighted=_weighted(env.values)):
        hint = _hint(_at(env.values, path))
        raise ConfigError(f"{env.place(path)}: `{dotted(path)}`: {problem}{hint}")


def _weighted(values: Mapping[str, Any]) -> bool:
    """Return whether rows of the log have weights; False for a schema that cannot be read, which is reported elsewhere."""
    schema = str(values.get("schema"))
    try:
        return load_schema(
            resolve(schema) if schema.endswith((".yaml", ".yml")) else schema
        ).has_counts
    except ConfigError:
        return False


def overlay(base: YamlMapping, changes: YamlMapping) -> YamlMapping:
    """Return `base` with the keys of `changes` replaced, in sections one by one.

    Two levels deep and no further: ``gates: {max_relative_loss: 0.01}`` keeps the other gates, while
    ``models: {sgd: {...}}`` replaces the whole block of that model.

    Examples
    --------
    >>> base = YamlMapping({"seed": 7, "hash": {"bits": 20, "batch_rows": 65536}})
    >>> overlay(base, YamlMapping({"hash": {"bits": 16}})).values
    {'seed': 7, 'hash': {'bits': 16, 'batch_rows': 65536}}
    """
    values = dict(base.values)
    replaced: list[KeyPath] = []
    for name, value in changes.values.items():
        before = values.get(name)
        if isinstance(before, Mapping) and isinstance(value, Mapping):
            values[name] = {**before, **value}
            replaced += [(name, key) for key in value]
        else:
            values[name] = value
            replaced.append((name,))
    kept = {
        path: place
        for path, place in base.places.items()
        if path[:1] not in replaced and path[:2] not in replaced
    }
    return YamlMapping(values, kept | changes.places, changes.source)


def _with(env: YamlMapping, path: tuple[str, ...], value: Any, place: str) -> YamlMapping:
    """Return knobs in which one has another value, given in `place`."""
    values = dict(env.values)
    inner: dict[str, Any] = values
    places: dict[KeyPath, str] = {}
    for depth, name in enumerate(path[:-1], start=1):
        below = inner.get(name)
        if not isinstance(below, Mapping):
            below, places[path[:depth]] = {}, place
        inner[name] = inner = dict(below)
    inner[path[-1]] = value
    kept = {key: line for key, line in env.places.items() if key[: len(path)] != path}
    return YamlMapping(values, {**kept, **places, path: place}, env.source)


def _typed(text: str) -> Any:
    """Return what a word of the command line stands for: YAML, and numbers such as 1e-5 that YAML 1.1 misses."""
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        return text
    return _number(text) if value == text and _number(text) is not None else value


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


# ---- what pydantic found, in one line


def _first(error: ValidationError, env: YamlMapping) -> str:
    """Return the line for the mistake to mend first: an unknown key before one that is missing because of it."""
    order = {"extra_forbidden": 0, "missing": 2}
    one = min(error.errors(), key=lambda found: order.get(found["type"], 1))
    knob, kind = declared(one["loc"]), one["type"]
    place, name = env.place(knob.path), f"`{dotted(knob.path)}`"
    if kind == "extra_forbidden" and knob.path[-1] in REPLACED:
        return f"{place}: {name} is no knob any more: {REPLACED[str(knob.path[-1])]}"
    if kind == "extra_forbidden":
        return f"{place}: unknown key {name}; {_nearest(knob)}"
    if kind == "missing":
        return f"{place}: {name} is missing: {knob.domain} ({knob.about})"
    if kind == "value_error":
        return f"{place}: {name}: {one['ctx']['error']}"
    if (
        kind in ("union_tag_not_found", "union_tag_invalid")
        and "method" in one["ctx"]["discriminator"]
    ):
        found = one["ctx"].get("tag")
        said = f"must be one of {_METHODS}, found {found!r}" if found else f"is missing: {_METHODS}"
        return f"{place}: `{dotted((*knob.path, 'method'))}` {said}"
    if "[key]" in one["loc"]:
        return f"{place}: {name} is no name for that: {knob.domain}"
    value = _at(env.values, knob.path)
    return f"{place}: {name} must be {knob.domain}, found {_shown(value)}{'' if 'text' in knob.domain else _hint(value)}"


def _nearest(knob: Declared) -> str:
    """Return which key was probably meant, else those that are known there."""
    *section, key = knob.path
    known = {dotted((*section, name)) for name in keys_of(knob.owner)}
    elsewhere = [one for one in all_knobs() if one.split(".")[-1] == key]
    near = get_close_matches(dotted(knob.path), sorted(known), 1, 0.75) or elsewhere[:1]
    if near:
        return f"did you mean `{near[0]}`?"
    names = ", ".join(sorted(map(str, keys_of(knob.owner))))
    return f"known here: {names}" if names else "no key is known here"


def _at(values: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        values = values[key]
    return values


def _shown(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return f"{str(value).lower()} (YAML also reads yes, no, on and off as true or false)"
    return f"{value!r} (text)" if isinstance(value, str) else repr(value)[:80]


def _hint(value: Any) -> str:
    """Return how to write a number that YAML took for text."""
    if not isinstance(value, str) or _number(value) is None:
        return ""
    digits, _, power = value.lower().partition("e")
    if not power:
        return "; remove the quotes"
    sign = "" if power[0] in "+-" else "+"
    return f"; write {digits if '.' in digits else digits + '.0'}e{sign}{power}"
