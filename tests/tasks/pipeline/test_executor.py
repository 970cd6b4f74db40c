"""Tasks side by side in processes; failures in one line, defects with their traceback."""

import os
import stat
import tempfile

import pytest
from papermill.exceptions import PapermillExecutionError
from ploomber import DAG
from ploomber.products import File
from ploomber.tasks import PythonCallable

from tasks.errors import DataCheckError
from tasks.pipeline import executor
from tasks.pipeline.executor import ProcessPool, TasksFailed, describe_failure
from tasks.storage.locks import lock_or_holder


def write(product):
    """Write the product."""
    with open(str(product), "w") as file:  # noqa: PTH123
        file.write("done")


def write_after(product, upstream):
    """Write a product that needs another."""
    write(product)


def refuse(product):
    """Fail as a check does."""
    raise DataCheckError("the log is empty; give another")


def crash(product):
    """Fail as a defect does."""
    raise KeyError("nobody expected this")


def vanish(product):
    """Die as a process does that ran out of memory."""
    import os

    os._exit(9)


def hang(product):
    """Loop without end, as a notebook may."""
    import time

    from tasks.storage.progress import report

    report(1, 4)
    while True:
        time.sleep(0.1)


def make_dag(tmp_path, *, time_limit_minutes=240, **functions) -> DAG:
    dag = DAG(executor=ProcessPool(tmp_path / "logs", 2, time_limit_minutes))
    dag._params.cache_rendered_status = False
    previous = None
    for name, function in functions.items():
        task = PythonCallable(function, File(tmp_path / name), dag, name=name)
        if function is write_after and previous is not None:
            previous >> task
        previous = task
    return dag


def test_all_tasks_run_once_and_then_none(tmp_path):
    """A second build of an unchanged pipeline does nothing."""
    assert (
        sum(make_dag(tmp_path, first=write, second=write_after).build(show_progress=False)["Ran?"])
        == 2
    )
    assert (
        sum(make_dag(tmp_path, first=write, second=write_after).build(show_progress=False)["Ran?"])
        == 0
    )


def test_a_known_error_is_one_line_with_its_exit_code(tmp_path):
    """A scheduler tells a failed check from an interruption by the code; tasks behind it do not run."""
    with pytest.raises(TasksFailed) as caught:
        make_dag(tmp_path, first=refuse, second=write_after).build(show_progress=False)
    (failure,) = caught.value.failures
    assert (failure.task, failure.line, failure.exit_code) == (
        "first",
        "the log is empty; give another",
        4,
    )
    assert failure.detail == ""
    assert not (tmp_path / "second").exists()


def test_a_defect_keeps_its_traceback(tmp_path):
    """What nobody foresaw must be found by its traceback."""
    with pytest.raises(TasksFailed) as caught:
        make_dag(tmp_path, first=crash).build(show_progress=False)
    assert "KeyError" in caught.value.failures[0].line
    assert "in crash" in caught.value.failures[0].detail


def test_a_killed_process_is_named(tmp_path):
    """A task that vanishes is reported as 137, the code of a process killed for its memory."""
    with pytest.raises(TasksFailed) as caught:
        make_dag(tmp_path, first=vanish).build(show_progress=False)
    assert caught.value.failures[0].exit_code == 137


def test_a_killed_process_leaves_the_others_alone(tmp_path):
    """Each task has a process of its own."""
    dag = DAG(executor=ProcessPool(tmp_path / "logs", 2))
    for name, function in (("killed", vanish), ("first", write), ("last", write)):
        PythonCallable(function, File(tmp_path / name), dag, name=name)
    with pytest.raises(TasksFailed) as caught:
        dag.build(show_progress=False)
    assert [failure.task for failure in caught.value.failures] == ["killed"]
    assert (tmp_path / "first").exists()
    assert (tmp_path / "last").exists()


