"""The files behind a task: found by reading, compared with what the byte code imports, and by mutation."""

import json
import subprocess
import sys
from functools import cache
from modulefinder import ModuleFinder

import pytest
import yaml

from tasks.models import KINDS, scorer_module
from tasks.pipeline.code_behind import code_behind, files_behind
from tests.conftest import ROOT, copy_project

SCHEMA = "tasks/schemas/avazu.yaml"
ENV = yaml.safe_load((ROOT / "env.yaml").read_text())
FILLED = {"{{schema}}": SCHEMA, "{{models}}": ENV["models"]}


def filled(value):
    """Return an argument of `code_behind` with what stands in env.yaml."""
    if isinstance(value, list):
        return [filled(one) for one in value]
    return FILLED.get(value, value) if isinstance(value, str) else value


CODE = {
    task["name"]: {
        name: filled(value)
        for name, value in task["params"]["code"].items()
        if name != "dotted_path"
    }
    for task in yaml.safe_load((ROOT / "pipeline.yaml").read_text())["tasks"]
}  # by task
SOURCES = sorted({code["source"] for code in CODE.values()})
MODULES = sorted(
    path.relative_to(ROOT).as_posix()
    for folder in ("tasks", "bentos")
    for path in (ROOT / folder).rglob("*.py")
)


@cache
def imported(source):
    """Return the files of `tasks` in the byte code of a source, as the standard library finds them."""
    finder = ModuleFinder(path=[str(ROOT)], excludes=["mlflow"])  # the folder mlflow/ is no package
    if source.endswith(".ipynb"):
        cells = json.loads((ROOT / source).read_text())["cells"]
        code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
        module = finder.add_module("__main__")
        finder.scan_code(compile("\n".join(code), source, "exec"), module)
    else:
        finder.run_script(str(ROOT / source))
    found = [str(module.__file__) for module in finder.modules.values() if module.__file__]
    files = {file.removeprefix(f"{ROOT}/") for file in found if file.startswith(f"{ROOT}/tasks/")}
    return frozenset(files | ({"tasks/__init__.py", source} if source.endswith(".py") else set()))


@cache
def imported_by_module(path):
    """Return the files of `tasks` in the byte code of one module."""
    finder = ModuleFinder(path=[str(ROOT)], excludes=["mlflow"])
    finder.run_script(str(path))
    found = [str(module.__file__) for module in finder.modules.values() if module.__file__]
    return {file.removeprefix(f"{ROOT}/") for file in found if file.startswith(f"{ROOT}/tasks/")}


def executed_by(task):
    """Return the files of `tasks` that a task executes, imported or called by a name in env.yaml or the schema."""
    code = CODE[task]
    files = set(imported(code["source"]))
    if task in ("evaluate", "package"):  # any model, such as the champion
        named = list((ROOT / "tasks/models").glob("*.py"))
    else:
        block = ENV["models"].get(task.removeprefix("train-"), {"kind": "none"})
        module = KINDS.get(block["kind"], "").partition(":")[0]
        named = [
            ROOT / f"{one.replace('.', '/')}.py" for one in (module, scorer_module(block["kind"]))
        ]
        named = [path for path in named if path.is_file()]
    for path in named:
        files |= {path.relative_to(ROOT).as_posix()} | imported_by_module(path)
    return files | ({"tasks/features/hour_of_day.py"} if "features_of" in code else set())


@pytest.mark.parametrize("source", SOURCES)
def test_what_is_found_is_what_the_byte_code_imports(source):
    """Imports inside functions included; the source itself counts where it is a module."""
    assert set(files_behind(source, models={})) - {source} == imported(source) - {source}


MODEL_FILES = {
    "a/__init__.py": "",
    "a/own.py": "from tasks.a.part import x",
    "a/part.py": "x = 1",
    "models/__init__.py": "",
    "models/other.py": "from tasks.a import other",
    "a/other.py": "",
}


