"""Atomic writes."""

import pytest

from tasks.errors import DiskFullError
from tasks.storage.files import open_atomic, write_atomic


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    """A failure leaves the old content and no litter."""
    path = tmp_path / "new" / "a.json"
    write_atomic(path, "old")
    with pytest.raises(TypeError):
        write_atomic(path, 3)
    assert path.read_text() == "old"
    assert [file.name for file in path.parent.iterdir()] == ["a.json"]


def test_a_new_file_is_seen_only_when_it_is_complete(tmp_path):
    """Readers meanwhile find the old content; afterwards the new one, readable by all."""
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    with open_atomic(path) as handle:
        handle.write(b"new")
        handle.flush()
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o644


def test_a_full_disk_is_named_with_the_file(tmp_path):
    """The message says which file lacked the space, and nothing partial stays."""
    path = tmp_path / "a.bin"
    with pytest.raises(DiskFullError, match=r"a\.bin: cannot be written"), open_atomic(path):
        raise OSError(28, "No space left on device")
    assert list(tmp_path.iterdir()) == []
