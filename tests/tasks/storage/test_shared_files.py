"""Small files that several processes share, on disk and on S3."""

import threading

import pytest

from tasks.errors import ChangedError, InputError
from tasks.storage.shared_files import get_files, join, put_files, read_shared, write_shared
from tests.logs import local_s3


@pytest.fixture(params=["folder", "S3"])
def place(request, tmp_path, monkeypatch):
    """An empty place of each kind."""
    if request.param == "folder":
        yield str(tmp_path / "shared")
        return
    with local_s3(monkeypatch):
        yield "s3://bucket/shared"


def test_a_file_that_does_not_exist_is_none(place):
    """Absence is an answer, not an error."""
    assert read_shared(f"{place}/a.json") is None


def test_a_file_is_read_as_it_was_written(place):
    """Content comes back, and its mark follows the content, not the number of writes."""
    address = f"{place}/a.json"
    write_shared(address, b"one", replaces=None)
    first = read_shared(address)
    write_shared(address, b"two", replaces=first.mark)
    second = read_shared(address)
    write_shared(address, b"one", replaces=second.mark)
    assert (first.content, second.content) == (b"one", b"two")
    assert read_shared(address) == first
    assert first.mark != second.mark


@pytest.mark.parametrize("replaces", [None, "of-another-content"])
def test_a_write_that_came_second_is_refused(place, replaces):
    """Neither a new file nor a replacement overwrites what its writer has not seen."""
    address = f"{place}/a.json"
    write_shared(address, b"first", replaces=None)
    with pytest.raises(ChangedError, match=r"a\.json: changed meanwhile; run again"):
        write_shared(address, b"second", replaces=replaces)
    assert read_shared(address).content == b"first"


def test_of_concurrent_writers_none_is_lost(tmp_path):
    """Each adds one by reading, writing and trying again; in the end all are counted."""
    address = str(tmp_path / "count")
    write_shared(address, b"0", replaces=None)

    def add() -> None:
        for _ in range(5):
            while True:
                found = read_shared(address)
                try:
                    write_shared(address, b"%d" % (int(found.content) + 1), replaces=found.mark)
                    break
                except ChangedError:
                    continue

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert read_shared(address).content == b"20"


def test_files_are_copied_by_name(place, tmp_path):
    """Those that exist arrive, and the answer says which; a slash at the end makes no difference."""
    put_files({"a": b"1", "b": b"2"}, f"{place}/version/")
    into = tmp_path / "into"
    into.mkdir()
    assert get_files(f"{place}/version", into, ["a", "b", "c"]) == ["a", "b"]
    assert {path.name: path.read_bytes() for path in into.iterdir()} == {"a": b"1", "b": b"2"}


def test_an_address_without_a_key_is_refused():
    """A bucket alone names no file."""
    with pytest.raises(InputError, match="expected s3://bucket/key"):
        read_shared("s3://bucket")


@pytest.mark.parametrize(
    ("address", "place", "joined"),
    [
        ("models/champion.json", "versions/1", "models/versions/1"),
        ("champion.json", "versions/1", "versions/1"),
        ("s3://b/champion.json", "versions/1", "s3://b/versions/1"),
        ("models/champion.json", "/abs/1", "/abs/1"),
        ("models/champion.json", "s3://b/1", "s3://b/1"),
    ],
)
def test_a_relative_place_lies_beside_the_file_that_names_it(address, place, joined):
    """An absolute one is taken as it is."""
    assert join(address, place) == joined
