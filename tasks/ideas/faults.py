"""What can be said against promoting a notebook before it runs, each fault with its cell and line."""

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from tasks.ideas.commands import command_faults
from tasks.ideas.names import undefined
from tasks.ideas.notebook import PARAMETERS, Fault, Notebook, literals
from tasks.pipeline.notebook_cells import Cell
from tasks.storage.workspace import project_root

_LONG_CELL, _MAX_LONG, _MAX_CELLS = 15, 2, 25  # the rules of CONTRIBUTING.md
_ABSOLUTE = re.compile(r"^(?:/[\w.@-]+/[\w./@ -]*|~[\w]*/.*|[A-Za-z]:\\.*|file:///.*)$")
_ADDRESS = re.compile(r"\b(?:https?|s3a?|gs|ftp|postgresql|mysql|redis|wss?)(?:\+\w+)?://[^\s\"']+")
_SECRET_NAME = re.compile(r"(?i)(passw(or)?d|passwd|secret|token|api_?key|access_?key|credential)")
_SECRET = re.compile(
    r"\bAKIA[0-9A-Z]{16}\b|\bgh[pousr]_\w{30,}|\bsk-\w{20,}|-----BEGIN [A-Z ]*PRIVATE KEY|://[^/\s:@]+:[^/\s@]+@"
)
_NETWORK = {
    "requests",
    "urllib",
    "urllib3",
    "httpx",
    "aiohttp",
    "socket",
    "boto3",
    "ftplib",
    "smtplib",
    "http",
}
_PROCESSES = {"subprocess", "pexpect", "sh"}
_BY_USER = {"expanduser", "home", "gethostname", "getcwd", "getuser"}


def faults(notebook: Notebook) -> Iterator[Fault]:
    """Yield what holds for every notebook that is promoted, whatever it becomes."""
    yield from notebook.faults
    yield from _parameter_faults(notebook)
    yield from undefined(notebook.trees)
    for cell in notebook.cells:
        yield from _text_faults(cell)
    for number, tree in notebook.trees.items():
        yield from _tree_faults(number, tree)
        yield from command_faults(number, tree)


def step_faults(notebook: Notebook, products: str) -> Iterator[Fault]:
    """Yield what holds for a step besides: the house rules of notebooks, and paths that hide inputs and outputs."""
    cells = notebook.content["cells"]
    first = "".join(cells[0]["source"]) if cells else ""
    title = first.splitlines()[0] if first else ""
    if not re.match(r"# .+\?$", title):
        yield Fault(
            0, 0, "the first cell must be a text whose title is a question: `# What is ...?`"
        )
    if not any(
        isinstance(node, ast.Assert) for tree in notebook.trees.values() for node in ast.walk(tree)
    ):
        yield Fault(0, 0, "no cell asserts anything; an assert about the result is the step's test")
    if len(notebook.cells) > _MAX_CELLS:
        yield Fault(
            0, 0, f"{len(notebook.cells)} code cells; at most {_MAX_CELLS}, so move code to tasks/"
        )
    long = [cell for cell in notebook.cells if cell.source.count("\n") + 1 > _LONG_CELL]
    for cell in long[_MAX_LONG:]:
        yield Fault(
            cell.number, 0, f"has more than {_LONG_CELL} lines; split it, or move code to tasks/"
        )
    for number, tree in notebook.trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                yield Fault(
                    number,
                    node.lineno,
                    f"defines the class {node.name}; tag the cell `model`, or move it to tasks/",
                )
    yield from _hidden_inputs(notebook, products)
    yield from _twice(notebook)


def _parameter_faults(notebook: Notebook) -> Iterator[Fault]:
    tagged = notebook.tagged(PARAMETERS)
    for cell in tagged[1:]:
        text = f"is a second cell tagged `parameters` (the first is code cell {tagged[0].number}); keep one"
        yield Fault(cell.number, 0, text)
    for cell in tagged[:1]:
        tree = notebook.trees.get(cell.number)
        for fault in literals(tree)[1] if tree else ():
            yield Fault(cell.number, fault.line, fault.text)


def _text_faults(cell: Cell) -> Iterator[Fault]:
    """Yield what the text of a cell shows, magics included."""
    for line, text in enumerate(cell.source.splitlines(), start=1):
        if _SECRET.search(text):
            yield Fault(
                cell.number,
                line,
                "holds what looks like a secret; read it from the environment, and change it",
            )


def _tree_faults(number: int, tree: ast.Module) -> Iterator[Fault]:
    texts = set(_docstrings(tree))
    continued = set(_continuations(tree))
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 0)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in texts:
            if _ABSOLUTE.match(node.value) and id(node) not in continued:
                yield Fault(
                    number,
                    line,
                    f"{node.value!r} is a path of one machine; name inputs in `upstream`",
                )
            elif (found := _ADDRESS.search(node.value)) and not _SECRET.search(node.value):
                yield Fault(
                    number,
                    line,
                    f"{found[0]!r} is an address; data comes by `upstream`, addresses are in env.yaml",
                )
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from _import_faults(number, node)
        elif isinstance(node, ast.Assign | ast.AnnAssign) and _is_secret(node):
            yield Fault(
                number, line, "assigns what looks like a secret; read it from the environment"
            )
        elif (
            isinstance(node, ast.Attribute)
            and node.attr in _BY_USER
            and _module_of(node) in ("Path", "os", "path", "socket", "getpass")
        ):
            yield Fault(number, line, f"{ast.unparse(node)} depends on user or machine")
        elif isinstance(node, ast.Attribute) and ast.unparse(node) in (
            "sys.path",
            "os.chdir",
            "os.system",
        ):
            yield Fault(
                number,
                line,
                f"uses {ast.unparse(node)}; a step imports what is installed and stays in its folder",
            )


