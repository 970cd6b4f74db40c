"""One run of monitoring: read what is new, join, judge, and say what was found."""

import hashlib
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tasks.errors import ConfigError
from tasks.logs.value_text import FieldText
from tasks.monitoring import clicks as click_log
from tasks.monitoring.alerts import Limits
from tasks.monitoring.attribution import HOUR_US, Joined, Rule, attribute
from tasks.monitoring.judgement import judge
from tasks.monitoring.record import MonitorRecord
from tasks.monitoring.reference import Reference
from tasks.monitoring.sources import find_files
from tasks.monitoring.spool import Spool
from tasks.monitoring.tally import Rows, Tally
from tasks.schema import Schema
from tasks.storage.locks import file_lock

_EXPOSURES = (".jsonl", ".parquet")


@dataclass(frozen=True)
class Settings:
    """The knobs ``monitor`` of env.yaml (docs/knobs.md), times as numbers."""

    exposures: str
    clicks: str
    now_us: int
    span_hours: int
    window_hours: int
    attribution_hours: float
    clock_tolerance_s: float
    mature_share: float
    n_buckets: int
    limits: Limits

    @classmethod
    def from_knobs(cls, knobs: Mapping[str, Any], *, now: datetime | None = None) -> "Settings":
        """Return the settings of the section ``monitor``.

        Parameters
        ----------
        knobs
            As :func:`tasks.knobs.reading.read_env` returns the section.
        now
            The moment of the report where the knob ``now_utc`` is null; by default that of the clock.

        Raises
        ------
        ConfigError
            If no log of exposures or clicks is named.
        """
        for name in ("exposures", "clicks"):
            if not knobs[name]:
                raise ConfigError(
                    f"monitor.{name} is null; name the folder or s3:// address of the {name}"
                )
        moment = datetime.fromisoformat(knobs["now_utc"]) if knobs["now_utc"] else now
        moment = moment or datetime.now(UTC)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        same = [
            "exposures",
            "clicks",
            "span_hours",
            "window_hours",
            "attribution_hours",
            "clock_tolerance_s",
            "mature_share",
            "n_buckets",
        ]
        low, high = knobs["calibration_ratio"]
        limits = Limits(
            max_false_alarms_per_week=knobs["max_false_alarms_per_week"],
            max_psi=knobs["max_psi"],
            max_unseen_share=knobs["max_unseen_share"],
            max_missing_share=knobs["max_missing_share"],
            calibration_ratio=(low, high),
        )
        now_us = round(moment.timestamp() * 1e6)
        return cls(**{name: knobs[name] for name in same}, now_us=now_us, limits=limits)

    @property
    def rule(self) -> Rule:
        """What belongs together; the span begins with a full window."""
        window = self.window_hours * HOUR_US
        start = self.now_us // window * window - self.span_hours * HOUR_US
        tolerance = round(self.clock_tolerance_s * 1e6)
        return Rule(start, self.now_us, round(self.attribution_hours * HOUR_US), tolerance)


def monitor(
    settings: Settings, reference: Reference, schema: Schema, state: str | Path
) -> tuple[MonitorRecord, Tally]:
    """Return what was found, and the sums that it follows from.

    Parameters
    ----------
    settings
        The knobs.
    reference
        The training rows of the model that serves.
    schema
        The declaration of the log, whose slices are reported.
    state
        Folder for rows that were read; another run there reads only what is new. It may be deleted at any time.

    Raises
    ------
    InputError
        If there is no log of exposures or clicks at the address.
    DiskFullError, UnavailableError
        If the disk is full, or S3 is temporarily unavailable; the same run again resumes.
    """
    with file_lock(Path(state) / "monitor"):
        folder = _folder(Path(state), reference, settings)
        rules = {spec.name: FieldText(schema, spec) for spec in schema.fields}
        fields = [replace(one.bins, rule=rules.get(name)) for name, one in reference.fields.items()]
        exposures = Spool(folder / "exposures", settings.n_buckets, fields)
        clicks = Spool(folder / "clicks", settings.n_buckets)
        exposures.take(find_files(settings.exposures, _EXPOSURES))
        clicks.take(find_files(settings.clicks, click_log.SUFFIXES))
        names = list(reference.fields)
        sliced = {part.field for part in schema.slices if part.field in names}
        tally = _tally(exposures, clicks, settings, [names.index(one) for one in sorted(sliced)])
    notes = [*exposures.notes, *clicks.notes]
    return judge(tally, reference, settings, notes), tally


def _folder(state: Path, reference: Reference, settings: Settings) -> Path:
    """Return the folder for rows in bins of this reference; those of others are removed."""
    content = f"{reference.to_json()} {settings.n_buckets}"
    name = f"rows-{hashlib.sha256(content.encode()).hexdigest()[:16]}"
    for other in state.glob("rows-*"):
        if other.name != name:
            shutil.rmtree(other, ignore_errors=True)
    return state / name


def _tally(exposures: Spool, clicks: Spool, settings: Settings, sliced: list[int]) -> Tally:
    rule = settings.rule
    n_hours = (rule.now_us + rule.tolerance_us - rule.start_us) // HOUR_US + 1
    n_fields = len(exposures.fields or ())
    window_s = rule.window_us / 1e6
    tally = Tally(rule.start_us, int(n_hours), n_fields, sliced, rule.now_us, window_s)
    for name, spool in (("exposures", exposures), ("clicks", clicks)):
        tally.add_counts({f"{name}_unreadable": sum(one.n_unreadable for one in spool.reads())})
    for table, clicked in zip(exposures.buckets(), clicks.buckets(), strict=True):
        joined = attribute(table, clicked, rule)
        tally.add_counts(joined.counts)
        rows, n_forced = _rows(table, joined, n_fields)
        tally.add_counts({"exposures_forced": n_forced})
        tally.add(rows)
    return tally


def _rows(table: pa.Table, joined: Joined, n_fields: int) -> tuple[Rows, int]:
    """Return the rows of a bucket without those whose variant was asked for, and how many those are."""
    found = table.take(pa.array(joined.rows))
    forced = found["forced"].fill_null(False).to_numpy()
    kept = np.flatnonzero(~forced)
    found = found.take(pa.array(kept))
    variants = [
        np.asarray(found[name].fill_null(""), dtype=object) for name in ("variant", "version")
    ]
    bins = b"".join(found["bins"].to_pylist())
    return Rows(
        joined.time_us[kept],
        joined.y_true[kept],
        joined.delay_us[kept],
        found["p_click"].to_numpy(),
        variants[0] + " " + variants[1],
        found["group"].to_numpy().astype(np.int64),
        np.frombuffer(bins, np.uint8).reshape(len(kept), n_fields),
    ), int(forced.sum())
