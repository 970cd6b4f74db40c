"""Reading the exposure log: one row a scored candidate, the same from both formats."""

import json
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.errors import InputError
from tasks.serving.exposure_files import HEAD, record_schema, write_parquet
from tasks.serving.exposures import read_exposures

HEAD_VALUES = {
    "call": "predict",
    "experiment": "ab12",
    "variant": "champion",
    "version": "3f2a91c07b5e",
    "unit_hash": "9c" * 8,
    "unit_field": "device_id",
    "forced": False,
}


def record(number=0, fields=None, candidates=None, p_click=(0.25,), shadow=None, **more):
    """Return one record as the service writes it."""
    return {
        "request_id": f"r{number}",
        "time": f"2026-01-01T00:00:{number % 60:02}.123456Z",
        **HEAD_VALUES,
        **more,
        "fields": fields or {},
        "candidates": candidates,
        "p_click": list(p_click),
        "shadow": [{"model": name, "p_click": list(p)} for name, p in (shadow or {}).items()],
    }


def write_lines(path, *records):
    path.write_text("".join(json.dumps(one) + "\n" for one in records))
    return path


def naive_rows(records, names):
    """Return the rows that the records stand for, one at a time."""
    models = sorted({entry["model"] for one in records for entry in one["shadow"]})
    rows = []
    for one in records:
        for position, p_click in enumerate(one["p_click"]):
            own = {name: texts[position] for name, texts in (one["candidates"] or {}).items()}
            row = {name: one[name] for name in HEAD.names}
            row["time"] = datetime.fromisoformat(one["time"]).astimezone(UTC)
            row |= {"position": position, "p_click": p_click}
            if models:
                shadow = {entry["model"]: entry["p_click"][position] for entry in one["shadow"]}
                row["shadow"] = {name: shadow.get(name) for name in models}
            if names:
                row["fields"] = {name: own.get(name, one["fields"].get(name)) for name in names}
            rows.append(row)
    return rows


NAMES = ["a", "b", "2026"]
TEXTS = st.sampled_from(["", "x", "2026-01-01", "1005", "é\u2028", '"', "\\"])
ROWS = st.dictionaries(st.sampled_from(NAMES), TEXTS, max_size=3)
PROBABILITIES = st.floats(0, 1)


def columns_of(n):
    """Fields of `n` candidates, a list each."""
    return st.dictionaries(
        st.sampled_from(NAMES), st.lists(TEXTS, min_size=n, max_size=n), max_size=3
    )


@st.composite
def records(draw):
    """A record of a prediction or a ranking, with any shadows."""
    n = draw(st.none() | st.integers(0, 4))
    several = st.lists(
        PROBABILITIES, min_size=n or (1 if n is None else 0), max_size=n if n is not None else 1
    )
    return record(
        draw(st.integers(0, 99)),
        draw(ROWS),
        None if n is None else draw(columns_of(n)),
        draw(several),
        draw(st.dictionaries(st.sampled_from(["fm", "ftrl"]), several, max_size=2)),
        call="predict" if n is None else "rank",
        forced=draw(st.booleans()),
    )


@settings(max_examples=60, deadline=None)
@given(found=st.lists(records(), max_size=5), columns=st.sampled_from([None, NAMES, ["b"]]))
def test_both_formats_hold_what_a_naive_reading_finds(tmp_path_factory, found, columns):
    """Any predictions and rankings, values that look like dates or numbers, shadows or none."""
    folder = tmp_path_factory.mktemp("log")
    lines = write_lines(folder / "x.jsonl", *found)
    write_parquet(lines, folder / "x.parquet", columns=NAMES)
    for path in (lines, folder / "x.parquet"):
        table = read_exposures(path, columns=columns)
        names = columns
        if columns is None:
            names = (
                [field.name for field in table.schema.field("fields").type]
                if "fields" in table.schema.names
                else []
            )
            occurring = {
                name
                for one in found
                for row in [one["fields"], one["candidates"] or {}]
                for name in row
            }
            assert set(names) == (set(NAMES) if path.suffix == ".parquet" else occurring)
        assert table.to_pylist() == naive_rows(found, names)
        assert table.schema.metadata == {b"n_skipped": b"0", b"n_skipped_files": b"0"}


