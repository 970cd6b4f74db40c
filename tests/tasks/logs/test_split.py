"""Parts by time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.errors import ConfigError, InputError
from tasks.ingest import ingest_log
from tasks.logs.log import Log
from tasks.logs.split import Split, split_log
from tests.logs import SMALL, hours_of, rows, write_lines


def log_of(days: dict[str, dict[int, int]]) -> Log:
    """Return a log that exists in its manifest only: rows by day and hour."""
    hours = {
        f"{day}T{hour:02d}": n_rows for day, found in days.items() for hour, n_rows in found.items()
    }
    entries = [
        {"day": day, "n_rows": sum(found.values()), "files": []} for day, found in days.items()
    ]
    return Log(None, {"n_rows": sum(hours.values()), "days": entries, "hours": hours})


def test_three_days_or_more_are_cut_between_days():
    """Eight days to train, one to validate, one to test; the note names the days."""
    split = split_log(log_of({f"2014-10-{day}": {0: 60, 12: 40} for day in range(21, 31)}))
    assert (split.train, split.valid, split.test, split.unit) == (
        (0, 800),
        (800, 900),
        (900, 1000),
        "day",
    )
    assert "valid from 2014-10-29, test from 2014-10-30" in split.note


def test_fewer_days_are_cut_between_hours():
    """Two days of ten hours each."""
    split = split_log(
        log_of({day: dict.fromkeys(range(10), 5) for day in ("2014-10-21", "2014-10-22")})
    )
    assert (split.unit, split.train[1], split.valid[1]) == ("hour", 80, 90)
    assert "valid from 2014-10-22 06h" in split.note


def test_a_single_hour_is_cut_by_row_and_says_so():
    """Time cannot part it, and the reader should know."""
    split = split_log(log_of({"2014-10-21": {0: 100}}))
    assert (split.train, split.valid, split.test) == ((0, 80), (80, 90), (90, 100))
    assert "split by row order, because the log has a single hour" in split.note


@given(
    counts=st.lists(st.integers(1, 1000), min_size=1, max_size=40),
    valid_share=st.floats(0.01, 0.49),
    test_share=st.floats(0.01, 0.49),
)
def test_every_row_is_in_exactly_one_part(counts, valid_share, test_share):
    """Whatever the sizes: three parts, none empty, in order, together everything."""
    log = log_of({f"2014-10-{10 + number // 4}": {} for number in range(len(counts))})
    days = {f"2014-10-{10 + number // 4}": {} for number in range(len(counts))}
    for number, n_rows in enumerate(counts):
        days[f"2014-10-{10 + number // 4}"][number % 4] = n_rows
    log = log_of(days)
    if log.n_rows < 3:
        return
    split = split_log(log, valid_share=valid_share, test_share=test_share)
    assert (
        split.train[0] == 0 and split.train[1] == split.valid[0] and split.valid[1] == split.test[0]
    )
    assert split.test[1] == log.n_rows
    assert all(start < stop for start, stop in (split.train, split.valid, split.test))


@pytest.mark.parametrize(
    ("shares", "said"),
    [
        ((0, 0.1), "valid_share must be above 0"),
        ((0.1, 1.5), "test_share"),
        ((0.5, 0.5), "must be below 1"),
    ],
)
def test_impossible_shares_are_refused(shares, said):
    """Named, with the allowed range."""
    with pytest.raises(ConfigError, match=said):
        split_log(log_of({"2014-10-21": {0: 100}}), valid_share=shares[0], test_share=shares[1])


def test_two_rows_cannot_be_split():
    """Three parts need three rows."""
    with pytest.raises(InputError, match="2 rows cannot be split"):
        split_log(log_of({"2014-10-21": {0: 2}}))


def test_a_split_survives_json():
    """It travels in the manifest of the hashed arrays."""
    split = split_log(log_of({"2014-10-21": {0: 100}}))
    assert Split.from_dict(split.to_dict()) == split


def test_no_moment_is_in_two_parts(tmp_path):
    """On a real log, not only on its manifest."""
    source = write_lines(tmp_path / "raw.csv", rows(500, hours=hours_of(4)))
    ingest_log(str(source), tmp_path / "log", schema=SMALL)
    log = Log.open(tmp_path / "log")
    split = split_log(log, valid_share=0.2, test_share=0.2)
    spans = [
        log.to_pandas(["hour"], *span)["hour"] for span in (split.train, split.valid, split.test)
    ]
    assert spans[0].max() < spans[1].min() and spans[1].max() < spans[2].min()


def test_the_real_sample_is_split_by_row(real_log, tmp_path):
    """Its only hour leaves no other way."""
    from tasks.schema import load_schema

    manifest = ingest_log(str(real_log), tmp_path / "log", schema=load_schema("avazu"))
    log = Log.open(tmp_path / "log")
    assert (manifest["n_rows_in"], log.n_rows, round(log.ctr, 4)) == (10_000, 10_000, 0.1706)
    assert split_log(log).unit == "row" and "a single hour" in split_log(log).note
    assert any("float notation" in note for note in log.manifest["notes"])


def test_a_window_leaves_out_what_is_older():
    """So many days before the test rows, those that validate among them; the note says how many rows are left out."""
    log = log_of({f"2014-10-{day}": {0: 60, 12: 40} for day in range(21, 31)})
    split = split_log(log, window_days=3)
    assert (split.train, split.valid, split.test) == ((600, 800), (800, 900), (900, 1000))
    assert (
        "train 200, valid 100, test 100 rows; the 600 before are outside of the window"
        in split.note
    )
    assert split_log(log, window_days=9) == split_log(log) == split_log(log, window_days=30)


def test_a_window_of_the_days_before_a_cut_within_a_day():
    """Where the log is cut between hours, the day of the cut counts as one."""
    log = log_of({day: dict.fromkeys(range(10), 5) for day in ("2014-10-21", "2014-10-22")})
    assert split_log(log, window_days=1).train == (50, 80)


def test_a_window_without_rows_to_train_on_is_one_line():
    """It names the knob."""
    log = log_of({f"2014-10-{day}": {0: 100} for day in range(21, 31)})
    with pytest.raises(InputError, match=r"window of 1 days leaves no rows.*split\.window_days"):
        split_log(log, window_days=1)
