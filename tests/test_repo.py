"""The promises of the repository: layout, verbs, lock, notebooks, documents."""

import json
import re
import subprocess
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


def test_every_path_in_the_readme_tree_exists():
    """The annotated tree is the real one."""
    tree = next(
        block
        for block in _code_of(ROOT / "README.md")
        if "pipeline.yaml" in block and "tasks/" in block
    )
    paths = [line.split()[0] for line in tree.splitlines() if line and not line.startswith(" ")]
    assert len(paths) >= 12
    assert [path for path in paths if not (ROOT / path).exists()] == []


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


def test_every_module_has_its_line_in_the_architecture():
    """A room that is not on the plan is a room nobody finds."""
    text = (ROOT / "ARCHITECTURE.md").read_text()
    named = set(re.findall(r"`([a-z_]+)/?`", text))
    modules = {
        path.stem
        for path in (ROOT / "tasks").glob("*")
        if path.suffix == ".py" or (path / "__init__.py").is_file()
    }
    assert modules - named - {"__init__"} == set()


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
