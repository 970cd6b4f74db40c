"""How far a task is: one line, to a file or below a cell, and rarely."""

import pytest

from tasks.storage import progress


class Clock:
    """A clock that tests set."""

    now = 1000.0

    def monotonic(self):
        """Return the time that was set."""
        return self.now


@pytest.fixture()
def clock(monkeypatch):
    """A clock of the test's own, and a fresh state."""
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    monkeypatch.setattr(progress, "_STATE", progress._State())
    return clock


@pytest.fixture()
def told(monkeypatch, clock):
    """The lines that were passed on."""
    lines = []
    monkeypatch.setattr(progress, "_tell", lines.append)
    return lines


def test_reports_are_passed_on_five_times_a_second(told, clock):
    """However many batches there are."""
    for _ in range(1000):
        progress.report(1, 2)
        clock.now += 0.001
    assert len(told) == 5


def test_the_time_left_follows_from_the_share_that_is_done(told, clock):
    """A quarter took ten seconds; three quarters are left."""
    progress.report(0, 400)
    clock.now += 10
    progress.report(100, 400)
    assert told == ["0% of 400 rows", "25% of 400 rows, 0:30 left"]


def test_trials_and_epochs_count_as_shares_of_the_whole(told, clock):
    """Half of the first of two epochs of the second of four trials: 5/16."""
    progress.report(0, 100, epoch=(1, 2))
    clock.now += 50
    with progress.trial(2, 4):
        progress.report(50, 100, epoch=(1, 2), loss=0.5)
    assert (
        told[-1] == "trial 2 of 4, epoch 1 of 2, 50% of 100 rows, log loss 0.5000, up to 1:50 left"
    )


def test_a_new_stretch_of_work_starts_the_estimate_anew(told, clock):
    """The next part begins at its first row."""
    progress.report(90, 100)
    clock.now += 100
    progress.report(10, 100)
    clock.now += 0.5
    progress.report(20, 100)
    assert told[1:] == ["10% of 100 rows", "20% of 100 rows"]


def test_without_a_total_the_rows_are_counted(told, clock):
    """A CSV does not say how many there are."""
    progress.report(65_536)
    assert told == ["65,536 rows"]


def test_a_trial_that_fails_is_forgotten(told, clock):
    """The next report names no trial."""
    with pytest.raises(ValueError, match="x"), progress.trial(1, 2):
        raise ValueError("x")
    progress.report(1, 2)
    assert told == ["50% of 2 rows"]


def test_the_line_goes_to_the_file_that_the_environment_names(monkeypatch, tmp_path, clock):
    """And a file that cannot be written loses nobody's work."""
    monkeypatch.setenv(progress.FILE, str(tmp_path / "line"))
    progress.report(1, 2)
    assert (tmp_path / "line").read_text() == "50% of 2 rows"
    monkeypatch.setenv(progress.FILE, str(tmp_path / "absent" / "line"))
    clock.now += 1
    progress.report(2, 2)


def test_outside_a_run_and_jupyterlab_nothing_is_shown(monkeypatch, capsys, clock):
    """A script or papermill alone stays silent."""
    for name in (progress.FILE, "JPY_SESSION_NAME"):
        monkeypatch.delenv(name, raising=False)
    progress.report(1, 2)
    assert capsys.readouterr() == ("", "")


def test_jupyterlab_gets_one_line_per_cell_that_is_replaced(monkeypatch, clock):
    """The first report of a cell shows it, later ones update it."""
    import IPython.core.getipython
    import IPython.display

    class Shell:
        execution_count, user_ns = 4, {}

    shown = []
    monkeypatch.delenv(progress.FILE, raising=False)
    monkeypatch.setenv("JPY_SESSION_NAME", "a.ipynb")
    monkeypatch.setattr(IPython.core.getipython, "get_ipython", Shell)
    monkeypatch.setattr(
        IPython.display,
        "display",
        lambda data, raw, display_id, update: shown.append(
            (data["text/plain"], display_id, update)
        ),
    )
    for _ in range(2):
        progress.report(1, 2)
        clock.now += 2
    Shell.execution_count = 5
    progress.report(1, 2)
    assert shown == [
        ("50% of 2 rows", "clicklab-progress-4", False),
        ("50% of 2 rows, 0:02 left", "clicklab-progress-4", True),
        ("50% of 2 rows, 0:04 left", "clicklab-progress-5", False),
    ]


@pytest.mark.slow
@pytest.mark.parametrize(("variable", "n_outputs"), [("JPY_SESSION_NAME", 1), ("OTHER", 0)])
def test_in_a_real_kernel_the_cell_shows_its_last_line_only(monkeypatch, variable, n_outputs):
    """JupyterLab's server names the session; a kernel of papermill has no such name and stays silent."""
    import nbformat
    from nbclient import NotebookClient

    for name in (progress.FILE, "JPY_SESSION_NAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, "a.ipynb")
    source = """
import time
from tasks.storage.progress import report
for n_rows in (10, 20, 30):
    report(n_rows, 30)
    time.sleep(0.3)
"""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    outputs = notebook.cells[0].outputs
    assert [output["data"]["text/plain"] for output in outputs] == ["100% of 30 rows"] * n_outputs


@pytest.mark.slow
def test_a_known_error_is_one_line_in_a_notebook():
    """papermill alone, or a person in JupyterLab, gives a function of the library what it cannot use."""
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError

    source = """
from tasks.hashing.contract import HashContract
from tasks.schema import load_schema
HashContract.from_schema(load_schema("avazu"), bits="16")
"""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
    with pytest.raises(CellExecutionError):
        NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    (output,) = notebook.cells[0].outputs
    assert output["traceback"] == [
        "ConfigError: hash: bits must be an integer from 1 to 30, found '16'"
    ]
