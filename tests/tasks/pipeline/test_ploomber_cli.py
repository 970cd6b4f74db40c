"""The command `ploomber`: the checks of `make run`, the same knobs, and one line for what is wrong."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from tasks.errors import ConfigError, DataCheckError
from tasks.knobs.reading import read_env
from tasks.pipeline import ploomber_cli
from tasks.pipeline.executor import TasksFailed
from tests.conftest import ROOT, copy_project


@pytest.fixture()
def project(tmp_path, monkeypatch):
    """A copy of the project that the test may spoil, as the working folder."""
    folder = copy_project(tmp_path / "project")
    monkeypatch.chdir(folder)
    monkeypatch.delenv("PLOOMBER_ENV_FILENAME", raising=False)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return folder


@pytest.fixture()
def ploomber(project, monkeypatch, capsys):
    """Run a command up to where Ploomber begins; return exit code, errors, and what Ploomber would get."""

    def run(*words):
        calls = []

        def call(command, knobs):
            calls.append((command, sys.argv[1:], yaml.safe_load(knobs.read_text()), knobs))

        monkeypatch.setattr(ploomber_cli, "_call", call)
        monkeypatch.setattr(sys, "argv", ["ploomber", *words])
        try:
            ploomber_cli.main()
            code = 0
        except SystemExit as exit_:
            code = exit_.code
        return code, capsys.readouterr().err.splitlines(), calls

    return run


def edit(path, old, new):
    """Replace a text in a file, once."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def add_cell(path, source):
    """Add a code cell to the end of a notebook."""
    notebook = json.loads(path.read_text())
    cell = {
        "cell_type": "code",
        "id": "added",
        "metadata": {},
        "source": [source],
        "outputs": [],
        "execution_count": None,
    }
    path.write_text(json.dumps(notebook | {"cells": [*notebook["cells"], cell]}))


def test_ploomber_gets_the_checked_knobs_and_the_other_words(ploomber, project):
    """From a file away from the project."""
    code, errors, calls = ploomber(
        "build", "--force", "--env--hash--bits", "16", "--env--seed=8", "-p", "ingest"
    )
    assert (code, errors) == (0, [])
    ((command, words, knobs, path),) = calls
    assert (command, words) == ("build", ["--force", "-p", "ingest"])
    base = read_env(project / "env.yaml")
    assert knobs == base | {"seed": 8, "hash": base["hash"] | {"bits": 16}}
    assert not path.is_relative_to(project)
    assert not path.exists()


@pytest.mark.parametrize("folder", [".", "notebooks"])
def test_a_file_of_differences_is_laid_over_env_yaml(ploomber, project, monkeypatch, folder):
    """PLOOMBER_ENV_FILENAME names it, as in any Ploomber project; also from a folder below."""
    monkeypatch.chdir(project / folder)
    monkeypatch.setenv("PLOOMBER_ENV_FILENAME", "env.tiny.yaml")
    _, _, ((_, _, knobs, _),) = ploomber("status")
    assert knobs == read_env(project / "env.tiny.yaml")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("build", "--env--hash--bitz", "16"),
            "unknown key `hash.bitz`; did you mean `hash.bits`?",
        ),
        (
            ("build", "--env--hash--bits=many"),
            "--env--hash--bits: `hash.bits` must be an integer from 1",
        ),
        (("status", "--env--hash--bits"), "--env--hash--bits needs a value"),
        (("task", "ingest", "--env--dta", "x"), "unknown key `dta`; did you mean `data`?"),
    ],
)
def test_a_bad_option_is_one_line(ploomber, words, said):
    """Before Ploomber is even imported."""
    code, errors, calls = ploomber(*words)
    assert (code, len(errors), calls) == (3, 1, [])
    assert errors[0].startswith("error: ") and said in errors[0]


