"""What a training was made of: its tasks in order, their parameters, notebooks and files."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from tasks.pipeline.code_behind import code_behind
from tasks.pipeline.lineage_record import lineage_record, text_digest


class Task:
    """A task of Ploomber, as far as the record reads it."""

    def __init__(self, name, loc, text, *upstream, **params):
        self.name, self.upstream = name, {one.name: one for one in upstream}
        self.product = SimpleNamespace()
        self.source = type("Source", (), {"loc": loc, "__str__": lambda source: text})()
        self.params = SimpleNamespace(to_json_serializable=lambda params_only: dict(params))


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project with two modules, a notebook and a lock."""
    for name, text in {
        "pipeline.yaml": "", "requirements.lock": "numpy==2", "tasks/a.py": "from tasks import b\n", "tasks/b.py": "", "n.ipynb": '{"cells": []}',
    }.items():  # fmt: skip
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_task_up_to_the_training_is_in_it_once(project):
    """Each after those that it needs; the digest of its files is separate from its parameters."""
    digest = code_behind("tasks/a.py")
    first = Task("ingest", f"{project}/tasks/a.py:3", "def a(): ...", code=digest, data="x")
    second = Task("hash", f"{project}/n.ipynb", "1 + 1", first, bits=20)
    last = Task("train-a", Path(f"{project}/n.ipynb"), "2 + 2", second, first, seed=7)
    found = lineage_record(last)
    assert list(found["tasks"]) == ["ingest", "hash", "train-a"]
    assert found["task"] == "train-a"
    assert found["tasks"]["ingest"]["params"] == {"data": "x"}
    assert found["tasks"]["ingest"]["code"] == digest
    assert found["tasks"]["ingest"]["source"] == "tasks/a.py"
    assert found["tasks"]["train-a"]["source_digest"] == text_digest("2 + 2")
    assert list(found["files"]) == ["tasks/a.py", "tasks/b.py"]
    assert found["lock"] == text_digest("numpy==2")


def test_without_a_lock_no_packages_are_recorded(project):
    """As in a container."""
    (project / "requirements.lock").unlink()
    assert lineage_record(Task("train-a", "", ""))["lock"] is None
