"""What a feature returns becomes text; what is no value is named with its input; memories are bounded."""

import math
from datetime import UTC, datetime

import pytest

from tasks.features import DAY, HOUR, TIME, feature
from tasks.features.kinds.declaration import declared
from tasks.hashing.contract import HashContract
from tasks.hashing.features.rows import (
    MAX_REMEMBERED_CHARS,
    FeatureFaultError,
    FeatureMemory,
    RowFeatures,
    call_feature,
)
from tasks.schema import Schema
from tests.impressions import CONTRACT


def giving(value, **options):
    """Return a feature that always gives one value."""

    @feature("site", **options)
    def given(site):
        if isinstance(value, Exception):
            raise value
        return value

    return declared(given)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a*b=c", "a*b=c"), ("", ""), (None, ""), (3, "3"), (-1, "-1"), (10**30, str(10**30)), (2.0, "2"),
        (0.1, "0.1"), (math.nan, ""), (math.inf, "inf"), (True, "true"), (False, "false"),
    ],
)  # fmt: skip
def test_a_value_is_text_as_in_a_column(value, text):
    """Text, whole numbers, numbers, truth values, and nothing."""
    assert call_feature(giving(value), ("x",)) == (text,)


@pytest.mark.parametrize(
    ("value", "text"),
    [(-9, "..0"), (0, "0..0.5"), (0.49, "0..0.5"), (0.5, "0.5..10"), (10, "10.."), (math.inf, "10.."), (None, ""), (math.nan, "")],
)  # fmt: skip
def test_a_number_has_its_bucket(value, text):
    """An edge belongs to the bucket that it begins."""
    assert call_feature(giving(value, buckets=[0, 0.5, 10]), ("x",)) == (text,)


@pytest.mark.parametrize(
    ("value", "options", "fault"),
    [
        (["x"], {}, "returns a list instead of text, a number, a truth value or None"),
        (("x",), {}, "returns a tuple instead of text"),
        (b"x", {}, "returns a bytes instead of text"),
        (datetime(2026, 1, 1), {}, "returns a datetime instead of text"),
        ("\ud800", {}, "raises UnicodeEncodeError"),
        pytest.param(10**5000, {}, "raises ValueError: Exceeds the limit", id="many digits"),
        (ZeroDivisionError("division by\nzero"), {}, "raises ZeroDivisionError: division by zero,"),
        (RecursionError("deep"), {}, "raises RecursionError"),
        ("x", {"buckets": [1]}, "returns a str instead of a number or None"),
        (True, {"buckets": [1]}, "returns a bool instead of a number or None"),
        ("xy", {"values": ["a", "b"]}, "returns a str instead of a tuple of 2"),
        (["x", "y"], {"values": ["a", "b"]}, "returns a list instead of a tuple of 2"),
        (("x",), {"values": ["a", "b"]}, "returns 1 values instead of a tuple of 2"),
        (("x", []), {"values": ["a", "b"]}, "returns a list instead of text"),
        ("x", {"values": ["a"]}, "returns a str instead of a tuple of 1"),
    ],
)
def test_what_is_no_value_is_named_with_its_input(value, options, fault):
    """In one line."""
    with pytest.raises(FeatureFaultError, match=fault) as found:
        call_feature(giving(value, **options), ("320",))
    assert str(found.value).endswith("for site='320'") and "\n" not in str(found.value)


def test_a_message_stays_short():
    """An input of a thousand letters is cut, a failure of a thousand words too."""
    with pytest.raises(FeatureFaultError) as found:
        call_feature(giving(ValueError("w" * 5000)), ("x" * 5000,))
    assert len(str(found.value)) < 700


def test_a_memory_calls_once_and_is_bounded():
    """By number and by length; what fails is tried again and counted each time."""
    called = []

    @feature("site", "n")
    def counted(site, n):
        called.append((site, n))
        return 1 / len(site)

    memory = FeatureMemory(declared(counted), size=8)
    for _ in range(3):
        assert memory["ab", ""] == ("0.5",)
    assert called == [("ab", None)]
    for number in range(100):
        memory[f"s{number}", "1"]
        assert len(memory) <= 8
    memory["x" * MAX_REMEMBERED_CHARS, "1"]
    assert all(len(site) < MAX_REMEMBERED_CHARS for site, _ in memory)
    for _ in range(3):
        assert memory["", "1"] is memory.missing
    assert memory.n_failed == 3


def test_a_row_gives_features_its_time_in_three_steps():
    """The moment to the millisecond, and the start of its hour and of its day, in UTC."""
    found = RowFeatures(CONTRACT).moments("2014-10-21T01:02:03.0045+02:00")
    assert found == (
        datetime(2014, 10, 20, 23, 2, 3, 4000, tzinfo=UTC),
        datetime(2014, 10, 20, 23, tzinfo=UTC),
        datetime(2014, 10, 20, tzinfo=UTC),
    )
    assert RowFeatures(CONTRACT).moments(None) == (None, None, None)


def test_a_contract_without_times_reads_none():
    """Whatever a request sends as its time."""
    raw = {"name": "p", "label": "y", "time": {"column": "t", "format": "iso"}, "fields": {"a": {}}}
    contract = HashContract.from_schema(Schema.from_dict(raw), bits=4)
    assert RowFeatures(contract).moments("not a time") == (None, None, None)


def test_the_times_have_names_that_no_field_has():
    """They begin with a sign."""
    assert {name[0] for name in (TIME, HOUR, DAY)} == {"@"}
