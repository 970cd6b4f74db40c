"""Commands that a notebook gives to a shell."""

import ast
import re
from collections.abc import Iterator

from tasks.ideas.notebook import Fault

_INSTALL = re.compile(
    r"\s*(?:sudo )?(?:[\w/.]*python[\d.]* -m )?(?:uv )?(?:pip\d?|conda|mamba|apt|apt-get)\b"
)
_SHELLS = {"!", "sh", "bash", "system", "sx", "script"}  # magics
_INSTALLERS = {"pip", "conda", "mamba", "micromamba", "uv"}  # magics too
_CALLS = ("system", "getoutput", "getoutputerror")  # of IPython


def command_faults(number: int, tree: ast.Module) -> Iterator[Fault]:
    """Yield which commands a cell gives to a shell: IPython's syntax for them, wherever it stands, was made a call."""
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        how = node.func.attr
        is_magic = how in ("run_line_magic", "run_cell_magic")
        if ast.unparse(node.func.value) != "get_ipython()" or not (is_magic or how in _CALLS):
            continue
        name, *rest = [str(one.value) for one in node.args if isinstance(one, ast.Constant)] or [""]
        if is_magic and name not in _SHELLS | _INSTALLERS:
            continue
        command = " ".join(rest) if is_magic and name in _SHELLS else name
        if _INSTALL.match(command) or (is_magic and name in _INSTALLERS):
            text = "installs a package; `make add PACKAGE=` does, for everybody"
        else:
            text = "runs a shell command; a step is Python"
        yield Fault(number, node.lineno, text)
