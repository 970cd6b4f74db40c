"""A source in pieces: the same log byte for byte, the same quarantine, notes and refusals as in one."""

import gzip
import json
import pickle
import random
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import tasks.ingest
from tasks.errors import InputError
from tasks.ingest import ingest_log, refused_path
from tasks.logs.intake import day_order, part_writer
from tasks.schema import Schema
from tests.logs import HEADER, SMALL, hours_of, read_all, rows, write_lines

LINES = rows(900, hours=hours_of(3))
BAD = ["7,2,14102100,s,1", "8,0,nothing,s,1", "9,0", ",0,14102100,s,1", '10,0,14102100,"s,1']
NO_TIME = Schema.from_dict({"name": "x", "label": "click", "fields": {"site": {}, "pos": {}}})
COUNTS = Schema.from_dict(
    {
        "name": "x",
        "label": {"column": "click", "impressions": "shown"},
        "id": "id",
        "time": {"column": "hour", "format": "%y%m%d%H"},
        "fields": {"site": {}},
    }
)
WEIGHT = Schema.from_dict(
    {
        "name": "x",
        "label": "click",
        "weight": "w",
        "time": {"column": "hour", "format": "%y%m%d%H"},
        "fields": {"site": {}},
    }
)
TRUTH = Schema.from_dict(SMALL.to_dict() | {"truth": "p"})


