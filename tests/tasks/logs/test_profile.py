"""The profile of a log: against a naive count of its rows, and by hand."""

import pyarrow as pa
import pytest

from tasks.ingest import ingest_log
from tasks.logs.log import Log
from tasks.logs.profile import FieldProfile, profile_log, values_outside
from tasks.schema import Field, Schema
from tests.logs import SMALL, hours_of, read_all, rows, write_lines


def log_of(folder, lines, *, schema=SMALL, **knobs) -> Log:
    """Return the log of some lines."""
    source = write_lines(folder / "raw.csv", lines)
    ingest_log(str(source), folder / "log", schema=schema, max_bad_share=0.9, **knobs)
    return Log.open(folder / "log")


def test_a_profile_counts_what_the_rows_hold(tmp_path):
    """Rows, clicks and values that are missing or break their pattern, counted once more one by one."""
    lines = rows(300, hours=hours_of(2))
    lines[7], lines[8], lines[9] = "a,1,14102100,none,x", "b,0,14102100,,12", "c,0,14102100,s1,"
    log = log_of(tmp_path, lines)
    profile, found = profile_log(log, SMALL), read_all(log.folder)
    assert (profile.n_rows, profile.n_clicks) == (len(found), sum(row["click"] for row in found))
    site, pos = profile.fields["site"], profile.fields["pos"]
    assert site.n_missing == sum(row["site"] is None for row in found) == 2
    assert (pos.n_missing, pos.n_outside, dict(pos.outside)) == (1, 2, {"x": 1, "12": 1})
    assert profile.missing_shares == {"site": 2 / 300, "pos": 1 / 300}
    assert (profile.n_bad_labels, profile.n_out_of_order, profile.n_bad_truths) == (0, 0, 0)
    assert (profile.types["click"], profile.types["hour"]) == ("int8", "timestamp[us, tz=UTC]")


def test_a_profile_does_not_depend_on_row_groups(tmp_path):
    """Small pieces, small memory, the same numbers."""
    lines = [*rows(200, hours=hours_of(2)), "x,0,14102223,a,q"]
    whole = profile_log(log_of(tmp_path / "a", lines), SMALL)
    pieces = profile_log(log_of(tmp_path / "b", lines[::-1], block_bytes=200), SMALL)
    for name in ("site", "pos"):
        a, b = whole.fields[name], pieces.fields[name]
        assert (a.n_missing, a.n_outside, a.outside, a.is_constant) == (
            b.n_missing,
            b.n_outside,
            b.outside,
            b.is_constant,
        )


def test_a_pattern_must_match_the_whole_value():
    """Alternatives are not cut off, and a line break at the end does not slip through."""
    assert values_outside(["a", "b", "ab", "b\n", "é"], "a|b") == {"ab", "b\n", "é"}


@pytest.mark.parametrize(
    ("batches", "constant"),
    [
        ([["a", "a"], ["a"]], True),
        ([["a"], ["b"]], False),
        ([["a", "b"]], False),
        ([["a"], []], True),
        ([[None], ["a"], [None]], True),
    ],
)
def test_a_field_of_one_value_is_constant(batches, constant):
    """However the rows are cut; a missing value is no second value."""
    profile = FieldProfile(Field("site"))
    for values in batches:
        profile.add(pa.array(values, pa.string()).dictionary_encode())
    assert profile.is_constant is constant


def test_examples_of_bad_values_are_few_but_all_are_counted():
    """A report names five; the count is of all rows."""
    profile = FieldProfile(Field("pos", pattern="[0-9]"))
    for start in (0, 10):
        profile.add(pa.array([f"x{n}" for n in range(start, start + 20)]).dictionary_encode())
    assert profile.n_outside == 40
    assert len(profile.outside) == 5


def test_true_probabilities_outside_their_range_are_counted(tmp_path):
    """Changed by hand after ingest, because ingest lets none through."""
    import pyarrow.parquet as pq

    schema = Schema.from_dict(SMALL.to_dict() | {"truth": "p"})
    source = tmp_path / "raw.csv"
    write_lines(source, [f"{line},0.5" for line in rows(20)], header="id,click,hour,site,pos,p")
    ingest_log(str(source), tmp_path / "log", schema=schema)
    path = next((tmp_path / "log").glob("day=*/*.parquet"))
    table = pq.read_table(path, partitioning=None)
    bad = pa.array([0.5] * 17 + [1.5, -0.1, None])
    pq.write_table(table.set_column(table.column_names.index("p"), "p", bad), path)
    assert profile_log(Log.open(tmp_path / "log"), schema).n_bad_truths == 3
