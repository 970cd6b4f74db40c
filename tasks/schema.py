"""One declaration of a log, from which readers, checks, tokens and the request model derive.

A schema is a YAML file: the bundled ones live in ``tasks/schemas`` and go by their name, any other
by its path. Nothing else in the project names a column.
"""

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from tasks.errors import ConfigError
from tasks.features.kinds.declaration import Feature
from tasks.features.kinds.finding import find_feature
from tasks.storage.yaml_mapping import YamlMapping, read_mapping

BUNDLED = Path(__file__).parent / "schemas"
UNKNOWN_FIELDS = ("ignore", "refuse")  # the first is the default
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_KEYS = {
    "name", "label", "id", "time", "features", "truth", "fields", "crosses", "slices", "unit",
    "unknown_fields",
}  # fmt: skip


@dataclass(frozen=True)
class Field:
    """One categorical column: its domain (a regular expression), missing-like constant, example."""

    name: str
    pattern: str | None = None
    missing: str | None = None
    example: str = ""
    about: str = ""


@dataclass(frozen=True)
class Slice:
    """A part of the traffic that is evaluated on its own.

    ``missing`` and ``other`` name the two parts when only the missing-like constant counts;
    ``seen`` splits by whether the value occurs in the training rows.
    """

    name: str
    field: str
    missing: str | None = None
    other: str | None = None
    seen: bool = False


@dataclass(frozen=True)
class Schema:
    """The declaration of one log. Build it with :func:`load_schema` or :meth:`from_dict`.

    ``features`` are names of functions in ``tasks/features``. ``unknown_fields`` decides about keys of a request that are no column of the log: ``ignore`` them (a
    service counts them), or ``refuse`` the request.
    """

    name: str
    label: str
    time_column: str
    time_format: str
    fields: tuple[Field, ...]
    id: str | None = None
    truth: str | None = None
    features: tuple[str, ...] = ()
    crosses: tuple[tuple[str, ...], ...] = ()
    slices: tuple[Slice, ...] = ()
    unit: tuple[str, ...] = ()
    unknown_fields: str = UNKNOWN_FIELDS[0]
    _raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def from_dict(
        cls, raw: Mapping[str, Any], *, source: str = "schema", lines: YamlMapping | None = None
    ) -> "Schema":
        """Check a parsed YAML mapping and return the schema; ConfigError names what is wrong, and its line if known."""

        def at(*path: str | int) -> str:
            return lines.place(path) if lines else source

        for key in raw:
            if key == "time_features":
                listed = ", ".join(map(str, raw[key] or ()))
                raise ConfigError(
                    f"{at(key)}: `time_features` is now `features`; write `features: [{listed}]` in its place"
                )
            if key not in _KEYS:
                near = get_close_matches(str(key), _KEYS, 1)
                known = f"did you mean {near[0]!r}?" if near else f"known keys are {sorted(_KEYS)}"
                raise ConfigError(f"{at(key)}: unknown key {key!r}; {known}")
        missing = {"name", "label", "time", "fields"} - set(raw)
        if missing:
            raise ConfigError(f"{source}: key {sorted(missing)[0]!r} is missing")
        part = ""
        try:
            part = "fields"
            fields = tuple(
                Field(name=str(name), **{key: str(value) for key, value in (spec or {}).items()})
                for name, spec in dict(raw["fields"]).items()
            )
            part = "slices"
            slices = tuple(Slice(**spec) for spec in raw.get("slices") or ())
            part = "features"
            features = _names(raw.get("features"))
            part = "time"
            time_column, time_format = str(raw["time"]["column"]), str(raw["time"]["format"])
            part = ""
            schema = cls(
                name=str(raw["name"]),
                label=str(raw["label"]),
                time_column=time_column,
                time_format=time_format,
                fields=fields,
                id=raw.get("id"),
                truth=raw.get("truth"),
                features=features,
                crosses=tuple(tuple(cross) for cross in raw.get("crosses") or ()),
                slices=slices,
                unit=tuple(raw.get("unit") or ()),
                unknown_fields=raw.get("unknown_fields", UNKNOWN_FIELDS[0]),
                _raw=_without_defaults(raw),
            )
        except (TypeError, KeyError, ValueError) as error:
            where = f"`{part}` " if part else ""
            raise ConfigError(f"{at(part)}: {where}cannot be read as a schema: {error}") from None
        schema._check(at)
        return schema

    def _check(self, at: Callable[..., str]) -> None:
        """Raise ConfigError for the first contradiction; `at` returns the place of a key."""
        if not self.fields:
            raise ConfigError(
                f"{at('fields')}: `fields` is empty; name at least one categorical column"
            )
        for spec in self.fields:
            self._check_field(spec, at("fields", spec.name))
        for number, name in enumerate(self.features):
            self._check_feature(name, at("features", number))
        if self.unknown_fields not in UNKNOWN_FIELDS:
            raise ConfigError(
                f"{at('unknown_fields')}: unknown_fields is {self.unknown_fields!r}; choose from {UNKNOWN_FIELDS}"
            )
        columns = [self.label, self.time_column, *self.field_names, *self.feature_columns]
        columns += [name for name in (self.id, self.truth) if name]
        twice = sorted({name for name in columns if columns.count(name) > 1})
        if twice:
            raise ConfigError(
                f"{at('fields', twice[0])}: {twice[0]!r} has two roles; a column has one"
            )
        self._check_references(at)

    def _check_field(self, spec: Field, place: str) -> None:
        if not spec.name or "=" in spec.name or "*" in spec.name:
            raise ConfigError(
                f"{place}: field name {spec.name!r} is empty or holds '=' or '*', which tokens need; rename the column"
            )
        if spec.pattern is not None:
            try:
                re.compile(spec.pattern)
            except re.error as error:
                raise ConfigError(f"{place}: pattern of {spec.name!r}: {error}") from None

    def _check_feature(self, name: str, place: str) -> None:
        try:
            inputs = find_feature(name).feature.fields
        except ConfigError as error:
            raise ConfigError(f"{place}: {error}") from None
        for field_name in inputs:
            if field_name not in self.field_names:
                raise ConfigError(
                    f"{place}: feature {name!r} reads the field {field_name!r}, which is not declared; "
                    "declare it, or leave the feature out"
                )

    def _check_references(self, at: Callable[..., str]) -> None:
        fields = set(self.field_names)
        known = fields | set(self.feature_columns)
        used: list[tuple[str, str, str]] = []
        for number, cross in enumerate(self.crosses):
            used += [("cross", part, at("crosses", number)) for part in cross]
        for number, part in enumerate(self.slices):
            used.append(("slice", part.field, at("slices", number, "field")))
        used += [("unit", name, at("unit", number)) for number, name in enumerate(self.unit)]
        for role, name, place in used:
            if name not in (fields if role == "unit" else known):
                raise ConfigError(
                    f"{place}: {role} names the field {name!r}, which is not declared"
                )
        for number, cross in enumerate(self.crosses):
            if len(cross) < 2:
                raise ConfigError(
                    f"{at('crosses', number)}: cross {list(cross)} needs two fields or more"
                )

    @property
    def field_names(self) -> tuple[str, ...]:
        """Names of the categorical columns, in the declared order."""
        return tuple(spec.name for spec in self.fields)

    @property
    def derived(self) -> tuple[Feature, ...]:
        """The features, in the declared order."""
        return tuple(find_feature(name).feature for name in self.features)

    @property
    def feature_columns(self) -> tuple[str, ...]:
        """Names of the token columns that features give, in order."""
        return tuple(column for one in self.derived for column in one.columns)

    @property
    def required_columns(self) -> tuple[str, ...]:
        """Columns that a raw training log must have; ``truth`` is optional everywhere."""
        ids = (self.id,) if self.id else ()
        return (*ids, self.label, self.time_column, *self.field_names)

    @property
    def missing_values(self) -> dict[str, str]:
        """The missing-like constant of each field that has one."""
        return {spec.name: spec.missing for spec in self.fields if spec.missing is not None}

    @property
    def digest(self) -> str:
        """Sixteen hex digits that change whenever the declaration does."""
        canonical = json.dumps(self._raw, default=str)  # unsorted: the order of the fields counts
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]

    def to_dict(self) -> dict[str, Any]:
        """Return the declaration as plain JSON-ready data; :meth:`from_dict` reads it back."""
        return json.loads(json.dumps(self._raw, default=str))

    def parse_time(self, text: str | int) -> datetime:
        """Return the moment that `text` names, in UTC.

        Raises
        ------
        ValueError
            If `text` does not follow the schema's time format.

        Examples
        --------
        >>> load_schema("avazu").parse_time("14102113").isoformat()
        '2014-10-21T13:00:00+00:00'
        """
        if self.time_format == "iso":
            moment = datetime.fromisoformat(str(text))
        else:
            moment = datetime.strptime(str(text), self.time_format)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)

    def example_row(self) -> dict[str, str]:
        """Return one impression as a service request would carry it, from the declared examples."""
        moment = datetime(2014, 10, 21, tzinfo=UTC)
        text = (
            moment.isoformat() if self.time_format == "iso" else moment.strftime(self.time_format)
        )
        return {self.time_column: text} | {spec.name: spec.example for spec in self.fields}