def test_a_second_run_on_the_same_products_says_who_is_at_work(tmp_path):
    """Two would write the same files; it can be retried, so its exit code is that of what is temporarily unavailable."""
    with (
        lock_or_holder(tmp_path / "logs" / "run"),
        pytest.raises(TasksFailed, match=f"process {os.getpid()} is at work on") as caught,
    ):
        make_dag(tmp_path, first=write).build()
    (failure,) = caught.value.failures
    assert failure.exit_code == 8
    assert not (tmp_path / "first").exists()
    make_dag(tmp_path, first=write).build()  # the other has ended
    assert (tmp_path / "first").exists()


def test_products_below_a_file_are_one_line(tmp_path):
    """Before anything runs."""
    (tmp_path / "file").touch()
    with pytest.raises(TasksFailed) as caught:
        make_dag(tmp_path / "file", first=write).build()
    (failure,) = caught.value.failures
    assert "nothing can be written to" in failure.line
    assert "(Not a directory); make it a folder of your own" in failure.line
    assert (failure.exit_code, failure.detail) == (2, "")


def test_what_a_killed_run_left_in_the_temporary_folder_goes_with_the_next(tmp_path, monkeypatch):
    """Its own cannot, and nobody else knows whose it is; a folder of other products stays."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temp"))
    (tmp_path / "temp").mkdir()
    with executor._scratch(tmp_path / "logs") as folder, executor._scratch(tmp_path / "b") as other:
        assert folder != other
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for one in (folder, other):
        one.mkdir()
        (one / "left").touch()
    make_dag(tmp_path, first=write).build()
    assert [*(tmp_path / "temp").iterdir()] == [other]


def test_a_task_without_end_is_ended_at_its_limit(tmp_path):
    """The line names the knob, what the task last said, and its log."""
    with pytest.raises(TasksFailed) as caught:
        make_dag(tmp_path, time_limit_minutes=0.02, endless=hang).build(show_progress=False)
    (failure,) = caught.value.failures
    assert failure.exit_code == 124
    assert "was ended after 0.02 minutes (time_limit_minutes in env.yaml)" in failure.line
    assert "25% of 4 rows" in failure.line
    assert str(failure).endswith("endless.log)")


@pytest.mark.parametrize("function", [refuse, crash, vanish])
def test_every_failure_points_to_its_log(tmp_path, monkeypatch, function):
    """As a path that can be opened from here."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TasksFailed) as caught:
        make_dag(tmp_path, first=function).build(show_progress=False)
    (failure,) = caught.value.failures
    assert failure.log == "logs/first.log"
    assert str(failure) == f"first: {failure.line} (log: logs/first.log)"
    assert (tmp_path / failure.log).is_file()


@pytest.mark.parametrize(
    ("name", "exit_code"), [("InputError", 2), ("DivergenceError", 3), ("UnavailableError", 8)]
)
def test_an_error_raised_in_a_kernel_is_known_by_its_name(name, exit_code):
    """papermill carries only the name and the text of what a cell raised."""
    error = Exception("long text")
    error.ename, error.evalue = name, "train.csv not found"
    wrapped = RuntimeError("Error building task")
    wrapped.__cause__ = error
    failure = describe_failure("explore", wrapped)
    assert (failure.line, failure.exit_code) == ("train.csv not found", exit_code)


def test_a_failure_in_a_notebook_knows_its_cell():
    """By the number that people see beside it; whatever fails outside a notebook has none."""
    error = PapermillExecutionError(12, 7, "1 / 0", "ZeroDivisionError", "division by zero", [])
    wrapped = RuntimeError("Error building task")
    wrapped.__cause__ = error
    assert describe_failure("explore", wrapped).cell == 7
    assert describe_failure("ingest", RuntimeError("no")).cell is None


def test_a_killed_kernel_is_named_without_a_traceback():
    """A notebook whose kernel ran out of memory is as good as a killed process."""
    from nbclient.exceptions import DeadKernelError

    wrapped = RuntimeError("Error building task")
    wrapped.__cause__ = DeadKernelError("Kernel died")
    failure = describe_failure("train-fm", wrapped)
    assert failure.exit_code == 137
    assert failure.line.startswith("its kernel was killed")
    assert failure.detail == ""
