"""Which column is the time, and how it is written."""

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from tasks.logs.inference.column_facts import facts_of
from tasks.logs.inference.time_guess import guess_time
from tasks.schemas.forms import TimeForm

MOMENTS = [
    datetime(2024, 4, 25, 3, 12, 31, tzinfo=UTC) + timedelta(minutes=431 * row) for row in range(60)
]


def guess(types=(), **columns):
    return guess_time({name: facts_of(name, texts) for name, texts in columns.items()}, dict(types))


@pytest.mark.parametrize(
    "form",
    [
        "iso", "epoch", "epoch_ms", "epoch_us", "%y%m%d%H", "%Y%m%d%H", "%Y%m%d", "%Y%m%d%H%M", "%Y%m%d%H%M%S", "%Y%m%d%H%M%S%f",
        "%m/%d/%Y %H:%M", "%d.%m.%Y %H:%M:%S", "%d/%b/%Y:%H:%M:%S %z", "%m/%d/%Y %I:%M:%S %p",
    ],
)  # fmt: skip
def test_a_format_is_found_that_reads_the_same_moments(form):
    """What the format writes is found again, among all that look alike."""
    time = TimeForm(("event_time",), form, name="event_time")
    texts = [time.write(moment) for moment in MOMENTS]
    found, times = guess(event_time=texts, page=["a"] * 60)
    assert found is not None and times == ["event_time"]
    again = TimeForm(("event_time",), found.format, name="event_time")
    assert [again.parse(text) for text in texts] == [time.parse(text) for text in texts]


def test_day_and_month_are_told_apart_by_the_shorter_log():
    """4/5/2024 to 8/5/2024 are five days rather than five months; the reason names the other way."""
    found, _ = guess(day=[f"{day}/5/2024" for day in range(4, 9)])
    assert found.format == "%d/%m/%Y"
    assert "%m/%d/%Y" in found.why


def test_a_date_and_an_hour_are_one_time():
    """Folders of a warehouse come so, and so do two columns of a CSV."""
    found, times = guess(
        day=[f"{moment:%Y-%m-%d}" for moment in MOMENTS],
        hour=[str(moment.hour) for moment in MOMENTS],
    )
    assert found.declared == {"columns": ["day", "hour"], "format": "%Y-%m-%d %H"}
    assert {*times} == {"day", "hour"}


def test_a_time_that_is_mostly_empty_is_not_the_impressions():
    """The time of a purchase stands only where something was bought; it is a time all the same."""
    seen = [moment.isoformat() for moment in MOMENTS]
    found, times = guess(bought_at=[*seen[:3], *[None] * 57], seen_at=seen)
    assert found.columns == ("seen_at",)
    assert times == ["bought_at", "seen_at"]


def test_a_type_of_the_file_needs_no_text():
    """Parquet says what a time is."""
    found, _ = guess(
        types={"ts": pa.timestamp("us")},
        ts=[str(moment.replace(tzinfo=None)) for moment in MOMENTS],
    )
    assert found.format == "iso"


@pytest.mark.parametrize(
    "texts", [["1005", "1010"], ["20240501", "20249999"], ["ios", "android"], ["3.14", "2.71"]]
)
def test_other_columns_are_no_times(texts):
    """Codes, days that do not exist, words, numbers."""
    assert guess(time=texts) == (None, [])


def test_digits_need_a_name_or_an_order():
    """An account number of ten digits may lie between two epochs by chance."""
    texts = [str(1_500_000_000 + 7919 * row % 1000) for row in range(60)]
    assert guess(account=texts)[0] is None
    assert guess(ts=texts)[0].format == "epoch"
    assert guess(c1=sorted(texts))[0].format == "epoch"


def test_the_most_frequent_text_may_be_no_time():
    """MySQL writes zeros where it has no date."""
    texts = [f"{MOMENTS[0] + timedelta(seconds=n):%Y-%m-%d %H:%M:%S}" for n in range(400)]
    found, _ = guess(seen=["0000-00-00 00:00:00"] * 3 + texts)
    assert found is not None and "2024-04-25 03:12:31" in found.why