@pytest.mark.parametrize(
    "block",
    [
        {"kind": "tasks.a.own:Own"},
        {"kind": "sklearn.pipeline:Pipeline", "params": {"steps": [["x", {"kind": "tasks.a.own:Own"}]]}},
        {"kind": "x:Y", "search": {"grid": {"estimator": [{"kind": "tasks.a.own:Own"}]}}},
    ],
)  # fmt: skip
def test_a_training_depends_on_its_own_kind_alone(tmp_path, monkeypatch, block):
    """On what its block names and what that imports; another file of `tasks/models` changes nothing."""
    (tmp_path / "pipeline.yaml").write_text("")
    for name, text in MODEL_FILES.items():
        path = tmp_path / "tasks" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "x.py").write_text("from tasks import models")
    monkeypatch.chdir(tmp_path)
    own = [f"tasks/{name}" for name in ("a/__init__.py", "a/own.py", "a/part.py")]
    room = "tasks/models/__init__.py"
    models = {"m": block, "n": {"kind": "tasks.models.other:Other"}}
    assert files_behind("x.py", model="m", models=models) == [*own, room, "x.py"]
    assert files_behind("x.py", models={}) == files_behind("x.py", models=models) == [room, "x.py"]
    assert {"tasks/models/other.py", "tasks/a/other.py"} < set(files_behind("x.py"))
    for malformed in (None, [], {"m": None}, {"m": {"kind": 3}}, {"m": {"kind": "tasks.gone:X"}}):
        assert "x.py" in files_behind("x.py", model="m", models=malformed)


def test_each_training_names_its_own_model():
    """One that names another would not train again when its own kind changes."""
    for task, code in CODE.items():
        assert code.get("model", "") == (task[6:] if task.startswith("train-") else "")


def test_the_simulator_is_behind_ingest_alone():
    """A change of the simulated world retrains nothing by its code."""
    behind = {
        source for source in SOURCES if any("/simulation/" in file for file in files_behind(source))
    }
    assert behind <= {"tasks/ingest.py"}


def test_every_task_has_its_digest_and_those_that_read_the_schema_name_it():
    """A changed schema file rebuilds what reads it."""
    for task in yaml.safe_load((ROOT / "pipeline.yaml").read_text())["tasks"]:
        code = task["params"]["code"]
        source = task["source"]
        assert code["source"] in (source, f"{source.rsplit('.', 1)[0].replace('.', '/')}.py")
        if "schema" in task["params"]:
            assert "{{schema}}" in code["besides"]


@pytest.mark.parametrize("change", ["edit", "add", "rename"])
def test_a_digest_sees_contents_and_names(tmp_path, monkeypatch, change):
    """A folder named besides counts with all it holds."""
    (tmp_path / "pipeline.yaml").write_text("")
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks/a.py").write_text("from tasks import b\n")
    (tmp_path / "tasks/b.py").write_text("")
    (tmp_path / "service").mkdir()
    (tmp_path / "service/x.json").write_text("1")
    monkeypatch.chdir(tmp_path)
    before = code_behind("tasks/a.py", ["service"])
    assert code_behind("tasks/a.py", ["service"]) == before
    if change == "edit":
        (tmp_path / "tasks/b.py").write_text("1")
    elif change == "add":
        (tmp_path / "service/y.json").write_text("")
    else:
        (tmp_path / "service/x.json").rename(tmp_path / "service/z.json")
    assert code_behind("tasks/a.py", ["service"]) != before


def test_the_features_of_a_schema_count_with_what_they_import(tmp_path, monkeypatch):
    """For a task that calls them; one that is missing, or a schema that is no mapping, is left to the task."""
    (tmp_path / "pipeline.yaml").write_text("")
    (tmp_path / "x.py").write_text("")
    (tmp_path / "tasks/features").mkdir(parents=True)
    (tmp_path / "tasks/features/a.py").write_text("from tasks.features.b import b\n")
    for name in ("b", "c"):
        (tmp_path / f"tasks/features/{name}.py").write_text("")
    monkeypatch.chdir(tmp_path)
    schema = tmp_path / "schema.yaml"
    schema.write_text("features: [a, gone]\n")
    assert files_behind("x.py") == ["x.py"]
    found = files_behind("x.py", features_of="schema.yaml")
    assert found == ["tasks/features/a.py", "tasks/features/b.py", "x.py"]
    for text in ("[1]", "features: 3", "a: [", ""):
        schema.write_text(text)
        assert files_behind("x.py", features_of="schema.yaml") == ["x.py"]


