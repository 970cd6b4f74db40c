"""The data contract: what must hold for a log before a model is trained on it, as a readable report."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from tasks.errors import ConfigError
from tasks.logs.log import DUPLICATE, Log, arrow_schema
from tasks.logs.profile import LogProfile, profile_log
from tasks.logs.validation_report import Finding, ValidationReport
from tasks.logs.value_text import is_number
from tasks.schema import Schema, load_schema
from tasks.storage.files import write_atomic

DEFAULTS = {"min_ctr": 0.001, "max_ctr": 0.9, "max_missing_hours_share": 0.5}
_THIN_DAY = 0.2  # of the median day
_MOSTLY_MISSING = 0.99
_MOSTLY_DISTINCT = 0.8
_ENOUGH_ROWS, _ENOUGH_DAYS = 100, 3
_DAY_HOURS = 24


def validate(
    product: Any,
    upstream: Any,
    schema: str,
    checks: Mapping[str, float],
    code: str = "",
) -> None:
    """Ploomber task: check the log, write the report, and stop the pipeline if an error was found."""
    log = Log.open(Path(str(upstream["ingest"]["log"])).parent)
    report = check_log(log, load_schema(schema), checks)
    write_atomic(str(product["report"]), json.dumps(report.to_dict(), indent=1) + "\n")
    write_atomic(str(product["page"]), report.to_markdown())
    report.raise_if_failed(str(product["page"]))


def check_log(log: Log, schema: Schema, checks: Mapping[str, float]) -> ValidationReport:
    """Return what the data contract says about a log; the log is read once, batch by batch.

    Parameters
    ----------
    log, schema
        The log and its declaration.
    checks
        ``min_ctr`` and ``max_ctr`` bound the click rate, ``max_missing_hours_share`` the share of hours
        within the log's time span that have no row (days, where the log is of days); a limit that is not given keeps its default.

    Raises
    ------
    ConfigError
        If `checks` has an unknown key or a value outside [0, 1].
    """
    limits = _limits(checks)
    profile = profile_log(log, schema)
    findings = [
        *_structure(log, schema, profile),
        *_click_rate(profile, limits),
        *_domains(profile),
        *(_gaps(log, limits) if schema.has_time else []),
        *_thin_days(log),
        *_quarantined(log),
        *_emptiness(profile),
        _repetition(profile, log.n_rows),
    ]
    first, last = log.time_span
    return ValidationReport(
        source=log.manifest["source"],
        n_rows=profile.n_rows,
        ctr=profile.ctr,
        time_span=(f"{first:%Y-%m-%d %H:%M:%S}", f"{last:%Y-%m-%d %H:%M:%S}"),
        findings=findings,
        rows_by_day={day.isoformat(): n_rows for day, n_rows in log.rows_by_day.items()},
        missing_shares={name: share for name, share in profile.missing_shares.items() if share},
        quarantine=dict(log.manifest["quarantine"]),
        notes=list(log.manifest["notes"]),
    )


def _limits(checks: Mapping[str, float]) -> dict[str, float]:
    for name, value in checks.items():
        if name not in DEFAULTS:
            raise ConfigError(f"checks: unknown key {name!r}; known are {', '.join(DEFAULTS)}")
        if not is_number(value) or not 0 <= value <= 1:
            raise ConfigError(f"checks: {name} must be between 0 and 1, got {value!r}")
    limits = {**DEFAULTS, **checks}
    if limits["min_ctr"] >= limits["max_ctr"]:
        raise ConfigError(
            f"checks: min_ctr ({limits['min_ctr']}) must be below max_ctr ({limits['max_ctr']})"
        )
    return limits


def _structure(log: Log, schema: Schema, profile: LogProfile) -> list[Finding]:
    """Whether the files are those that ``ingest`` wrote for this schema."""
    manifest, n_truths = log.manifest, profile.n_bad_truths
    declared = arrow_schema(schema, has_truth=schema.truth in log.columns)
    types = {
        item.name: (str(item.type), profile.types.get(item.name, "missing")) for item in declared
    }
    wrong = [
        f"{name} is {found}, not {kind}" for name, (kind, found) in types.items() if found != kind
    ]
    checks = [
        (
            "declaration",
            manifest["schema_digest"] == schema.digest,
            f"ingested as {manifest['schema']!r}, digest {manifest['schema_digest']}; now {schema.digest}",
        ),
        ("column types", not wrong, "; ".join(wrong) or f"{len(types)} columns as declared"),
        (
            "rows complete",
            profile.n_rows == log.n_rows,
            f"{profile.n_rows:,} rows in the files, {log.n_rows:,} in the manifest",
        ),
        ("labels 0 or 1", not profile.n_bad_labels, f"{profile.n_bad_labels:,} other labels"),
        (
            "order of time",
            not profile.n_out_of_order,
            f"{profile.n_out_of_order:,} rows earlier than the one before",
        ),
    ]
    if schema.truth in log.columns:
        checks.append(("known probabilities", not n_truths, f"{n_truths:,} outside [0, 1]"))
    return [
        Finding(name, ok, "error", found, "run the task `ingest` again")
        for name, ok, found in checks
    ]


def _click_rate(profile: LogProfile, limits: Mapping[str, float]) -> list[Finding]:
    ctr = profile.ctr
    found = f"{ctr:.4f}, allowed {limits['min_ctr']:g} to {limits['max_ctr']:g}"
    advice = "check what the label column counts, or change checks.min_ctr and checks.max_ctr"
    passed = limits["min_ctr"] <= ctr <= limits["max_ctr"]
    return [Finding("click rate", passed, "error", found, advice)]


def _domains(profile: LogProfile) -> list[Finding]:
    findings = []
    for name, item in profile.fields.items():
        if item.spec.pattern is None:
            continue
        found = f"all match {item.spec.pattern}"
        if item.n_outside:
            examples = ", ".join(repr(value[:40]) for value in item.outside)
            found = f"{item.n_outside:,} rows outside {item.spec.pattern}, such as {examples}"
        advice = "fix the export, or the pattern in the schema"
        findings.append(Finding(f"domain of {name}", not item.n_outside, "error", found, advice))
    return findings


def _gaps(log: Log, limits: Mapping[str, float]) -> list[Finding]:
    """Whether each period between the first and the last row has rows; periods are the log's own."""
    hours = np.array([round(moment.timestamp() / 3600) for moment in log.rows_by_hour])
    expected = expected_hours(hours)
    missing = ~np.isin(expected, hours)
    n_missing, allowed = int(missing.sum()), limits["max_missing_hours_share"]
    share = n_missing / expected.size
    daily = expected.size > 1 and int(np.diff(expected).min()) >= _DAY_HOURS
    unit = "days" if daily else "hours"
    found = f"{n_missing:,} of {expected.size:,} {unit} have no row ({share:.1%}, allowed {allowed:.0%})"
    if n_missing:
        begins = np.flatnonzero(missing & ~np.append(False, missing[:-1]))
        ends = np.flatnonzero(missing & ~np.append(missing[1:], False)) + 1
        longest = int(np.argmax(ends - begins))
        start = datetime.fromtimestamp(int(expected[begins[longest]]) * 3600, UTC)
        length = int(ends[longest] - begins[longest])
        size = (
            f"{length} d from {start:%Y-%m-%d}"
            if daily
            else f"{length} h from {start:%Y-%m-%d %H:00}"
        )
        found += f"; the longest gap is {size}"
    severity = "error" if share > allowed else "warning"
    advice = "fetch the missing files, or change checks.max_missing_hours_share"
    return [Finding("missing hours", not n_missing, severity, found, advice)]


