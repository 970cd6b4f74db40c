"""The knobs of monitoring: what is read, what belongs together, what is large."""

from datetime import datetime
from typing import Annotated

from pydantic import Field, model_validator

from tasks.knobs.section import Bounds, Count, Part, Section, Text


class Monitor(Section):
    """What happened to the answers of the service: docs/monitoring.md."""

    exposures: Text | None = Field(description="what the service writes: a folder or s3://...")
    clicks: Text | None = Field(description="the click log: a file, a folder or s3://...")
    reference: Text | None = Field(
        description="training rows to compare with; null: the champion's"
    )
    now_utc: Text | None = Field(description="moment of the report, ISO 8601; null: now")
    span_hours: Count = Field(description="hours that are reported, whole windows")
    window_hours: Count = Field(description="hours that are judged at once")
    attribution_hours: float = Field(gt=0, description="a later click does not count")
    clock_tolerance_s: float = Field(ge=0, description="how far clocks may be apart, seconds")
    mature_share: Part = Field(description="share of the clicks that must be there to be judged")
    n_buckets: Annotated[int, Field(ge=1, le=4096)] = Field(
        description="parts of the rows; one is in memory at once"
    )
    max_false_alarms_per_week: float = Field(gt=0, description="alerts by chance, on average")
    max_psi: float = Field(gt=0, description="distance to the training rows that is large")
    max_unseen_share: Part = Field(description="share of new values above the usual, large")
    max_missing_share: Part = Field(description="share of missing values above the usual, large")
    calibration_ratio: Bounds = Field(description="mean prediction over click rate, [low, high]")

    @model_validator(mode="after")
    def _possible(self) -> "Monitor":
        if self.span_hours % self.window_hours:
            raise ValueError(
                f"span_hours ({self.span_hours}) must be a multiple of window_hours ({self.window_hours})"
            )
        low, high = self.calibration_ratio
        if not 0 < low < 1 < high:
            raise ValueError(
                f"calibration_ratio must be [below 1, above 1], found [{low:g}, {high:g}]"
            )
        try:
            datetime.fromisoformat(self.now_utc or "2026-01-01")
        except ValueError:
            raise ValueError(
                f"now_utc must be a moment such as 2026-03-01T08:00, found {self.now_utc!r}"
            ) from None
        return self
