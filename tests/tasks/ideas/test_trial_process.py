"""What is compared after the runs of a tried step; the runs themselves are in tests/test_ideas.py."""

import json
from types import SimpleNamespace

import pytest

from tasks.ideas import trial_process
from tasks.ideas.kernel_run import Limits
from tasks.ideas.notebook import Fault
from tasks.ideas.trial_process import _changed, _differences, _last, _run_twice, _tree


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        ({"a.json": b'{"n": 1}'}, {"a.json": b'{"n": 1}'}, None),
        ({"a.json": b'{"n": 1, "t": 1}'}, {"a.json": b'{"n": 1, "t": 2}'}, "another a.json at t; seed what is random"),
        ({"a.npy": b"1"}, {"a.npy": b"2"}, "another a.npy; seed"),
        ({"a.json": b"[1]"}, {"a.json": b"[2]"}, "another a.json; seed"),
        ({"d/1.bin": b"1"}, {}, "another 1.bin; seed"),
    ],
)  # fmt: skip
def test_two_runs_that_differ_are_told_by_file_and_key(first, second, words):
    """Nothing is said where they are equal."""
    found = list(_differences(first, second))
    assert (words is None and found == []) or words in found[0]


def test_what_a_run_changed_is_seen_but_for_its_own(tmp_path):
    """New, changed and removed files; caches and products do not count."""
    for name in ("a", "b", "own/x", "kept"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("1")
    own = [str(tmp_path / "own")]
    before = _tree(tmp_path, own)
    (tmp_path / "a").write_text("22")
    (tmp_path / "b").unlink()
    (tmp_path / "new").write_text(json.dumps(1))
    (tmp_path / "own/x").write_text("22")
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__/x").write_text("1")
    assert _changed(before, _tree(tmp_path, own)) == ["a", "b", "new"]


class Task:
    """What `_last` asks of a task."""

    def __init__(self, name, *upstream):
        self.name, self.upstream = name, {one.name: one for one in upstream}


def test_only_the_last_tasks_have_to_be_built():
    """Building one builds what it needs."""
    ingest = Task("ingest")
    validate = Task("validate", ingest)
    hashed = Task("hash", validate)
    dag = {task.name: task for task in (ingest, validate, hashed)}
    assert _last(dag, ["ingest", "validate"]) == ["validate"]
    assert _last(dag, ["ingest", "hash"]) == ["hash"]
    assert _last(dag, ["ingest"]) == ["ingest"]


@pytest.mark.parametrize(
    ("runs", "words"),
    [
        ([{"products/n.json": "1"}] * 2, None),
        ([{}], "ran to its end, but did not write n.json"),
        ([{"products/n.json": "1"}, {"products/n.json": "2"}], "two runs with one seed wrote another n.json"),
        ([{"products/n.json": "1", "stray": "1"}] * 2, "writes stray, which is none of its products"),
        ([{"products/n.json": "1", "kept": "2"}] * 2, "writes kept, which is none of its products"),
        ([Fault(3, 1, "is wrong")], "code cell 3, line 1: is wrong"),
    ],
    ids=["good", "nothing", "random", "new file", "changed file", "a fault of the run"],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_step_writes_its_products_twice_the_same_and_nothing_else(
    tmp_path, monkeypatch, runs, words
):
    """The kernel is played by a function that writes what each run would."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "kept").write_text("1")
    played = iter(runs)

    def run(*args, **options):
        outcome = next(played)
        if isinstance(outcome, Fault):
            return outcome
        for name, text in outcome.items():
            (tmp_path / name).write_text(text)
        return None

    monkeypatch.setattr(trial_process, "run", run)
    product = SimpleNamespace(to_json_serializable=dict)
    params = SimpleNamespace(to_dict=lambda: {"product": product})
    task = SimpleNamespace(name="night", params=params)
    found = _run_twice(task, [tmp_path / "products/n.json"], Limits(), tmp_path / "store")
    assert (words is None and found is None) or words in str(found)
    assert not (tmp_path / "products/n.json").exists() or found