def _names(listed: Any) -> tuple[str, ...]:
    """Return a list of names; ValueError if it is something else."""
    if listed is None:
        return ()
    if not isinstance(listed, list | tuple) or not all(isinstance(one, str) for one in listed):
        raise ValueError(f"expected a list of names, found {listed!r}")
    return tuple(listed)


def _without_defaults(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return the declaration without a policy that is the default, so that writing it out changes no digest."""
    default = ("unknown_fields", UNKNOWN_FIELDS[0])
    return {key: value for key, value in raw.items() if (key, value) != default}


def load_schema(name_or_path: str | Path) -> Schema:
    """Return the schema of that name in ``tasks/schemas``, or the one in that YAML file.

    Raises
    ------
    ConfigError
        If there is no such schema, it is not YAML, or it contradicts itself.
    """
    path = Path(name_or_path)
    if path.suffix not in (".yaml", ".yml"):
        path = BUNDLED / f"{name_or_path}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in BUNDLED.glob("*.yaml")))
        raise ConfigError(
            f"schema {str(name_or_path)!r} not found; give a YAML file or one of: {known}"
        )
    lines = read_mapping(path, holds="a mapping that declares a log")
    name = str(lines.values.get("name", ""))
    if "name" in lines.values and not _NAME.fullmatch(name):
        raise ConfigError(
            f"{lines.place(('name',))}: name {name!r} must be letters, digits and . _ -, begin with a letter or digit, "
            "and have 100 characters maximum: models are registered under it"
        )
    return Schema.from_dict(lines.values, source=str(path), lines=lines)
