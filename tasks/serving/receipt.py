"""The receipt of a proof: digests of contract, model and every packed file, and their table."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tasks.errors import InputError

MODEL = Path("bentos/ctr/model")  # in a packed service, beside its code
PROOF = "proof.json"
_CODE = ("bentos", "tasks")


def packed_digests(folder: Path) -> dict[str, Any]:
    """Return ``contract`` and ``model`` (version), ``code`` (of all files but the model's) and ``files``.

    Raises
    ------
    InputError
        If there is no readable model.
    """
    files = {
        path: hashlib.sha256((folder / path).read_bytes()).hexdigest() for path in _packed(folder)
    }
    code = {path: digest for path, digest in files.items() if not _is_model(path)}
    try:
        record = json.loads((folder / MODEL / "model.json").read_text())
        contract, model = record["contract"]["digest"], record["version"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{folder / MODEL}: no readable model ({type(error).__name__}: {error}); package it again"
        ) from None
    return {"contract": contract, "model": model, "code": digest_json(code), "files": files}


def _packed(folder: Path) -> list[str]:
    """Return the files to digest: all but compiled code and the proof itself."""
    files = (
        path.relative_to(folder).as_posix()
        for part in _CODE
        for path in (folder / part).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    )
    return sorted(path for path in files if path != (MODEL / PROOF).as_posix())


def _is_model(path: str) -> bool:
    return path.startswith(f"{MODEL.as_posix()}/")


def digest_json(data: Any) -> str:
    """Return the SHA-256 of JSON-ready data in hex, independent of the order of keys.

    Examples
    --------
    >>> digest_json({"a": 1, "b": 2}) == digest_json({"b": 2, "a": 1})
    True
    """
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()


def changed_files(proved: Mapping[str, str], found: Mapping[str, str]) -> list[str]:
    """Return the paths whose content differs, or that exist on one side only."""
    return sorted(path for path in {**proved, **found} if proved.get(path) != found.get(path))


def render_proof(proof: Mapping[str, Any], artifact: Path, *, console: Any = None) -> None:
    """Print the receipt of a packaged Bento as a table."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console, digests = console or Console(), proof["digests"]
    title = Text(f"{proof['bento']}: {proof['rows']} rows")  # in a str, `:abc:` would be an emoji
    table = Table(title=title, title_justify="left")
    table.add_column("between")
    table.add_column("and")
    table.add_column("largest difference", justify="right")
    for pair, diff in proof["max_abs_diff"].items():
        table.add_row(*pair.split(" | "), f"{diff:.1e}")
    console.print(table)
    console.print(
        f"All within {proof['tolerance']:g}. Champion: {proof['champion']}. Model {digests['model']} from {artifact}, contract "
        f"{digests['contract']}, code {digests['code'][:12]} ({len(digests['files'])} files), "
        f"data {digests['data']}"
    )