def expected_hours(hours: np.ndarray) -> np.ndarray:
    """Return the hours from the first to the last in which a log like this one has rows.

    With three days or more, these are the hours of the day that half of the days have, on every day, or every seventh if
    most steps between days are of a week. With fewer, each hour, or every so many as most steps have.

    Parameters
    ----------
    hours
        Those that have rows, int64, counted from 1970, ascending.

    Examples
    --------
    >>> expected_hours(np.array([0, 24, 48, 96])).tolist(), expected_hours(np.array([5, 6, 8])).tolist()
    ([0, 24, 48, 72, 96], [5, 6, 7, 8])
    """
    days = np.unique(hours // _DAY_HOURS)
    if days.size >= _ENOUGH_DAYS:
        counts = np.bincount(hours % _DAY_HOURS, minlength=_DAY_HOURS)
        usual = np.flatnonzero(2 * counts >= days.size)
        if usual.size:
            step = max(1, int(np.median(np.diff(days))))
            each = np.arange(days[0], days[-1] + 1, step) * _DAY_HOURS
            expected = (each[:, None] + usual).ravel()
            return expected[(expected >= hours[0]) & (expected <= hours[-1])]
    step = max(1, int(np.median(np.diff(hours)))) if hours.size > 1 else 1
    return np.arange(hours[0], hours[-1] + 1, step)


def _repetition(profile: LogProfile, n_rows: int) -> Finding:
    """Whether the values of each category come again; those that do not cannot be learned from."""
    unique = [
        f"{name} (numbers: `type: number`)" if item.is_numeric else name
        for name, item in profile.fields.items()
        if item.distinct_share > _MOSTLY_DISTINCT and n_rows >= _ENOUGH_ROWS
    ]
    found = f"nearly as many values as rows: {', '.join(unique)}" if unique else "all"
    advice = "declare numbers as such, take an identifier out of the schema"
    return Finding("fields whose values come again", not unique, "warning", found, advice)


def _thin_days(log: Log) -> list[Finding]:
    """Whether a day has far fewer rows than usual; the first and last day may be partial."""
    counts = log.rows_by_day
    typical = float(np.median(list(counts.values())))
    inner = list(counts.items())[1:-1]
    thin = [f"{day} ({n_rows:,})" for day, n_rows in inner if n_rows < _THIN_DAY * typical]
    found = f"{len(counts)} days, usually {typical:,.0f} rows"
    if thin:
        found = f"below {_THIN_DAY:.0%} of the usual {typical:,.0f} rows: {', '.join(thin[:5])}"
    advice = "check whether the export of these days is complete"
    return [Finding("rows per day", not thin, "warning", found, advice)]


def _quarantined(log: Log) -> list[Finding]:
    reasons = log.manifest["quarantine"]
    n_rows, n_in = log.manifest["n_quarantined"], log.manifest["n_rows_in"]
    n_twice = reasons.get(DUPLICATE, 0)
    counts = ", ".join(f"{reason} {count:,}" for reason, count in reasons.items())
    found = f"{n_rows:,} of {n_in:,} rows" + (f" ({counts})" if counts else "")
    twice = f"{n_twice:,} rows, taken out" if n_twice else "none"
    checks = [
        ("quarantine", not n_rows, found, f"see {log.folder}/quarantine.parquet"),
        ("duplicate ids", not n_twice, twice, "check whether a file was exported twice"),
    ]
    return [Finding(name, ok, "warning", found, advice) for name, ok, found, advice in checks]


def _emptiness(profile: LogProfile) -> list[Finding]:
    constant = [name for name, item in profile.fields.items() if item.is_constant]
    shares = profile.missing_shares
    empty = [f"{name} ({share:.1%})" for name, share in shares.items() if share > _MOSTLY_MISSING]
    checks = [
        (
            "fields that vary",
            constant,
            "one value only",
            "nothing can be learned from such a field; check its export",
        ),
        (
            "fields that are filled",
            empty,
            "almost always missing",
            "check whether the export lost them",
        ),
    ]
    return [
        Finding(
            name, not fields, "warning", f"{what}: {', '.join(fields)}" if fields else "all", advice
        )
        for name, fields, what, advice in checks
    ]
