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
from tasks.schemas.dropping import check_drop, learned_of
from tasks.schemas.fields import Field, Slice
from tasks.schemas.forms import FileForm, LabelForm, TimeForm
from tasks.schemas.reading import current_keys, each_of, names_of, words_of
from tasks.storage.yaml_mapping import YamlMapping, read_mapping

BUNDLED = Path(__file__).parent / "schemas"
UNKNOWN_FIELDS = ("ignore", "refuse")  # the first is the default
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_PLAIN = ("weight", "id", "truth", "keep_spaces", "unknown_fields")
# by key of the file: attribute, and how it is read
_READERS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "file": ("file", lambda raw: FileForm.read(raw or {})),
    "label": ("label_form", LabelForm.from_raw),
    "time": ("time", TimeForm.from_raw),
    "missing": ("missing", words_of),
    "features": ("features", names_of),
    "fields": ("fields", lambda raw: each_of(raw or {}, Field.from_raw)),
    "drop": ("drop", names_of),
    "crosses": ("crosses", lambda raw: each_of(raw or (), lambda _, names: names_of(names))),
    "slices": ("slices", lambda raw: each_of(raw or (), lambda _, spec: Slice.read(spec))),
    "unit": ("unit", names_of),
}
_KEYS = {"name", *_PLAIN, *_READERS}


