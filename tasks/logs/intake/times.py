"""The time column of a raw log to microseconds since 1970, UTC.

Two readers of time share :meth:`tasks.schema.Schema.parse_time`: this one is for logs, fast on whole
columns and lenient (a bad time is a row for quarantine); :mod:`tasks.hashing.moments` is for rows
about to be scored, where a bad time is an error. They are fuzzed against each other.
"""

import re
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.errors import InputError
from tasks.logs.log import TIME
from tasks.schema import Schema
from tasks.schemas.forms import EPOCHS

NOT_A_TIME = np.iinfo(np.int64).min
_MANY = 2_000
_MAX_KNOWN = 1_000_000
_PLAIN_ISO = r"^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?$"
_ZONED_ISO = r"^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?(Z|[+-]\d{2}:?\d{2})$"
_INTEGER = r"^-?[0-9]{1,18}$"
_YEAR_DAYS, _STRAY_SHARE = 366, 0.01
_FAST_CODES = set("YymdHMS")
_FIRST, _LAST = -62_135_596_800_000_000, 253_402_300_799_999_999  # the years 1 to 9999


class TimeParser:
    """Read time columns; :meth:`tasks.schema.Schema.parse_time` is the authority for every text.

    Each distinct text is parsed once. Where there are many, Arrow parses them first; what it reads
    differently or not at all is left to the schema.
    """

    def __init__(self, schema: Schema):
        self._schema = schema
        self._known: dict[str, int] = {}

    def ticks(self, column: pa.Array, file: str) -> np.ndarray:
        """Return microseconds since 1970, int64; `NOT_A_TIME` where there is none."""
        kind = column.type
        if pa.types.is_date(kind):
            column, kind = column.cast(pa.timestamp("s")), pa.timestamp("s")
        if pa.types.is_timestamp(kind) and (kind.tz or self._schema.time.zone == "UTC"):
            moments = column.cast(TIME if kind.tz else pa.timestamp("us"), safe=False)
            ticks = moments.cast(pa.int64()).fill_null(NOT_A_TIME)
            return _in_range(ticks.to_numpy(zero_copy_only=False))
        if pa.types.is_timestamp(kind):
            return self._of_zone(column.cast(pa.timestamp("us"), safe=False))
        try:
            coded = column if pa.types.is_dictionary(kind) else column.dictionary_encode()
            texts = self._texts_of(coded.dictionary)
        except (pa.ArrowNotImplementedError, pa.ArrowInvalid):
            raise InputError(
                f"{file}: the time column {self._schema.time_column!r} has the type {kind}; expected text, integers or timestamps"
            ) from None
        distinct = np.append(self._parse(texts), NOT_A_TIME)
        return distinct[coded.indices.fill_null(-1).to_numpy(zero_copy_only=False)]

    @staticmethod
    def _texts_of(texts: pa.Array) -> pa.StringArray:
        if pa.types.is_floating(texts.type):
            texts = pa.array(
                [f"{v:.0f}" if v is not None and v % 1 == 0 else str(v) for v in texts.to_pylist()],
                pa.string(),
            )
        return texts.cast(pa.string())

    def _parse(self, texts: pa.StringArray) -> np.ndarray:
        ticks = np.full(len(texts), NOT_A_TIME)
        left = np.arange(len(texts))
        if len(texts) > _MANY:
            ticks = self._parse_many(texts)
            left = np.flatnonzero(ticks == NOT_A_TIME)
        for place in left:
            ticks[place] = self._parse_one(texts[int(place)].as_py())
        return ticks

    def _parse_one(self, text: str | None) -> int:
        if text is None:
            return NOT_A_TIME
        found = self._known.get(text)
        if found is None:
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()
            try:
                moment = self._schema.parse_time(text.strip())
                found = (np.datetime64(moment.replace(tzinfo=None), "us")).astype(np.int64).item()
            except (ValueError, OverflowError):
                found = NOT_A_TIME
            self._known[text] = found
        return found

    def _parse_many(self, texts: pa.StringArray) -> np.ndarray:
        """Return what Arrow reads as the schema does; the others are `NOT_A_TIME`."""
        form = self._schema.time
        if form.format in EPOCHS:
            return _parse_epoch(texts, EPOCHS[form.format])
        if form.format == "iso":
            return self._parse_iso(texts)
        codes = set(re.findall(r"%(.)", form.format))
        if not codes <= _FAST_CODES:
            return np.full(len(texts), NOT_A_TIME)
        moments = pc.strptime(texts, format=form.format, unit="s", error_is_null=True)
        # Arrow lets 30 February pass as 2 March: only what is written back the same way counts
        same = pc.equal(pc.strftime(moments, format=form.format), texts)
        moments = pc.if_else(same, moments, pa.scalar(None, moments.type))
        return self._of_zone(moments.cast(pa.timestamp("us")))

    def _parse_iso(self, texts: pa.StringArray) -> np.ndarray:
        ticks = np.full(len(texts), NOT_A_TIME)
        for pattern, kind in ((_PLAIN_ISO, pa.timestamp("us")), (_ZONED_ISO, TIME)):
            found = pc.fill_null(pc.match_substring_regex(texts, pattern), False)
            places = pc.indices_nonzero(found).to_numpy()
            try:
                moments = texts.take(pa.array(places)).cast(kind)
            except pa.ArrowInvalid:
                continue  # a 13th month among them: one by one
            if kind.tz:
                ticks[places] = _in_range(moments.cast(pa.int64()).to_numpy(zero_copy_only=False))
            else:
                ticks[places] = self._of_zone(moments)
        return ticks

    def _of_zone(self, local: pa.Array) -> np.ndarray:
        """Return ticks of local times; an hour that the clock skips is left to Python, which knows one answer."""
        zone = self._schema.time.zone
        if zone == "UTC":
            ticks = local.cast(pa.int64()).fill_null(NOT_A_TIME)
            return _in_range(ticks.to_numpy(zero_copy_only=False))
        moments = pc.assume_timezone(local, zone, ambiguous="earliest", nonexistent="earliest")
        same = pc.equal(pc.local_timestamp(moments), local)
        ticks = pc.if_else(same, moments.cast(pa.int64()), pa.scalar(None, pa.int64()))
        return _in_range(ticks.fill_null(NOT_A_TIME).to_numpy(zero_copy_only=False))


