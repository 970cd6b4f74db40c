"""From sums to a record: quality of what is mature, what is open, drift, alerts."""

from datetime import UTC, datetime
from typing import Any

import numpy as np

from tasks.monitoring.alerts import Finding, Limits, alarming, episodes
from tasks.monitoring.bins import N_BINS
from tasks.monitoring.divergence import jensen_shannon, merged, psi
from tasks.monitoring.drift import (
    FEWEST_ROWS,
    calibration_findings,
    drift_table,
    input_findings,
    traffic_findings,
)
from tasks.monitoring.quality import with_intervals
from tasks.monitoring.record import Alert, Delay, Drift, MonitorRecord, OpenWindow, Quality
from tasks.monitoring.reference import Reference
from tasks.monitoring.spool import N_GROUPS
from tasks.monitoring.tally import HOUR_US, SUMS, Tally

_DAY = 24
_GAP_HOURS = 12  # a night without a judgement does not end an alert
_WORDS = {
    "psi": "{subject} is distributed otherwise than in training: PSI {value:.2f}, {bound:.2f} is large",
    "unseen": "{value:.0%} of {subject} were never seen in training, {bound:.0%} is large",
    "missing": "{value:.0%} of {subject} are missing, {bound:.0%} is large",
    "calibration": "{subject}: predictions are {value:.2f} times the clicks, the limit is {bound:.2f}",
    "slice_calibration": "{subject}: predictions are {value:.2f} times the clicks, the limit is {bound:.2f}",
    "traffic": "no exposures",
    "variant_share": "{subject} got no exposures",
}


