"""What ends a build: a signal, after which nothing runs on, and a killed notebook, which resumes to the same model."""

import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from tasks.errors import ClicklabError, ConfigError
from tasks.pipeline.build import build, load_failure, refuse_passwords
from tasks.pipeline.forked_kernel import preload
from tests.conftest import copy_project

BUILD = """
import sys
from tasks.pipeline.build import load_dag
from tasks.knobs.reading import read_env
from tasks.pipeline.executor import TasksFailed

try:
    load_dag(read_env("env.tiny.yaml")).build_partially("train-fm")
except TasksFailed as error:
    sys.exit(error.failures[0].exit_code)
"""
KILL_ONCE = """

EVERY_S, MAX_SHARE = 0, 1e9
_save = Checkpoint.save


def _save_and_die_once(self, learner, position):
    import os

    _save(self, learner, position)
    mark = self.path.with_name("killed")
    if (position["epoch"], position["n_batches"]) == (2, 2) and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), 9)


Checkpoint.save = _save_and_die_once
"""


@pytest.mark.slow
def test_a_killed_kernel_resumes_to_the_same_model(tmp_path):
    """Weights, metrics and curve are those of an undisturbed run; no checkpoint is left."""
    project = copy_project(tmp_path)
    with (project / "tasks" / "training" / "checkpoint.py").open("a") as file:
        file.write(KILL_ONCE)
    products = project / "products" / "tiny"

    def build():
        env = os.environ | {"PYTHONPATH": str(project)}
        command = [sys.executable, "-W", "ignore", "-c", BUILD]
        done = subprocess.run(command, cwd=project, env=env, capture_output=True, timeout=300)
        return done.returncode, done.stderr.decode()

    def outcome():
        result = json.loads((products / "train-fm.json").read_text())
        assert (products / "killed").exists()
        assert not list(
            products.glob("*.npz")
        )  # checkpoints; what models go on from stays beside them
        return result["version"], result["valid"]

    code, errors = build()
    assert code == 137, errors
    assert (products / "train-fm.checkpoint.npz").is_file()
    code, errors = build()
    assert code == 0, errors
    assert "training resumes from here" in (products / "train-fm.ipynb").read_text()
    resumed = outcome()
    (products / "train-fm.json").unlink()
    code, errors = build()
    assert code == 0, errors
    assert "training resumes" not in (products / "train-fm.ipynb").read_text()
    assert outcome() == resumed


def test_a_password_among_the_knobs_is_refused_by_its_name():
    """However deep it lies; the line does not repeat it."""
    search = {"method": "optuna", "storage": "postgresql://ann:pa55@db/optuna"}
    knobs = {"mlflow": {"ledger": "a.jsonl"}, "models": {"sgd": {"search": search}}}
    with pytest.raises(ConfigError, match=r"env.yaml: models.sgd.search.storage holds") as caught:
        refuse_passwords(knobs)
    assert "pa55" not in str(caught.value)
    refuse_passwords(knobs | {"models": [{"storage": "postgresql://ann@db/optuna"}]})


STOPPED = """
import subprocess, sys, time
from pathlib import Path
from ploomber import DAG
from ploomber.products import File
from ploomber.tasks import PythonCallable
from tasks.pipeline.build import readable_exit
from tasks.pipeline.executor import ProcessPool

def serve(product):
    server = subprocess.Popen(["sleep", "600"], start_new_session=True)
    try:
        Path("pid").write_text(str(server.pid))
        time.sleep(600)
    finally:
        Path("cleaned").touch()

dag = DAG(executor=ProcessPool("logs"))
PythonCallable(serve, File("product"), dag, name="serve")
with readable_exit():
    dag.build(show_progress=False)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_build_that_is_stopped_says_one_line_and_leaves_nothing(tmp_path, number, exit_code):
    """Ctrl-C, a scheduler's stop, a closed terminal: tasks clean up, and what they started is gone."""
    build = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", STOPPED],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),  # `nohup` has SIGHUP ignored
    )
    pid = tmp_path / "pid"
    deadline = time.monotonic() + 120
    while not (pid.exists() and pid.read_text()):
        assert build.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    server = psutil.Process(int(pid.read_text()))
    processes = psutil.Process(build.pid).children(recursive=True)
    assert server in processes
    build.send_signal(number)
    _, errors = build.communicate(timeout=60)
    assert build.returncode == exit_code
    assert errors.splitlines() == ["· serve", "interrupted; run the same command again to resume"]
    assert (tmp_path / "cleaned").exists()
    _, alive = psutil.wait_procs(processes, timeout=20)
    assert alive == []