def _parse_epoch(texts: pa.StringArray, unit: int) -> np.ndarray:
    plain = pc.match_substring_regex(texts, _INTEGER)
    values = pc.if_else(plain, texts, pa.scalar(None, pa.string())).cast(pa.int64())
    numbers = values.fill_null(NOT_A_TIME).to_numpy(zero_copy_only=False)
    inside = (numbers >= _FIRST // unit) & (numbers <= _LAST // unit)
    return _in_range(np.where(inside, numbers, 0) * unit, also=inside)


def _in_range(ticks: np.ndarray, *, also: np.ndarray | bool = True) -> np.ndarray:
    """Return ticks, `NOT_A_TIME` outside the years 1 to 9999, which are all that Python has."""
    return np.where((ticks >= _FIRST) & (ticks <= _LAST) & also, ticks, NOT_A_TIME)


def stray_days(counts: Mapping[int, int]) -> list[int]:
    """Return the days that are no part of the log's time.

    The days are cut wherever nothing is for more than a year and for longer than the log's main part (the piece with most
    rows) is long. The other pieces are strays if, together, they hold at most 1% of the rows.

    Parameters
    ----------
    counts
        Day, counted from 1970, to number of rows.

    Examples
    --------
    >>> stray_days({0: 1, 16_000: 500, 16_001: 500, 2_932_896: 2})
    [0, 2932896]
    """
    if not counts:
        return []
    days = sorted(counts)
    gaps = np.diff(days)
    pieces = [piece.tolist() for piece in np.split(days, np.flatnonzero(gaps > _YEAR_DAYS) + 1)]
    main = max(pieces, key=lambda piece: sum(counts[day] for day in piece))
    length = main[-1] - main[0]
    strays = [
        day
        for piece in pieces
        if piece is not main and max(main[0] - piece[-1], piece[0] - main[-1]) > length
        for day in piece
    ]
    few = sum(counts[day] for day in strays) <= _STRAY_SHARE * sum(counts.values())
    return strays if few else []