def _docstrings(tree: ast.Module) -> Iterator[int]:
    """Yield the identities of texts that only explain."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            yield id(node.value)


def _continuations(tree: ast.Module) -> Iterator[int]:
    """Yield the identities of texts that continue another one, so that no path begins with them."""
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield from map(id, node.values[1:])
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            yield id(node.right)


def _import_faults(number: int, node: ast.Import | ast.ImportFrom) -> Iterator[Fault]:
    names = (
        [node.module or ""]
        if isinstance(node, ast.ImportFrom)
        else [one.name for one in node.names]
    )
    for name in names:
        top = name.split(".")[0]
        if top in _NETWORK and name != "urllib.parse":
            yield Fault(
                number,
                node.lineno,
                f"imports {name}: inputs come by `upstream`, not over the network",
            )
        elif top in _PROCESSES:
            yield Fault(number, node.lineno, f"imports {name}: a step starts no other program")


def _is_secret(node: ast.Assign | ast.AnnAssign) -> bool:
    value = node.value.value if isinstance(node.value, ast.Constant) else None
    if not (isinstance(value, str) and value):
        return False
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    found = [_SECRET_NAME.search(one.id) for one in targets if isinstance(one, ast.Name)]
    words = {match[0].lower() for match in found if match}
    return bool(words) and (words != {"token"} or _looks_random(value))


def _looks_random(value: str) -> bool:
    """Return whether a text may be a server's token; those of hashing, as ``C15=320``, are called so too.

    Examples
    --------
    >>> _looks_random("site_id=1fbe01fe1fbe01fe"), _looks_random("1fbe01fe"), _looks_random("x7Kq2Lr9Pz4mVb1T")
    (False, False, True)
    """
    is_key = re.fullmatch(r"[\w.~+/-]{16,}=*", value)
    return bool(is_key and re.search(r"\d", value) and re.search(r"[A-Za-z]", value))


def _module_of(node: ast.Attribute) -> str:
    return ast.unparse(node.value).split(".")[-1]


def _hidden_inputs(notebook: Notebook, products: str) -> Iterator[Fault]:
    """Yield where a product of the pipeline is named by its path, so that nothing knows of the dependence."""
    for number, tree in notebook.trees.items():
        given: set[int] = set()
        for statement in tree.body:
            names = [
                one.id for one in getattr(statement, "targets", []) if isinstance(one, ast.Name)
            ]
            if {"upstream", "product"} & {*names}:
                given |= {id(one) for one in ast.walk(statement)}
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.Constant)
                and id(node) not in given
                and _is_below(products, node.value)
            ):
                text = f"{node.value!r} is a product; name its task in `upstream` of the parameters cell, or write it by `product`"
                yield Fault(number, node.lineno, text)


def _is_below(products: str, value: object) -> bool:
    """Return whether a value is the path of a product, as written from the project or from its notebooks."""
    return isinstance(value, str) and bool(
        re.match(rf"(\./)*(\.\./)*{re.escape(products)}/", value)
    )


def _twice(notebook: Notebook) -> Iterator[Fault]:
    """Yield each function that is defined elsewhere too."""
    root = project_root()
    own = [
        (number, node)
        for number, tree in notebook.trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
    ]
    known = _library_functions(root) if own else {}
    seen: dict[str, int] = {}
    for number, node in own:
        body = _body(node)
        if node.name in seen:
            yield Fault(
                number, node.lineno, f"defines {node.name} again (code cell {seen[node.name]} did)"
            )
        elif place := known.get(body):
            yield Fault(number, node.lineno, f"{node.name} is {place} already; import it")
        seen[node.name] = number
    if not own:
        return
    for path in sorted((root / "notebooks").glob("*.ipynb")):
        if path.stem != notebook.path.stem:
            yield from _same_as(path, own)


def _same_as(path: Path, own: list[tuple[int, ast.FunctionDef]]) -> Iterator[Fault]:
    from tasks.ideas.notebook import read_notebook

    others = {
        _body(node)
        for tree in read_notebook(path).trees.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
    }
    for number, node in own:
        if _body(node) in others:
            yield Fault(
                number,
                node.lineno,
                f"{node.name} is defined in {path.name} too; move it to tasks/ and import it in both",
            )


def _library_functions(root: Path) -> Mapping[str, str]:
    """Return the functions of the library by their code, with their dotted names."""
    found = {}
    for path in sorted((root / "tasks").rglob("*.py")):
        module = path.relative_to(root).with_suffix("").as_posix().replace("/", ".")
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef):
                found[_body(node)] = f"{module}.{node.name}"
    return found


def _body(node: ast.FunctionDef) -> str:
    """Return a function's arguments and statements as text that does not depend on names of places or docstrings."""
    body = node.body[1:] if ast.get_docstring(node) else node.body
    return f"{ast.dump(node.args)}{''.join(map(ast.dump, body))}"
