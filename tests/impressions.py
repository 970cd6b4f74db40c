"""Requests of every kind that can be scored, and a contract that uses every option."""

import math
from datetime import UTC, datetime

import numpy as np
from hypothesis import strategies as st

from tasks.features import DAY, TIME, feature
from tasks.features.kinds.finding import try_feature
from tasks.hashing.contract import HashContract
from tasks.logs.spelling import Spelling
from tasks.logs.value_text import value_text
from tasks.schema import Schema


@feature("n", "site")
def fragile(n, site):
    """Raise where n is 1, return a list where it is 0."""
    if n == "1":
        raise ZeroDivisionError("n is 1")
    return [n] if n == "0" else None if site is None else f"{n}@{site}"


@feature("größe", values=["length", "is_text"])
def shape(größe):
    """Return two values, also of a missing one."""
    return (None, False) if größe is None else (len(größe), größe.isalpha())


@feature(TIME, "site", DAY, buckets=[0, 12, 18.5])
def into_the_day(moment, site, day):
    """Return the hours of the day so far, in buckets."""
    return None if moment is None or site == "true" else (moment - day).total_seconds() / 3600


FEATURES = [fragile, shape, into_the_day]
for function in FEATURES:
    try_feature(function)

CONTRACT = HashContract.from_schema(
    Schema.from_dict(
        {
            "name": "tiny",
            "label": "click",
            "time": {"column": "when", "format": "iso"},
            "features": ["hour_of_day", "fragile", "weekday", "shape", "into_the_day"],
            "fields": {"site": {}, "größe": {}, "n": {}},
            "crosses": [
                ["site", "n"],
                ["größe", "weekday", "site"],
                ["shape.length", "site"],
                ["fragile", "shape.is_text", "hour_of_day"],
            ],
        }
    ),
    bits=18,
)

# few, so that most are cached; some are equal in Python and differ as text
ONES = [1, 1.0, True, np.True_, np.int8(1), "1", "true"]
OTHERS = [0, -0.0, False, "0", 10**16, 1e16, 0.1, np.float32(0.1), float(np.float32(0.1)), "0.1"]
MISSING = [None, "", math.nan]
values = st.sampled_from([*ONES, *OTHERS, *MISSING, "ü*=", "a\0"]) | st.text(
    st.characters(exclude_categories=["Cs"]), max_size=5
)
times = st.none() | st.datetimes() | st.datetimes().map(lambda moment: moment.isoformat())
fields = st.dictionaries(st.sampled_from(["site", "größe", "n", "other"]), values)
rows = fields | st.builds(lambda row, when: row | {"when": when}, fields, times)


def single_texts(row):
    """Return the text of each field and feature column of a row, written out by hand."""
    texts = {name: Spelling()(value_text(row.get(name)).strip()) for name in CONTRACT.fields}
    site, n, size = (texts[name] or None for name in ("site", "n", "größe"))
    when = row.get("when")
    moment = datetime.fromisoformat(when) if isinstance(when, str) else when
    if moment is not None:
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
        moment = moment.replace(microsecond=moment.microsecond // 1000 * 1000)
    texts["hour_of_day"] = "" if moment is None else str(moment.hour)
    texts["fragile"] = "" if n in ("0", "1") or site is None else f"{n}@{site}"
    texts["weekday"] = "" if moment is None else str(moment.weekday())
    texts["shape.length"] = "" if size is None else str(len(size))
    texts["shape.is_text"] = "true" if size is not None and size.isalpha() else "false"
    hours = None if moment is None else (moment - moment.replace(**MIDNIGHT)).total_seconds() / 3600
    bucket = (
        "..0"
        if hours is None or hours < 0
        else "0..12"
        if hours < 12
        else "12..18.5"
        if hours < 18.5
        else "18.5.."
    )
    texts["into_the_day"] = "" if hours is None or site == "true" else bucket
    return texts


MIDNIGHT = {"hour": 0, "minute": 0, "second": 0, "microsecond": 0}