def test_an_error_of_loading_is_one_line_where_a_person_can_mend_it():
    """Ploomber's own, and ours behind one of Ploomber's; a defect keeps its traceback."""
    failure = load_failure(KeyError("task"))
    assert (str(failure), failure.exit_code) == ("pipeline.yaml: it cannot be loaded: 'task'", 3)
    wrapped = RuntimeError("many\nlines")
    wrapped.__cause__ = ConfigError("bits must be an integer")
    failure = load_failure(wrapped)
    assert (failure.line, failure.exit_code, failure.detail) == ("bits must be an integer", 3, "")
    assert "ZeroDivisionError" in load_failure(ZeroDivisionError("x")).detail
    assert load_failure(ClicklabError("x")).exit_code == 1


BAD_TASKS = {
    "upstream: [ingst]": "Task 'extra' has an upstream dependency 'ingst', but such task doesn't exist",
    "params: {alpha: 1}": 'task extra: Error rendering task "report" initialized with function "report"',
    "produkt: 1": "got an unexpected keyword argument 'produkt'",
    'on_finish: "{{prodcts}}"': "{{prodcts}}: Ensure the placeholder is defined in the env",
    "params: {code: {dotted_path: tasks.nothing.here}}": "it cannot be loaded: ",
}


@pytest.mark.slow
def test_a_new_task_that_ploomber_cannot_load_is_one_line(tmp_path, monkeypatch):
    """Ploomber answers with dozens; its sentence is kept, without frames and advertisement."""
    project = copy_project(tmp_path / "project")
    monkeypatch.chdir(project)
    preload()  # once for the five
    pipeline = project / "pipeline.yaml"
    as_it_was = pipeline.read_text().rstrip()
    task = '  - name: extra\n    source: tasks.report.report\n    product: "{{products}}/x"'
    for line, sentence in BAD_TASKS.items():
        pipeline.write_text(f"{as_it_was}\n{task}\n    {line}\n")
        try:
            outcome = build(project / "env.tiny.yaml")
            failure = str(outcome.failures[0])
            assert outcome.failures[0].detail == ""
        except ConfigError as error:
            failure = str(error)
        assert sentence in failure
        assert "\n" not in failure
        assert "Need help" not in failure
        assert not (project / "products/tiny/log").exists()  # the store is opened meanwhile


CHECKING = """
import os, sys, time
from pathlib import Path
from tasks.pipeline import build

def check(env):
    Path("pid").write_text(str(os.getpid()))
    {}

build.check_tracking = check
build.load_dag = lambda *args, **how: time.sleep({})
outcome = build.build("env.tiny.yaml")
sys.exit(build.tell(outcome.failures))
"""


def checking(project, what, *, load_s):
    """Start a build whose check of the store does something else."""
    env = os.environ | {"PYTHONPATH": str(project)}
    code = CHECKING.format(what, load_s)
    return subprocess.Popen(
        [sys.executable, "-c", code], cwd=project, env=env, stderr=subprocess.PIPE
    )


@pytest.mark.slow
def test_a_killed_helper_of_a_build_is_one_line(tmp_path):
    """As a killed task is: it may have been the memory, and the same command resumes."""
    build = checking(copy_project(tmp_path), "os.kill(os.getpid(), 9)", load_s=0)
    _, errors = build.communicate(timeout=60)
    assert build.returncode == 137
    assert errors.decode().startswith("error: pipeline.yaml: one of its processes was killed")


@pytest.mark.slow
def test_a_helper_of_a_build_ends_with_a_parent_that_was_killed(tmp_path):
    """It waits for the next thing to do, which nobody will give it."""
    project = copy_project(tmp_path)
    build = checking(project, "return None", load_s=600)
    deadline = time.monotonic() + 60
    while not (project / "pid").exists() or not (project / "pid").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    helper = psutil.Process(int((project / "pid").read_text()))
    build.kill()
    build.communicate(timeout=10)
    helper.wait(20)
