"""How often monitoring alarms without a cause, and how soon with one: `python -m bench.monitoring`.

Simulated weeks without drift: the rows of a simulated log, dealt anew among the days at each hour of the day, so that day
and night stay and nothing else moves. The first week is the reference, the others are served with the true
probabilities as predictions. Then the same weeks with a change at a known hour.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from tasks.monitoring.alerts import Finding, Limits, alarming, episodes
from tasks.monitoring.bins import text_hashes
from tasks.monitoring.judgement import findings_by_window
from tasks.monitoring.reference import Reference, build_reference
from tasks.monitoring.spool import N_GROUPS
from tasks.monitoring.tally import HOUR_US, Rows, Tally
from tasks.schema import load_schema
from tasks.simulation.simulate import FIELDS, simulate_batches

LIMITS = Limits(0.5, 0.2, 0.1, 0.05, (0.8, 1.25))  # those of env.yaml
ANY_SIZE = Limits(0.5, -9.0, -9.0, -9.0, (1.0, 1.0 + 1e-9))  # whatever is more than chance
WEEK_HOURS = 168
DELAY_S, WINDOW_H = 600.0, 24


class Week(NamedTuple):
    """Rows in time order: fields, hour (from 0), click, true probability."""

    fields: pa.Table
    hour: np.ndarray
    click: np.ndarray
    p_true: np.ndarray


class Change(NamedTuple):
    """What is done to the rows from an hour on, and the kind of alert that tells of it."""

    name: str
    kinds: tuple[str, ...]
    apply: Callable[[Week, np.ndarray], Week]


def draw(n_weeks: int, rows_per_hour: int, seed: int, *, mixed: bool = True) -> Week:
    """Return simulated weeks; `mixed` deals the rows of each hour of the day among the days."""
    n_rows = n_weeks * WEEK_HOURS * rows_per_hour
    batches = list(simulate_batches(n_rows, days=7 * n_weeks, seed=seed))
    table = pa.Table.from_batches(batches).unify_dictionaries().combine_chunks()
    labels = table["hour"].combine_chunks().dictionary_encode()
    names = np.array(labels.dictionary.to_pylist())
    rank = np.argsort(np.argsort(names))
    hour = rank[labels.indices.to_numpy()]
    order = np.arange(len(hour))
    if mixed:
        rng = np.random.default_rng(seed)
        for hour_of_day in range(24):
            rows = np.flatnonzero(hour % 24 == hour_of_day)
            order[rows] = rng.permutation(rows)
    fields = table.select(list(FIELDS)).take(pa.array(order))
    click, p_true = (table[name].to_numpy()[order] for name in ("click", "p_true"))
    return Week(fields, hour, click == 1, p_true)


class _Log:
    """The part of a log that a reference reads."""

    def __init__(self, week: Week, n_hours: int):
        self.n_rows = int(np.searchsorted(week.hour, n_hours))
        moments = pa.array(week.hour[: self.n_rows] * HOUR_US).cast(pa.timestamp("us", tz="UTC"))
        self._table = week.fields.slice(0, self.n_rows).append_column("hour", moments)

    def batches(self, *, columns: list[str], start: int, stop: int) -> Iterator[pa.RecordBatch]:
        yield from self._table.select(columns).slice(start, stop - start).to_batches(65_536)


def reference_of(week: Week) -> Reference:
    """Return the reference of the first week."""
    log, schema = _Log(week, WEEK_HOURS), load_schema("tasks/schemas/avazu.yaml")
    return build_reference(log, schema, (0, log.n_rows))  # type: ignore[arg-type]


def alerts_of(week: Week, reference: Reference, limits: Limits, seed: int) -> list[Finding]:
    """Return the alerts of the weeks after the first; windows are numbered from their start."""
    first = int(np.searchsorted(week.hour, WEEK_HOURS))
    n_hours = int(week.hour[-1]) + 1 - WEEK_HOURS
    rng = np.random.default_rng(seed + 1)
    n = len(week.hour) - first
    click = week.click[first:]
    time_us = (week.hour[first:] - WEEK_HOURS) * HOUR_US + rng.integers(0, HOUR_US, n)
    delay_us = np.where(click, rng.exponential(DELAY_S, n) * 1e6, -1).astype(np.int64)
    served = week.fields.slice(first).combine_chunks()
    units = _chunk(served["device_ip"])
    unit = text_hashes(units.dictionary)[units.indices.to_numpy()]
    bins = [one.bins.codes(_chunk(served[name])) for name, one in reference.fields.items()]
    variant = np.where(unit % 5 == 0, "challenger 1", "champion 1")
    now_us = (n_hours + WINDOW_H) * HOUR_US  # every label is final
    sliced = [list(reference.fields).index(name) for name in ("site_category", "app_category")]
    tally = Tally(0, n_hours, len(bins), sliced, now_us, WINDOW_H * 3600)
    p_click = week.p_true[first:]
    tally.add(
        Rows(
            time_us, click, delay_us, p_click, variant, unit // 7 % N_GROUPS, np.column_stack(bins)
        )
    )
    mature = np.ones(n_hours, bool)
    families = findings_by_window(tally, reference, limits, mature, 1, n_hours)
    return [
        one for family in families for part in family.values() for one in alarming(part, limits, 1)
    ]


def _chunk(column: pa.ChunkedArray) -> pa.DictionaryArray:
    return (
        column.unify_dictionaries().combine_chunks() if column.num_chunks > 1 else column.chunk(0)
    )


# ---- changes


def _with(week: Week, name: str, column: pa.Array) -> Week:
    number = week.fields.schema.names.index(name)
    return week._replace(fields=week.fields.set_column(number, name, column.dictionary_encode()))


def _replaced(week: Week, rows: np.ndarray, name: str, value: str | None) -> Week:
    texts = _chunk(week.fields[name]).dictionary_decode()
    new = np.where(rows, value, np.asarray(texts, dtype=object))
    return _with(week, name, pa.array(new, pa.string()))


def _some(rows: np.ndarray, share: float) -> np.ndarray:
    return rows & (np.random.default_rng(1).random(len(rows)) < share)


CHANGES = (
    Change(
        "40% of site_category become one value",
        ("psi",),
        lambda week, rows: _replaced(week, _some(rows, 0.4), "site_category", "f028772b"),
    ),
    Change(
        "10% of device_model are missing",
        ("missing", "psi"),
        lambda week, rows: _replaced(week, _some(rows, 0.1), "device_model", None),
    ),
    Change(
        "20% of site_id are new",
        ("unseen", "psi"),
        lambda week, rows: _replaced(week, _some(rows, 0.2), "site_id", "never-seen"),
    ),
    Change(
        "40% of the clicks are lost",
        ("calibration",),
        lambda week, rows: week._replace(click=week.click & ~_some(rows, 0.4)),
    ),
    Change(
        "25% of the clicks are lost",
        ("calibration",),
        lambda week, rows: week._replace(click=week.click & ~_some(rows, 0.25)),
    ),
    Change(
        "predictions 1.5 times too high",
        ("calibration",),
        lambda week, rows: week._replace(
            p_true=np.where(rows, np.minimum(1.5 * week.p_true, 0.99), week.p_true)
        ),
    ),
)


def detection_delay(week: Week, reference: Reference, change: Change, seed: int) -> int | None:
    """Return the hours until the first alert that a change, 60 hours after the start, causes; None without one."""
    at = 60
    changed = change.apply(week, week.hour >= WEEK_HOURS + at)
    found = alerts_of(changed, reference, LIMITS, seed)
    hours = [one.window + 1 - at for one in found if one.kind in change.kinds and one.window >= at]
    return min(hours, default=None)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    """Print false alarms a week and detection delays."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weeks", type=int, default=20)
    parser.add_argument("--rows-per-hour", type=int, default=1000)
    parser.add_argument("--changes", type=int, default=3, help="weeks with each change")
    parser.add_argument("--turnover", action="store_true", help="keep the log's own change by day")
    given = parser.parse_args()
    started, n_weeks, n_alerts, n_episodes, n_any, seed = time.process_time(), 0, 0, 0, 0, 0
    delays: dict[str, list[int | None]] = {change.name: [] for change in CHANGES}
    while n_weeks < given.weeks:
        seed += 1
        week = draw(3, given.rows_per_hour, seed, mixed=not given.turnover)
        reference = reference_of(week)
        found = alerts_of(week, reference, LIMITS, seed)
        n_weeks, n_alerts = n_weeks + 2, n_alerts + len(found)
        n_any += len({one.window for one in alerts_of(week, reference, ANY_SIZE, seed)})
        n_episodes += len(episodes(found, gap=12))
        kinds = sorted({f"{one.kind} {one.subject}" for one in found})
        _say(
            f"{n_weeks} weeks: {n_episodes} alerts in {n_alerts} windows, {n_any} of any size {kinds}"
        )
        if seed <= given.changes:
            for change in CHANGES:
                delays[change.name].append(detection_delay(week, reference, change, seed))
                _say(f"  {change.name}: {delays[change.name][-1]} h")
    _say(
        f"{n_episodes / n_weeks:.2f} alerts a week without drift, {given.rows_per_hour} rows an hour"
    )
    for name, hours in delays.items():
        _say(f"{name}: {hours} hours")
    _say(f"{time.process_time() - started:.0f} s of CPU")


if __name__ == "__main__":
    main()
