"""What monitoring found, as ``products/monitor.json`` holds it for whoever acts on it: typed, null where undefined.

Times are ISO 8601 in UTC; a window is named by its first moment.
"""

import math
from pathlib import Path
from typing import Any

import msgspec

from tasks.errors import InputError
from tasks.storage.files import write_atomic

FORMAT = 1


class Quality(msgspec.Struct):
    """Predictions and clicks of one part of the mature exposures, with 95% intervals.

    ``part`` is ``all``, ``variant``, ``slice`` or ``window``; ``name`` says which one. ``n_expected`` is the sum of the
    predictions.
    """

    part: str
    name: str
    n_exposures: int
    n_clicks: int
    n_expected: float
    ctr: float | None = None
    ctr_low: float | None = None
    ctr_high: float | None = None
    mean_p_click: float | None = None
    mean_p_click_low: float | None = None
    mean_p_click_high: float | None = None
    calibration_ratio: float | None = None
    calibration_ratio_low: float | None = None
    calibration_ratio_high: float | None = None
    log_loss: float | None = None
    log_loss_low: float | None = None
    log_loss_high: float | None = None
    normalized_entropy: float | None = None
    normalized_entropy_low: float | None = None
    normalized_entropy_high: float | None = None


class Delay(msgspec.Struct):
    """How clicks arrive: ``mature_age_s`` is the age from which an exposure's label counts as final."""

    mean_s: float
    mature_age_s: float
    n_open_clicks: float


class OpenWindow(msgspec.Struct):
    """A window whose labels are not final: clicks so far, and how many are still expected to arrive."""

    window_utc: str
    n_exposures: int
    n_clicks: int
    share_arrived: float
    n_open_clicks: float


class Drift(msgspec.Struct):
    """A field (or ``p_click``) over the last day of the span against the training rows (the days before)."""

    field: str
    psi: float
    jensen_shannon: float
    psi_usual: float | None = None
    missing_share: float | None = None
    usual_missing_share: float | None = None
    unseen_share: float | None = None
    usual_unseen_share: float | None = None


class Alert(msgspec.Struct):
    """Windows next to each other with one finding: ``kind`` is ``psi``, ``unseen``, ``missing``, ``calibration``,
    ``slice_calibration``, ``traffic`` or ``variant_share``; ``is_open`` whether the newest judged window has it."""

    kind: str
    subject: str
    first_utc: str
    last_utc: str
    n_windows: int
    value: float | None
    bound: float
    chance: float
    is_open: bool
    sentence: str


class MonitorRecord(msgspec.Struct):
    """The whole record; ``counts`` says what became of every row that was read (:mod:`tasks.monitoring.attribution`)."""

    start_utc: str
    now_utc: str
    window_hours: int
    attribution_hours: float
    max_false_alarms_per_week: float
    counts: dict[str, int]
    notes: list[str]
    delay: Delay | None
    n_mature: int
    quality: list[Quality]
    open_windows: list[OpenWindow]
    drift: list[Drift]
    psi_by_window: dict[str, list[float | None]]
    alerts: list[Alert]
    format: int = FORMAT

    def parts(self, part: str) -> list[Quality]:
        """Return the quality of the parts of one sort."""
        return [one for one in self.quality if one.part == part]

    def summary(self) -> list[str]:
        """Return what to know in a few lines: what was read, how predictions compare with clicks, alerts."""
        counts = self.counts
        lines = [
            f"{counts.get('exposures_used', 0):,} exposures and {counts.get('clicks_attributed', 0):,} clicks, "
            f"{self.start_utc} to {self.now_utc}"
        ]
        for one in [*self.parts("all"), *self.parts("variant")]:
            if one.calibration_ratio is None or one.ctr is None:
                lines.append(f"{one.name}: no clicks among {one.n_exposures:,} mature exposures")
                continue
            low, high = one.calibration_ratio_low or 0, one.calibration_ratio_high or math.inf
            lines.append(
                f"{one.name}: {one.ctr:.2%} clicked, predicted {one.calibration_ratio:.3f} times that "
                f"({low:.3f} to {high:.3f})"
            )
        lines += [f"note: {note}" for note in self.notes]
        lines += [f"ALERT {one.kind} {one.sentence}" for one in self.alerts]
        return lines if self.alerts else [*lines, "no alerts"]


def write_record(path: str | Path, record: MonitorRecord) -> None:
    """Write the record, whole or not at all."""
    plain = finite(msgspec.to_builtins(record, enc_hook=float))
    write_atomic(path, msgspec.json.format(msgspec.json.encode(plain)))


def read_record(path: str | Path) -> MonitorRecord:
    """Return the record that :func:`write_record` wrote.

    Raises
    ------
    InputError
        If there is none, or it is of another form.
    """
    try:
        return msgspec.json.decode(Path(path).read_bytes(), type=MonitorRecord)
    except (OSError, msgspec.DecodeError) as error:
        raise InputError(f"{path}: no record of monitoring ({error}); run `make monitor`") from None


def finite(value: Any) -> Any:
    """Return JSON-ready data with null for numbers that are not finite."""
    if isinstance(value, dict):
        return {key: finite(one) for key, one in value.items()}
    if isinstance(value, list):
        return [finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
