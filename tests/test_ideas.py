"""An idea from a notebook into the project and out again; what made a model, why it is out of date, and the same again.

One project with one tiny training serves all of them.
"""

import json
import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import yaml

from tasks.errors import InputError
from tasks.ideas.kernel_run import Limits, run
from tasks.ideas.promotion import Faulty, demote, promote
from tasks.knobs.reading import read_env
from tests.conftest import ROOT, copy_project
from tests.tasks.ideas.notebooks import NIGHT, WRITE, write_notebook

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings(
        "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning"
    ),
]
TRAIN = "from tasks.pipeline.ploomber_cli import main; main()"


def git(project: Path, *words: str) -> str:
    """Run git as somebody."""
    who = ["-c", "user.name=t", "-c", "user.email=t@localhost"]
    return subprocess.run(
        ["git", *who, *words], cwd=project, check=True, capture_output=True, text=True
    ).stdout


def files(project: Path) -> dict[str, bytes]:
    """Return what git knows or would: nothing else may change by a promotion."""
    names = git(project, "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
    return {name: (project / name).read_bytes() for name in names if name}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A clone in which one model was trained on the tiny environment."""
    folder = copy_project(tmp_path_factory.mktemp("ideas"))
    shutil.copy2(ROOT / "README.md", folder)
    (folder / ".gitignore").write_text("__pycache__/\nproducts/\n.bentos/\nnotebooks/scratch/\n")
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "all")
    env = os.environ | {"PYTHONPATH": str(folder), "PLOOMBER_ENV_FILENAME": "env.tiny.yaml"}
    command = [sys.executable, "-W", "ignore", "-c", TRAIN, "build", "--partially", "train-ftrl"]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.fixture
def project(built, monkeypatch):
    """The clone as the current folder; what a test changes is taken back."""
    monkeypatch.chdir(built)
    monkeypatch.setenv("COLUMNS", "400")
    yield built
    git(built, "checkout", "-q", ".")
    git(built, "clean", "-qfd")


@pytest.fixture
def result(project):
    """What the training wrote about itself."""
    return json.loads((project / "products/tiny/train-ftrl.json").read_text())


def clicklab(*words: str) -> tuple[int, str]:
    """Run a command in this process, and return exit code and all that it said."""
    from typer.testing import CliRunner

    from tasks.cli import app

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        done = CliRunner().invoke(app, [*words, "--env", "env.tiny.yaml"])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output


# ---- why


def test_what_is_up_to_date_says_when_it_was_made(project):
    """And what never ran says that."""
    assert clicklab("why", "--task", "train-ftrl")[1].startswith("train-ftrl is up to date, made 2")
    assert clicklab("why", "--task", "explore")[1] == "explore runs again:\n  it has not run yet\n"


def test_each_cause_is_named(project):
    """A file with its imports, a knob before and after, a cell, a damaged product, the task before."""
    with (project / "tasks/hashing/murmur.py").open("a") as file:
        file.write("# changed\n")
    tiny = (project / "env.tiny.yaml").read_text()
    (project / "env.tiny.yaml").write_text(tiny.replace("max_epochs: 3", "max_epochs: 4"))
    notebook = json.loads((project / "notebooks/train.ipynb").read_text())
    notebook["cells"][3]["source"].append("\n1 + 1")
    (project / "notebooks/train.ipynb").write_text(json.dumps(notebook))
    weights = project / "products/tiny/models/ftrl/weights.npy"
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    try:
        _, said = clicklab("why")
    finally:
        weights.write_bytes(content)
    parts = {
        part.split(" ")[0]: part for part in ("\n" + said).split("\n") if not part.startswith(" ")
    }
    assert "ingest" not in parts
    block = said[said.index("train-ftrl runs again:") :].split("\ntrain-fm")[0]
    for words in (
        "tasks/hashing/murmur.py changed (notebooks/train.ipynb > ",
        " > tasks/hashing/murmur.py)",
        "parameter training.max_epochs: 3 -> 4",
        "train.ipynb changed: +1 + 1",
        "products/tiny/models/ftrl/weights.npy was changed",
        "hash_features runs again",
    ):
        assert words in block
    assert "training.max_epochs" not in said[: said.index("train-sgd runs again")]


def test_other_data_are_named_and_looking_does_not_lose_the_change(project):
    """Another source is a parameter."""
    tiny = (project / "env.tiny.yaml").read_text()
    (project / "env.tiny.yaml").write_text(tiny.replace("rows=20000", "rows=20001"))
    for _ in range(2):
        _, said = clicklab("why", "--task", "ingest")
        assert (
            "parameter data: sim://avazu?rows=20000&seed=7 -> sim://avazu?rows=20001&seed=7" in said
        )


def test_a_task_that_does_not_exist_is_refused_with_the_nearest(project):
    """One line."""
    assert clicklab("why", "--task", "train-ftlr") == (3, "error: pipeline.yaml has no task 'train-ftlr'; did you mean train-ftrl?\n")  # fmt: skip


# ---- lineage and replay


def test_the_lineage_of_a_model_names_all_that_it_was_made_of(project, result):
    """Commit, parameters, data, notebooks, packages; found by run and by version."""
    code, said = clicklab("lineage", "--run", result["run_id"])
    assert code == 0, said
    commit = git(project, "rev-parse", "HEAD")[:12]
    for words in (
        f"ftrl, version {result['version']}; not registered",
        f"commit {commit}, nothing uncommitted",
        "alpha 0.05",
        "sim://avazu?rows=20000&seed=7, origin sim://avazu, digest",
        "notebooks/train.ipynb",
        "notebook/train-ftrl.html",
        "requirements.lock",
        "the one here",
        "none: no evaluation has judged it",
    ):
        assert words in said
    assert clicklab("lineage", "--version", result["version"]) == (0, said)


def test_a_replay_is_equal_to_the_bit(project, result):
    """In a worktree of its own, which is removed."""
    before = files(project)
    code, said = clicklab("replay", result["version"])
    assert code == 0, said
    assert (
        f"{result['version']} is equal to the bit: model.json, valid-logits.npy, weights.npy\n"
        in said
    )
    assert "not as committed" not in said
    assert len(git(project, "worktree", "list").splitlines()) == 1
    assert files(project) == before
    assert not (project / "products/tiny/replay" / result["run_id"][:12]).exists()


# ---- where an idea begins


@pytest.mark.parametrize("name", ["new_feature", "new_model"])
def test_the_notebooks_where_ideas_begin_run_top_to_bottom(project, name, tmp_path):
    """On the tiny log, without a champion, with a statistic in the schema; nothing is written."""
    before = files(project)
    declared = yaml.safe_load((project / "tasks/schemas/avazu.yaml").read_text())
    schema = tmp_path / "schema.yaml"
    declared["features"].append("campaign_rate")
    schema.write_text(yaml.safe_dump(declared, sort_keys=False))
    given = {"products": "products/tiny", "schema": str(schema)}
    assert run(f"notebooks/{name}.ipynb", project, parameters=given) is None
    assert files(project) == before


# ---- promotion


def test_a_notebook_becomes_a_step_and_leaves_again(project):
    """The diff is what was written; the task runs by its name; demote leaves the project as it was."""
    before = files(project)
    write_notebook(project / "notebooks/scratch/night.ipynb", *NIGHT)
    done = promote("notebooks/scratch/night.ipynb", after="validate")
    assert (done.kind, done.name) == ("step", "night")
    changed = {name for name, content in files(project).items() if before.get(name) != content}
    assert changed == {"notebooks/night.ipynb", "notebooks/promoted.json", "notebooks/README.md", "README.md", "pipeline.yaml"}  # fmt: skip
    assert all(f"+++ b/{name}\n" in done.diff for name in changed - {"notebooks/promoted.json"})
    task = next(one for one in yaml.safe_load((project / "pipeline.yaml").read_text())["tasks"] if one["name"] == "night")  # fmt: skip
    assert task["upstream"] == ["ingest", "validate"]
    assert not (project / "products/tiny/night.json").exists(), "the trial writes in its copy"
    assert clicklab("why", "--task", "night")[1] == "night runs again:\n  it has not run yet\n"
    promoted = (project / "pipeline.yaml").read_text()
    needed = promoted.replace('"train-*", evaluate]', '"train-*", evaluate, night]', 1)
    (project / "pipeline.yaml").write_text(needed)
    with pytest.raises(InputError, match=r"promote needs night \(`upstream` in pipeline.yaml\)"):
        demote("night")
    (project / "pipeline.yaml").write_text(promoted)
    demote("night")
    assert files(project) == before


@pytest.mark.parametrize(
    ("last", "words"),
    [
        (WRITE.replace("float(rates[True])", "__import__('random').random()"), "two runs with one seed wrote another night.json at night"),
        ("assert gone", "code cell 4, line 1: uses 'gone', which no cell defines"),
    ],
    ids=["found by running", "found by reading"],
)  # fmt: skip
def test_a_failed_check_changes_nothing(project, last, words):
    """Other faults are tested where they are found: tests/tasks/ideas."""
    before = files(project)
    write_notebook(project / "notebooks/scratch/night.ipynb", *NIGHT[:-1], last)
    with pytest.raises(Faulty) as caught:
        promote("notebooks/scratch/night.ipynb", limits=Limits(2))
    assert words in caught.value.faults[0]
    assert files(project) == before
    assert read_env(project / "env.yaml")


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("notebook", "name", "written"),
    [
        ("new_feature", "category_daypart", {"tasks/features/category_daypart.py", "tests/tasks/features/test_category_daypart.py", "tasks/schemas/avazu.yaml"}),
        ("new_model", "click_rate", {"tasks/models/click_rate.py", "tests/tasks/models/test_click_rate.py", "env.yaml", "pipeline.yaml"}),
    ],
)  # fmt: skip
def test_a_feature_and_a_model_go_in_and_out(project, notebook, name, written):
    """Their tests and the whole tiny pipeline run in the copy."""
    shutil.copytree(ROOT / "tests", project / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    idea = project / "notebooks/scratch/idea.ipynb"
    idea.parent.mkdir(exist_ok=True)
    shutil.copy2(project / f"notebooks/{notebook}.ipynb", idea)
    (project / "products/log").unlink(missing_ok=True)
    (project / "products/log").symlink_to("tiny/log")
    before = files(project)
    assert promote("notebooks/scratch/idea.ipynb").name == name
    changed = {path for path, content in files(project).items() if before.get(path) != content}
    assert changed == written | {"notebooks/promoted.json"}
    demote(name)
    assert files(project) == before
    (project / "products/log").unlink()