def test_a_candidates_own_value_goes_before_the_contexts(tmp_path):
    """Also an empty one, which says that the value is missing."""
    context = {"site": "s", "creative": "default"}
    one = record(0, context, {"creative": ["c1", "", "default"]}, (0.1, 0.2, 0.3))
    rows = read_exposures(write_lines(tmp_path / "x.jsonl", one))
    fields = rows["fields"].combine_chunks()
    assert fields.field("site").to_pylist() == ["s", "s", "s"]
    assert fields.field("creative").to_pylist() == ["c1", "", "default"]
    assert rows["position"].to_pylist() == [0, 1, 2]
    assert rows["p_click"].to_pylist() == [0.1, 0.2, 0.3]


def test_a_folder_is_read_whole(tmp_path):
    """Both formats beside each other, by day; what is not finished or hidden by its name is not read."""
    for day, number in [("day=2026-01-01", 1), ("day=2026-01-02", 2)]:
        (tmp_path / day).mkdir()
        write_lines(tmp_path / day / "a.jsonl", record(number, {"a": "1"}))
    lines = write_lines(tmp_path / "b.jsonl.part", record(3, {"b": "2"}, shadow={"fm": [0.5]}))
    write_parquet(lines, tmp_path / "day=2026-01-02" / "b.parquet")
    (tmp_path / "notes.txt").write_text("x")
    rows = read_exposures(tmp_path)
    assert rows["request_id"].to_pylist() == ["r1", "r2", "r3"]
    assert rows["fields"].to_pylist() == [
        {"a": "1", "b": None},
        {"a": "1", "b": None},
        {"a": None, "b": "2"},
    ]
    assert rows["shadow"].to_pylist() == [{"fm": None}, {"fm": None}, {"fm": 0.5}]
    assert read_exposures(lines)["request_id"].to_pylist() == ["r3"]


def test_a_torn_last_line_is_skipped_and_counted(tmp_path):
    """The process was killed while it wrote."""
    path = write_lines(tmp_path / "x.jsonl", record(1), record(2))
    path.write_bytes(path.read_bytes()[:-30])
    rows = read_exposures(path)
    assert rows["request_id"].to_pylist() == ["r1"]
    assert rows.schema.metadata[b"n_skipped"] == b"1"


def test_every_cut_leaves_the_lines_before_it(tmp_path):
    """Wherever the last write ended."""
    path = write_lines(tmp_path / "x.jsonl", record(1, {"a": "é"}), record(2, {"a": "é"}))
    whole = path.read_bytes()
    first = whole.index(b"\n") + 1
    for cut in range(first, len(whole), 7):
        path.write_bytes(whole[:cut])
        rows = read_exposures(path)
        assert rows["request_id"].to_pylist() == ["r1"]
        assert rows.schema.metadata[b"n_skipped"] == (b"1" if cut > first else b"0")


def test_broken_lines_in_the_middle_are_skipped_and_counted(tmp_path):
    """What a crashed disk leaves: zeros, partial lines, JSON that is no record."""
    path = write_lines(tmp_path / "x.jsonl", record(1), record(2))
    first, second = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([first, b"\0" * 40, first[:50], b"7", b"\xff", second, b""]))
    rows = read_exposures(path)
    assert rows["request_id"].to_pylist() == ["r1", "r2"]
    assert rows.schema.metadata[b"n_skipped"] == b"4"
    assert write_parquet(path, tmp_path / "x.parquet", columns=["a"]) == 4
    assert read_exposures(tmp_path / "x.parquet").num_rows == 2


LONG = record(7, {"a": "x"}, {"a": ["y" * 4096] * 3300}, [0.5] * 3300)  # 13 MB