def test_what_tools_leave_behind_does_not_count(tmp_path, monkeypatch):
    """Byte code and a bundled model appear while things run."""
    (tmp_path / "pipeline.yaml").write_text("")
    (tmp_path / "service/__pycache__").mkdir(parents=True)
    (tmp_path / "service/x.py").write_text("")
    monkeypatch.chdir(tmp_path)
    before = code_behind("service/x.py", ["service"])
    (tmp_path / "service/__pycache__/x.pyc").write_text("1")
    assert code_behind("service/x.py", ["service"]) == before


def test_a_syntax_error_is_left_to_the_task(tmp_path, monkeypatch):
    """Running it reports the line; finding its files does not fail first."""
    (tmp_path / "pipeline.yaml").write_text("")
    (tmp_path / "broken.py").write_text("def (:\n")
    monkeypatch.chdir(tmp_path)
    assert files_behind("broken.py") == ["broken.py"]


@pytest.mark.parametrize(
    "cell",
    [
        "files = !ls",
        "Log?",
        "if True:\n    %time x = 1",
        "    %time import tasks.b",
        "def (:",
        "%%bash\nfor x in *; do echo $x; done",
        "%%time\nimport tasks.b",
        "await x",
    ],
)
def test_a_cell_with_a_magic_hides_no_import(tmp_path, monkeypatch, cell):
    """Its own imports count, too; a cell that is no Python counts for nothing, the others stay."""
    (tmp_path / "pipeline.yaml").write_text("")
    (tmp_path / "tasks").mkdir()
    for name in ("a", "b"):
        (tmp_path / f"tasks/{name}.py").write_text("")
    cells = [
        {"cell_type": "code", "source": source, "metadata": {}}
        for source in ("import tasks.a", cell)
    ]
    (tmp_path / "x.ipynb").write_text(json.dumps({"cells": cells}))
    monkeypatch.chdir(tmp_path)
    expected = ["tasks/a.py", "tasks/b.py"] if "tasks.b" in cell else ["tasks/a.py"]
    assert files_behind("x.ipynb") == expected


@pytest.fixture(scope="module")
def changed(tmp_path_factory):
    """For each module in turn: the tasks whose digest changes when it is edited."""
    project = copy_project(tmp_path_factory.mktemp("lineage") / "project")
    code = (
        "import json, sys, time; from pathlib import Path; from tasks.pipeline.code_behind import code_behind\n"
        "tasks, modules = json.load(sys.stdin)\n"
        "digests = lambda: {task: code_behind(**code) for task, code in tasks.items()}\n"
        "before, found = digests(), {}\n"
        "for name in modules:\n"
        "    path = Path(name); text = path.read_text(); path.write_text(text + '\\n# changed\\n')\n"
        "    found[name] = [task for task, digest in digests().items() if digest != before[task]]\n"
        "    path.write_text(text)\n"
        "print(json.dumps(found))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=project,
        input=json.dumps([CODE, MODULES]),
        capture_output=True,
        text=True,
        check=True,
        timeout=600,
    )
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def executed():
    """The files of each task, by :func:`executed_by`."""
    return {task: executed_by(task) for task in CODE}


@pytest.mark.slow
@pytest.mark.parametrize("module", MODULES)
def test_an_edited_module_outdates_exactly_what_executes_or_packs_it(changed, executed, module):
    """The Bento holds all of `tasks` and the service, so `package` depends on each of them."""
    tasks = {task for task in CODE if module in executed[task]}
    assert set(changed[module]) == tasks | {"package"}