@dataclass(frozen=True)
class Schema:
    """The declaration of one log. Build it with :func:`load_schema` or :meth:`from_dict`.

    Attributes
    ----------
    name
        Of the log; models are registered under it.
    label_form, time, file, fields, slices
        See :mod:`tasks.schemas.forms` and :mod:`tasks.schemas.fields`.
    id, truth
        Columns of the impression's id, and of the known click probability of a simulated log.
    weight
        Column of how many impressions a row stands for.
    missing
        Words that stand for a missing value in every field.
    keep_spaces
        Whether blanks around a value belong to it.
    features
        Names of functions in ``tasks/features``.
    crosses
        Fields and features hashed together as one more token.
    drop
        Fields, features and crosses (``a*b``) that no model learns; a field stays in the log, for slices and clusters.
    unit
        The fields that an A/B variant sticks to.
    unknown_fields
        What happens to keys of a request that are no column of the log: ``ignore`` (a service counts them) or ``refuse``.
    """

    name: str
    label_form: LabelForm
    time: TimeForm
    fields: tuple[Field, ...]
    file: FileForm = field(default_factory=FileForm)
    weight: str | None = None
    id: str | None = None
    truth: str | None = None
    missing: tuple[str, ...] = ()
    keep_spaces: bool = False
    features: tuple[str, ...] = ()
    crosses: tuple[tuple[str, ...], ...] = ()
    drop: tuple[str, ...] = ()
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

        raw = current_keys(raw, at)
        for key in raw:
            if key not in _KEYS:
                near = get_close_matches(str(key), _KEYS, 1)
                known = f"did you mean {near[0]!r}?" if near else f"known keys are {sorted(_KEYS)}"
                raise ConfigError(f"{at(key)}: unknown key {key!r}; {known}")
        missing = {"name", "label", "fields"} - set(raw)
        if missing:
            raise ConfigError(f"{source}: key {sorted(missing)[0]!r} is missing")
        values: dict[str, Any] = {}
        for key, (name, read) in _READERS.items():
            try:
                values[name] = read(raw.get(key))
            except (TypeError, ValueError, AttributeError) as error:
                path = (key, *getattr(error, "path", ()))
                shown = ".".join(map(str, path))
                raise ConfigError(f"{at(*path)}: {shown} cannot be read: {error}") from None
        plain = {key: raw[key] for key in _PLAIN if key in raw}
        schema = cls(name=str(raw["name"]), **values, **plain, _raw=_without_defaults(raw))
        schema._check(at)
        return schema

    def _check(self, at: Callable[..., str]) -> None:
        """Raise ConfigError for the first contradiction; `at` returns the place of a key."""
        if not self.fields:
            raise ConfigError(f"{at('fields')}: `fields` is empty; name at least one column")
        for number, name in enumerate(self.features):
            self._check_feature(name, at("features", number))
        for key in ("weight", "id", "truth"):
            value = getattr(self, key)
            if value is not None and (not isinstance(value, str) or not value):
                raise ConfigError(f"{at(key)}: {key} must be the name of a column, found {value!r}")
        if not isinstance(self.keep_spaces, bool):
            raise ConfigError(
                f"{at('keep_spaces')}: keep_spaces must be true or false, found {self.keep_spaces!r}"
            )
        if self.unknown_fields not in UNKNOWN_FIELDS:
            raise ConfigError(
                f"{at('unknown_fields')}: unknown_fields is {self.unknown_fields!r}; choose from {UNKNOWN_FIELDS}"
            )
        columns = [*self.required_columns, *self.feature_columns, *filter(None, [self.truth])]
        made = {self.time_column} - {*self.time.columns} | {self.weight_column} - {self.weight}
        columns += [name for name in made if name]
        twice = sorted({name for name in columns if columns.count(name) > 1})
        if twice:
            raise ConfigError(
                f"{at('fields', twice[0])}: {twice[0]!r} has two roles; a column has one"
            )
        self._check_references(at)
        check_drop(self, at, self._features())

    def _check_feature(self, name: str, place: str) -> None:
        try:
            one = find_feature(name).feature
        except ConfigError as error:
            raise ConfigError(f"{place}: {error}") from None
        if not self.has_time and {*one.inputs} - {*one.fields}:
            raise ConfigError(
                f"{place}: feature {name!r} reads the time, which is not declared; declare it, or leave the feature out"
            )
        for field_name in one.fields:
            if (field_name, "list") in {(spec.name, spec.kind) for spec in self.fields}:
                raise ConfigError(
                    f"{place}: feature {name!r} reads {field_name!r}, which is a list"
                )
            if field_name not in self.field_names:
                raise ConfigError(
                    f"{place}: feature {name!r} reads the field {field_name!r}, which is not declared; "
                    "declare it, or leave the feature out"
                )

    def _check_references(self, at: Callable[..., str]) -> None:
        fields = set(self.field_names)
        of_rows = {name for one in self.derived for name in one.columns}
        known = fields | set(self.feature_columns)
        used: list[tuple[str, str, str, set[str]]] = []
        for number, cross in enumerate(self.crosses):
            used += [("cross", part, at("crosses", number), known) for part in cross]
            if len(cross) < 2:
                raise ConfigError(
                    f"{at('crosses', number)}: cross {list(cross)} needs two fields or more"
                )
        for number, part in enumerate(self.slices):
            used.append(("slice", part.field, at("slices", number, "field"), fields | of_rows))
        used += [
            ("unit", name, at("unit", number), fields) for number, name in enumerate(self.unit)
        ]
        lists = {spec.name for spec in self.fields if spec.kind == "list"}
        for role, name, place, allowed in used:
            if name in lists:
                raise ConfigError(
                    f"{place}: {role} names {name!r}, a list; name a field of one value"
                )
            if name not in allowed:
                found = f"the field {name!r}, which is not declared"
                if name in known:
                    found = f"the feature {name!r}; name a field, or for slices a feature without a past"
                raise ConfigError(f"{place}: {role} names {found}")

    @property
    def field_names(self) -> tuple[str, ...]:
        """Names of the fields, in the declared order."""
        return tuple(spec.name for spec in self.fields)

    learned = property(learned_of, doc="The fields, features and crosses that give tokens.")

    @property
    def derived(self) -> tuple[Feature, ...]:
        """The features that a row alone decides, in the declared order; statistics of the past are left out."""
        return tuple(one for one in self._features() if not one.is_statistic)

    @property
    def feature_columns(self) -> tuple[str, ...]:
        """Names of the token columns that features give, in order."""
        return tuple(column for one in self._features() for column in one.columns)

    def _features(self) -> list[Feature]:
        return [find_feature(name).feature for name in self.features]

    @property
    def label(self) -> str:
        """Name of the label's column, in raw logs and in the canonical one."""
        return self.label_form.column

    @property
    def time_column(self) -> str:
        """Name of the time's column in the canonical log and in a request."""
        return self.time.name

    @property
    def has_time(self) -> bool:
        """Whether the log says when an impression was; without it the order of rows is all that is known."""
        return bool(self.time.columns)

    @property
    def weight_column(self) -> str | None:
        """Name of the canonical log's column of impressions per row; None: each row is one impression."""
        return self.weight or ("weight" if self.label_form.gives_weights else None)

    @property
    def has_counts(self) -> bool:
        """Whether rows stand for different numbers of impressions."""
        return bool(self.weight or self.label_form.impressions)

    @property
    def required_columns(self) -> tuple[str, ...]:
        """Columns that a raw training log must have; ``truth`` is optional everywhere."""
        optional = (self.id, self.label, self.label_form.impressions, self.weight)
        return (*filter(None, optional), *self.time.columns, *self.field_names)

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

    def parse_time(self, text: str | int | float) -> datetime:
        """Return the moment that `text` names, in UTC; ValueError or OverflowError if it does not follow the format."""
        return self.time.parse(text)

    def example_row(self) -> dict[str, str]:
        """Return one impression as a service request would carry it, from the declared examples."""
        time = {self.time_column: self.time.write(datetime(2014, 10, 21, tzinfo=UTC))}
        return (time if self.has_time else {}) | {spec.name: spec.example for spec in self.fields}


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
