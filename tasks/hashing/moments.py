"""Moments of rows: the time column as UTC milliseconds.

A time that cannot be read is an error here; :mod:`tasks.logs.intake.times` reads those of raw logs.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from tasks.errors import InputError
from tasks.hashing.contract import HashContract

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PER_MS = {"us": 1_000, "ns": 1_000_000}
NOT_A_TIME = np.iinfo(np.int64).min


def moment_parser(contract: HashContract) -> Callable[[str | int], datetime]:
    """Return the function that reads the text of the contract's time column, as UTC."""
    return contract.time.parse


def read_moments(column: pa.Array, contract: HashContract) -> np.ndarray:
    """Return UTC milliseconds since 1970, int64; the smallest int64 (NumPy's NaT) where missing.

    Timestamps of any unit are taken as they are (without a zone: UTC), dates as midnight; text and
    integers are read by the contract's time format, each distinct one once.

    Raises
    ------
    InputError
        If a text does not follow the format, or the type is not one of times.
    """
    kind = column.type
    if pa.types.is_date(kind):
        column = column.cast(pa.timestamp("ms"))
    elif not pa.types.is_timestamp(kind):
        return _parse(column, contract)
    filled = column.fill_null(0) if column.null_count else column
    ticks = filled.cast(pa.int64()).to_numpy()
    unit = column.type.unit
    moments = ticks * 1_000 if unit == "s" else ticks // _PER_MS[unit] if unit in _PER_MS else ticks
    if column.null_count:
        moments = np.where(column.is_null().to_numpy(zero_copy_only=False), NOT_A_TIME, moments)
    return moments


def _parse(column: pa.Array, contract: HashContract) -> np.ndarray:
    coded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    parse = moment_parser(contract)
    values = [NOT_A_TIME]
    for value in coded.dictionary.to_pylist():
        try:
            values.append(NOT_A_TIME if value is None else to_ms(parse(value)))
        except (TypeError, ValueError) as error:
            raise bad_time(contract, value, error) from None
    # -1 (missing) becomes 0, the entry put in front
    places = coded.indices.cast(pa.int64()).fill_null(-1).to_numpy() + 1
    return np.array(values, dtype=np.int64)[places]


def bad_time(contract: HashContract, value: Any, error: Exception) -> InputError:
    """Return the error for a value of the time column that cannot be read."""
    return InputError(
        f"field {contract.time_column!r}: {value!r} is not a time of the format {contract.time.format!r} ({error})"
    )


def to_ms(moment: datetime) -> int:
    """Return milliseconds since 1970 of a moment with a time zone, rounded down.

    Examples
    --------
    >>> to_ms(datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC))
    1000
    """
    since = moment - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000 + since.microseconds // 1_000


def from_ms(moment_ms: int) -> datetime:
    """Return the moment in UTC; OverflowError beyond the years 1 to 9999.

    Examples
    --------
    >>> from_ms(1000).isoformat()
    '1970-01-01T00:00:01+00:00'
    """
    return _EPOCH + timedelta(milliseconds=moment_ms)
