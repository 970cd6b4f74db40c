"""The first schema of a log as commented YAML, to be edited; it loads, and reads the rows it was made of."""

import json
import re
from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import yaml

from tasks.errors import ClicklabError, InputError
from tasks.logs.inference.column_facts import ColumnFacts, facts_of
from tasks.logs.inference.field_roles import Role, id_of, roles_of
from tasks.logs.inference.label_guess import LabelGuess, guess_label
from tasks.logs.inference.sample import MAX_ROWS, Sample, take_sample
from tasks.logs.inference.time_guess import TimeGuess, guess_time
from tasks.logs.intake.canonical import Canonicalizer
from tasks.logs.intake.readers import read_source
from tasks.schema import BUNDLED, Schema, load_schema

_PERSON = {
    "user",
    "userid",
    "uid",
    "device",
    "deviceid",
    "cookie",
    "visitor",
    "ifa",
    "idfa",
    "gaid",
}
_ADS = {"campaign", "creative", "ad", "adid", "adgroup", "advertiser", "banner"}
_FITS = "tasks/schemas/{0}.yaml reads this log as well; it may be all you need"
_CHECKED_ROWS = 10_000
_SLICE_WORDS = (
    "pos",
    "position",
    "slot",
    "device",
    "os",
    "format",
    "exchange",
    "country",
    "channel",
    "type",
)


@dataclass(frozen=True)
class Draft:
    """The text of a schema, and in a few lines what was found."""

    text: str
    summary: list[str]


def draft_schema(
    source: str, name: str, *, label: str | None = None, max_rows: int = MAX_ROWS
) -> Draft:
    """Return a first schema for a log.

    Parameters
    ----------
    source
        As for :func:`tasks.ingest.ingest_log`.
    name
        Of the log.
    label
        The column of clicks, if it is known.
    max_rows
        How many rows are looked at, at most.

    Raises
    ------
    InputError
        If the source cannot be read, or no column looks like a label.
    """
    sample = take_sample(source, max_rows=max_rows)
    columns = {key: facts_of(key, column.to_pylist()) for key, column in sample.columns.items()}
    clicks = guess_label(columns, source, named=label)
    others = {key: facts for key, facts in columns.items() if key not in clicks.columns}
    time, times = guess_time(others, sample.types)
    taken = {*time.columns} if time else set()
    others = {key: facts for key, facts in others.items() if key not in taken}
    row_id = id_of({key: facts for key, facts in others.items() if key not in times})
    roles = roles_of(
        {key: facts for key, facts in others.items() if key != row_id}, clicks, times=times
    )
    fitting = _fitting(sample, name)
    text = _page(sample, name, columns, clicks, time, row_id, roles, fitting)
    schema = Schema.from_dict(yaml.safe_load(text), source=name)
    return Draft(text, _summary(sample, schema, clicks, roles, fitting))


def _page(
    sample: Sample,
    name: str,
    columns: Mapping[str, ColumnFacts],
    label: LabelGuess,
    time: TimeGuess | None,
    row_id: str | None,
    roles: list[Role],
    fitting: str | None,
) -> str:
    kept = [role for role in roles if role.kept]
    rows = f"{'all' if sample.is_whole else 'the first'} {sample.n_rows:,} rows"
    of_files = f" of {len(sample.files)} files" if len(sample.files) > 1 else ""
    lines = [
        f"# A first schema, made from {rows}{of_files}: read it, and change what is wrong. docs/logs.md says what else it can say.",
    ]
    if fitting:
        lines.append(f"# {_FITS.format(fitting)}")
    lines += [f"name: {_yaml(name)}", *_label(label)]
    if row_id:
        lines.append(
            f"id: {_yaml(row_id)}{_why(f'all {sample.n_rows:,} differ; rows that repeat one go to quarantine')}"
        )
    lines += _file(sample) + _time(time)
    lines += _features(time, kept)
    words = dict.fromkeys(word for facts in columns.values() for word in facts.missing_words)
    if words:
        lines.append(
            f"missing: {_yaml([*words])}{_why('words that mean nothing, in every field; take out what is a value')}"
        )
    lines += ["", "fields:", *(_entry(role) for role in roles)]
    if not kept:
        raise ClicklabError(
            f"{sample.source}: no column is left to learn from; the label and the time are all there is"
        )
    for column, reason in sample.look.refused.items():
        lines.append(f"  # {_yaml(column)}: {{}}{_why(reason)}")
    lines += ["", *_slices(kept, columns, time), *_unit(kept, columns)]
    return "\n".join(lines) + "\n"


def _yaml(value: Any) -> str:
    """Return a value as YAML in one line; text without quotes only where it reads back as the same text."""
    if isinstance(value, str):
        plain = re.fullmatch(r"[A-Za-z_][\w./-]*", value, re.ASCII)
        if plain and yaml.safe_load(value) == value:
            return value
        return yaml.safe_dump(value, default_style='"', allow_unicode=True, width=10**6).strip()
    if isinstance(value, list):
        return "[" + ", ".join(map(_yaml, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_yaml(key)}: {_yaml(item)}" for key, item in value.items()) + "}"
    return json.dumps(value)


def _why(reason: str) -> str:
    return f"   # {' '.join(reason.split())}" if reason else ""


