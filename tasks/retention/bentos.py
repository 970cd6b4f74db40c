"""Bentos that no receipt, alias or process names."""

import json
from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tasks.provenance.models import bentos
from tasks.retention.removable import Removable, is_older, n_bytes_below
from tasks.serving.bento_store import RECEIPT, bento_home
from tasks.serving.packed_service import ask_bentoml
from tasks.storage.workspace import resolve


def old_bentos(env: Mapping[str, Any], serving: Collection[str]) -> Iterator[Removable]:
    """Yield the Bentos of the knobs' name that can go.

    Parameters
    ----------
    env
        The knobs.
    serving
        Versions in the files of models that serve; their Bentos stay.
    """
    name, keep = env["bento"]["name"], env["keep"]
    ours = [(tag, about) for tag, about in bentos() if about["name"] == name]
    ours.sort(key=lambda one: _made_s(one[1]), reverse=True)
    packaged = _packaged(resolve(env["products"]))
    for tag, about in ours[keep["bentos"] :]:
        version = (about.get("labels") or {}).get("version")
        if tag in packaged or version in serving or not is_older(_made_s(about), keep["days"]):
            continue
        folder = bento_home() / "bentos" / tag.replace(":", "/")
        if not _is_running(tag, folder):
            yield Removable("Bento", tag, n_bytes_below(folder), _removal(tag, folder))


def versions_of_bentos(without: Collection[str]) -> set[str]:
    """Return the versions of the models in the Bentos of the store, but for those tags."""
    labels = [about.get("labels") or {} for tag, about in bentos() if tag not in without]
    return {str(one["version"]) for one in labels if "version" in one}


def _removal(tag: str, folder: Path) -> Any:
    def remove() -> bool:
        if _is_running(tag, folder):
            return False
        ask_bentoml("delete", tag, "--yes")
        return True

    return remove


def _made_s(about: Mapping[str, Any]) -> float:
    """Return when a Bento was built, in seconds since 1970; now if it does not say so."""
    try:
        made = datetime.fromisoformat(str(about.get("creation_time")))
    except ValueError:
        return datetime.now(UTC).timestamp()
    return (made if made.tzinfo else made.replace(tzinfo=UTC)).timestamp()


def _packaged(products: Path) -> set[str]:
    """Return the tags of all receipts below the products."""
    found = set()
    for path in products.rglob(RECEIPT):
        try:
            found.add(str(json.loads(path.read_text())["bento"]))
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return found


def _is_running(tag: str, folder: Path) -> bool:
    import psutil

    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or ()
        if any(word == tag or str(folder) in word for word in words):
            return True
    return False
