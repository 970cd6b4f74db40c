"""What is compared after the runs of a tried step; the runs themselves are in tests/test_ideas.py."""

import json
import re
from types import SimpleNamespace

import pytest

from tasks.errors import ConfigError
from tasks.ideas import trial_process
from tasks.ideas.kernel_run import Limits
from tasks.ideas.notebook import Fault
from tasks.ideas.trial_process import (
    _changed,
    _differences,
    _failure_lines,
    _feature_problem,
    _last,
    _run_twice,
    _test_problem,
    _tree,
)
from tasks.pipeline.executor import Failure
from tasks.schema import Schema
from tests.tasks.hashing.test_store import RAW, FakeLog


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


def test_the_notebook_of_a_feature_changes_nothing_but_drafts(tmp_path, monkeypatch):
    """Arrow writes without Python's knowledge, so the files are compared."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "env.yaml").write_text("")
    monkeypatch.setattr(trial_process, "read_env", lambda path: {"products": "products"})

    def run(*args, **options):
        for name in ("products/scratch/a", "products/log/part.parquet"):
            (tmp_path / name).parent.mkdir(parents=True)
            (tmp_path / name).write_text("1")

    monkeypatch.setattr(trial_process, "run", run)
    assert trial_process.try_code("feature", "x", "x.ipynb", [], Limits()) == [
        "writes products/log/part.parquet; a feature's notebook may write below products/scratch"
    ]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("MemoryError: Unable to allocate 10.0 GiB", "MemoryError: Unable to allocate 10.0 GiB; it may take 4 GB of memory (MEMORY_GB=)"),
        ("its loss is not finite", "its loss is not finite"),
    ],
)  # fmt: skip
def test_a_task_without_memory_names_the_knob(line, expected):
    """Small limits of a notebook leave the pipeline its own; the log of a copy that is gone is not named."""
    failure = Failure("train-x", line, 1, detail="a traceback", log="products/tiny/logs/x.log")
    found = _failure_lines([failure], Limits(memory_gb=1))
    assert found == [f"on the tiny environment: train-x: {expected}"]


def test_the_whole_trial_is_confined_and_limited(tmp_path, monkeypatch):
    """Before anything of the idea runs: to the folder of its copy, and to what a pipeline needs at least."""
    done = []
    job = tmp_path / "job.json"
    said = {"kind": "step", "name": "x", "notebook": "x", "tests": [], "minutes": 1}
    job.write_text(json.dumps(said | {"memory_gb": 1}))
    for name in ("confine", "limit_memory"):
        monkeypatch.setattr(trial_process, name, lambda given: done.append(given))
    monkeypatch.setattr(trial_process, "try_step", lambda *given: [str(done)])
    monkeypatch.setattr(trial_process.sys, "argv", ["x", str(job)])
    trial_process.main()
    assert json.loads(job.with_suffix(".found").read_text()) == [str([[tmp_path], 4.0])]


def test_a_line_of_a_file_that_only_the_copy_has_is_not_named(tmp_path, monkeypatch):
    """A model's block in env.yaml is written for the trial."""

    def refuse(*given):
        raise ConfigError("env.yaml:45: `models.odd.params`: the model answers nan")

    job = tmp_path / "job.json"
    said = {"kind": "model", "name": "x", "notebook": "x", "tests": [], "minutes": 1}
    job.write_text(json.dumps(said | {"memory_gb": 1}))
    for name in ("confine", "limit_memory"):
        monkeypatch.setattr(trial_process, name, lambda given: None)
    monkeypatch.setattr(trial_process, "try_code", refuse)
    monkeypatch.setattr(trial_process.sys, "argv", ["x", str(job)])
    trial_process.main()
    assert json.loads(job.with_suffix(".found").read_text()) == ["the model answers nan"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("return size", ""),
        ("return 1 if size else None", ""),
        ("return {'0': 1, '1': 1}[size]", r"raises KeyError: '\d+', for size='\d+'; so in [\d,]+ of 1,000 rows of the log"),
        ("return [size] if size == '3' else size", r"returns a list.*for size='3'; so in"),
    ],
    ids=["good", "with a missing value", "raises on some values", "returns a list sometimes"],
)  # fmt: skip
def test_a_feature_that_fails_on_some_value_of_the_log_is_refused(make_feature, body, words):
    """With the value and the number of rows; one row is enough."""
    make_feature("made", f'@feature("size")\ndef made(size):\n    {body}\n')
    schema = Schema.from_dict(RAW | {"features": ["made"]})
    found = _feature_problem("made", schema, FakeLog())
    assert (words == "" and found == "") or re.search(words, found)


