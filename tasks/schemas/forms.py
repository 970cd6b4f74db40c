"""How a raw log is written: its files, its time, its label. What a schema leaves out has the default given here."""

import codecs
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from tasks.schemas.reading import Part, names_of, word_of

EPOCHS = {
    "epoch": 1_000_000,
    "epoch_ms": 1_000,
    "epoch_us": 1,
}  # microseconds in one of their units
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SAMPLE = datetime(2014, 10, 21, 13, 14, 15, tzinfo=UTC)


@dataclass(frozen=True)
class FileForm(Part):
    """How text files are written; Parquet needs none of it.

    Attributes
    ----------
    separator
        One character; None: a comma, unless the header shows a tab, a semicolon or a bar.
    quote
        What surrounds a value that holds the separator; None: quotes are letters like any other.
    escape
        What stands before a quote or separator that is a letter; None: a quote is doubled.
    encoding
        As Python names it.
    columns
        Names of the columns of files that have no header, in order.
    """

    separator: str | None = None
    quote: str | None = '"'
    escape: str | None = None
    encoding: str = "utf-8"
    columns: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("separator", "quote", "escape"):
            value = getattr(self, name)
            if value is not None and (
                not isinstance(value, str) or len(value.encode()) != 1 or value in "\r\n"
            ):
                raise ValueError(f"{name} must be one ASCII character, found {value!r}")
        marks = [mark for mark in (self.separator, self.quote, self.escape) if mark]
        if len(set(marks)) < len(marks):
            raise ValueError(f"separator, quote and escape must differ, found {marks}")
        try:
            codecs.lookup(self.encoding)
        except (LookupError, TypeError):
            raise ValueError(
                f"encoding {self.encoding!r} is unknown; write utf-8, latin-1, utf-16, cp1252, ..."
            ) from None
        object.__setattr__(self, "columns", names_of(self.columns))


@dataclass(frozen=True)
class TimeForm(Part):
    """Where the time of an impression stands, and how it is written.

    Attributes
    ----------
    columns
        One column, or several whose texts are joined by a space; none: the rows are in order of time, and nothing else is known.
    format
        ``iso``, ``epoch``, ``epoch_ms``, ``epoch_us``, or strptime codes.
    zone
        Of times that name none, such as ``Europe/Berlin``.
    name
        Of the column in the log, where it is not the only one of `columns`.
    """

    columns: tuple[str, ...] = ()
    format: str = "iso"
    zone: str = "UTC"
    name: str = ""

    @classmethod
    def from_raw(cls, raw: Any) -> "TimeForm":
        """Return the form that ``time`` in a schema declares; None: there is no time."""
        if raw is None:
            return cls(name="time")
        if not isinstance(raw, Mapping):
            raise ValueError(f"expected column and format, found {raw!r}")
        raw = dict(raw)
        if ("column" in raw) == ("columns" in raw):
            raise ValueError(
                "expected `column: name` or `columns: [date, hour]`; leave `time` out if there is none"
            )
        if "format" not in raw:
            raise ValueError(f"expected `format`: iso, {', '.join(EPOCHS)} or strptime codes")
        one = raw.pop("column", None)
        columns = names_of([one] if one is not None else raw.pop("columns"))
        name = str(raw.pop("name", "")) or (columns[0] if len(columns) == 1 else "time")
        return cls.read(raw | {"columns": columns, "name": name, "format": str(raw["format"])})

    def __post_init__(self) -> None:
        if self.format not in ("iso", *EPOCHS):
            self._check_codes()
        try:
            ZoneInfo(self.zone)
        except (KeyError, ValueError, OSError, TypeError):
            raise ValueError(
                f"zone {self.zone!r} is unknown; write it like Europe/Berlin"
            ) from None

    def _check_codes(self) -> None:
        """Raise ValueError unless what the format writes can be read back, to the day at least."""
        try:
            text = _SAMPLE.strftime(self.format)
            read = datetime.strptime(text, self.format)
        except ValueError as error:
            raise ValueError(
                f"format {self.format!r} cannot be read back ({error}); {self._advice}"
            ) from None
        if read.date() != _SAMPLE.date():
            raise ValueError(f"format {self.format!r} does not name a day; {self._advice}")

    @property
    def _advice(self) -> str:
        return f"write iso, {', '.join(EPOCHS)}, or strptime codes of a day and its time"

    def parse(self, text: str | int | float) -> datetime:
        """Return the moment that `text` names, in UTC; ValueError or OverflowError if it names none."""
        if self.format in EPOCHS:
            number = float(text) if isinstance(text, float) or "." in str(text) else int(text)
            return _EPOCH + timedelta(microseconds=round(number * EPOCHS[self.format]))
        if self.format == "iso":
            moment = datetime.fromisoformat(str(text))
        else:
            moment = datetime.strptime(str(text), self.format)
        return (
            moment.replace(tzinfo=ZoneInfo(self.zone)) if moment.tzinfo is None else moment
        ).astimezone(UTC)

    def write(self, moment: datetime) -> str:
        """Return a moment as a log would write it; :meth:`parse` reads it back as far as the format is exact."""
        if self.format in EPOCHS:
            return str((moment - _EPOCH) // timedelta(microseconds=EPOCHS[self.format]))
        local = moment.astimezone(ZoneInfo(self.zone))
        if self.format == "iso":
            return moment.isoformat() if self.zone == "UTC" else local.isoformat()
        return local.strftime(self.format)


@dataclass(frozen=True)
class LabelForm(Part):
    """What is a click.

    Attributes
    ----------
    column
        Its column; also the label's name in the log.
    click, no_click
        The texts that mean each; empty: numbers and booleans, 1 or true is a click. Where only one is given, the
        other is every value that is not in it.
    impressions
        A column of counts: the row stands for that many impressions, of which `column` were clicked.
    no_click_rate
        Share of the impressions without a click that the log holds, in (0, 1]; below 1 it was sampled before.
    """

    column: str
    click: tuple[str, ...] = ()
    no_click: tuple[str, ...] = ()
    impressions: str | None = None
    no_click_rate: float = 1.0

    @classmethod
    def from_raw(cls, raw: Any) -> "LabelForm":
        """Return the form that ``label`` in a schema declares: a column, or a mapping with `column`."""
        if not isinstance(raw, Mapping):
            return cls(str(raw))
        if "column" not in raw:
            raise ValueError("expected `column`")
        return cls.read(raw)

    def __post_init__(self) -> None:
        for name in ("click", "no_click"):
            listed = getattr(self, name)
            listed = listed if isinstance(listed, list | tuple) else [listed]
            object.__setattr__(self, name, tuple(word_of(value) for value in listed))
        both = sorted({*self.click} & {*self.no_click})
        if both:
            raise ValueError(f"{both[0]!r} is listed as click and as no click")
        if self.impressions is not None and (self.click or self.no_click):
            raise ValueError(
                "with `impressions` the column holds counts; leave `click` and `no_click` out"
            )
        rate = self.no_click_rate
        if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 < rate <= 1:
            raise ValueError(f"no_click_rate must lie in (0, 1], found {rate!r}")

    @property
    def gives_weights(self) -> bool:
        """Whether rows of the log stand for other numbers of impressions than one."""
        return bool(self.impressions) or self.no_click_rate < 1
