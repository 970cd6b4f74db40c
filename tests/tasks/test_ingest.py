"""Any raw log to the canonical one, and every way in which a raw log can be bad."""

import gzip
import os
import random
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.errors import ConfigError, InputError
from tasks.ingest import ingest_log, refused_path
from tasks.logs.intake import reading
from tasks.logs.intake.csv_line import COLUMNS, ENCODING, QUOTES
from tasks.logs.log import Log
from tests.conftest import ROOT
from tests.logs import HEADER, OTHER_TEAM, SMALL, hours_of, local_s3, read_all, rows, write_lines

GOOD = rows(200, hours=hours_of(2))


def ingest_lines(folder: Path, lines: list[str], **knobs) -> dict:
    """Write a CSV and ingest it; bad rows are tolerated unless told otherwise."""
    source = write_lines(folder / "raw.csv", lines)
    return ingest_log(str(source), folder / "log", schema=SMALL, **{"max_bad_share": 0.9, **knobs})


def quarantine(folder: Path) -> list[dict]:
    return pq.read_table(folder / "log" / "quarantine.parquet").to_pylist()


# ---- what comes in


def parquet_of(path: Path) -> Path:
    """Write the good rows as Parquet with numbers as numbers."""
    frame = pd.DataFrame([line.split(",") for line in GOOD], columns=HEADER.split(","))
    frame = frame.astype({"id": "int64", "click": "float64", "hour": "int64", "pos": "float64"})
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), path, row_group_size=64)
    return path