def contents(folder: Path) -> dict[str, bytes]:
    """Return the bytes of every file; of the manifest, what it says."""
    found = {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
    return found | {"manifest.json": json.loads(found["manifest.json"])}


def run_elsewhere(function, arguments):
    """Call a function as in another process."""
    for one in pickle.loads(pickle.dumps(list(arguments))):
        yield pickle.loads(pickle.dumps(function(*one)))


@pytest.fixture
def in_pieces(monkeypatch):
    """Ingest in this process as on so many workers; small groups, so that they are cut."""
    monkeypatch.setattr(part_writer, "GROUP_ROWS", 64)
    monkeypatch.setattr(day_order, "_SORT_ROWS", 100)

    def ingest(source, folder, *, n_workers, schema=SMALL, **knobs):
        @contextmanager
        def runner(_):
            yield run_elsewhere if n_workers else tasks.ingest._run_here, n_workers

        knobs = {"max_bad_share": 0.9, "block_bytes": 700, "piece_bytes": 1000} | knobs
        with monkeypatch.context() as patch:
            patch.setattr(tasks.ingest, "_runner", runner)
            return ingest_log(str(source), folder, schema=schema, **knobs)

    return ingest


def shuffled(lines, seed=1):
    return random.Random(seed).sample(lines, len(lines))


def mixed(lines):
    """Bad rows, duplicates of the same day, of other days and of other pieces, and blank lines among good ones."""
    return [
        *lines[:200],
        "",
        BAD[0],
        *lines[200:],
        *BAD,
        lines[3],
        lines[600],
        lines[3],
        "",
        BAD[3],
    ]


def one_file(folder, lines, **layout):
    return write_lines(folder / "raw.csv", lines, **layout)


def many_files(folder, lines):
    for number in range(9):
        path = folder / "in" / f"{number}.csv"
        write_lines(path, lines[number::9])
        if number % 2:
            path.with_suffix(".csv.gz").write_bytes(gzip.compress(path.read_bytes()))
            path.unlink()
    (folder / "in" / "4b.csv").write_text("")
    (folder / "in" / "5b.csv").write_text("a,b\n1,2\n")
    (folder / "in" / "notes.md").write_text("not data")
    return folder / "in"


def parquet_and_large(folder, lines):
    one_file(folder / "in", lines[300:])
    columns = zip(*(line.split(",") for line in lines[:300]), strict=True)
    table = pa.table(dict(zip(HEADER.split(","), map(list, columns), strict=True)))
    pq.write_table(table, folder / "in" / "a.parquet", row_group_size=70)
    return folder / "in"


def of_names(header, line_of):
    def write(folder, lines):
        return write_lines(folder / "raw.csv", [line_of(line) for line in lines], header=header)

    return write


def with_truth(line):
    return f"{line},0.{line.count('1')}"


def stray_years(lines):
    return [*lines, "901,0,99010100,s,1", "902,0,71010100,s,1", "903,0,99010105,s,1"]


CASES = {
    "in order": (one_file, LINES, SMALL),
    "everything bad": (one_file, mixed(LINES), SMALL),
    "out of order": (one_file, mixed(shuffled(LINES)), SMALL),
    "files": (many_files, mixed(LINES), SMALL),
    "a large file among others": (parquet_and_large, LINES, SMALL),
    "strays": (one_file, stray_years(mixed(LINES)), SMALL),
    "damaged ids and blanks": (
        one_file,
        [line.replace(",s3", ", s3 ") for line in LINES] + ["1.5e+18,0,14102323,s,1"] * 2,
        SMALL,
    ),
    "no time": (one_file, mixed(LINES), NO_TIME),
    "counts": (
        of_names("id,click,shown,hour,site", lambda line: line.replace(",14", ",3,14", 1)),
        [line.rsplit(",", 1)[0] for line in mixed(LINES)],
        COUNTS,
    ),
    "weights": (
        of_names("id,click,hour,site,w", lambda line: f"{line.rsplit(',', 1)[0]},0.{len(line)}7"),
        LINES,
        WEIGHT,
    ),
    "truth": (of_names(f"{HEADER},p", with_truth), LINES, TRUTH),
    "no truth": (one_file, LINES, TRUTH),
}


@pytest.mark.parametrize("name", CASES)
def test_the_log_does_not_depend_on_the_pieces(name, in_pieces, tmp_path):
    """Whatever a source is like, every file of its log has the same bytes."""
    write, lines, schema = CASES[name]
    source = write(tmp_path, lines)
    in_pieces(source, tmp_path / "one", n_workers=0, schema=schema)
    expected = contents(tmp_path / "one")
    in_pieces(source, tmp_path / "log", n_workers=3, schema=schema)
    assert contents(tmp_path / "log") == expected


@pytest.mark.parametrize(("block_bytes", "piece_bytes"), [(100, 100), (333, 1), (64 << 10, 1)])
def test_nor_on_where_blocks_and_pieces_end(block_bytes, piece_bytes, in_pieces, tmp_path):
    """A row that straddles two pieces is one row, and has its number."""
    source = one_file(tmp_path, mixed(shuffled(LINES)), end="\r\n")
    in_pieces(source, tmp_path / "one", n_workers=0)
    cut = {"block_bytes": block_bytes, "piece_bytes": piece_bytes}
    in_pieces(source, tmp_path / "log", n_workers=5, **cut)
    assert contents(tmp_path / "log") == contents(tmp_path / "one")


def test_a_log_is_read_by_several(in_pieces, tmp_path, monkeypatch):
    """The cases above are cut indeed: at several places of a file, and by files."""
    seen = []

    def spy(*arguments, **knobs):
        seen.append(cut_source(*arguments, **knobs))
        return seen[-1]

    cut_source = tasks.ingest.cut_source
    monkeypatch.setattr(tasks.ingest, "cut_source", spy)
    in_pieces(one_file(tmp_path, LINES), tmp_path / "log", n_workers=3)
    in_pieces(many_files(tmp_path, LINES), tmp_path / "log", n_workers=3)
    assert [len(pieces) for pieces in seen] == [9, 5]
    assert all(piece.span for piece in seen[0])
    assert [piece.number for piece in seen[0]] == list(range(9))


REFUSED = {
    "too many bad rows": (one_file, mixed(LINES), {"max_bad_share": 0.001}),
    "hopeless": (one_file, [*LINES, *BAD * 60, *LINES], {"max_bad_share": 0.1}),
    "a bad header": (lambda folder, lines: write_lines(folder / "a.csv", lines, header="a,b"), LINES, {}),
    "no rows": (one_file, [], {}),
    "one class": (one_file, [line.replace(",1,", ",0,") for line in LINES], {}),
    "not text": (lambda folder, lines: write_lines(folder / "a.csv", lines, header="a\0b"), LINES, {}),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_refusal_does_not_depend_on_the_pieces(name, in_pieces, tmp_path, monkeypatch):
    """The same line, and the same rows kept as evidence."""
    monkeypatch.setattr("tasks.logs.intake.quarantine._HOPELESS", 100)
    write, lines, knobs = REFUSED[name]
    source = write(tmp_path, lines)
    said, kept = [], []
    for n_workers in (0, 3):
        with pytest.raises(InputError) as found:
            in_pieces(source, tmp_path / "log", n_workers=n_workers, **knobs)
        said.append(str(found.value))
        path = refused_path(tmp_path / "log")
        kept.append(path.read_bytes() if path.exists() else b"")
    assert said[0] == said[1]
    assert kept[0] == kept[1]


def test_a_day_that_came_in_many_files_is_one(in_pieces, tmp_path):
    """Rows of equal time stay in the order in which they came, over all pieces."""
    lines = [line.replace(line.split(",")[2], "14102100") for line in LINES]
    found = in_pieces(one_file(tmp_path, lines), tmp_path / "log", n_workers=4)
    assert found["days"][0]["files"] == [{"path": "day=2014-10-21/part-0.parquet", "n_rows": 900}]
    assert [row["id"] for row in read_all(tmp_path / "log")] == [str(n) for n in range(900)]
