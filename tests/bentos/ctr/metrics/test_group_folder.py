"""Two servers of one home keep their metrics apart."""

import os
from pathlib import Path

from bentos.ctr.metrics.group_folder import VARIABLE, use_own_folder


def test_workers_of_one_supervisor_share_a_folder_outside_bentomls(tmp_path, monkeypatch):
    """BentoML empties its own when another server starts."""
    shared = tmp_path / "prometheus_multiproc_dir"
    shared.mkdir()
    found = []
    for supervisor in (os.getpid(), os.getpid(), os.getppid()):
        monkeypatch.setenv(VARIABLE, str(shared))
        monkeypatch.setattr(os, "getppid", lambda supervisor=supervisor: supervisor)
        use_own_folder()
        found.append(os.environ[VARIABLE])
    assert found[0] == found[1] != found[2]
    assert all(Path(path).is_dir() and shared not in Path(path).parents for path in found)
    assert Path(found[0]).stat().st_mode & 0o077 == 0


def test_folders_of_dead_servers_are_removed(tmp_path, monkeypatch):
    """And of those whose number another process has now; nothing else."""
    monkeypatch.setenv(VARIABLE, str(tmp_path / "prometheus_multiproc_dir"))
    dead, reused = tmp_path / "prometheus-4194304-1.00", tmp_path / f"prometheus-{os.getpid()}-1.00"
    other = tmp_path / "prometheus-notes-x"
    for path in (dead, reused, other):
        path.mkdir()
    use_own_folder()
    assert [path.exists() for path in (dead, reused, other)] == [False, False, True]


def test_a_folder_that_someone_chose_is_kept(tmp_path, monkeypatch):
    """Such as that of a test or of another server."""
    for path in ("", str(tmp_path)):
        monkeypatch.setenv(VARIABLE, path)
        use_own_folder()
        assert os.environ[VARIABLE] == path
    assert list(tmp_path.iterdir()) == []