def zip_of(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("b.csv", "\n".join([HEADER, *GOOD[100:]]))
        archive.writestr("a.csv", "\n".join([HEADER, *GOOD[:100]]))
        archive.writestr("__MACOSX/a.csv", "junk")
        archive.writestr("readme.md", "junk")
    return path


def kaggle_zip_of(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("train.gz", gzip.compress("\n".join([HEADER, *GOOD]).encode()))
    return path


def gz_of(path: Path) -> Path:
    path.write_bytes(
        gzip.compress("\n".join([HEADER, *GOOD[:50]]).encode())
        + gzip.compress(("\n" + "\n".join(GOOD[50:])).encode())
    )
    return path


def folder_of(path: Path) -> Path:
    write_lines(path / "1.csv", GOOD[:70])
    (path / "2.csv.gz").write_bytes(gzip.compress("\n".join([HEADER, *GOOD[70:120]]).encode()))
    table = pa.table(
        {
            name: [line.split(",")[place] for line in GOOD[120:]]
            for place, name in enumerate(HEADER.split(","))
        }
    )
    pq.write_table(table, path / "3.parquet")
    return path


def quoted_of(path: Path) -> Path:
    lines = [",".join(f'"{value}"' for value in line.split(",")) for line in GOOD]
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n".join([HEADER, *lines]).encode())
    return path


def blank_lines_of(path: Path) -> Path:
    path.write_text("\n" + "\n\n".join([HEADER, *GOOD]) + "\n\n\n")
    return path


def other_order_of(path: Path) -> Path:
    swapped = [",".join(reversed([*line.split(","), "more"])) for line in GOOD]
    return write_lines(path, swapped, header=",".join(reversed([*HEADER.split(","), "extra"])))


SOURCES = {
    "plain.csv": lambda path: write_lines(path, GOOD),
    "crlf.csv": lambda path: write_lines(path, GOOD, end="\r\n"),
    "quoted with a byte order mark.csv": quoted_of,
    "blank lines.csv": blank_lines_of,
    "other columns.csv": other_order_of,
    "train.gz": gz_of,
    "two.zip": zip_of,
    "kaggle.zip": kaggle_zip_of,
    "numbers.parquet": parquet_of,
    "folder": folder_of,
}


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """The good rows, read the plainest way."""
    folder = tmp_path_factory.mktemp("plain")
    return ingest_lines(folder, GOOD, max_bad_share=0)


@pytest.mark.parametrize("name", SOURCES)
def test_every_format_gives_the_same_log(name, expected, tmp_path):
    """Rows, clicks and content digest do not depend on how the log was stored."""
    source = SOURCES[name](tmp_path / name)
    found = ingest_log(str(source), tmp_path / "log", schema=SMALL, max_bad_share=0)
    keys = ("n_rows_in", "n_rows", "n_clicks", "digest", "hours", "time_min", "time_max")
    assert {key: found[key] for key in keys} == {key: expected[key] for key in keys}


@pytest.mark.parametrize("block_bytes", [60, 333, 10_000])
def test_the_log_does_not_depend_on_the_block_size(block_bytes, expected, tmp_path):
    """A row that straddles two blocks is one row."""
    assert ingest_lines(tmp_path, GOOD, block_bytes=block_bytes)["digest"] == expected["digest"]


def test_the_digest_follows_every_cell(expected, tmp_path):
    """One field of one row makes another log."""
    changed = [*GOOD[:-1], GOOD[-1].replace(",s", ",t")]
    assert ingest_lines(tmp_path, changed)["digest"] != expected["digest"]


def test_ignored_columns_are_noted(tmp_path):
    """Once, by name."""
    source = other_order_of(tmp_path / "a.csv")
    manifest = ingest_log(str(source), tmp_path / "log", schema=SMALL)
    assert manifest["notes"] == ["columns that the schema does not name were ignored: extra"]


def test_s3_is_read_like_a_folder(expected, tmp_path, monkeypatch):
    """CSV, gz and Parquet under one prefix."""
    local = folder_of(tmp_path / "local")
    with local_s3(monkeypatch) as client:
        for path in local.iterdir():
            client.upload_file(str(path), "bucket", f"logs/{path.name}")
        found = ingest_log("s3://bucket/logs", tmp_path / "log", schema=SMALL)
    assert found["digest"] == expected["digest"]


def test_a_simulated_log_keeps_its_true_probabilities(tmp_path):
    """They are a column of their own, and the manifest says so."""
    from tasks.schema import load_schema

    found = ingest_log(
        "sim://avazu?rows=3000&seed=3", tmp_path / "log", schema=load_schema("avazu")
    )
    again = ingest_log(
        "sim://avazu?seed=3&rows=3000",
        tmp_path / "log",
        schema=load_schema("avazu"),
        batch_rows=1000,
    )
    assert (found["n_rows"], found["has_truth"], found["digest"]) == (3000, True, again["digest"])
    p_true = Log.open(tmp_path / "log").to_pandas(["p_true"])["p_true"]
    assert p_true.between(0, 1).all() and p_true.nunique() > 100


def test_another_teams_log_is_one_schema_away(tmp_path):
    """Own names, no id, ISO times with zones and fractions, a field that no column of ours has."""
    lines = [
        f'{"tf"[number % 2]},2024-05-0{1 + number // 30}T0{number % 10}:00:0{number % 7}.5+02:00,"top, left",ios'.replace(
            "t,", "true,", 1
        ).replace("f,", "false,", 1)
        for number in range(60)
    ]
    source = write_lines(tmp_path / "raw.csv", lines, header="tapped,at,slot,os")
    found = ingest_log(str(source), tmp_path / "log", schema=OTHER_TEAM)
    assert (found["n_rows"], found["n_clicks"], found["columns"]) == (
        60,
        30,
        ["tapped", "at", "slot", "os"],
    )
    assert found["time_min"] == "2024-04-30T22:00:00.500000+00:00"
    assert {row["slot"] for row in read_all(tmp_path / "log")} == {"top, left"}


# ---- canonical values


@pytest.mark.parametrize(
    "array",
    [pa.array([1, 20, None]), pa.array([1.0, 20.0, None]), pa.array(["1", "20", ""]), pa.array(["1", "20", None]).dictionary_encode(), pa.array([1.0, 20.0, float("nan")], pa.float32())],
    ids=lambda array: str(array.type),
)  # fmt: skip
def test_any_arrow_type_becomes_the_same_text(array, tmp_path):
    """Integers, floats, text and dictionaries of the same values."""
    table = pa.table(
        {
            "id": ["a", "b", "c"],
            "click": [0, 1, 0],
            "hour": [14102100] * 3,
            "site": array,
            "pos": [1, 2, 3],
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    ingest_log(str(tmp_path / "a.parquet"), tmp_path / "log", schema=SMALL)
    assert [row["site"] for row in read_all(tmp_path / "log")] == ["1", "20", None]


@pytest.mark.parametrize(
    "kind", [pa.timestamp("s"), pa.timestamp("ns"), pa.timestamp("ms", tz="Europe/Berlin")], ids=str
)
def test_timestamps_are_taken_as_they_are(kind, tmp_path):
    """Any unit; without a zone it is UTC."""
    moments = (
        pa.array([1_413_849_600, 1_413_853_200], pa.timestamp("s", tz="UTC")).cast(kind)
        if kind.tz
        else pa.array([1_413_849_600, 1_413_853_200], pa.timestamp("s")).cast(kind)
    )
    table = pa.table(
        {
            "id": ["a", "b"],
            "click": [True, False],
            "hour": moments,
            "site": ["x", "y"],
            "pos": [1, 2],
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    found = ingest_log(str(tmp_path / "a.parquet"), tmp_path / "log", schema=SMALL)
    assert (found["time_min"], found["n_clicks"]) == ("2014-10-21T00:00:00+00:00", 1)


# ---- order of time


def test_rows_out_of_order_are_sorted_and_equal_times_stay_as_they_came(tmp_path, monkeypatch):
    """Days interleaved, hours shuffled, many small pieces; also when a day is sorted in parts."""
    monkeypatch.setattr("tasks.logs.intake.day_order._SORT_ROWS", 30)
    monkeypatch.setattr("tasks.logs.intake.day_files._OPEN_FILES", 2)
    monkeypatch.setattr("tasks.logs.intake.day_files._BUFFERED_ROWS", 40)
    lines = rows(400, hours=hours_of(4))
    random.Random(5).shuffle(lines)
    found = ingest_lines(tmp_path, lines, block_bytes=1000)
    wanted = [line.split(",")[0] for line in sorted(lines, key=lambda line: line.split(",")[2])]
    assert [row["id"] for row in read_all(tmp_path / "log")] == wanted
    assert found["notes"] == ["rows of 4 days did not come in order of time and were sorted"]


def test_a_sorted_log_has_the_digest_of_one_that_came_sorted(tmp_path):
    """The digest is of what is in the log."""
    lines = rows(48, hours=hours_of(2))
    assert (
        ingest_lines(tmp_path / "a", lines)["digest"]
        == ingest_lines(tmp_path / "b", lines[::-1])["digest"]
    )


# ---- bad rows


@pytest.mark.parametrize(
    ("line", "reason", "value"),
    [
        ("x,1,14102100,a", COLUMNS, "x,1,14102100,a"),
        ("x,1,14102100,a,1,9", COLUMNS, "x,1,14102100,a,1,9"),
        ('x,1,14102100,"a,1', QUOTES, 'x,1,14102100,"a,1'),
        ('x,1,141"02100,"a,1', QUOTES, 'x,1,141"02100,"a,1'),
        ("x,2,14102100,a,1", "label is not 0 or 1", "2"),
        ("x,,14102100,a,1", "label is not 0 or 1", ""),
        ("x,1,14102199,a,1", "time cannot be parsed", "14102199"),
        ("x,1,,a,1", "time cannot be parsed", ""),
        (",1,14102100,a,1", "empty id", ""),
        ("5,1,14102100,a,1", "duplicate id", "5"),
    ],
)
def test_a_bad_row_is_quarantined_with_its_reason_and_place(line, reason, value, tmp_path):
    """Its line number, the value that is to blame and the text; the rows around it stay."""
    found = ingest_lines(tmp_path, [*GOOD[:100], line, *GOOD[100:]])
    (bad,) = quarantine(tmp_path)
    assert (found["n_rows"], found["n_quarantined"], found["quarantine"]) == (200, 1, {reason: 1})
    assert (bad["row"], bad["reason"], bad["value"]) == (102, reason, value)
    assert reason == "duplicate id" or bad["text"] == line


def test_a_line_that_is_not_utf8_spoils_only_itself(tmp_path):
    """The rest of its block is kept; its bytes stay readable."""
    (tmp_path / "raw.csv").write_bytes(
        "\n".join([HEADER, *GOOD]).encode() + b"\nx,1,14102100,\xe9t\xe9,1\n"
    )
    found = ingest_log(str(tmp_path / "raw.csv"), tmp_path / "log", schema=SMALL)
    assert (
        found["quarantine"] == {ENCODING: 1}
        and quarantine(tmp_path)[0]["text"] == r"x,1,14102100,\xe9t\xe9,1"
    )


def test_the_first_of_duplicates_stays_across_days_and_files(tmp_path):
    """In order of arrival, even if a later one has an earlier time."""
    write_lines(tmp_path / "in" / "1.csv", ["a,0,14102200,first,1", "b,1,14102200,x,1"])
    write_lines(
        tmp_path / "in" / "2.csv",
        ["a,0,14102100,second,1", "c,1,14102100,x,1", "a,0,14102200,third,1"],
    )
    found = ingest_log(str(tmp_path / "in"), tmp_path / "log", schema=SMALL, max_bad_share=0.5)
    assert [(row["id"], row["site"]) for row in read_all(tmp_path / "log")] == [
        ("c", "x"),
        ("a", "first"),
        ("b", "x"),
    ]
    assert sorted((Path(bad["file"]).name, bad["row"]) for bad in quarantine(tmp_path)) == [
        ("2.csv", 2),
        ("2.csv", 4),
    ]
    assert found["hours"] == {"2014-10-21T00": 1, "2014-10-22T00": 2}


def test_equal_hashes_of_different_ids_are_no_duplicates(tmp_path, monkeypatch):
    """The second hash settles it: here the first one tells nothing at all."""
    from tasks.logs.intake import row_hash

    def weak(texts, *, seed=0):
        return row_hash.hash_texts(texts, seed=seed) * (seed != 0)

    monkeypatch.setattr(reading, "hash_texts", weak)
    found = ingest_lines(tmp_path, [*GOOD, GOOD[7]])
    assert (found["n_rows"], found["quarantine"]) == (200, {"duplicate id": 1})


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_every_row_in_is_a_row_out_or_in_quarantine(data, tmp_path):
    """Whatever bytes are damaged: n_rows_in = lines = n_rows + n_quarantined, for any block size."""
    lines = [line.encode() for line in rows(40, hours=hours_of(2))]
    for place in data.draw(st.lists(st.integers(0, 39), max_size=12)):
        junk = data.draw(
            st.binary(min_size=1, max_size=12).map(lambda raw: raw.replace(b"\n", b""))
        )
        cut = data.draw(st.integers(0, len(lines[place])))
        lines[place] = data.draw(
            st.sampled_from(
                [
                    lines[place][:cut] + junk + lines[place][cut:],
                    junk,
                    lines[place] + b'"',
                    lines[3],
                ]
            )
        )
    n_lines = sum(bool(line.removesuffix(b"\r")) for line in lines)
    (tmp_path / "raw.csv").write_bytes(b"\n".join([HEADER.encode(), *lines]))
    results = []
    for block_bytes in (100, 1 << 20):
        found = ingest_log(
            str(tmp_path / "raw.csv"),
            tmp_path / "log",
            schema=SMALL,
            max_bad_share=1,
            block_bytes=block_bytes,
        )
        assert found["n_rows_in"] == n_lines == found["n_rows"] + found["n_quarantined"]
        assert found["n_rows"] == len(read_all(tmp_path / "log")) and found["n_quarantined"] == len(
            quarantine(tmp_path)
        )
        results.append((found["digest"], sorted(bad["row"] for bad in quarantine(tmp_path))))
    assert results[0] == results[1]


def test_too_many_bad_rows_refuse_the_log_and_keep_the_evidence(tmp_path):
    """One line: how many, what share, why, an example with its place, where they all are."""
    lines = [*GOOD[:150], *(line.replace(",141", ",no,141") for line in GOOD[150:])]
    said = r"raw\.csv: 50 of 200 rows are bad \(25\.0%, allowed 1\.0%\); most often: wrong number of columns \(50 rows, such as '150,1,no,14102212,s3,2' in row 152 of .*raw\.csv\); all of them are in .*log-refused-quarantine\.parquet; fix"
    with pytest.raises(InputError, match=said):
        ingest_lines(tmp_path, lines, max_bad_share=0.01)
    assert pq.read_table(refused_path(tmp_path / "log")).num_rows == 50
    assert not (tmp_path / "log").exists()
    ingest_lines(tmp_path, GOOD)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".fingerprints.json",
        "log",
        "raw.csv",
    ]


def test_a_hopeless_file_is_given_up_early(tmp_path, monkeypatch):
    """Nobody waits for 40 million rows to hear that all of them are bad."""
    monkeypatch.setattr("tasks.logs.intake.quarantine._HOPELESS", 20)
    with pytest.raises(InputError, match=r"of the first \d+ rows are bad \(100\.0%"):
        ingest_lines(
            tmp_path,
            [line.replace(",141", ",x") for line in GOOD],
            max_bad_share=0.01,
            block_bytes=600,
        )


# ---- bad files


def truncated_gz(path: Path) -> None:
    whole = gzip.compress("\n".join([HEADER, *rows(5000)]).encode())
    path.write_bytes(whole[: len(whole) * 2 // 3])


def truncated_zip(path: Path) -> None:
    zip_of(path)
    path.write_bytes(path.read_bytes()[:-30])


def damaged_zip(path: Path) -> None:
    zip_of(path)
    raw = bytearray(path.read_bytes())
    raw[60] ^= 1
    path.write_bytes(raw)


def empty_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w"):
        pass


def damaged_gz(path: Path) -> None:
    raw = bytearray(gzip.compress("\n".join([HEADER, *GOOD]).encode()))
    raw[-6] ^= 1
    path.write_bytes(raw)


def truncated_parquet(path: Path) -> None:
    parquet_of(path)
    path.write_bytes(path.read_bytes()[:500])


def text(content: str):
    return lambda path: path.write_text(content)


BAD_FILES = {
    "empty.csv": (text(""), r"empty\.csv: the file is empty"),
    "blank.csv": (text("\n\n"), "nothing but empty lines"),
    "header.csv": (text(HEADER + "\n"), "a header but no rows"),
    "header without end.csv": (text(HEADER), "a header but no rows"),
    "column.csv": (text(HEADER.replace("click", "clicked") + "\n1,0,14102100,a,1\n"), r"missing column 'click'; found id, clicked, .*make schema DATA="),
    "columns.csv": (text("a,b\n1,2\n"), "missing columns 'id', 'click', 'hour', 'site', 'pos'; found a, b"),
    "twice.csv": (text(HEADER + ",click\n1,0,14102100,a,1,1\n"), "column 'click' occurs twice"),
    "short.gz": (truncated_gz, r"short\.gz: the gzip stream ends in the middle"),
    "damaged.gz": (damaged_gz, "the gzip stream is damaged"),
    "empty.gz": (lambda path: path.write_bytes(gzip.compress(b"")), "the file is empty"),
    "plain.gz": (text(HEADER + "\n"), r"plain\.gz: not gzip, whatever its name says"),
    "plain.zip": (text(HEADER + "\n"), "not a zip archive, whatever its name says"),
    "short.zip": (truncated_zip, "the zip archive is damaged or cut short"),
    "damaged.zip": (damaged_zip, "the zip archive is damaged"),
    "empty.zip": (empty_zip, "no CSV in this archive; it holds nothing"),
    "plain.parquet": (text(HEADER + "\n"), "not Parquet, whatever its name says"),
    "short.parquet": (truncated_parquet, r"short\.parquet: cannot be read"),
    "zeros.csv": (text("\n".join([HEADER, *(f"{n},0,14102100,a,1" for n in range(9))])), "one class only: 'click' is 0 in all 9 rows"),
    "ones.csv": (text("\n".join([HEADER, *(f"{n},1,14102100,a,1" for n in range(9))])), "one class only: 'click' is 1 in all 9 rows"),
    "single.csv": (text(HEADER + "\n1,0,14102100,a,1\n"), "1 usable row; a log needs two or more"),
    "utf16.csv": (lambda path: path.write_text(HEADER, encoding="utf-16"), "not UTF-8 text"),
    "latin1.csv": (lambda path: path.write_bytes(HEADER.encode() + b",\xe9\n"), r"not UTF-8 text \(line 1\)"),
    "binary.csv": (lambda path: path.write_bytes(bytes(range(256))), "not UTF-8 text"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_is_refused_in_one_line(name, tmp_path):
    """Naming the file, what was found and what to do; nothing is left that looks like a log."""
    make, said = BAD_FILES[name]
    make(tmp_path / name)
    with pytest.raises(InputError, match=said) as caught:
        ingest_log(str(tmp_path / name), tmp_path / "out" / "log", schema=SMALL)
    assert name in str(caught.value) and "\n" not in str(caught.value)
    assert [path.name for path in (tmp_path / "out").iterdir()] == [".fingerprints.json"]


def test_a_missing_source_is_refused(tmp_path):
    """Before anything is written."""
    with pytest.raises(InputError, match=r"gone\.csv: no such file or folder"):
        ingest_log(str(tmp_path / "gone.csv"), tmp_path / "log", schema=SMALL)


def test_a_bad_file_in_a_folder_is_named(tmp_path):
    """Not the folder."""
    folder = folder_of(tmp_path / "in")
    (folder / "2.csv.gz").write_bytes(gzip.compress(HEADER.encode())[:-9])
    with pytest.raises(InputError, match=r"2\.csv\.gz: the gzip stream ends in the middle"):
        ingest_log(str(folder), tmp_path / "log", schema=SMALL)


def test_an_encrypted_archive_is_refused(tmp_path):
    """The flag is enough to know."""
    path = zip_of(tmp_path / "a.zip")
    raw = bytearray(path.read_bytes())
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = -1
        while (start := raw.find(mark, start + 1)) >= 0:
            raw[start + place] |= 1
    path.write_bytes(raw)
    with pytest.raises(InputError, match=r"a\.csv is encrypted"):
        ingest_log(str(path), tmp_path / "log", schema=SMALL)


# ---- whole or not at all


def test_a_refused_log_leaves_the_old_one_in_place(tmp_path):
    """The old one is still whole, and still says which source it is of."""
    before = ingest_lines(tmp_path, GOOD)
    with pytest.raises(InputError):
        ingest_lines(tmp_path, ["1,0,14102100,a,1"])
    assert Log.open(tmp_path / "log").manifest == before


@pytest.mark.slow
def test_a_killed_ingest_leaves_no_log_and_the_next_one_no_junk(tmp_path):
    """SIGKILL in the middle of reading, then the same command again."""
    source = write_lines(tmp_path / "raw.csv", GOOD)
    code = (
        "import os, signal, sys; from tasks.ingest import ingest_log; from tests.logs import SMALL;"
        "ingest_log(sys.argv[1], sys.argv[2], schema=SMALL, block_bytes=500,"
        " on_progress=lambda n: n > 100 and os.kill(os.getpid(), signal.SIGKILL))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(source), str(tmp_path / "log")],
        cwd=ROOT,
    )
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "log").exists() and len(list(tmp_path.glob(".log.partial-*"))) == 1
    ingest_log(str(source), tmp_path / "log", schema=SMALL)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".fingerprints.json",
        "log",
        "raw.csv",
    ]


def test_a_source_that_grows_while_it_is_read_is_refused(tmp_path):
    """An export that is still being written."""
    source = write_lines(tmp_path / "raw.csv", GOOD)

    def grow(_: int) -> None:
        with source.open("a") as handle:
            handle.write("x,1,14102100,a,1\n")
        os.utime(source, (1, 1))

    with pytest.raises(InputError, match="changed while it was read"):
        ingest_log(str(source), tmp_path / "log", schema=SMALL, on_progress=grow)


def test_a_folder_that_is_no_log_is_not_replaced(tmp_path):
    """Somebody's files are not ours to delete."""
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "thesis.tex").write_text("x")
    with pytest.raises(ConfigError, match=r"holds 'thesis\.tex', which is not part of a log"):
        ingest_lines(tmp_path, GOOD)


def test_an_impossible_share_is_refused(tmp_path):
    """With the allowed range."""
    with pytest.raises(ConfigError, match=r"max_bad_share must be between 0 and 1, got 1\.5"):
        ingest_lines(tmp_path, GOOD, max_bad_share=1.5)


def test_progress_is_reported(tmp_path):
    """Rows so far, ending with all of them."""
    seen: list[int] = []
    ingest_lines(tmp_path, GOOD, on_progress=seen.append, block_bytes=1000)
    assert seen == sorted(seen) and seen[-1] == 200 and len(seen) > 3
