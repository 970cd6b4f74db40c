"""What a read-out found, as its JSON holds it: typed, null where a number is not known. Days are ISO 8601, UTC."""

from pathlib import Path

import msgspec

from tasks.monitoring.record import finite
from tasks.storage.files import write_atomic

FORMAT = 1


class ArmRecord(msgspec.Struct):
    """One variant: its units, impressions and clicks, clicks per impression, log loss per impression.

    Log loss rises with the click rate; ``normalized_entropy`` is log loss over that of knowing only the click rate.
    """

    variant: str
    n_units: int
    n_impressions: int
    n_clicks: int
    ctr: float | None = None
    log_loss: float | None = None
    normalized_entropy: float | None = None


class RatioRecord(msgspec.Struct):
    """Units of a treatment and of the control: of all days together, or of one day's new units.

    ``level`` is the p-value below which it is a mismatch.
    """

    day: str
    treatment: str
    n_control: int
    n_treatment: int
    expected_share: float
    p_value: float
    level: float
    is_mismatch: bool


class LiftRecord(msgspec.Struct):
    """How much a treatment's value is above the control's, as a share of it, at the end of a day.

    ``metric`` is ``ctr`` or ``log_loss``. ``low`` and ``high`` hold at every look together, ``single_low`` and
    ``single_high`` would hold if this had been the only one. ``error`` is the standard error of the logarithm of the
    ratio. Without enough units or clicks all are null, and ``why`` says which.
    """

    metric: str
    treatment: str
    day: str
    slice: str = ""
    control_value: float | None = None
    treatment_value: float | None = None
    lift: float | None = None
    low: float | None = None
    high: float | None = None
    single_low: float | None = None
    single_high: float | None = None
    error: float | None = None
    p_value: float | None = None
    is_sure: bool = False
    why: str = ""


class PowerRecord(msgspec.Struct):
    """What a treatment's traffic can show.

    ``smallest_lift`` is the one seen now with the wanted power at every look, ``single_smallest_lift`` that of a test
    with this one look. ``days_left`` until the wanted lift is seen, at the traffic of the last week; null: never.
    """

    metric: str
    treatment: str
    wanted_lift: float
    smallest_lift: float | None = None
    single_smallest_lift: float | None = None
    days_left: int | None = None


class Readout(msgspec.Struct):
    """The whole read-out; ``verdict`` is for people, ``outcome`` for programs.

    ``outcome`` is ``better``, ``worse``, ``no_difference``, ``undecided`` or ``unreadable``, by treatment.
    """

    experiment: str
    first_day: str
    last_day: str
    control: str
    alpha: float
    power: float
    covariate: str
    arms: list[ArmRecord]
    sample_ratio: list[RatioRecord]
    looks: list[LiftRecord]
    slices: list[LiftRecord]
    powers: list[PowerRecord]
    outcome: dict[str, str]
    verdict: str
    notes: list[str]
    counts: dict[str, int]
    format: int = FORMAT

    def last(self, metric: str, treatment: str) -> LiftRecord:
        """Return what the last look says."""
        found = [one for one in self.looks if (one.metric, one.treatment) == (metric, treatment)]
        return found[-1]

    @property
    def treatments(self) -> list[str]:
        """The variants that are compared with the control."""
        return list(self.outcome)


def write_readout(path: str | Path, readout: Readout) -> None:
    """Write the record, whole or not at all."""
    plain = finite(msgspec.to_builtins(readout, enc_hook=float))
    write_atomic(path, msgspec.json.format(msgspec.json.encode(plain)))


def read_readout(path: str | Path) -> Readout:
    """Return the record that :func:`write_readout` wrote."""
    return msgspec.json.decode(Path(path).read_bytes(), type=Readout)
