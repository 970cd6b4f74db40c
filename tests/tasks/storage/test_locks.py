"""Locks between processes."""

import subprocess
import sys

from tasks.storage.locks import file_lock

_TRY = """
import fcntl, sys
with open(sys.argv[1], "w") as lock:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit(3)
"""


def is_locked(path) -> bool:
    """Return whether another process would have to wait for the lock."""
    done = subprocess.run([sys.executable, "-c", _TRY, str(path)], check=False)
    assert done.returncode in (0, 3)
    return done.returncode == 3


def test_another_process_waits_while_the_lock_is_held(tmp_path):
    """And no longer; the folder is created."""
    with file_lock(tmp_path / "new" / "a.json"):
        assert is_locked(tmp_path / "new" / ".a.json.lock")
    assert not is_locked(tmp_path / "new" / ".a.json.lock")
