"""What a notebook is given when a person runs it: the pipeline's inputs, and products in the scratch folder.

JupyterLab shows these parameters below the ``parameters`` cell (:mod:`tasks.jupyter.contents_manager`). The
``parameters`` cell itself holds the same values as literals, for whatever opens a notebook without JupyterLab:
VS Code, papermill, another Jupyter.
"""

import ast
import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from tasks.storage.workspace import scratch_path

PARAMETERS, INJECTED = "parameters", "injected-parameters"  # papermill's tags of cells
_BY_PLOOMBER = {
    "nb",
    "html",
}  # products that Ploomber writes from the notebook; no cell reads or writes them
_UNSEEN = {"code"}  # decides when a task runs again, says nothing to a reader
_WIDTH = 100  # the formatter's line length


def parameters_by_hand(
    parameters: Mapping[str, Any], *, root: Path, products: Path, notebook: str
) -> dict[str, Any]:
    """Return a task's parameters as a person gets them: `upstream` as it is, `product` in the scratch folder.

    Parameters
    ----------
    parameters
        As the pipeline injects them: ``upstream`` and ``product`` map names to paths.
    root
        The project; paths within it become relative.
    products
        The folder of the pipeline's products.
    notebook
        The notebook's name without its suffix.
    """
    shown = {key: value for key, value in parameters.items() if key not in _UNSEEN}
    given = {key: _paths(shown.pop(key, None), root) for key in ("upstream", "product")}
    folder = _relative(str(products), root)
    scratch = _map(given["product"], lambda path: scratch_path(path, folder, notebook))
    return {"upstream": given["upstream"], "product": scratch, **shown}


def as_defaults(shown: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the ``parameters`` cell assigns: the same, and the names that only the pipeline fills."""
    first = {key: shown[key] for key in ("upstream", "product")}
    return {**first, **dict.fromkeys(sorted(_UNSEEN), ""), **shown}


def differences(shown: Mapping[str, Any], cell: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the parameters that a ``parameters`` cell does not assign, or assigns another value."""
    known = _literals("".join(cell["source"])) if cell is not None else {}
    return {key: value for key, value in shown.items() if known.get(key, ...) != value}


def _literals(code: str) -> dict[str, Any]:
    """Return the names that code assigns literals to; none if it is no Python."""
    found = {}
    with suppress(SyntaxError):
        for node in ast.parse(code).body:
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                with suppress(ValueError):
                    found[node.targets[0].id] = ast.literal_eval(node.value)
    return found


def _paths(value: Any, root: Path) -> Any:
    """Return paths, however nested, relative to the project and without those that only Ploomber writes."""
    return _map(_for_cells(value), lambda path: _relative(path, root))


def _for_cells(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    kept = {key: _for_cells(inner) for key, inner in value.items() if key not in _BY_PLOOMBER}
    return kept or None


def _map(value: Any, change: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _map(inner, change) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_map(inner, change) for inner in value]
    return change(value) if isinstance(value, str) else value


def _relative(path: str, root: Path) -> str:
    place = Path(path)
    return place.relative_to(root).as_posix() if place.is_relative_to(root) else path


def assignments(parameters: Mapping[str, Any]) -> str:
    """Return Python that assigns the parameters, as the formatter would write it.

    Examples
    --------
    >>> print(assignments({"seed": 7, "gates": {"calibration_ratio": [0.8, 1.25]}, "engine": None}))
    seed = 7
    gates = {"calibration_ratio": [0.8, 1.25]}
    engine = None
    """
    return "\n".join(
        f"{name} = {_literal(value, len(name) + 3)}" for name, value in parameters.items()
    )


def _literal(value: Any, column: int, indent: int = 0) -> str:
    """Return a literal that starts at `column`: on one line if it fits, else one item a line."""
    flat = _flat(value)
    if not isinstance(value, Mapping | list | tuple) or column + len(flat) <= _WIDTH or not value:
        return flat
    pad, inner = " " * indent, " " * (indent + 4)
    heads = (
        [f"{_text(key)}: " for key in value] if isinstance(value, Mapping) else [""] * len(value)
    )
    items = value.values() if isinstance(value, Mapping) else value
    lines = [
        f"{inner}{head}{_literal(item, indent + 5 + len(head), indent + 4)},\n"
        for head, item in zip(heads, items, strict=True)
    ]
    opening, closing = "{}" if isinstance(value, Mapping) else "[]"
    return f"{opening}\n{''.join(lines)}{pad}{closing}"


def _flat(value: Any) -> str:
    if isinstance(value, Mapping):
        pairs = (f"{_text(key)}: {_flat(item)}" for key, item in value.items())
        return f"{{{', '.join(pairs)}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_flat, value))}]"
    return _text(value) if isinstance(value, str) else repr(value)


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def injected_cell(content: Mapping[str, Any]) -> Any:
    """Return the cell of a notebook's content that was injected, None if there is none."""
    return tagged_cell(content, INJECTED)


def tagged_cell(content: Mapping[str, Any], tag: str) -> Any:
    """Return the first cell with that tag, None if there is none."""
    return next((cell for cell in content["cells"] if tag in _tags(cell)), None)


def forget_injected(content: dict[str, Any]) -> None:
    """Take the injected cell, and the values and paths of one run, out of a notebook's content."""
    content["cells"] = [cell for cell in content["cells"] if INJECTED not in _tags(cell)]
    for cell in content["cells"]:
        if not cell.get("metadata", {}).get("tags", True):
            del cell["metadata"]["tags"]  # Ploomber adds empty ones
    for tool in ("papermill", "ploomber"):
        content.get("metadata", {}).pop(tool, None)


def _tags(cell: Mapping[str, Any]) -> list[str]:
    return list(cell.get("metadata", {}).get("tags", []))
