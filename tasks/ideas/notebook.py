"""A notebook that holds an idea: its cells, their tags, and what it can become."""

import ast
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.errors import InputError
from tasks.pipeline.notebook_cells import Cell, code_cells, parsed
from tasks.storage.workspace import resolve

FEATURE, FEATURE_TEST = "feature", "feature-test"  # tags of cells
MODEL, MODEL_TEST = "model", "model-test"
PARAMETERS = "parameters"
STEP = "step"


@dataclass(frozen=True)
class Fault:
    """What keeps a notebook from being promoted: the code cell (from 1), its line, and what to do; 0 for the whole."""

    cell: int
    line: int
    text: str

    def __str__(self) -> str:
        place = f"code cell {self.cell}" if self.cell else ""
        place += f", line {self.line}" if self.cell and self.line else ""
        return f"{place}: {self.text}" if place else self.text


@dataclass(frozen=True)
class Notebook:
    """A notebook as it was read.

    Attributes
    ----------
    path
        Where it lies, as it was named.
    content
        Its JSON.
    cells
        Its code cells.
    trees
        Syntax tree of each, by number; none of a cell that is not Python or does not parse.
    faults
        What is wrong with cells that do not parse.
    """

    path: Path
    content: dict[str, Any]
    cells: tuple[Cell, ...]
    trees: dict[int, ast.Module]
    faults: tuple[Fault, ...]

    def tagged(self, tag: str) -> list[Cell]:
        """Return the code cells with a tag."""
        return [cell for cell in self.cells if tag in cell.tags]


def read_notebook(path: str | Path) -> Notebook:
    """Return a notebook.

    Raises
    ------
    InputError
        If it is no notebook, not of Python, or has no code cell.
    """
    path = Path(path)
    if path.suffix != ".ipynb" or not resolve(path).is_file():
        raise InputError(
            f"{path}: no such notebook; name one as NB=notebooks/scratch/my_idea.ipynb"
        )
    cells = tuple(code_cells(path))  # refuses what is no notebook
    content = json.loads(resolve(path).read_text(encoding="utf-8"))
    language = _language(content)
    if language not in ("", "python"):
        raise InputError(f"{path}: is a notebook in {language}; only Python can be promoted")
    if not any(cell.source.strip() for cell in cells):
        raise InputError(f"{path}: has no code cell; write the idea first")
    trees: dict[int, ast.Module] = {}
    faults = []
    for cell in cells:
        try:
            tree = parsed(path, cell)
        except InputError as error:
            told = str(error).removeprefix(f"{path}: code cell {cell.number}")
            line, _, text = told.removeprefix(", line ").partition(": ")
            number = int(line) if line.isdigit() else 0
            faults.append(Fault(cell.number, number, text or told))
            continue
        if tree is None:
            faults.append(Fault(cell.number, 1, f"is not Python ({cell.source.split()[0]})"))
        else:
            trees[cell.number] = tree
    return Notebook(path, content, cells, trees, tuple(faults))


def _language(content: dict[str, Any]) -> str:
    metadata = content.get("metadata") or {}
    found = (metadata.get("kernelspec") or {}).get("language") or (
        metadata.get("language_info") or {}
    ).get("name")
    return str(found or "").lower()


def literals(tree: ast.Module) -> tuple[dict[str, Any], list[Fault]]:
    """Return what a ``parameters`` cell assigns, and what in it is no literal; faults name no cell yet."""
    values: dict[str, Any] = {}
    faults = []
    for node in tree.body:
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            continue  # a text about the parameters
        target = (
            node.targets[0] if isinstance(node, ast.Assign) and len(node.targets) == 1 else None
        )
        target = node.target if isinstance(node, ast.AnnAssign) and node.value else target
        if not isinstance(target, ast.Name):
            text = "the parameters cell may only assign literals to names, one each"
            faults.append(Fault(0, node.lineno, text))
            continue
        try:
            value = ast.literal_eval(node.value)  # type: ignore[attr-defined]
            json.dumps(value)
        except (ValueError, TypeError):
            shown = ast.unparse(node)[:60]
            text = f"`{shown}` is no literal that YAML can hold; write numbers, texts, lists or mappings, and compute below"
            faults.append(Fault(0, node.lineno, text))
            continue
        if _has_tuple(value):
            faults.append(Fault(0, node.lineno, f"{target.id} holds a tuple; write a list"))
        values[target.id] = value
    return values, faults


def _has_tuple(value: Any) -> bool:
    if isinstance(value, tuple):
        return True
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(_has_tuple(one) for one in inner)