def judge(tally: Tally, reference: Reference, settings: Any, notes: list[str]) -> MonitorRecord:
    """Return the record that follows from the sums; `settings` is :class:`tasks.monitoring.report.Settings`."""
    model = tally.delay_model()
    window_s = tally.window_s
    mature_s = model.mature_age_s(settings.mature_share) if model else window_s
    size = settings.window_hours
    n_windows = int((tally.now_us - tally.start_us) // (size * HOUR_US))
    ends_us = tally.start_us + (np.arange(tally.n_hours) + 1) * HOUR_US
    mature = ends_us <= tally.now_us - mature_s * 1e6
    nothing = np.zeros((tally.n_hours, N_GROUPS, len(SUMS)))
    everyone = np.sum([nothing, *tally.quality.values()], axis=0)
    ages_s = (tally.now_us - ends_us) / 1e6 + 1800
    arrived = model.share_arrived(ages_s) if model else (ages_s >= window_s).astype(float)
    open_windows = _open(tally, everyone, mature, arrived, size)
    alerts = _alerts(tally, reference, settings.limits, mature, size, n_windows)
    return MonitorRecord(
        start_utc=_utc(tally.start_us),
        now_utc=_utc(tally.now_us),
        window_hours=size,
        attribution_hours=settings.attribution_hours,
        max_false_alarms_per_week=settings.limits.max_false_alarms_per_week,
        counts=tally.counts,
        notes=notes,
        delay=Delay(model.mean_s, mature_s, sum(one.n_open_clicks for one in open_windows))
        if model
        else None,
        n_mature=int(everyone[mature][..., 0].sum()),
        quality=_quality(tally, reference, everyone, mature, size),
        open_windows=open_windows,
        drift=_drift(tally, reference),
        psi_by_window=_psi(tally, reference, size, n_windows),
        alerts=alerts,
    )


def _utc(micros: int) -> str:
    return datetime.fromtimestamp(int(micros) / 1e6, UTC).isoformat().replace("+00:00", "Z")


def _window_utc(tally: Tally, number: int, size: int) -> str:
    return _utc(tally.start_us + number * size * HOUR_US)


# ---- quality


def _quality(
    tally: Tally, reference: Reference, everyone: np.ndarray, mature: np.ndarray, size: int
) -> list[Quality]:
    out = [_part("all", "all", everyone[mature].sum(axis=0))]
    for name, sums in sorted(tally.quality.items()):
        out.append(_part("variant", name, sums[mature].sum(axis=0)))
    out += [
        _part("slice", name, sums[mature].sum(axis=0)) for name, sums in _slices(tally, reference)
    ]
    for number in range(tally.n_hours // size):
        hours = slice(number * size, (number + 1) * size)
        if mature[hours].all() and everyone[hours][..., 0].any():
            name = _window_utc(tally, number, size)
            out.append(_part("window", name, everyone[hours].sum(axis=0)))
    return out


def _part(part: str, name: str, sums: np.ndarray) -> Quality:
    return Quality(part, name, **with_intervals(sums))


def _slices(tally: Tally, reference: Reference) -> list[tuple[str, np.ndarray]]:
    """Return each value that is a slice and has rows, and its sums by hour."""
    fields = list(reference.fields.values())
    out = []
    for place, number in enumerate(tally.sliced):
        bins = fields[number].bins
        for code in range(N_BINS):
            if tally.slices[place, code, ..., 0].any():
                out.append((f"{bins.name}={bins.label(code)}", tally.slices[place, code]))
    return out


def _open(
    tally: Tally, everyone: np.ndarray, mature: np.ndarray, arrived: np.ndarray, size: int
) -> list[OpenWindow]:
    out = []
    for number in range(-(-tally.n_hours // size)):
        hours = slice(number * size, (number + 1) * size)
        n, clicks, expected, _ = everyone[hours].sum(axis=1).T
        if mature[hours].all() or not n.sum():
            continue
        shown = _window_utc(tally, number, size)
        share = float(np.average(arrived[hours], weights=n))
        still = float((expected * (1 - arrived[hours])).sum())
        out.append(OpenWindow(shown, int(n.sum()), int(clicks.sum()), share, still))
    return out


# ---- drift


def _drift(tally: Tally, reference: Reference) -> list[Drift]:
    """Return the drift of the last day that has rows, predictions against the days before it included."""
    seen = np.flatnonzero(tally.predictions.sum(axis=1))
    if not len(seen):
        return []
    first = max(int(seen[-1]) + 1 - _DAY, 0)
    table = drift_table(tally.fields[first:].sum(axis=0), reference)
    out = [Drift(**one) for one in table]
    before, now = tally.predictions[:first].sum(axis=0), tally.predictions[first:].sum(axis=0)
    if before.sum() >= FEWEST_ROWS:
        out.insert(0, Drift("p_click", psi(now, before), jensen_shannon(now, before)))
    return out


def _psi(
    tally: Tally, reference: Reference, size: int, n_windows: int
) -> dict[str, list[float | None]]:
    out: dict[str, list[float | None]] = {}
    for number, (name, field) in enumerate(reference.fields.items()):
        values = (_windowed(tally.fields, one, size)[number] for one in range(n_windows))
        out[name] = [
            psi(one, merged(field.counts)) if one.sum() >= FEWEST_ROWS else None for one in values
        ]
    return out


def _windowed(sums: np.ndarray, window: int, size: int) -> np.ndarray:
    return np.asarray(sums[window * size : (window + 1) * size].sum(axis=0))


# ---- alerts


def _alerts(
    tally: Tally,
    reference: Reference,
    limits: Limits,
    mature: np.ndarray,
    size: int,
    n_windows: int,
) -> list[Alert]:
    inputs, quality = findings_by_window(tally, reference, limits, mature, size, n_windows)
    found: list[Finding] = []
    newest: dict[str, int] = {}
    for family in (inputs, quality):
        for window, findings in family.items():
            newest |= dict.fromkeys((one.kind for one in findings), window)
            found += alarming(findings, limits, size)
    return [
        _alert(one, newest, tally, size) for one in episodes(found, gap=max(_GAP_HOURS // size, 1))
    ]


def findings_by_window(
    tally: Tally,
    reference: Reference,
    limits: Limits,
    mature: np.ndarray,
    size: int,
    n_windows: int,
) -> tuple[dict[int, list[Finding]], dict[int, list[Finding]]]:
    """Return the hypotheses about inputs of each complete window, and those about quality of each mature one."""
    variants: dict[str, np.ndarray] = {}
    for name, sums in tally.quality.items():
        rows = sums[..., 0].sum(axis=1)[: n_windows * size].reshape(n_windows, size).sum(axis=1)
        variant = name.split(" ")[0]
        variants[variant] = variants.get(variant, 0) + rows
    slices = _slices(tally, reference)
    inputs, quality = {}, {}
    for window in range(n_windows):
        inputs[window] = traffic_findings(variants, window)
        inputs[window] += input_findings(
            _windowed(tally.fields, window, size), reference, limits, window
        )
        if mature[window * size : (window + 1) * size].all():
            parts = {name: _windowed(sums, window, size) for name, sums in tally.quality.items()}
            quality[window] = calibration_findings(parts, limits, window)
            whole = sum((part.sum(axis=0) for part in parts.values()), np.zeros(len(SUMS)))
            overall = float(whole[2] / whole[1]) if whole[1] and whole[2] else 1.0
            parts = {name: _windowed(sums, window, size) for name, sums in slices}
            how: dict[str, Any] = {"overall": overall, "kind": "slice_calibration"}
            quality[window] += calibration_findings(parts, limits, window, **how)
    return inputs, quality


def _alert(episode: dict[str, Any], newest: dict[str, int], tally: Tally, size: int) -> Alert:
    kind, subject, value = episode["kind"], episode["subject"], episode["value"]
    first, last = (_window_utc(tally, episode[f"{one}_window"], size) for one in ("first", "last"))
    words = _WORDS[kind].format(subject=subject, value=value, bound=episode["bound"])
    is_open = episode["last_window"] >= newest.get(kind, -1)
    until = "still" if is_open else f"until {last}"
    return Alert(
        kind,
        subject,
        first,
        last,
        episode["n_windows"],
        value,
        episode["bound"],
        episode["chance"],
        is_open,
        f"since {first}, {until}: {words}",
    )
