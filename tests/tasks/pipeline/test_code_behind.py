"""The files behind a task: found by reading, compared with what the byte code imports, and by mutation."""

import json
import subprocess
import sys
from functools import cache
from modulefinder import ModuleFinder

import pytest
import yaml

from tasks.pipeline.code_behind import code_behind, files_behind
from tests.conftest import ROOT, copy_project

SCHEMA = "tasks/schemas/avazu.yaml"
SOURCES = {
    task["params"]["code"]["source"]: {
        name: value.replace("{{schema}}", SCHEMA) if name == "features_of" else value
        for name, value in task["params"]["code"].items()
        if name in ("besides", "features_of")
    }
    for task in yaml.safe_load((ROOT / "pipeline.yaml").read_text())["tasks"]
}
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
    if "tasks/models/__init__.py" in files:  # env.yaml names a module of it, and no byte code does
        for path in (ROOT / "tasks/models").glob("*.py"):
            files |= {path.relative_to(ROOT).as_posix()} | imported_by_module(path)
    return frozenset(files | ({"tasks/__init__.py", source} if source.endswith(".py") else set()))


@cache
def imported_by_module(path):
    """Return the files of `tasks` in the byte code of one module."""
    finder = ModuleFinder(path=[str(ROOT)], excludes=["mlflow"])
    finder.run_script(str(path))
    found = [str(module.__file__) for module in finder.modules.values() if module.__file__]
    return {file.removeprefix(f"{ROOT}/") for file in found if file.startswith(f"{ROOT}/tasks/")}


@pytest.mark.parametrize("source", SOURCES)
def test_what_is_found_is_what_the_byte_code_imports(source):
    """Imports inside functions included; the source itself counts where it is a module."""
    assert set(files_behind(source)) - {source} == imported(source) - {source}


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
    """For each module in turn: the sources whose digest changes when it is edited."""
    project = copy_project(tmp_path_factory.mktemp("lineage") / "project")
    code = (
        "import json, sys, time; from pathlib import Path; from tasks.pipeline.code_behind import code_behind\n"
        "sources, modules = json.load(sys.stdin)\n"
        "digests = lambda: {source: code_behind(source, **more) for source, more in sources.items()}\n"
        "before, found = digests(), {}\n"
        "for name in modules:\n"
        "    path = Path(name); text = path.read_text(); path.write_text(text + '\\n# changed\\n')\n"
        "    found[name] = [source for source, digest in digests().items() if digest != before[source]]\n"
        "    path.write_text(text)\n"
        "print(json.dumps(found))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=project,
        input=json.dumps([SOURCES, MODULES]),
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("module", MODULES)
def test_an_edited_module_outdates_exactly_what_executes_or_packs_it(changed, module):
    """The Bento holds all of `tasks` and the service, so `package` depends on each of them."""
    executed = {source for source in SOURCES if module in imported(source)}
    if module == "tasks/features/hour_of_day.py":  # the schema's only feature
        executed |= {source for source, more in SOURCES.items() if "features_of" in more}
    assert set(changed[module]) == executed | {"tasks/package.py"}
