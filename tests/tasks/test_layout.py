"""Files import one another without a circle and do nothing else meanwhile; docstrings name what exists."""

import ast
import importlib.util
import json
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests.conftest import ROOT, modules_below

PACKAGES = ("tasks", "bentos", "infra", "bench", "tests")
FILES = [path for package in PACKAGES for path in modules_below(ROOT / package)]
TASKS = [path for path in FILES if path.is_relative_to(ROOT / "tasks")]
_ROLE = re.compile(r":(?:func|meth|class|mod|data|attr):`~?([\w.]+)`")


@cache
def tree_of(path: Path) -> ast.Module:
    """Return a file, parsed."""
    return ast.parse(path.read_text())


def name_of(path: Path) -> str:
    """Return the dotted name of a module."""
    return (
        path.relative_to(ROOT)
        .with_suffix("")
        .as_posix()
        .replace("/", ".")
        .removesuffix(".__init__")
    )


MODULES = {name_of(path): path for path in FILES}


# ---- imports


def imported(path: Path) -> set[str]:
    """Return the modules of this repository that a file imports, lazily or not."""
    found = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return {name for name in found if name in MODULES and MODULES[name].stem != "__init__"}


def test_no_files_import_one_another_in_a_circle():
    """What may be taken away first: a file that nothing left imports; in the end none is left."""
    left = {name: imported(path) - {name} for name, path in MODULES.items() if path in TASKS}
    while free := {name for name in left if not any(name in names for names in left.values())}:
        left = {name: names for name, names in left.items() if name not in free}
    assert left == {}


def test_the_library_imports_none_of_its_users():
    """Notebooks, service, infrastructure and benchmark import the library, never the other way."""
    found = {name_of(path): imported(path) for path in TASKS}
    users = PACKAGES[1:]
    allowed = {"tasks.serving.proof", "tasks.package"}  # they run the service that they prove
    assert {
        name
        for name, names in found.items()
        if any(other.startswith(tuple(f"{user}." for user in users)) for other in names)
    } <= allowed


_WORK = ast.For | ast.While | ast.With | ast.Try | ast.Expr


@pytest.mark.parametrize("path", TASKS, ids=name_of)
def test_a_module_only_defines_things(path):
    """Imports, definitions, constants and the `__main__` clause; the one exception says why it must be."""
    if name_of(path) == "tasks.pipeline":
        assert "sys.modules.setdefault" in path.read_text()
        return
    statements = [
        node
        for node in tree_of(path).body
        if isinstance(node, _WORK)
        and not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
    ]
    assert [ast.unparse(node) for node in statements] == []


_IMPORT_ALL = """
import importlib, json, sys
seen = []
def note(event, args):
    if event == "open" and isinstance(args[1], str) and set(args[1]) & set("wax+"):
        seen.append(f"writes {args[0]}")
    elif event in ("socket.connect", "subprocess.Popen", "os.mkdir"):
        seen.append(f"{event} {args[0]}")
sys.addaudithook(note)
for name in sys.argv[1:]:
    importlib.import_module(name)
heavy = ("mlflow", "optuna", "boto3", "bentoml", "dask", "papermill", "pandera")
print(json.dumps({"seen": seen, "heavy": [name for name in heavy if name in sys.modules]}))
"""


@pytest.mark.slow
def test_importing_the_library_writes_nothing_and_connects_to_nothing():
    """Only Ploomber and matplotlib do work, beneath `figures`, `pipeline` and the rooms after it; the rest waits for its use."""
    other = {"pipeline", "jupyter", "figures", "provenance", "ideas"}
    names = [name_of(path) for path in TASKS if not other & {*path.parts}]
    command = [sys.executable, "-B", "-c", _IMPORT_ALL, *names]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert [line for line in found["seen"] if "__pycache__" not in line] == []  # Numba's cache
    assert found["heavy"] == []


# ---- what docstrings name


