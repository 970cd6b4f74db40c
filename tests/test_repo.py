"""The promises of the repository: layout, verbs, lock, notebooks, documents."""

import ast
import json
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def test_the_top_level_is_the_map():
    """A newcomer guesses every path; what was ordered is there."""
    for name in [
        "notebooks",
        "pipeline.yaml",
        "tasks",
        "bentos",
        "mlflow",
        "tests",
        "environment.yml",
        "Makefile",
        "env.yaml",
        "env.tiny.yaml",
        "pyproject.toml",
        "requirements.lock",
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "LICENSE",
    ]:
        assert (ROOT / name).exists(), name
    assert not (ROOT / "mlflow" / "__init__.py").exists(), "a package here would hide MLflow itself"


def test_bare_make_lists_every_verb():
    """Each phony verb of the Makefile has its line of help."""
    makefile = (ROOT / "Makefile").read_text()
    verbs = set(re.findall(r"^\.PHONY: (.+)$", makefile, re.M)[0].split())
    for line in re.findall(r"^\.PHONY: (.+)$", makefile, re.M):
        verbs |= set(line.split())
    shown = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert {verb for verb in verbs if f"make {verb} " not in shown} == set()


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md", "ARCHITECTURE.md"])
def test_every_make_command_in_the_documents_exists(document):
    """Documents name no verb that the Makefile does not have."""
    makefile = (ROOT / "Makefile").read_text()
    named = set(
        re.findall(r"\bmake ([a-z][a-z-]+)\b(?=[^\n]*)", "\n".join(_code_of(ROOT / document)))
    )
    assert {verb for verb in named if not re.search(rf"^{verb}:", makefile, re.M)} == set()


def _code_of(path: Path) -> list[str]:
    text = path.read_text()
    return re.findall(r"```.*?\n(.*?)```", text, re.S) + re.findall(r"`([^`\n]+)`", text)


def test_the_readme_tree_is_the_top_level():
    """Every entry that is tracked is in the tree, and nothing else is."""
    tree = next(block for block in _code_of(ROOT / "README.md") if "pipeline.yaml  " in block)
    named = {line.split()[0].rstrip("/") for line in tree.splitlines() if line}
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert named == {path.split("/")[0] for path in tracked}


def test_the_lock_is_hashed_and_names_no_index():
    """Every pin carries its hashes, and no address is written down."""
    lock = (ROOT / "requirements.lock").read_text()
    pins = re.findall(r"^[a-z0-9][^\n]*==[^\n]*$", lock, re.M)
    assert len(pins) > 100
    assert all(pin.endswith("\\") for pin in pins)
    assert "://" not in lock


def test_conda_gets_the_same_pins():
    """environment.yml installs the lock itself, so that there is one set of pins."""
    dependencies = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    assert "-r requirements.lock" in dependencies[-1]["pip"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_keeps_the_house_rules(path):
    """No outputs, short cells, a question as title, one parameters cell, a last word that asserts."""
    cells = json.loads(path.read_text())["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert not any(cell["outputs"] or cell["execution_count"] for cell in code)
    assert len(code) <= 25
    assert sum("".join(cell["source"]).count("\n") + 1 > 15 for cell in code) <= 2
    assert re.match(r"# .+\?", "".join(cells[0]["source"]))
    assert [cell["metadata"].get("tags") for cell in code].count(["parameters"]) == 1
    assert "assert " in "".join("".join(cell["source"]) for cell in code)
    assert "sys.path" not in "".join("".join(cell["source"]) for cell in code)


def rooms(folder):
    """Return the rows of a folder's table in ARCHITECTURE.md, in order: room to the modules it names."""
    text = (ROOT / "ARCHITECTURE.md").read_text().split(f"### {folder}/\n")[1].split("\n### ")[0]
    rows = re.findall(r"^\| `([\w/]+)/` \|.*\| (.+) \|$", text, re.M)
    return {room: re.findall(r"`(\w+)`", named) for room, named in rows}


def on_disk(folder):
    """Return the modules of a folder and of each room below it, where there are any."""
    found = {}
    for path in sorted((ROOT / folder).rglob("*.py")):
        room = path.parent.relative_to(ROOT / folder).as_posix()
        if path.stem not in ("__init__", "__main__"):
            found.setdefault(room, []).append(path.stem)
    return found


@pytest.mark.parametrize("folder", ["tasks", "bentos/ctr", "infra"])
def test_the_tables_of_the_architecture_are_the_rooms(folder):
    """Each module stands in its room's row, and each name in a row is a module."""
    named, found = rooms(folder), on_disk(folder)
    top = found.pop(".")
    if folder == "tasks":
        assert sorted(named.pop("tasks")) == top
    assert {room: sorted(modules) for room, modules in named.items()} == found


@pytest.mark.parametrize("folder", ["tasks", "bentos/ctr", "infra"])
def test_a_room_imports_only_rooms_above_it(folder):
    """The order of the table is the order of the imports."""
    order = [room for room in rooms(folder) if room != "tasks" and "/" not in room]
    package, depth = folder.replace("/", "."), folder.count("/") + 1
    wrong = []
    for number, room in enumerate(order):
        allowed = {*order[: number + 1], "errors", "schema", "aws", "settings"}
        for path in (ROOT / folder / room).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                names = _imported(node)
                parts = [name.split(".")[depth] for name in names if name.startswith(f"{package}.")]
                wrong += [(f"{room}/{path.name}", part) for part in parts if part not in allowed]
    assert wrong == []


def _imported(node):
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if not isinstance(node, ast.ImportFrom) or not node.module:
        return []
    return [f"{node.module}.{alias.name}" for alias in node.names]


def test_every_dependency_has_its_line_in_the_architecture():
    """What is installed has a reason, and a reason without a package is gone."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    optional = project["optional-dependencies"].values()
    wanted = [*project["dependencies"], *(one for group in optional for one in group)]
    names = {re.match(r"[\w-]+", one).group() for one in wanted}
    table = (ROOT / "ARCHITECTURE.md").read_text().split("## Dependencies")[1]
    cells = "\n".join(re.findall(r"^\| ([^|]+) \|", table, re.M))
    told = set(
        re.findall(r"(?<![\w<.-])[a-z][\w-]+", re.sub(r"\([^)]*\)|\[[^]]*\]|`[^`]*`", "", cells))
    )
    assert names - told == set()
    assert told - names <= {"package", "optional", "extra"}


def test_no_module_of_the_library_imports_upwards():
    """notebooks, bentos, infra and bench import tasks; tasks imports none of them."""
    pattern = re.compile(r"^\s*(?:from|import) (?:bentos|notebooks|infra|bench|tests)\b", re.M)
    assert [
        path.name for path in (ROOT / "tasks").rglob("*.py") if pattern.search(path.read_text())
    ] == []


def test_modules_do_no_work_when_imported():
    """Importing the whole light half of the library loads neither MLflow nor BentoML."""
    code = (
        "import sys, tasks.schema, tasks.evaluation.gates, tasks.registry.ledger, tasks.hashing.contract, tasks.models.artifact, tasks.logs.log;"
        "print(sorted({'mlflow', 'bentoml', 'optuna', 'ploomber', 'matplotlib'} & set(sys.modules)))"
    )
    import sys

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
