"""A fitted estimator as bytes, never a pickle; equal estimators give equal bytes, so a version follows from content."""

import io
import json
import zipfile
from collections.abc import Mapping
from typing import Any

from tasks.errors import InputError
from tasks.models.estimators import scoring
from tasks.models.estimators.params import is_lightgbm, one_line
from tasks.models.golden import LIGHTGBM, SKOPS


def dumped(kind: str, estimator: Any) -> dict[str, bytes]:
    """Return the file of a fitted estimator by its name; equal estimators give equal bytes.

    Raises
    ------
    InputError
        If it cannot be written without pickle, or what would read it does not trust a class in it.
    """
    if is_lightgbm(estimator):
        content = estimator.booster_.model_to_string().encode()
        return {LIGHTGBM: _within(kind, content)}
    import skops.io

    try:
        content = _canonical(skops.io.dumps(estimator))
        distrusted = scoring.untrusted(content)
    except Exception as error:  # what skops cannot write may raise anything
        raise InputError(f"{kind} cannot be saved without pickle ({one_line(error)})") from None
    if distrusted:
        raise InputError(
            f"{kind} cannot be saved without pickle: it holds {distrusted[0]}, which no service loads "
            "(TRUSTED in tasks/models/estimators/scoring.py)"
        )
    return {SKOPS: _within(kind, content)}


def _within(kind: str, content: bytes) -> bytes:
    if len(content) > scoring.MAX_BYTES:
        raise InputError(
            f"{kind}: the model takes {len(content) >> 20} MiB, more than {scoring.MAX_BYTES >> 20}; make it smaller"
        )
    return content


def _canonical(content: bytes) -> bytes:
    """Return a skops file whose ids, addresses in memory, are numbers in their order, and whose times are fixed."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    ids: dict[str, str] = {}
    schema = _numbered(json.loads(files.pop("schema.json")), ids, set(files))
    renamed = sorted((_renamed(name, ids), files[name]) for name in files)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, text in (("schema.json", json.dumps(schema).encode()), *renamed):
            item = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            item.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(item, text)
    return out.getvalue()


def _numbered(tree: Any, ids: dict[str, str], names: set[str]) -> Any:
    """Return a tree of JSON with its ``__id__`` numbered in their order, and the files that are named by ids renamed."""
    if isinstance(tree, list):
        return [_numbered(one, ids, names) for one in tree]
    if not isinstance(tree, dict):
        return tree
    found: dict[str, Any] = {}
    for key, value in tree.items():
        if key == "__id__":
            found[key] = int(ids.setdefault(str(value), str(len(ids) + 1)))
        elif key == "file" and value in names:
            ids.setdefault(value.partition(".")[0], str(len(ids) + 1))
            found[key] = _renamed(value, ids)
        else:
            found[key] = _numbered(value, ids, names)
    return found


def _renamed(name: str, ids: Mapping[str, str]) -> str:
    stem, _, suffix = name.partition(".")
    return f"{ids.get(stem, stem)}.{suffix}"
