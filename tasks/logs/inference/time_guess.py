"""Which column is the time of the impression, and how it is written."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np
import pyarrow as pa

from tasks.logs.inference.column_facts import ColumnFacts
from tasks.schemas.forms import TimeForm

_NAMES = {
    "time", "timestamp", "ts", "date", "datetime", "day", "dt", "hour", "at", "when", "moment", "epoch",
    "created", "seen", "event", "server", "utc", "date_time", "log",
}  # fmt: skip
_DIGITS = {
    6: ("%y%m%d",),
    8: ("%Y%m%d", "%y%m%d%H"),
    10: ("%Y%m%d%H", "epoch"),
    12: ("%Y%m%d%H%M", "%y%m%d%H%M%S"),
    13: ("epoch_ms",),
    14: ("%Y%m%d%H%M%S",),
    16: ("epoch_us",),
    17: ("%Y%m%d%H%M%S%f",),
    20: ("%Y%m%d%H%M%S%f",),
}
_DAYS = ("%Y-%m-%d", "%Y/%m/%d", "%Y%m%d", "%m/%d/%Y", "%d/%m/%Y", "%d.%m.%Y", "%y%m%d")
_CLOCKS = ("", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f", " %I:%M:%S %p", " %I:%M %p")
_WRITTEN = (
    *(day + clock for day in _DAYS if day not in ("%Y%m%d", "%y%m%d") for clock in _CLOCKS),
    "%d/%b/%Y:%H:%M:%S %z",
    "%d-%b-%Y %H:%M:%S",
    "%a %b %d %H:%M:%S %Y",
)
_YEARS = range(1995, 2041)
_ENOUGH = 300
_CODES = r"%(.)"


@dataclass(frozen=True)
class TimeGuess:
    """A time: the columns, the format, why, and from when to when it goes in the sample."""

    columns: tuple[str, ...]
    format: str
    why: str
    first: datetime
    last: datetime
    has_hours: bool

    @property
    def declared(self) -> dict[str, object]:
        """What a schema says under ``time``."""
        named: dict[str, object] = (
            {"column": self.columns[0]} if len(self.columns) == 1 else {"columns": [*self.columns]}
        )
        return named | {"format": self.format}


def guess_time(
    columns: Mapping[str, ColumnFacts], types: Mapping[str, pa.DataType]
) -> tuple[TimeGuess | None, list[str]]:
    """Return the time of the impression, None if there is none, and all columns that are times.

    A column that is empty in more than one row of twenty is no time of an impression. Of several, one with hours is
    preferred to a date, then one whose values ascend, then the first.
    """
    found = []
    for facts in columns.values():
        guess = _of_column(facts, types.get(facts.name))
        if guess:
            found.append(guess)
    times = [guess.columns[0] for guess in found]
    whole = [guess for guess in found if columns[guess.columns[0]].missing_share <= 0.05]
    dates = [guess for guess in whole if not guess.has_hours]
    pairs = [pair for date in dates if (pair := _with_clock(date, columns))]
    ranked = [guess for guess in whole if guess.has_hours] + pairs + dates
    if not ranked:
        return None, times
    best = min(
        ranked,
        key=lambda guess: (not guess.has_hours, not _ascends(columns[guess.columns[0]])),
    )
    return best, list(dict.fromkeys([*times, *best.columns]))


def _of_column(facts: ColumnFacts, kind: pa.DataType | None) -> TimeGuess | None:
    if not facts.distinct:
        return None
    if kind is not None and (pa.types.is_timestamp(kind) or pa.types.is_date(kind)):
        texts = [text.replace(" ", "T", 1) for text in _spread(facts)]
        return _read(facts, "iso", texts, "the file's own type of a time")
    texts = _spread(facts)
    for form in _formats(texts, facts):
        guess = _read(facts, form, texts, "")
        if guess:
            return _month_or_day(guess, facts, texts)
    return None


def _month_or_day(guess: TimeGuess, facts: ColumnFacts, texts: list[str]) -> TimeGuess:
    """Return the guess, or the one that has day and month the other way round if its days are closer together."""
    swapped = guess.format.replace("%m/%d", "%d/%m")
    other = _read(facts, swapped, texts, "") if swapped != guess.format else None
    if other is None:
        return guess
    near, far = sorted([guess, other], key=lambda one: one.last - one.first)
    return replace(near, why=f"{near.why}, or is it {far.format}?")


def _spread(facts: ColumnFacts) -> list[str]:
    places = np.unique(np.linspace(0, facts.n_values - 1, _ENOUGH).astype(int))
    return [facts.distinct[place] for place in places]


def _formats(texts: list[str], facts: ColumnFacts) -> list[str]:
    """Return formats that the texts may have, the likelier first; digits need a name that says so, or an order."""
    if all(re.fullmatch(r"\d+(\.\d+)?", text) for text in texts):
        lengths = {len(text.partition(".")[0]) for text in texts}
        named = bool({*facts.words} & _NAMES) or facts.name.lower().endswith(("time", "date"))
        if len(lengths) > 1 or not (named or (min(lengths) >= 10 and _ascends(facts))):
            return []
        return list(_DIGITS.get(lengths.pop(), ()))
    if not all(re.search(r"\d", text) for text in texts):
        return []
    return ["iso", *_WRITTEN]


def _read(facts: ColumnFacts, form: str, texts: list[str], why: str) -> TimeGuess | None:
    time = TimeForm(columns=(facts.name,), format=form, name=facts.name)
    read: dict[str, datetime] = {}
    for text in texts:
        try:
            moment = time.parse(text)
        except (ValueError, OverflowError):
            continue
        if moment.year in _YEARS:
            read[text] = moment
    moments = list(read.values())
    if len(moments) < 0.99 * len(texts):
        return None
    has_hours = any((moment.hour, moment.minute, moment.second) != (0, 0, 0) for moment in moments)
    return TimeGuess(
        (facts.name,),
        form,
        why or f"{next(iter(read))!r} reads as {moments[0]:%Y-%m-%d %H:%M:%S}",
        min(moments),
        max(moments),
        has_hours,
    )


def _ascends(facts: ColumnFacts) -> bool:
    """Return whether the values come in the order of the rows, with few exceptions."""
    codes = facts.codes[facts.codes >= 0]
    if codes.size < 3 or facts.n_values < 3:
        return False
    order = np.argsort(np.argsort(np.array(facts.distinct)))
    return float((np.diff(order[codes]) >= 0).mean()) > 0.98


def _with_clock(date: TimeGuess, columns: Mapping[str, ColumnFacts]) -> TimeGuess | None:
    """Return a date joined with a column of hours or clock times, if there is one."""
    day = "%Y-%m-%d" if date.format == "iso" else date.format
    if " " in day or not {*re.findall(_CODES, day)} <= {*"YymdbB"}:
        return None
    for facts in columns.values():
        if facts.name in date.columns or facts.missing_share > 0.05:
            continue
        is_hour = "hour" in facts.words or facts.name.lower() in ("h", "hr", "hh")
        if is_hour and all(re.fullmatch(r"[01]?\d|2[0-3]", text) for text in facts.distinct):
            clock = "%H"
        elif all(re.fullmatch(r"\d{1,2}:\d{2}", text) for text in facts.distinct):
            clock = "%H:%M"
        elif all(re.fullmatch(r"\d{1,2}:\d{2}:\d{2}", text) for text in facts.distinct):
            clock = "%H:%M:%S"
        else:
            continue
        if facts.distinct:
            named = (date.columns[0], facts.name)
            why = f"the day and the {'hour' if clock == '%H' else 'clock'}, joined by a blank"
            return TimeGuess(named, f"{day} {clock}", why, date.first, date.last, True)
    return None
