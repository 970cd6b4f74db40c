"""Files and rooms of the service import one way, so that each can be read without those above it."""

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.conftest import ROOT

PACKAGE = "bentos.ctr"


def module_of(path: Path, root: Path) -> str:
    """Return the dotted name of a file below `root`."""
    return ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")


def imported(path: Path) -> Iterator[str]:
    """Yield all that a file imports, at its top, in functions and for types, as dotted names."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def file_graph(root: Path, package: str) -> dict[str, set[str]]:
    """Return for each module of a package the modules of it that it imports."""
    files = {
        module_of(path, root): path for path in (root / package.replace(".", "/")).rglob("*.py")
    }

    def owner(name: str) -> str | None:
        while name and name not in files:
            name = name.rpartition(".")[0]
        return name or None

    graph = {name: {owner(target) for target in imported(path)} for name, path in files.items()}
    return {name: targets - {None, name, package} for name, targets in graph.items()}


def room_graph(files: dict[str, set[str]], package: str) -> dict[str, set[str]]:
    """Return the same for rooms; a file at the top of the package is a room of its own."""

    def room(name: str) -> str:
        return name.removeprefix(f"{package}.").partition(".")[0]

    graph: dict[str, set[str]] = {}
    for name, targets in files.items():
        graph.setdefault(room(name), set()).update(map(room, targets))
    return {name: targets - {name} for name, targets in graph.items()}


def test_no_files_and_no_rooms_of_the_service_form_a_circle():
    """Imports inside functions and for type checkers count too."""
    files = file_graph(ROOT, PACKAGE)
    rooms = room_graph(files, PACKAGE)
    assert {"http", "models", "scoring"} <= rooms.keys() and rooms["http"]
    list(TopologicalSorter(files).static_order())
    list(TopologicalSorter(rooms).static_order())


def test_the_rooms_import_downward_in_the_documented_order():
    """The order that ARCHITECTURE lists from below; `scoring` knows neither HTTP nor where models come from."""
    order = ["settings", "metrics", "exposures", "experiment", "scoring", "models", "http"]
    rooms = room_graph(file_graph(ROOT, PACKAGE), PACKAGE)
    assert rooms["settings"] == {"exposures", "positive_number"} and rooms["exposures"] == {
        "positive_number"
    }
    assert not rooms["metrics"] and not rooms["experiment"] and not rooms["positive_number"]
    for room in order[4:]:
        assert rooms[room] <= set(order[: order.index(room)]), room
    assert "models" not in rooms["http"]


def test_registry_and_models_do_not_import_serving():
    """Golden rows lie beside the models, so that publishing needs nothing of the service."""
    files = file_graph(ROOT, "tasks")
    for name, targets in files.items():
        if name.startswith(("tasks.registry", "tasks.models")):
            assert not [target for target in targets if target.startswith("tasks.serving")], name


@pytest.mark.parametrize("late", ["", "def f():\n    "])
def test_a_circle_is_found(tmp_path, late):
    """Of two files in different rooms, be the import at the top or in a function."""
    for name, text in (
        ("one/a.py", "from p.two import b"),
        ("two/b.py", f"{late}import p.one.a"),
        ("two/__init__.py", ""),
    ):
        path = tmp_path / "p" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    files = file_graph(tmp_path, "p")
    assert files == {"p.one.a": {"p.two.b"}, "p.two.b": {"p.one.a"}, "p.two": set()}
    with pytest.raises(CycleError):
        list(TopologicalSorter(room_graph(files, "p")).static_order())