def members(node: ast.ClassDef) -> set[str]:
    """Return the methods and attributes that a class gives itself."""
    found = {
        item.name for item in node.body if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    for item in ast.walk(node):
        if isinstance(item, ast.AnnAssign | ast.Assign):
            targets = item.targets if isinstance(item, ast.Assign) else [item.target]
            found |= {target.id for target in targets if isinstance(target, ast.Name)}
            found |= {target.attr for target in targets if isinstance(target, ast.Attribute)}
    return found


@cache
def names_in(module: str) -> frozenset[str]:
    """Return all that a module defines or imports, with members as ``Class.member`` and by themselves."""
    found = set()
    for node in ast.walk(tree_of(MODULES[module])):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            found |= members(node) | {f"{node.name}.{name}" for name in members(node)}
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Assign):
            found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return frozenset(found)


def exists(reference: str, module: str) -> bool:
    """Return whether a docstring's reference leads somewhere: in its module, in the repository, or installed."""
    if reference in MODULES or reference in names_in(module):
        return True
    parts = reference.split(".")
    for depth in range(len(parts) - 1, 0, -1):
        owner = ".".join(parts[:depth])
        if owner in MODULES:
            return ".".join(parts[depth:]) in names_in(owner)
    return parts[0] not in PACKAGES and importlib.util.find_spec(parts[0]) is not None


def docstrings(path: Path) -> list[str]:
    """Return the docstrings of a file."""
    kinds = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    return [
        ast.get_docstring(node) or "" for node in ast.walk(tree_of(path)) if isinstance(node, kinds)
    ]


def test_what_docstrings_refer_to_exists():
    """Functions, methods, classes and modules, wherever a role names them."""
    wrong = [
        f"{name}: {reference}"
        for name, path in MODULES.items()
        for text in docstrings(path)
        for reference in _ROLE.findall(text)
        if not exists(reference, name)
    ]
    assert wrong == []


def documented(docstring: str) -> list[str]:
    """Return the names in a docstring's section of parameters."""
    section = re.search(
        r"^Parameters\n-{3,}\n(.*?)(?=^\w[\w ]*\n-{3,}$|\Z)", docstring, re.M | re.S
    )
    heads = (
        re.findall(r"^(\*{0,2}\w+(?:, \*{0,2}\w+)*)(?: :.*)?$", section[1], re.M) if section else []
    )
    return [name.lstrip("*") for head in heads for name in head.split(", ")]


def accepted(node: ast.FunctionDef | ast.ClassDef) -> set[str]:
    """Return the parameters of a function, or those that a class is made with."""
    if isinstance(node, ast.ClassDef):
        made = [
            item
            for item in node.body
            if isinstance(item, ast.FunctionDef) and item.name == "__init__"
        ]
        return accepted(made[0]) if made else members(node)
    arguments = node.args
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    starred = [argument for argument in (arguments.vararg, arguments.kwarg) if argument]
    return {argument.arg for argument in [*named, *starred]}


def test_documented_parameters_exist():
    """A parameter that was renamed is renamed where it is explained."""
    wrong = []
    for name, path in MODULES.items():
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                extra = set(documented(ast.get_docstring(node) or "")) - accepted(node)
                wrong += [f"{name}.{node.name}: {parameter}" for parameter in sorted(extra)]
    assert wrong == []


@pytest.mark.parametrize(
    ("reference", "found"),
    [
        ("write_atomic", True), ("tasks.storage.files", True), ("tasks.storage.files.write_atomic", True),
        ("tasks.schema.Schema.parse_time", True), ("numpy.array", True), ("write_atomically", False),
        ("tasks.storage.gone", False), ("tasks.schema.Schema.gone", False), ("gone.module", False),
    ],
)  # fmt: skip
def test_the_check_of_references_can_fail(reference, found):
    """Each kind of name that exists, and its like that does not."""
    assert exists(reference, "tasks.storage.files") is found


def test_the_check_of_parameters_reads_numpydoc():
    """Several names on a line, types, stars, and the end of the section."""
    text = "Do.\n\nParameters\n----------\na, b : int\n    Words here.\n**rest\n    More.\n\nReturns\n-------\nint\n"
    assert documented(text) == ["a", "b", "rest"]
