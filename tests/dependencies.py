"""The modules that a task really imports, followed through the code as text."""

import ast
import json
from pathlib import Path


def module_files(name: str, root: Path) -> set[Path]:
    """Return the files behind a dotted module name below `root`: the packages on the way, and itself."""
    parts = name.split(".")
    found = set()
    for depth in range(1, len(parts) + 1):
        base = root.joinpath(*parts[:depth])
        if (base / "__init__.py").is_file():
            found.add(base / "__init__.py")
        elif base.with_suffix(".py").is_file():
            found.add(base.with_suffix(".py"))
    return found


def direct_imports(source: str, root: Path) -> set[Path]:
    """Return the project's files that `source` imports, lazily or at the top."""
    found: set[Path] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "tasks":
                    found |= module_files(alias.name, root)
        elif (
            isinstance(node, ast.ImportFrom)
            and node.module
            and node.module.split(".")[0] == "tasks"
        ):
            found |= module_files(node.module, root)
            for alias in node.names:
                found |= module_files(f"{node.module}.{alias.name}", root)
    return found


def transitive_imports(source: str, root: Path) -> set[str]:
    """Return every project file that running `source` may execute, as paths relative to `root`."""
    todo, seen = direct_imports(source, root), set()
    while todo:
        path = todo.pop()
        if path not in seen:
            seen.add(path)
            todo |= direct_imports(path.read_text(), root)
    return {path.relative_to(root).as_posix() for path in seen}


def notebook_source(path: Path) -> str:
    """Return the code cells of a notebook as one text."""
    cells = json.loads(path.read_text())["cells"]
    return "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
