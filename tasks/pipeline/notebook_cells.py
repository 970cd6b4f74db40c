"""What can be said about a notebook before a kernel starts: its cells are Python and leave injected names alone."""

import ast
import json
import re
import warnings
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tasks.errors import InputError
from tasks.storage.workspace import resolve

_TAG = "parameters"
_PYTHON_MAGICS = ("%%time", "%%timeit", "%%capture", "%%prun")  # the rest of the cell is Python
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)


class Cell(NamedTuple):
    """A code cell: its number among them from 1, its text, and its tags."""

    number: int
    source: str
    tags: tuple[str, ...] = ()

    @property
    def has_parameters(self) -> bool:
        """Whether it holds the parameters."""
        return _TAG in self.tags


def check_notebook(path: str | Path, injected: Collection[str]) -> None:
    """Raise InputError, in one line with notebook and cell, unless the pipeline can run a notebook.

    Parameters
    ----------
    path
        The notebook.
    injected
        Names that the pipeline injects below the ``parameters`` cell. No other cell may assign them, because
        that value would silently replace what ``env.yaml`` says, for every task of the notebook.
    """
    path = Path(path)
    cells = list(code_cells(path))
    if not any(cell.has_parameters for cell in cells):
        raise InputError(
            f"{path}: no cell is tagged `parameters`; tag the one that holds the literals (JupyterLab: "
            "Property Inspector), the pipeline injects its values below it"
        )
    for cell in cells:
        tree = parsed(path, cell)
        if cell.has_parameters or tree is None:
            continue
        for name, line in assigned(tree):
            if name in injected:
                raise InputError(
                    f"{path}: code cell {cell.number}, line {line}: assigns {name!r}, which the pipeline injects; "
                    "change it in env.yaml, or in the parameters cell to try, and use another name here"
                )


def code_cells(path: Path) -> Iterator[Cell]:
    """Yield the code cells of a notebook; InputError if it is none."""
    try:
        text = resolve(path).read_text(encoding="utf-8")
        cells = json.loads(text)["cells"]
        found = [
            ("".join(cell["source"]), cell.get("metadata", {}).get("tags") or [])
            for cell in cells
            if cell["cell_type"] == "code"
        ]
    except FileNotFoundError:
        raise InputError(f"{path} not found; pipeline.yaml names it") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: {_damage(text, error)}") from None
    for number, (source, tags) in enumerate(found, start=1):
        yield Cell(number, source, tuple(tags))


def _damage(text: str, error: Exception) -> str:
    for number, line in enumerate(text.splitlines(), start=1):
        if line.startswith(("<<<<<<< ", ">>>>>>> ")):
            return (
                f"half merged, git's marks begin in line {number}; finish the merge "
                "(`git mergetool`, or `git checkout --ours` or `--theirs` and the file)"
            )
    if isinstance(error, json.JSONDecodeError):
        return f"not a notebook: line {error.lineno} is not JSON ({error.msg}); restore the file"
    return "not a notebook: it has no list of cells; restore the file"


def parsed(path: Path, cell: Cell) -> ast.Module | None:
    """Return the cell's syntax tree, None if it is not Python; InputError if it is wrong."""
    source = python_of(cell.source)
    if source is None:
        return None
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd escapes: the kernel shows them
            compile(source, "cell", "exec", flags, dont_inherit=True)
            return compile(source, "cell", "exec", flags | ast.PyCF_ONLY_AST, dont_inherit=True)  # type: ignore[return-value]
    except SyntaxError as error:
        lines = cell.source.splitlines()
        line = min(error.lineno or 1, len(lines))
        shown = lines[line - 1].strip()
        raise InputError(
            f"{path}: code cell {cell.number}, line {line}: {error.msg}: {shown}"
        ) from None
    except ValueError as error:  # such as null bytes
        raise InputError(f"{path}: code cell {cell.number}: {error}") from None


def python_of(source: str) -> str | None:
    """Return a cell as Python, its magics rewritten line by line as IPython does; None if it is another language."""
    first, _, rest = source.lstrip().partition("\n")
    if first.startswith("%%"):
        if not first.startswith(_PYTHON_MAGICS):
            return None
        source = "\n" * (len(source) - len(source.lstrip()) + 1) + rest
    if not any(mark in source for mark in "%!?"):
        return source
    source = re.sub(r"(?m)^([ \t]*)%time[ \t]+", r"\1", source)  # runs the rest of the line
    from IPython.core.inputtransformer2 import TransformerManager

    try:
        return str(TransformerManager().transform_cell(source))
    except SyntaxError:
        return source  # compiling says where


def assigned(node: ast.AST) -> Iterator[tuple[str, int]]:
    """Yield each name that running code binds, changes or deletes in its own scope, with its line.

    Functions and classes have scopes of their own, but for what they declare ``global``. Setting an item or
    attribute (``model["kind"] = ...``) counts, because it changes what the name stands for.

    Examples
    --------
    >>> sorted(name for name, _ in assigned(ast.parse("a, *b = 1, 2\\nfor c in []: d: int = 3\\nimport e.f")))
    ['a', 'b', 'c', 'd', 'e']
    """
    if isinstance(node, _SCOPES):
        yield from _of_scope(node)
        return
    line = getattr(node, "lineno", 0)
    if isinstance(node, ast.Name | ast.Subscript | ast.Attribute):
        if not isinstance(node.ctx, ast.Load) and (name := _base(node)):
            yield name, line
    elif isinstance(node, ast.Import | ast.ImportFrom):
        yield from ((alias.asname or alias.name.split(".")[0], line) for alias in node.names)
    elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and node.name:
        yield node.name, line
    elif isinstance(node, ast.MatchMapping) and node.rest:
        yield node.rest, line
    for child in ast.iter_child_nodes(node):
        if isinstance(node, ast.comprehension) and child is node.target:
            continue  # a comprehension's own variable
        yield from assigned(child)


def _base(node: Any) -> str | None:
    while isinstance(node, ast.Subscript | ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else None


def _of_scope(node: Any) -> Iterator[tuple[str, int]]:
    """Yield what a definition binds around it: its name, its globals, and what its defaults and decorators do."""
    if not isinstance(node, ast.Lambda):
        yield node.name, node.lineno
    for inner in ast.walk(node):
        if isinstance(inner, ast.Global):
            yield from ((name, inner.lineno) for name in inner.names)
    outside = [*getattr(node, "decorator_list", []), *getattr(node, "bases", [])]
    if not isinstance(node, ast.ClassDef):
        outside += [*node.args.defaults, *(one for one in node.args.kw_defaults if one)]
    for child in outside:
        yield from assigned(child)
