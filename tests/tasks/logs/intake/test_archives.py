"""Packed files and archives: all of what is in them is read or named."""

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.errors import InputError
from tasks.ingest import ingest_log
from tests.logs import HEADER, SMALL, hours_of, read_all, rows

LINES = rows(60, hours=hours_of(2))
TEXT = ("\n".join([HEADER, *LINES]) + "\n").encode()
HALVES = [("\n".join([HEADER, *part]) + "\n").encode() for part in (LINES[:30], LINES[30:])]


def ingested(path: Path, *, schema=SMALL, member: str = "") -> dict:
    """Return the manifest of a source."""
    return ingest_log(f"{path}{member}", path.parent / "out" / "log", schema=schema)


def tar_of(path: Path, mode: str, members: dict[str, bytes]) -> Path:
    """Write a tar archive."""
    with tarfile.open(path, mode) as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def zip_of(path: Path, members: list[tuple[str, bytes]]) -> Path:
    """Write a zip archive, in which a name may occur twice."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return path


def parquet_bytes(folder: Path) -> bytes:
    """Return the log as Parquet."""
    table = pa.table(
        dict(
            zip(
                HEADER.split(","),
                zip(*[line.split(",") for line in LINES], strict=True),
                strict=True,
            )
        )
    )
    pq.write_table(table, folder / "one.parquet")
    data = (folder / "one.parquet").read_bytes()
    (folder / "one.parquet").unlink()
    return data


def zstd(data: bytes) -> bytes:
    """Return bytes packed with zstd."""
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return sink.getvalue().to_pybytes()


@pytest.fixture(scope="module")
def digest(tmp_path_factory):
    """The content of the log."""
    path = tmp_path_factory.mktemp("plain") / "a.csv"
    path.write_bytes(TEXT)
    return ingested(path)["digest"]


@pytest.mark.parametrize("name", ["a.csv.bz2", "a.csv.xz", "a.csv.zst", "a.tar", "a.tar.gz", "a.tgz", "parquet.zip", "gz.tar", "parquet.tar.xz", "twice.zip", "parquet.gz"])  # fmt: skip
def test_every_packing_gives_the_same_log(name, digest, tmp_path):
    """Alone, in archives, archives of packed files, and two members of one name."""
    path = tmp_path / name
    if name == "parquet.gz":
        path.write_bytes(gzip.compress(parquet_bytes(tmp_path)))
    elif name.startswith("a.csv"):
        pack = {"bz2": bz2.compress, "xz": lzma.compress, "zst": zstd}[name.rsplit(".")[-1]]
        path.write_bytes(pack(TEXT))
    elif name == "parquet.zip":
        zip_of(path, [("x/one.parquet", parquet_bytes(tmp_path))])
    elif name == "twice.zip":
        with pytest.warns(UserWarning, match="Duplicate name"):
            zip_of(path, [("a.csv", HALVES[0]), ("a.csv", HALVES[1])])
    elif name == "gz.tar":
        packed = {f"{number}.csv.gz": gzip.compress(half) for number, half in enumerate(HALVES)}
        tar_of(path, "w", packed)
    elif name == "parquet.tar.xz":
        tar_of(path, "w:xz", {"one.parquet": parquet_bytes(tmp_path)})
    else:
        mode = "w" if name == "a.tar" else "w:gz"
        tar_of(path, mode, {"logs/1.csv": HALVES[0], "logs/2.csv": HALVES[1]})
    assert ingested(path)["digest"] == digest


def test_what_is_not_read_is_named(digest, tmp_path):
    """Other columns, nothing, hidden names, suffixes; a marker that is empty is no loss."""
    members = [("a.csv", TEXT), ("empty.csv", b""), ("submission.csv", b"id,click\n1,0.5\n"), (".b.csv", TEXT), ("c.xls", b"x"), ("_SUCCESS", b"")]  # fmt: skip
    found = ingested(zip_of(tmp_path / "all.zip", members))
    assert found["digest"] == digest
    notes = "\n".join(found["notes"])
    assert "all.zip/empty.csv is empty and was left out" in notes
    assert (
        "left out: " in notes and "submission.csv: missing columns 'hour', 'site', 'pos'" in notes
    )
    assert ": .b.csv, c.xls (" in notes and "_SUCCESS" not in notes


def test_one_member_can_be_named(digest, tmp_path):
    """The others are not looked at; a name that is not there lists what is."""
    path = zip_of(tmp_path / "all.zip", [("a.csv", TEXT), ("b.csv", b"x")])
    assert ingested(path, member="!a.csv")["digest"] == digest
    with pytest.raises(InputError, match=r"no 'c\.csv' in this archive; it holds a\.csv, b\.csv"):
        ingested(path, member="!c.csv")


def test_links_of_a_folder_are_followed_or_named(digest, tmp_path):
    """A linked folder is read once, a loop and a dangling link are named."""
    folder, other = tmp_path / "in", tmp_path / "other"
    folder.mkdir(), other.mkdir()
    (folder / "1.csv").write_bytes(HALVES[0])
    (other / "2.csv").write_bytes(HALVES[1])
    (folder / "more").symlink_to(other)
    (folder / "gone.csv").symlink_to(tmp_path / "nowhere")
    (other / "loop").symlink_to(folder)
    found = ingest_log(str(folder), tmp_path / "log", schema=SMALL)
    assert found["digest"] == digest
    assert any("gone.csv, more/loop" in note for note in found["notes"])


def test_deflate64_is_refused_in_one_line(tmp_path):
    """Windows writes it for large files; Python does not read it."""
    path = zip_of(tmp_path / "a.zip", [("a.csv", TEXT)])
    raw = bytearray(path.read_bytes())
    for mark, place in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        raw[raw.find(mark) + place] = 9
    path.write_bytes(raw)
    with pytest.raises(InputError, match=r"a\.csv is packed with Deflate64"):
        ingested(path)


def test_a_bomb_is_refused(tmp_path, monkeypatch):
    """What unpacks to very much more than it is stops early."""
    monkeypatch.setattr("tasks.logs.intake.archives._FREE_BYTES", 1 << 20)
    path = zip_of(tmp_path / "a.zip", [("a.csv", TEXT + b"\n" * 20_000_000)])
    with pytest.raises(InputError, match="unpacks to more than 100 times its size"):
        ingested(path)


def test_folders_can_be_columns(tmp_path):
    """As Hive and Spark write them, with letters escaped; one that the file has itself is the file's."""
    from tasks.schema import Schema

    raw = SMALL.to_dict() | {"fields": {"site": {}, "pos": {}, "land": {}}}
    for number, land in enumerate(["C%C3%B4te", "__HIVE_DEFAULT_PARTITION__"]):
        folder = tmp_path / "in" / f"land={land}"
        folder.mkdir(parents=True)
        (folder / "part.csv").write_bytes(HALVES[number])
    ingest_log(str(tmp_path / "in"), tmp_path / "log", schema=Schema.from_dict(raw))
    assert {row["land"] for row in read_all(tmp_path / "log")} == {"Côte", None}


def test_what_is_packed_without_end_is_one_line(tmp_path):
    """Each layer costs a buffer or a file; a log has one or two."""
    data = TEXT
    for _ in range(12):
        data = gzip.compress(data)
    (tmp_path / "log.gz").write_bytes(data)
    with pytest.raises(InputError, match="packed more than 8 times; unpack it"):
        ingested(tmp_path / "log.gz")
