"""One function or class out of a notebook, as a module with its imports, and its asserts as a test."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from tasks.ideas.names import uses
from tasks.ideas.notebook import Fault, Notebook
from tasks.pipeline.notebook_cells import assigned

Definition = ast.FunctionDef | ast.ClassDef


@dataclass(frozen=True)
class Extract:
    """A definition of a notebook.

    Attributes
    ----------
    node, cell, source
        Its syntax tree, the number of its code cell, and that cell's text.
    code
        It and what it needs of its cell, as text, without imports.
    imports
        The import statements that `code` needs.
    tests
        Statements of its cell and of the cells of tests: asserts, and what they need.
    test_imports
        The imports that these need.
    test_names
        The helpers and constants in `code` that these need.
    """

    node: Definition
    cell: int
    source: str
    code: str
    imports: tuple[str, ...]
    tests: tuple[str, ...]
    test_imports: tuple[str, ...]
    test_names: tuple[str, ...]

    @property
    def first_line(self) -> str:
        """The first line of its docstring."""
        return (ast.get_docstring(self.node) or "").split("\n")[0]


def find(
    notebook: Notebook, tag: str, kind: type[ast.FunctionDef] | type[ast.ClassDef], name: str = ""
) -> tuple[ast.AST | None, int, list[Fault]]:
    """Return the definition in the cells with that tag, its cell, and what is wrong; `name` chooses among several."""
    cells = [cell for cell in notebook.tagged(tag) if cell.number in notebook.trees]
    found = [
        (node, cell.number)
        for cell in cells
        for node in notebook.trees[cell.number].body
        if isinstance(node, kind) and not node.name.startswith("_")
    ]
    word = "function" if kind is ast.FunctionDef else "class"
    number = cells[0].number if cells else 0
    if not found:
        return None, number, [Fault(number, 0, f"is tagged `{tag}`, but defines no {word}")]
    chosen = [one for one in found if one[0].name == name] if name else found  # type: ignore[attr-defined]
    names = ", ".join(one[0].name for one in found)  # type: ignore[attr-defined]
    if not chosen:
        text = f"defines {names}, not {name!r}; a {tag} is called as its {word}, so rename it there"
        return None, number, [Fault(number, 0, text)]
    if len(chosen) > 1:
        return None, number, [Fault(number, 0, f"defines {names}; name one with AS=")]
    return (*chosen[0], [])


def extract(
    notebook: Notebook, node: Definition, number: int, tests_tag: str
) -> tuple[Extract, list[Fault]]:
    """Return a definition with all that it needs, and a fault for what it takes from other cells."""
    body = notebook.trees[number].body
    text = next(cell.source for cell in notebook.cells if cell.number == number)
    imports = _imports(notebook)
    own = {
        name: statement
        for statement in body
        if not _is_import(statement)
        for name, _ in assigned(statement)
    }
    needed: list[ast.stmt] = [node]
    todo: list[ast.stmt] = [node]
    faults = []
    seen = {node.name}
    outside: list[str] = []
    while todo:
        for name, line, _ in uses(todo.pop()):
            if name in seen:
                continue
            seen.add(name)
            if name in imports:
                outside.append(imports[name])
            elif name in own:
                needed.append(own[name])
                todo.append(own[name])
            elif place := _cell_of(notebook, name):
                what = f"uses {name!r} of code cell {place}; move it to this cell, or give it as an argument"
                faults.append(Fault(number, line, what))
    code = [_text(text, statement) for statement in body if statement in needed]
    tests, names = _tests(notebook, number, needed, tests_tag)
    given = {name for one in needed if one is not node for name, _ in assigned(one)}
    return Extract(
        node,
        number,
        text,
        code="\n\n".join(code),
        imports=tuple(dict.fromkeys(outside)),
        tests=tests,
        test_imports=tuple(dict.fromkeys(imports[name] for name in names if name in imports)),
        test_names=tuple(name for name in dict.fromkeys(names) if name in given),
    ), faults


def _tests(
    notebook: Notebook,
    number: int,
    needed: list[ast.stmt],
    tag: str,
) -> tuple[tuple[str, ...], list[str]]:
    """Return the asserts of the cell and of those tagged as tests, and the names that they use."""
    found: list[tuple[str, ast.stmt]] = []
    for cell in notebook.cells:
        if cell.number not in notebook.trees or not (cell.number == number or tag in cell.tags):
            continue
        for statement in notebook.trees[cell.number].body:
            is_shown = isinstance(statement, ast.Expr) and not isinstance(statement.value, ast.Call)
            if not _is_import(statement) and statement not in needed and not is_shown:
                found.append((cell.source, statement))
    if not any(
        isinstance(one, ast.Assert) for _, statement in found for one in ast.walk(statement)
    ):
        return (), []
    names = [name for _, statement in found for name, _, _ in uses(statement)]
    return tuple(_text(source, statement) for source, statement in found), names


def _imports(notebook: Notebook) -> dict[str, str]:
    """Return the import statement of each name that a cell imports."""
    return {name: line for tree in notebook.trees.values() for name, line in _imported(tree)}


def _imported(tree: ast.Module) -> Iterator[tuple[str, str]]:
    for node in tree.body:
        if isinstance(node, ast.Import):
            for one in node.names:
                line = ast.unparse(ast.Import([one]))
                yield one.asname or one.name.split(".")[0], line
        elif isinstance(node, ast.ImportFrom):
            for one in node.names:
                yield (
                    one.asname or one.name,
                    ast.unparse(ast.ImportFrom(node.module, [one], node.level)),
                )


def _is_import(node: ast.stmt) -> bool:
    return isinstance(node, ast.Import | ast.ImportFrom)


def _cell_of(notebook: Notebook, name: str) -> int | None:
    for number, tree in notebook.trees.items():
        if any(name == one for one, _ in assigned(tree)):
            return number
    return None


def _text(source: str, node: ast.stmt) -> str:
    """Return a statement as it was written, with its decorators and the comments right above it."""
    lines = source.splitlines()
    decorators = getattr(node, "decorator_list", [])
    first = min([node.lineno, *(one.lineno for one in decorators)]) - 1
    while first and lines[first - 1].startswith("#"):
        first -= 1
    return "\n".join(lines[first : node.end_lineno])


def module_text(extract: Extract, about: str) -> str:
    """Return a module that holds the definition."""
    head = f'"""{about}"""'
    return (
        "\n\n".join(part for part in (head, "\n".join(extract.imports), extract.code) if part)
        + "\n"
    )


def asserts_text(extract: Extract, about: str, imports: list[str], *, first: str = "") -> str:
    """Return the module of tests: what the notebook asserted as one test, behind `first`, a test of its kind."""
    head = f'"""{about}"""'
    parts = [head, "\n".join([*extract.test_imports, *imports]), first]
    if extract.tests:
        body = "\n".join(
            f"    {line}" if line else "" for text in extract.tests for line in text.splitlines()
        )
        parts.append(f'def test_what_the_notebook_asserts():\n    """Its cases."""\n{body}')
    return "\n\n".join(part for part in parts if part) + "\n"
