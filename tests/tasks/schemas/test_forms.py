"""How a raw log is written: every key, and what is refused."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.schemas.forms import FileForm, LabelForm, TimeForm

MOMENT = datetime(2024, 5, 1, 12, 30, 15, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "form", "zone"),
    [
        ("2024-05-01T12:30:15Z", "iso", "UTC"),
        ("2024-05-01 14:30:15", "iso", "Europe/Berlin"),
        ("2024-05-01T14:30:15+02:00", "iso", "America/New_York"),
        ("1714566615", "epoch", "UTC"),
        ("1714566615.0", "epoch", "UTC"),
        (1714566615000, "epoch_ms", "Europe/Berlin"),
        ("1714566615000000", "epoch_us", "UTC"),
        ("01/05/2024 12:30:15", "%d/%m/%Y %H:%M:%S", "UTC"),
    ],
)
def test_a_moment_is_read(text, form, zone):
    """In UTC, whatever its text says."""
    time = TimeForm(("at",), form, zone)
    assert time.parse(text) == MOMENT
    assert time.parse(time.write(MOMENT)) == MOMENT


@given(
    st.datetimes(datetime(1980, 1, 1), datetime(2100, 1, 1)),
    st.sampled_from(["iso", "epoch_us", "%Y-%m-%d %H:%M:%S.%f"]),
)
def test_what_is_written_is_read(moment, form):
    """An exact format gives the same moment back."""
    moment = moment.replace(tzinfo=UTC)
    time = TimeForm(("at",), form)
    assert time.parse(time.write(moment)) - moment == timedelta(0)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"column": "at"}, "expected `format`"),
        ({"format": "iso"}, "expected `column: name`"),
        ({"column": "at", "columns": ["a"], "format": "iso"}, "expected `column: name`"),
        ({"column": "at", "format": "%s"}, "'%s' (cannot be read back|does not name a day)"),
        ({"column": "at", "format": "%Q"}, "cannot be read back"),
        ({"column": "at", "format": "%H:%M"}, "does not name a day"),
        ({"column": "at", "format": "iso", "zone": "Mars"}, "zone 'Mars' is unknown"),
        ({"column": "at", "format": "iso", "zon": "UTC"}, "did you mean 'zone'"),
        ("at", "expected column and format"),
    ],
)
def test_a_time_that_cannot_work_is_refused(raw, message):
    """When the schema is read, not after a million rows."""
    with pytest.raises(ValueError, match=message):
        TimeForm.from_raw(raw)


def test_several_columns_have_one_name():
    """A log without a time has none."""
    both = TimeForm.from_raw({"columns": ["day", "hour"], "format": "%Y-%m-%d %H"})
    assert both.name == "time" and both.parse("2024-05-01 12").hour == 12
    assert TimeForm.from_raw(None).columns == ()


def test_what_a_click_is():
    """A column, words for it, or counts."""
    assert LabelForm.from_raw("click") == LabelForm("click")
    form = LabelForm.from_raw({"column": "event", "click": ["buy", 1], "no_click": False})
    assert (form.click, form.no_click) == (("buy", "1"), ("false",))


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"click": [1]}, "expected `column`"),
        ({"column": "c", "click": [1], "no_click": ["1"]}, "as click and as no click"),
        ({"column": "c", "impressions": "n", "click": [1]}, "holds counts"),
        ({"column": "c", "no_click_rate": 0}, "no_click_rate must lie"),
        ({"column": "c", "clicks": [1]}, "did you mean 'click'"),
    ],
)
def test_a_label_that_contradicts_itself_is_refused(raw, message):
    """In one sentence."""
    with pytest.raises(ValueError, match=message):
        LabelForm.from_raw(raw)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"separator": "ab"}, "separator must be one ASCII character"),
        ({"separator": "\n"}, "separator must be one ASCII character"),
        ({"separator": '"'}, "must differ"),
        ({"encoding": "klingon"}, "encoding 'klingon' is unknown"),
        ({"columns": "a,b"}, "expected a list of names"),
        ({"seperator": ","}, "did you mean 'separator'"),
    ],
)
def test_a_file_that_cannot_be_written_so_is_refused(raw, message):
    """Separator, quote and escape are three characters."""
    with pytest.raises(ValueError, match=message):
        FileForm.read(raw)
