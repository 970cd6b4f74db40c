"""Code and notebooks as `make format` and `make lint` want them, before they are written to the project."""

import json
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from tasks.storage.workspace import project_root

_RUFF = Path(sys.executable).parent / "ruff"


class Finding(NamedTuple):
    """What the linter cannot fix: cell (from 1, text cells included; 0 in a module), line, and message."""

    cell: int
    line: int
    text: str


def tidied(text: str, path: str) -> str:
    """Return a module or notebook formatted, with its imports sorted and without unused ones; as it is without ruff."""
    if not _RUFF.is_file():
        return text
    fixed = _ruff(text, path, "check", "--fix", "--quiet").stdout or text
    return _ruff(fixed, path, "format", "--quiet").stdout or fixed


def findings(text: str, path: str) -> list[Finding]:
    """Return what the linter would say of a file at that path."""
    if not _RUFF.is_file():
        return []
    found = json.loads(_ruff(text, path, "check", "--output-format", "json").stdout or "[]")
    return [
        Finding(one.get("cell") or 0, one["location"]["row"], f"{one['message']} ({one['code']})")
        for one in found
    ]


def _ruff(text: str, path: str, *words: str) -> subprocess.CompletedProcess[str]:
    command = [str(_RUFF), *words, "--stdin-filename", path, "-"]
    return subprocess.run(
        command, cwd=project_root(), input=text, capture_output=True, text=True, check=False
    )