@pytest.mark.parametrize("columns", [None, ["a"]])
@pytest.mark.parametrize("bad", [LONG, {"p_click": "much"}, {**record(7), "fields": 7}])
def test_a_line_that_cannot_be_read_hides_no_other(tmp_path, bad, columns):
    """Longer than Arrow's block, or of other types: the lines around it and the other files are read."""
    path = write_lines(tmp_path / "x.jsonl", record(1, {"a": "1"}), bad, record(2, {"a": "2"}))
    write_lines(tmp_path / "y.jsonl", record(3, {"a": "3"}))
    rows = read_exposures(tmp_path, columns=columns)
    assert rows["request_id"].to_pylist() == ["r1", "r2", "r3"]
    assert [row["a"] for row in rows["fields"].to_pylist()] == ["1", "2", "3"]
    assert rows.schema.metadata[b"n_skipped"] == b"1"
    assert write_parquet(path, tmp_path / "z.parquet", columns=columns or ()) == 1
    assert read_exposures(tmp_path / "z.parquet").num_rows == 2


def test_a_file_that_is_no_exposure_log_hides_no_other(tmp_path):
    """A foreign or damaged file in the folder is counted."""
    write_lines(tmp_path / "a.jsonl", record(1, {"a": "1"}))
    (tmp_path / "b.jsonl").write_text('{"p_click": "much"}\n')
    (tmp_path / "c.parquet").write_text("PAR1")
    rows = read_exposures(tmp_path)
    assert rows["request_id"].to_pylist() == ["r1"]
    assert rows.schema.metadata[b"n_skipped_files"] == b"2"


def test_a_candidate_without_a_value_of_its_own_has_the_contexts(tmp_path):
    """As the service writes it today, null, and as it wrote it before, in words."""
    context, scores = {"site": "s", "creative": "default"}, (0.1, 0.2)
    now = record(0, context, {"creative": [None, ""], "size": [None, "3"]}, scores)
    before = record(1, context, {"creative": ["default", ""], "size": ["", "3"]}, scores)
    rows = read_exposures(write_lines(tmp_path / "x.jsonl", now, before))
    found = [row["creative"] for row in rows["fields"].to_pylist()]
    assert found == ["default", "", "default", ""]
    assert [row["size"] for row in rows["fields"].to_pylist()] == [None, "3", "", "3"]


def test_an_empty_file_has_no_rows(tmp_path):
    """And the columns of any other."""
    (tmp_path / "x.jsonl").write_bytes(b"")
    rows = read_exposures(tmp_path)
    assert rows.num_rows == 0
    assert rows.column_names == [*HEAD.names, "position", "p_click"]


def test_a_failed_conversion_leaves_no_file(tmp_path):
    """There is no folder for it, say."""
    path = write_lines(tmp_path / "x.jsonl", record(1))
    with pytest.raises(OSError):
        write_parquet(path, tmp_path / "gone" / "x.parquet", columns=["a"])
    assert not (tmp_path / "x.parquet").exists()


def test_the_parquet_schema_is_what_the_reader_expects(tmp_path):
    """One struct of texts for the context, one of their lists for the candidates."""
    lines = write_lines(tmp_path / "x.jsonl", record(1, {"a": "1"}))
    write_parquet(lines, tmp_path / "x.parquet", columns=["a", "b"])
    assert pq.read_schema(tmp_path / "x.parquet").equals(record_schema(["a", "b"]))


def test_what_is_no_exposure_log_is_said_in_one_line(tmp_path):
    """Nothing there, another JSON, another Parquet, not Parquet."""
    with pytest.raises(
        InputError, match=r"gone: no exposures there; expected files ending in \.jsonl"
    ):
        read_exposures(tmp_path / "gone")
    (tmp_path / "x.jsonl").write_text('{"p_click": "much"}\n')
    with pytest.raises(InputError, match=r"x\.jsonl: these are no exposures"):
        read_exposures(tmp_path / "x.jsonl")
    pq.write_table(pa.table({"a": [1]}), tmp_path / "x.parquet")
    with pytest.raises(InputError, match=r"x\.parquet: these are no exposures, there is no column"):
        read_exposures(tmp_path / "x.parquet")
    (tmp_path / "y.parquet").write_text("PAR1")
    with pytest.raises(InputError, match=r"y\.parquet: not a Parquet file"):
        read_exposures(tmp_path / "y.parquet")