SPOILED = {
    "a knob": (lambda p: edit(p / "env.yaml", "bits: 20", "bitz: 20"), 3, "env.yaml:"),
    "broken YAML": (lambda p: edit(p / "env.yaml", "bits: 20", "\tbits: 20"), 3, "indent with spaces"),
    "a schema": (lambda p: edit(p / "tasks/schemas/avazu.yaml", "label:", "lable:"), 3, "avazu.yaml:"),
    "an override": (lambda p: add_cell(p / "notebooks/train.ipynb", "model = {}"), 2, "assigns 'model'"),
    "a syntax error": (lambda p: add_cell(p / "notebooks/explore.ipynb", "x = ("), 2, "'(' was never closed"),
    "a notebook": (lambda p: (p / "notebooks/train.ipynb").write_text("{"), 2, "not a notebook"),
    "no notebook": (lambda p: (p / "notebooks/train.ipynb").unlink(), 2, "not found; pipeline.yaml names it"),
    "pipeline.yaml": (lambda p: edit(p / "pipeline.yaml", "tasks:", "tasks: ["), 3, "pipeline.yaml:"),
    "no tasks": (lambda p: edit(p / "pipeline.yaml", "tasks:", "tasks: 1\nothers:"), 3, "must be a list of tasks"),
    "no source": (lambda p: edit(p / "pipeline.yaml", "source: tasks.report.report", "sauce: x"), 3, "no `source`"),
}  # fmt: skip


@pytest.mark.parametrize("name", SPOILED)
@pytest.mark.parametrize("command", ["build", "status", "plot"])
def test_what_is_wrong_in_a_file_is_one_line_for_every_command(ploomber, project, name, command):
    """The same as `make run` says."""
    spoil, exit_code, said = SPOILED[name]
    spoil(project)
    code, errors, calls = ploomber(command)
    assert (code, len(errors), calls) == (exit_code, 1, []), errors
    assert said in errors[0]


@pytest.mark.parametrize("change", ["add", "remove"])
def test_a_model_without_a_task_is_told_with_its_lines_only(ploomber, project, change):
    """And a task without a model; no traceback around them."""
    block = "  extra: {kind: ftrl, params: {}, search: {method: fixed}}\n"
    if change == "add":
        edit(project / "env.yaml", "training: {", f"{block}training: {{")
    else:
        edit(project / "env.yaml", "  ftrl:\n    kind: ftrl", "  other:\n    kind: ftrl")
    code, errors, _ = ploomber("status")
    assert code == 3
    assert errors[0].startswith("error: model ") and "has no task" in errors[0]
    assert not [line for line in errors if "Traceback" in line]


@pytest.mark.parametrize(
    "words", [(), ("--help",), ("build", "-h"), ("examples",), ("status", "-e", "other.yaml")]
)
def test_what_is_not_for_this_pipeline_is_ploombers_own(ploomber, monkeypatch, words):
    """Help, other commands, another entry point."""
    called = []
    router = SimpleNamespace(cmd_router=lambda: called.append(sys.argv[1:]))
    monkeypatch.setitem(sys.modules, "ploomber_cli.cli", router)
    code, errors, calls = ploomber(*words)
    assert (code, errors, calls) == (None, [], [])
    assert called == [list(words)]


def test_a_failure_of_one_task_is_told_as_in_a_whole_build():
    """`ploomber task` keeps only the text of an error otherwise."""

    class Task:
        name = "validate"

    with pytest.raises(TasksFailed) as caught:
        ploomber_cli._raise_failure(
            task=Task(), message="long", exception=DataCheckError("no rows")
        )
    (failure,) = caught.value.failures
    assert (failure.task, failure.line, failure.exit_code) == ("validate", "no rows", 4)


@pytest.mark.slow
def test_the_installed_command_is_ours_and_works(project):
    """`make setup` installs the project after Ploomber; status, one task, and a picture."""
    env = os.environ | {"PYTHONPATH": str(project), "PLOOMBER_ENV_FILENAME": "env.tiny.yaml"}

    def run(*words):
        command = [str(Path(sys.executable).parent / "ploomber"), *words]
        return subprocess.run(
            command, cwd=project, env=env, capture_output=True, text=True, timeout=300
        )

    done = run("status")
    assert done.returncode == 0, done.stderr
    assert "train-ftrl" in done.stdout
    done = run("task", "ingest", "--env--data", "absent.csv")
    assert done.returncode == 2
    (error,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert error.startswith("error: ingest: ") and "absent.csv" in error
    assert "Traceback" not in done.stderr
    done = run("plot", "-o", "picture.png")
    assert done.returncode == 0, done.stderr
    assert (project / "picture.png").read_bytes().startswith(b"\x89PNG")


def test_an_option_for_a_knob_needs_a_value():
    """Else the next word would be lost."""
    with pytest.raises(ConfigError, match="needs a value"):
        ploomber_cli._split(["--env--hash--bits"])
    assert (ROOT / "pyproject.toml").read_text().count(
        'ploomber = "tasks.pipeline.ploomber_cli:main"'
    ) == 1
