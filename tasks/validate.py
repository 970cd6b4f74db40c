"""The data contract: what a log must be before anything is learnt from it, as a readable report."""

import json
from collections.abc import Callable, Mapping
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from tasks.errors import ConfigError
from tasks.logs.log import DUPLICATE, Log, arrow_schema
from tasks.logs.profile import Facts, gather
from tasks.logs.validation_report import Finding, ValidationReport
from tasks.schema import Schema, load_schema
from tasks.storage.files import write_atomic

DEFAULTS = {"min_ctr": 0.001, "max_ctr": 0.9, "max_missing_hours_share": 0.5}
_THIN_DAY = 0.2  # of the median day
_MOSTLY_MISSING = 0.99


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
        inside the log's span that have no row; what is not given keeps its default.

    Raises
    ------
    ConfigError
        If `checks` has an unknown key or a value outside [0, 1].
    """
    limits = _limits(checks)
    facts = gather(log, schema)
    steps: list[Callable[[], list[Finding]]] = [
        lambda: _structure(log, schema, facts),
        lambda: _click_rate(facts, limits),
        lambda: _domains(facts),
        lambda: _time(log, facts, limits),
        lambda: _quarantined(log),
        lambda: _emptiness(facts),
    ]
    first, last = log.time_span
    missing = {
        name: (item.n_missing + item.n_null) / max(1, facts.n_rows)
        for name, item in facts.fields.items()
    }
    return ValidationReport(
        source=log.manifest["source"],
        n_rows=facts.n_rows,
        ctr=facts.n_clicks / max(1, facts.n_rows),
        time_span=(f"{first:%Y-%m-%d %H:%M:%S}", f"{last:%Y-%m-%d %H:%M:%S}"),
        findings=[finding for step in steps for finding in step()],
        rows_by_day={day.isoformat(): n_rows for day, n_rows in log.rows_by_day.items()},
        missing_shares={name: share for name, share in missing.items() if share},
        quarantine=dict(log.manifest["quarantine"]),
        notes=list(log.manifest["notes"]),
    )


def _limits(checks: Mapping[str, float]) -> dict[str, float]:
    for name, value in checks.items():
        if name not in DEFAULTS:
            raise ConfigError(f"checks: unknown key {name!r}; known are {', '.join(DEFAULTS)}")
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
            raise ConfigError(f"checks: {name} must be between 0 and 1, got {value!r}")
    limits = {**DEFAULTS, **checks}
    if limits["min_ctr"] >= limits["max_ctr"]:
        raise ConfigError(
            f"checks: min_ctr ({limits['min_ctr']}) must be below max_ctr ({limits['max_ctr']})"
        )
    return limits


def _structure(log: Log, schema: Schema, facts: Facts) -> list[Finding]:
    wanted = {
        item.name: str(item.type)
        for item in arrow_schema(schema, has_truth=schema.truth in log.columns)
    }
    wrong = [
        f"{name} is {facts.types.get(name, 'missing')}, not {kind}"
        for name, kind in wanted.items()
        if facts.types.get(name) != kind
    ]
    again = "run the task `ingest` again"
    n_truths = facts.n_bad_truths
    return [
        Finding("declaration", log.manifest["schema_digest"] == schema.digest, "error", f"ingested as {log.manifest['schema']!r}, digest {log.manifest['schema_digest']}; now {schema.digest}", again),
        Finding("column types", not wrong, "error", "; ".join(wrong) or f"{len(wanted)} columns as declared", again),
        Finding("rows complete", facts.n_rows == log.n_rows, "error", f"{facts.n_rows:,} rows in the files, {log.n_rows:,} in the manifest", again),
        Finding("labels 0 or 1", not facts.n_bad_labels, "error", f"{facts.n_bad_labels:,} other labels", again),
        Finding("order of time", not facts.n_out_of_order, "error", f"{facts.n_out_of_order:,} rows earlier than the one before", again),
        *([Finding("known probabilities", not n_truths, "error", f"{n_truths:,} outside [0, 1]", again)] if schema.truth in log.columns else []),
    ]  # fmt: skip


def _click_rate(facts: Facts, limits: Mapping[str, float]) -> list[Finding]:
    ctr = facts.n_clicks / max(1, facts.n_rows)
    found = f"{ctr:.4f}, allowed {limits['min_ctr']:g} to {limits['max_ctr']:g}"
    advice = "check what the label column counts, or move checks.min_ctr and checks.max_ctr"
    return [
        Finding("click rate", limits["min_ctr"] <= ctr <= limits["max_ctr"], "error", found, advice)
    ]


def _domains(facts: Facts) -> list[Finding]:
    findings = []
    for name, item in facts.fields.items():
        if item.spec.pattern is None:
            continue
        examples = ", ".join(repr(value[:40]) for value in item.outside)
        found = (
            f"{item.n_outside:,} rows outside {item.spec.pattern}, such as {examples}"
            if item.n_outside
            else f"all match {item.spec.pattern}"
        )
        findings.append(
            Finding(
                f"domain of {name}",
                not item.n_outside,
                "error",
                found,
                "mend the export, or the pattern in the schema",
            )
        )
    return findings


def _time(log: Log, facts: Facts, limits: Mapping[str, float]) -> list[Finding]:
    hours = list(log.rows_by_hour)
    n_span = round((hours[-1] - hours[0]) / timedelta(hours=1)) + 1
    n_gone = n_span - len(hours)
    gaps = np.array(
        [round((b - a) / timedelta(hours=1)) - 1 for a, b in pairwise(hours)],
        dtype=int,
    )
    found = f"{n_gone:,} of {n_span:,} hours have no row ({n_gone / n_span:.1%}, allowed {limits['max_missing_hours_share']:.0%})"
    if n_gone:
        start = hours[int(gaps.argmax())] + timedelta(hours=1)
        found += f"; the longest gap is {gaps.max()} h from {start:%Y-%m-%d %H:00}"
    advice = "fetch the missing files, or move checks.max_missing_hours_share"
    too_many = n_gone / n_span > limits["max_missing_hours_share"]
    counts = log.rows_by_day
    inner = list(counts.items())[1:-1]
    typical = float(np.median(list(counts.values())))
    thin = [f"{day} ({n_rows:,})" for day, n_rows in inner if n_rows < _THIN_DAY * typical]
    said = (
        f"below {_THIN_DAY:.0%} of the usual {typical:,.0f} rows: {', '.join(thin[:5])}"
        if thin
        else f"{len(counts)} days, usually {typical:,.0f} rows"
    )
    return [
        Finding("missing hours", not n_gone, "error" if too_many else "warning", found, advice),
        Finding(
            "rows a day", not thin, "warning", said, "see whether these days were exported whole"
        ),
    ]


def _quarantined(log: Log) -> list[Finding]:
    reasons = log.manifest["quarantine"]
    n_rows, n_in = log.manifest["n_quarantined"], log.manifest["n_rows_in"]
    n_twice = reasons.get(DUPLICATE, 0)
    said = ", ".join(f"{reason} {count:,}" for reason, count in reasons.items())
    found = f"{n_rows:,} of {n_in:,} rows" + (f" ({said})" if said else "")
    return [
        Finding("quarantine", not n_rows, "warning", found, f"see {log.folder}/quarantine.parquet"),
        Finding(
            "duplicate ids",
            not n_twice,
            "warning",
            f"{n_twice:,} rows, taken out" if n_twice else "none",
            "see whether a file was exported twice",
        ),
    ]


def _emptiness(facts: Facts) -> list[Finding]:
    constant = [name for name, item in facts.fields.items() if item.is_constant]
    empty = []
    for name, item in facts.fields.items():
        share = (item.n_missing + item.n_null) / max(1, facts.n_rows)
        if share > _MOSTLY_MISSING:
            empty.append(f"{name} ({share:.1%})")
    return [
        Finding("fields that vary", not constant, "warning", f"one value only: {', '.join(constant)}" if constant else "all", "such a field teaches nothing; see whether it was exported right"),
        Finding("fields that are filled", not empty, "warning", f"almost always missing: {', '.join(empty)}" if empty else "all", "see whether the export lost them"),
    ]  # fmt: skip
