"""What a person runs by hand never changes what the pipeline made: the tiny pipeline, and an afternoon of play."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import nbformat
import pytest
import yaml

from tasks.knobs.reading import read_env
from tests.conftest import copy_project, keep_tasks

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
]
KEPT = ("sgd", "sgd_optuna")
OTHER_MODEL = """
model = {"kind": "ftrl", "params": {"alpha": 0.9}, "search": {"method": "fixed"}}
training = {"max_epochs": 1, "patience": 1}
"""


def run(project: Path, *command: str, folder: str = ".") -> subprocess.CompletedProcess:
    """Run a module with the project's own copy of the library."""
    env = os.environ | {
        "PYTHONPATH": str(project),
        "BENTOML_HOME": str(project / "bentoml"),
        "COLUMNS": "160",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    command = [sys.executable, "-W", "ignore", "-m", *command]
    return subprocess.run(
        command, cwd=project / folder, env=env, capture_output=True, text=True, timeout=1800
    )


def build(project: Path) -> tuple[set[str], str]:
    """Run the pipeline, and return the tasks that ran and what was said."""
    done = run(project, "tasks.cli", "run")
    assert done.returncode == 0, done.stderr[-4000:]
    ran = {line.split()[1] for line in done.stderr.splitlines() if line.startswith("✓ ")}
    return ran, done.stderr


def change_gate(project: Path, rows: int) -> None:
    """Change a gate, so that `evaluate` and what depends on it run again."""
    env = yaml.safe_load((project / "env.yaml").read_text())
    env["gates"]["max_false_refusals"] = 0.05 - rows / 1e6
    (project / "env.yaml").write_text(yaml.safe_dump(env))


def products(project: Path) -> dict[str, str]:
    """Return a digest of each file that the pipeline wrote, Ploomber's metadata included."""
    folder = project / "products"
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not {"scratch", "store", "logs"} & {*path.relative_to(folder).parts}
    }


def versions(project: Path) -> dict[str, str]:
    """Return the version of each model that `evaluate` judged."""
    record = json.loads((project / "products/evaluation.json").read_text())
    assert set(record["verdicts"]) == set(KEPT)
    return {
        name: json.loads((project / f"products/models/{name}/model.json").read_text())["version"]
        for name in record["verdicts"]
    } | {"log_loss": {name: record["metrics"][name]["log_loss"] for name in record["verdicts"]}}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the project with two models, whose env.yaml is tiny and writes to products/, built once."""
    folder = copy_project(tmp_path_factory.mktemp("playing"))
    knobs = read_env(folder / "env.tiny.yaml")
    keep_tasks(folder, without=[f"train-{name}" for name in knobs["models"] if name not in KEPT])
    knobs["models"] = {name: knobs["models"][name] for name in KEPT}
    text = yaml.safe_dump(knobs).replace("products/tiny", "products")
    (folder / "env.yaml").write_text(text)
    done = run(folder, "tasks.cli", "parameters")
    assert done.returncode == 0, done.stderr
    build(folder)
    return folder


@pytest.fixture
def opened(project, monkeypatch):
    """Return a function that opens a notebook as JupyterLab does, with something assigned by hand, and runs it."""
    monkeypatch.chdir(project)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from tasks.jupyter.contents_manager import ContentsManager
        from tasks.jupyter.interactive import injected_cell

    def open_and_run(name: str, assigned: str = "") -> None:
        content = ContentsManager(root_dir=str(project)).get(f"notebooks/{name}.ipynb")["content"]
        injected_cell(content)["source"] += f"\n{assigned}"
        path = project / "products" / "scratch" / f"{name}-opened.ipynb"
        path.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(nbformat.from_dict(content), path)
        done = run(project, "jupyter", "execute", "--inplace", str(path), folder="notebooks")
        assert done.returncode == 0, done.stderr[-3000:]

    return open_and_run


def test_a_model_trained_by_hand_is_not_the_pipelines(project, opened):
    """The poison: another model in train.ipynb, nothing saved; then a gate changes and `evaluate` runs."""
    files, judged = products(project), versions(project)
    opened("train", OTHER_MODEL)
    assert products(project) == files
    by_hand = json.loads((project / "products/scratch/train/models/sgd/model.json").read_text())
    assert by_hand["version"] not in judged.values()
    assert build(project)[0] == set()
    change_gate(project, 501)
    assert build(project)[0] == {"evaluate", "promote", "package", "report"}
    assert versions(project) == judged


@pytest.mark.parametrize("name", ["hash_features", "evaluate"])
def test_the_other_notebooks_leave_the_products_alone_too(project, opened, name):
    """Run from top to bottom as they open."""
    files = products(project)
    opened(name)
    assert products(project) == files
    assert any((project / "products" / "scratch" / name).rglob("*.json"))


def test_saving_a_notebook_that_was_run_rebuilds_nothing(project, monkeypatch):
    """Outputs and the kernel's version are no change of a task."""
    monkeypatch.chdir(project)
    from tasks.jupyter.contents_manager import ContentsManager

    manager = ContentsManager(root_dir=str(project))
    model = manager.get("notebooks/train.ipynb")
    text = {"output_type": "stream", "name": "stdout", "text": "seen\n"}
    for count, cell in enumerate(model["content"]["cells"]):
        if cell["cell_type"] == "code":
            cell |= {"execution_count": count, "outputs": [text]}
    model["content"]["metadata"]["language_info"]["version"] = "3.12.1"
    manager.save(model, "notebooks/train.ipynb")
    assert "seen" in (project / "notebooks/train.ipynb").read_text()
    assert build(project)[0] == set()


def test_papermill_runs_a_notebook_as_it_is(project):
    """Without parameters, from the folder of notebooks or the project; it reads the pipeline's products."""
    files = products(project)
    for folder, path in ((".", "notebooks/explore.ipynb"), ("notebooks", "train.ipynb")):
        out = str(project / "products" / "scratch" / "out.ipynb")
        done = run(project, "papermill", path, out, folder=folder)
        assert done.returncode == 0, done.stderr[-3000:]
    assert products(project) == files


def test_a_hand_run_with_a_search_leaves_the_pipelines_study_alone(project, opened):
    """Its trials go to a study of another name."""
    import optuna

    store = f"sqlite:///{project}/products/store/optuna.db"

    def studies():
        return {one.study_name: one.n_trials for one in optuna.get_all_study_summaries(store)}

    before = studies()
    search = {"method": "optuna", "n_trials": 1, "storage": "sqlite:///products/store/optuna.db"}
    opened(
        "train",
        f'name = "sgd_optuna"\nmodel = {{"kind": "sgd", "params": {{}}, "search": {search}}}',
    )
    after = studies()
    assert {name: after[name] for name in before} == before
    (new,) = set(after) - set(before)
    assert "by-hand" in new


def test_a_product_that_was_overwritten_all_the_same_is_made_again(project):
    """Another model in the pipeline's own place, whatever wrote it: noticed, said, rebuilt to the same version."""
    judged = versions(project)
    source = project / "products" / "scratch" / "train" / "models" / "sgd"
    target = project / "products" / "models" / "sgd"
    shutil.copytree(source, target, dirs_exist_ok=True)
    ran, said = build(project)
    assert ran >= {"train-sgd", "evaluate", "promote"}
    assert not ran & {"ingest", "hash_features", "train-sgd_optuna"}
    assert "products/models/sgd/model.json" in said
    assert "train-sgd runs again" in said
    assert versions(project) == judged
