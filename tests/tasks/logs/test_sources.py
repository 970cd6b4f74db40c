"""Sources of raw data: files, folders, S3, and their fingerprints."""

import os

import pytest

from tasks.errors import InputError, UnavailableError
from tasks.logs.sources import fingerprint, list_files
from tasks.pipeline.code_behind import files_behind
from tests.logs import local_s3
from tests.stores import IMPATIENT_AWS


@pytest.fixture
def s3(monkeypatch):
    """An empty bucket."""
    with local_s3(monkeypatch) as client:
        yield client


@pytest.fixture
def folder(tmp_path):
    """Two data files and things that are none."""
    data = tmp_path / "data"
    (data / "more").mkdir(parents=True)
    (data / "b.csv").write_text("b")
    (data / "more" / "a.csv.gz").write_bytes(b"a")
    for name in ("_SUCCESS", ".hidden.csv", "notes.md"):
        (data / name).write_text("x")
    return data


def test_a_folder_stands_for_its_data_files_in_order(folder):
    """Hidden files, markers and other kinds are left out."""
    assert [file.name for file in list_files(str(folder))] == ["b.csv", "more/a.csv.gz"]


def test_a_missing_path_is_reported_in_one_line(tmp_path):
    """The message names the path and where a relative one starts."""
    with pytest.raises(InputError, match=r"gone\.csv: no such file or folder; check `data`"):
        list_files(str(tmp_path / "gone.csv"))


def test_a_folder_without_data_is_refused(tmp_path):
    """An empty folder is a mistake in the address."""
    with pytest.raises(InputError, match="no data in this folder"):
        list_files(str(tmp_path))


def test_a_fingerprint_follows_content_not_dates(folder):
    """Touching changes nothing; a byte does; so does another name."""
    before = fingerprint(str(folder))
    os.utime(folder / "b.csv", (1, 1))
    assert fingerprint(str(folder)) == before
    (folder / "b.csv").write_text("c")
    changed = fingerprint(str(folder))
    (folder / "b.csv").rename(folder / "c.csv")
    assert len({before, changed, fingerprint(str(folder))}) == 3


def test_an_untouched_file_is_not_read_twice(folder, tmp_path, monkeypatch):
    """The cache holds the hash of a file of the same size, time and inode."""
    cache = tmp_path / "cache.json"
    before = fingerprint(str(folder), cache_path=cache)
    monkeypatch.setattr("hashlib.file_digest", lambda *_: pytest.fail("read again"))
    assert fingerprint(str(folder), cache_path=cache) == before


def test_a_broken_cache_is_ignored(folder, tmp_path):
    """A cache is never a reason to fail."""
    cache = tmp_path / "cache.json"
    cache.write_text("{")
    assert fingerprint(str(folder), cache_path=cache) == fingerprint(str(folder))


def test_a_simulated_log_counts_by_its_knobs():
    """Their order does not matter."""
    assert fingerprint("sim://avazu?rows=10&seed=1") == fingerprint("sim://avazu?seed=1&rows=10")
    assert fingerprint("sim://avazu?rows=10&seed=1") != fingerprint("sim://avazu?rows=11&seed=1")


def test_s3_objects_are_listed_and_marked(s3):
    """A key is itself, a prefix its data files; the mark follows the content."""
    for key in ("logs/b.csv", "logs/a.csv", "logs/_SUCCESS", "logs2/c.csv"):
        s3.put_object(Bucket="bucket", Key=key, Body=b"x")
    assert [file.name for file in list_files("s3://bucket/logs")] == ["a.csv", "b.csv"]
    assert [file.name for file in list_files("s3://bucket/logs/a.csv")] == ["a.csv"]
    before = fingerprint("s3://bucket/logs/a.csv")
    s3.put_object(Bucket="bucket", Key="logs/a.csv", Body=b"y")
    assert fingerprint("s3://bucket/logs/a.csv") != before


def test_s3_is_read_in_any_order(s3):
    """Zip and Parquet seek to the end first."""
    s3.put_object(Bucket="bucket", Key="a.csv", Body=bytes(range(100)))
    (file,) = list_files("s3://bucket/a.csv")
    with file.open() as handle:
        handle.seek(-2, os.SEEK_END)
        assert handle.read() == bytes([98, 99])
        handle.seek(10)
        assert handle.read(3) == bytes([10, 11, 12])


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("s3://bucket/none", "no such object, and no data below it"),
        ("s3://nobody/a.csv", "S3 answered NoSuchBucket"),
        ("s3:///a.csv", "names no bucket"),
    ],
)
def test_a_wrong_s3_address_is_reported_in_one_line(s3, address, said):
    """boto3's exceptions do not reach the user."""
    with pytest.raises(InputError, match=said):
        list_files(address)


def test_an_object_that_changes_while_it_is_read_is_refused(s3):
    """Parts of two versions would make no log."""
    s3.put_object(Bucket="bucket", Key="a.csv", Body=b"old")
    (file,) = list_files("s3://bucket/a.csv")
    s3.put_object(Bucket="bucket", Key="a.csv", Body=b"new")
    with pytest.raises(InputError, match="changed meanwhile; run again"), file.open() as handle:
        handle.read()


def test_an_unreachable_s3_is_reported_in_one_line(monkeypatch):
    """Not a traceback, whether S3 is unavailable or the endpoint is wrong."""
    for name, value in {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        **IMPATIENT_AWS,
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("tasks.storage.s3.ATTEMPTS", 1)
    with pytest.raises(UnavailableError, match="S3 cannot be reached"):
        list_files("s3://bucket/a.csv")


@pytest.mark.parametrize(
    "step",
    [
        "tasks/promote.py",
        "tasks/report.py",
        "tasks/package.py",
        "notebooks/train.ipynb",
        "notebooks/evaluate.ipynb",
    ],
)
def test_only_what_reads_raw_data_depends_on_the_simulation(step):
    """A change of the simulated world must not make a training outdated."""
    assert [name for name in files_behind(step) if name.startswith("tasks/simulation/")] == []
    assert "tasks/simulation/simulate.py" in files_behind("tasks/ingest.py")
