"""What the repository promises: layout, verbs, lock, notebooks, documents."""

import ast
import json
import re
import statistics
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT, modules_below

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def test_the_folder_mlflow_is_not_a_package():
    """An ``__init__.py`` there would hide MLflow itself."""
    assert not (ROOT / "mlflow" / "__init__.py").exists()


def test_bare_make_lists_every_verb_in_80_columns():
    """Each phony verb of the Makefile has its line of help, below the title of its group."""
    makefile = (ROOT / "Makefile").read_text()
    verbs = " ".join(re.findall(r"^\.PHONY: (.+)$", makefile, re.M)).split()
    shown = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert sorted(re.findall(r"^  make ([\w-]+) +\S", shown, re.M)) == sorted(verbs)
    assert re.findall(r"^\S.+$", shown, re.M) == re.findall(r"^##@ (.+)$", makefile, re.M)
    assert [line for line in shown.splitlines() if len(line) > 80] == []


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md", "ARCHITECTURE.md"])
def test_every_make_command_in_the_documents_exists(document):
    """Documents name no verb that the Makefile does not have."""
    makefile = (ROOT / "Makefile").read_text()
    named = set(re.findall(r"\bmake ([a-z][a-z-]+)\b", "\n".join(_code_of(ROOT / document))))
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


@pytest.mark.parametrize("document", ["README.md", "notebooks/README.md"])
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_documents_quote_the_question_of_each_notebook(document, path):
    """In its row of the table, word for word the title of the notebook."""
    title = "".join(json.loads(path.read_text())["cells"][0]["source"]).splitlines()[0]
    row = f"| `{path.stem}` | {title.removeprefix('# ')} |"
    assert row in (ROOT / document).read_text(), row


@pytest.mark.parametrize("document", ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"])
def test_links_and_pictures_lead_to_files(document):
    """Relative to the root."""
    links = re.findall(r"\]\(([^)#:]+)\)", (ROOT / document).read_text())
    assert [link for link in links if not (ROOT / link).exists()] == []


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
    """No outputs, short cells, a question as title, one parameters cell, and an assert."""
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
    """Return the modules of a folder and of each room below it, but for tests."""
    found = {}
    for path in modules_below(ROOT / folder):
        room = path.parent.relative_to(ROOT / folder).as_posix()
        if path.stem not in ("__init__", "__main__") and not path.stem.startswith("test_"):
            found.setdefault(folder if room == "." else room, []).append(path.stem)
    return found


def rows_to_paste(found):
    """Return the last cell of each row as it would be right."""
    cells = {room: ", ".join(f"`{name}`" for name in names) for room, names in found.items()}
    return "\n".join(f"| `{room}/` | ... | {cell} |" for room, cell in cells.items())


@pytest.mark.parametrize("folder", ["tasks", "bentos/ctr", "infra", "bench", "tests/rehearsal"])
def test_the_tables_of_the_architecture_are_the_rooms(folder):
    """Each module stands in its room's row, and each name in a row is a module."""
    named = {room: sorted(modules) for room, modules in rooms(folder).items()}
    found = on_disk(folder)
    assert named == found, rows_to_paste(
        {room: names for room, names in found.items() if named.get(room) != names}
    )


OPTIONAL = "cluster"  # imported by functions that are given an engine
TOP = {
    "tasks": {"errors", "schema"},
    "bentos/ctr": {"settings", "positive_number"},
    "infra": {"aws"},
}


@pytest.mark.parametrize("folder", TOP)
def test_a_room_imports_only_rooms_above_it(folder):
    """The order of the table is the order of the imports; modules at the top that all may use are named."""
    order = [room for room in rooms(folder) if room != folder and "/" not in room]
    package, depth = folder.replace("/", "."), folder.count("/") + 1
    wrong = []
    for number, room in enumerate(order):
        allowed = {*order[: number + 1], *TOP[folder]}
        for path in (ROOT / folder / room).rglob("*.py"):
            for name, lazy in imports(ast.parse(path.read_text())):
                other = name.split(".")[depth] if name.startswith(f"{package}.") else room
                if other not in allowed and not (lazy and other == OPTIONAL):
                    wrong.append((f"{room}/{path.name}", name))
    assert wrong == []


def imports(node, lazy=False):
    """Yield each name that code imports, and whether a function does it when it is called."""
    if isinstance(node, ast.Import):
        yield from ((alias.name, lazy) for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module:
        yield from ((f"{node.module}.{alias.name}", lazy) for alias in node.names)
    lazy |= isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    for child in ast.iter_child_nodes(node):
        yield from imports(child, lazy)


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


def code_files():
    """Return every Python file that is not a test."""
    folders = ["tasks", "bentos", "infra", "bench"]
    tracked = subprocess.run(
        ["git", "ls-files", *folders], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    return [ROOT / name for name in tracked if name.endswith(".py")]


def test_no_file_and_no_function_is_long():
    """The limits that CONTRIBUTING.md names; docstrings of functions do not count."""
    rule = re.search(
        r"median is (\d+) lines, none is over (\d+).*?no function over (\d+)",
        " ".join((ROOT / "CONTRIBUTING.md").read_text().split()),
    )
    median, longest_file, longest_function = map(int, rule.groups())
    lengths = {path: path.read_text().count("\n") for path in code_files()}
    full = [length for length in lengths.values() if length > 1]  # more than a package's docstring
    assert abs(statistics.median(full) - median) <= 20
    assert {path.name: n for path, n in lengths.items() if n > longest_file} == {}
    assert [found for path in lengths for found in long_functions(path, longest_function)] == []


def long_functions(path, limit):
    """Return name and length of the functions of a file whose body has more lines than `limit`."""
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, functions)]
    bodies = [(node.name, node.body[1 if ast.get_docstring(node) else 0 :]) for node in nodes]
    lengths = [(name, body[-1].end_lineno - body[0].lineno + 1) for name, body in bodies if body]
    return [(path.name, name, length) for name, length in lengths if length > limit]
