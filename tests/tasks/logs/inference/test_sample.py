"""A bounded sample of a log of any form."""

import gzip
import json
import tarfile
import zipfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.errors import InputError
from tasks.logs.inference.sample import take_sample
from tasks.logs.value_text import ITEM_MARK

ROWS = [
    {"ts": f"2024-05-01 {row % 24:02d}:00:00", "click": row % 2, "os": "ios"} for row in range(50)
]


def csv_of(rows):
    return (
        "\n".join([",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]) + "\n"
    )


def write_csv(folder):
    path = folder / "log.csv"
    path.write_text(csv_of(ROWS))
    return path


def write_gzip(folder):
    path = folder / "log.csv.gz"
    path.write_bytes(gzip.compress(csv_of(ROWS).encode()))
    return path


def write_json(folder):
    path = folder / "log.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


def write_parquet(folder):
    path = folder / "log.parquet"
    pq.write_table(pa.Table.from_pylist(ROWS), path)
    return path


def write_zip(folder):
    path = folder / "all.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(
            "a_test.csv", csv_of([{key: row[key] for key in ("ts", "os")} for row in ROWS])
        )
        archive.writestr("train.csv", csv_of(ROWS))
    return path


def write_tar(folder):
    write_csv(folder)
    path = folder / "log.tar"
    with tarfile.open(path, "w") as archive:
        archive.add(folder / "log.csv", arcname="part-1/log.csv")
    return path


@pytest.mark.parametrize(
    "write", [write_csv, write_gzip, write_json, write_parquet, write_zip, write_tar]
)
def test_every_form_that_ingest_reads_gives_the_same_sample(write, tmp_path):
    """Of several tables the one with most columns: a test set lacks the label."""
    sample = take_sample(str(write(tmp_path)))
    assert {name: column.to_pylist()[:2] for name, column in sample.columns.items()} == {
        "ts": ["2024-05-01 00:00:00", "2024-05-01 01:00:00"],
        "click": ["0", "1"],
        "os": ["ios", "ios"],
    }
    assert (sample.n_rows, sample.n_bad, sample.is_whole) == (50, 0, True)


def test_a_folder_by_day_is_looked_at_from_end_to_end(tmp_path):
    """Eight of its files, and the columns that the folders give."""
    for day in range(1, 31):
        folder = tmp_path / f"day=2024-05-{day:02d}"
        folder.mkdir()
        (folder / "part.csv").write_text(csv_of(ROWS))
    sample = take_sample(str(tmp_path))
    days = sample.columns["day"].unique().to_pylist()
    assert (len(sample.files), days[0], days[-1]) == (8, "2024-05-01", "2024-05-30")
    assert not sample.is_whole


def test_no_more_is_read_than_asked_for(tmp_path):
    """A log of any size costs the same."""
    path = tmp_path / "log.csv"
    path.write_text("click,page\n" + "0,some_page_of_some_length\n" * 200_000)
    sample = take_sample(str(path), max_rows=1000)
    assert 1000 <= sample.n_rows < 60_000
    assert not sample.is_whole


def test_lists_are_lists_in_parquet_and_json(tmp_path):
    """Objects are no values; the column is named with its type."""
    rows = [{"click": row % 2, "tags": ["a", "b"], "geo": {"city": "Bern"}} for row in range(9)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "log.parquet")
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for name in ("log.parquet", "log.jsonl"):
        sample = take_sample(str(tmp_path / name))
        assert sample.columns["tags"][0].as_py().split(ITEM_MARK)[:2] == ["a", "b"]
        assert [*sample.look.refused] == ["geo"]


def test_columns_that_no_field_can_be_are_named(tmp_path):
    """Twice, without a name, with a letter that tokens need."""
    path = tmp_path / "log.csv"
    path.write_text(",click,os,os,a=b,page\n7,0,x,y,z,p\n8,1,x,y,z,p\n")
    sample = take_sample(str(path))
    assert [*sample.columns] == ["click", "page"]
    assert {*sample.look.refused} == {"", "os", "a=b"}


def test_bad_lines_are_counted(tmp_path):
    """They are no reason to stop."""
    path = tmp_path / "log.csv"
    path.write_text("click,page\n" + "0,p\n1,q\n" * 50 + "1,q,r\n")
    assert take_sample(str(path)).n_bad == 1


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("log.csv", b"", "nothing to read"),
        ("log.csv", b"click,page\n", "no rows that can be read"),
        ("log.csv", b"click\n0\n1\n", "no separator"),
        ("log.jsonl", b"[1, 2]\n", "no JSON object"),
        ("log.csv.gz", gzip.compress(b"click,page\n0,1\n")[:12], "gzip stream"),
        ("log.parquet", b"PAR1 and nothing", "cannot be read"),
        ("log.csv", b"\x00\x01\x02\x03" * 100, "no separator|not UTF-8"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_one_line(name, content, message, tmp_path):
    """It names the file."""
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as error:
        take_sample(str(path))
    assert name in str(error.value) and "\n" not in str(error.value)