def _label(label: LabelGuess) -> list[str]:
    line = f"label: {_yaml(label.declared)}{_why(label.why)}"
    lines = [line, f"# {label.rate:.2%} of {label.shown.sum():,.0f} impressions were clicked"]
    if not label.clicks.any():
        lines.append("# There is no click in the sample: make sure that this is the label.")
    elif label.rate > 0.3 and isinstance(label.declared, str):
        lines.append(
            f"# That is many. If non-clicks were sampled, say how many are left: {{column: {_yaml(label.column)}, no_click_rate: 0.1}}"
        )
    return lines


def _file(sample: Sample) -> list[str]:
    if not sample.look.file:
        return []
    lines = ["file:"]
    for key, value in sample.look.file.items():
        why = "there is no header: name the columns, here and below" if key == "columns" else ""
        lines.append(f"  {key}: {_yaml(value)}{_why(why)}")
    return lines


def _time(time: TimeGuess | None) -> list[str]:
    if time is None:
        return [
            "# No column reads as a time, so the rows are taken to be in order of time. If one is: time: {column: ts, format: iso}"
        ]
    span = f"the sample goes from {time.first:%Y-%m-%d} to {time.last:%Y-%m-%d}"
    return [f"time: {_yaml(time.declared)}{_why(f'{time.why}; {span}')}"]


def _features(time: TimeGuess | None, kept: list[Role]) -> list[str]:
    names = {role.name for role in kept}
    wanted = ["hour_of_day", "weekday"] if time and time.has_hours else ["weekday"] if time else []
    wanted = [one for one in wanted if one not in names]
    return [f"features: {_yaml(wanted)}{_why('made of the time')}"] if wanted else []


def _entry(role: Role) -> str:
    entry = f"{_yaml(role.name)}: {_yaml(role.entry)}"
    return (
        f"  {entry}{_why(role.why)}" if role.kept else f"  # {entry}{_why('left out: ' + role.why)}"
    )


def _slices(
    kept: list[Role], columns: Mapping[str, ColumnFacts], time: TimeGuess | None
) -> list[str]:
    """Return up to three fields of few values, and a field of ads by whether it was seen before."""
    few = []
    for role in kept:
        facts = columns[role.name]
        if role.entry.get("type") or not 2 <= facts.n_values <= 12:
            continue
        if facts.counts[1] >= 0.02 * facts.n_rows:  # the second value is no accident
            named = any(word in _SLICE_WORDS for word in facts.words)
            few.append((not named, role.name))
    lines = [
        f"  - {_yaml({'name': name, 'field': name})}"
        for _, name in sorted(few, key=lambda one: one[0])[:3]
    ]
    for role in kept:
        facts = columns[role.name]
        if (
            {*facts.words, "".join(facts.words)} & _ADS
            and not role.entry.get("type")
            and facts.n_values > 12
        ):
            lines.append(f"  - {_yaml({'name': role.name, 'field': role.name, 'seen': True})}")
            break
    if not lines:
        return [
            "# slices:  fields of few values, which `evaluate` and the gates look at one by one"
        ]
    return ["slices:   # evaluated and gated on their own", *lines]


def _unit(kept: list[Role], columns: Mapping[str, ColumnFacts]) -> list[str]:
    people = [
        role.name
        for role in kept
        if not role.entry.get("type")
        and columns[role.name].n_values > 20
        and re.sub("[^a-z]", "", role.name.lower()) in _PERSON
    ]
    return [f"unit: {_yaml(people[:2])}{_why('whom an A/B variant sticks to')}"] if people else []


def _fitting(sample: Sample, name: str) -> str | None:
    """Return another schema of tasks/schemas that reads the sample as it is."""
    headless = sample.look.file.get("columns")
    for path in sorted(BUNDLED.glob("*.yaml")):
        try:
            schema = load_schema(path)
        except ClicklabError:
            continue  # somebody is editing it
        names = schema.file.columns
        if headless is None:
            fits = not names and {*schema.required_columns} <= {*sample.look.columns}
        else:
            fits = len(names) == len(headless)
        if fits and path.stem != name:
            try:
                n_rows, bad = _unreadable(sample, schema)
            except InputError:
                continue  # another encoding, or a type that the log cannot hold
            if sum(bad.values()) <= 0.01 * n_rows:
                return path.stem
    return None


def _unreadable(sample: Sample, schema: Schema) -> tuple[int, Counter[str]]:
    """Return how many rows were read by a schema, and how many of them go to quarantine, by reason."""
    n_rows, bad = 0, Counter[str]()
    found = read_source(
        sample.source, schema, note=lambda _: None, batch_rows=5_000, block_bytes=1 << 20
    )
    canonical = Canonicalizer(schema, has_truth=False)
    with closing(found):
        for raw in found:
            bad.update(row.reason for row in canonical(raw).bad)
            n_rows += len(raw.numbers) + len(raw.bad)
            if n_rows >= _CHECKED_ROWS:
                break
    return n_rows, bad


def _summary(
    sample: Sample, schema: Schema, label: LabelGuess, roles: list[Role], fitting: str | None
) -> list[str]:
    """Return what was found, and how many rows of the sample the schema cannot read."""
    n_rows, bad = _unreadable(sample, schema)
    left = [role.name for role in roles if not role.kept]
    lines = [
        f"label {label.column}: {label.rate:.2%} clicked; {len(roles) - len(left)} field{'s' * (len(roles) - len(left) != 1)}"
        + (f"; left out: {', '.join(left[:8])}" if left else ""),
        f"it reads {n_rows - bad.total():,} of {n_rows:,} rows"
        + "".join(f"; {reason}: {count:,}" for reason, count in bad.items()),
    ]
    return [*lines, _FITS.format(fitting)] if fitting else lines