def test_a_feature_is_tried_beside_a_statistic_of_the_schema(make_feature):
    """Whose table is counted first; the statistic itself can be tried, too."""
    make_feature("made", '@feature("size")\ndef made(size):\n    return size\n')
    body = '@statistic("site")\ndef shown(impressions, clicks):\n    return impressions\n'
    make_feature("shown", body, head="from tasks.features import statistic\n")
    schema = Schema.from_dict(RAW | {"features": ["shown", "made"]})
    assert _feature_problem("made", schema, FakeLog()) == ""
    assert _feature_problem("shown", schema, FakeLog()) == ""


def test_all_rows_are_encoded_but_only_the_last_ones_surveyed(make_feature):
    """What is held of each combination of inputs is bounded, however long the log is."""
    make_feature("made", '@feature("size")\ndef made(size):\n    return size\n')
    log = FakeLog(120_000, sizes=(60_000,))
    assert _feature_problem("made", Schema.from_dict(RAW | {"features": ["made"]}), log) == ""
    assert log.spans == [(0, 120_000), (20_000, 120_000)]


@pytest.mark.slow
def test_why_a_test_fails_is_one_line(tmp_path, monkeypatch):
    """The name of the test, or of the check that it calls."""
    monkeypatch.chdir(tmp_path)
    test = "def it_learns(x):\n    assert x == 2, 'it learns nothing'\n"
    (tmp_path / "checks.py").write_text(test)
    (tmp_path / "test_a.py").write_text("from checks import it_learns\n\ndef test_it():\n    it_learns(2)\n")  # fmt: skip
    assert _test_problem("test_a.py", Limits()) == ""
    (tmp_path / "test_a.py").write_text("from checks import it_learns\n\ndef test_it():\n    it_learns(1)\n")  # fmt: skip
    assert _test_problem("test_a.py", Limits()).startswith("its test fails (it learns): AssertionError: it learns nothing")  # fmt: skip
    (tmp_path / "test_a.py").write_text("import nothing_here\n")
    assert "No module named 'nothing_here'" in _test_problem("test_a.py", Limits())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "limits", "words"),
    [
        ("while True: pass", Limits(0.03), "its test has not ended after 0.03 minutes (MINUTES=)"),
        ("x = bytearray(2**31)", Limits(1, memory_gb=1), "its test needs more than 1 GB of memory (MEMORY_GB=)"),
    ],
)  # fmt: skip
def test_a_test_without_end_or_measure_is_ended(tmp_path, monkeypatch, body, limits, words):
    """In a line, as a notebook is."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "test_a.py").write_text(f"def test_it():\n    {body}\n")
    assert _test_problem("test_a.py", limits) == words


def test_a_feature_is_called_for_the_rows_of_a_log_in_a_process_with_limits(
    tmp_path, monkeypatch, capsys
):
    """That process is told by its words; whatever is printed there is the line."""
    monkeypatch.setattr(trial_process, "_feature_problem", lambda *given: f"{given[0]} is wrong")
    monkeypatch.setattr(trial_process.Log, "open", lambda path: path)
    monkeypatch.setattr(trial_process.sys, "argv", ["x", "--on-log", "night", "products/log"])
    trial_process.main()
    assert capsys.readouterr().out == "night is wrong"
