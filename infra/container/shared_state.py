"""What outlives a run: the promotion ledger that all runs share, the Bento, and the pointer that services follow."""

import json
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tasks.registry.ledger import OVERRIDE
from tasks.serving.packed_service import ask_bentoml

LEDGER, POINTER = "ledger/decisions.jsonl", "models/champion.json"
_WRITES_LEDGER = "promote"
_log = logging.getLogger("infra")


def beside(store: str, place: str) -> str:
    """Return the address of something that all runs share, beside the folder that holds the runs.

    Examples
    --------
    >>> beside("s3://bucket/runs", "models/champion.json")
    's3://bucket/models/champion.json'
    """
    return f"{store.rstrip('/').rsplit('/', 1)[0]}/{place}"


@contextmanager
def shared_ledger(task: Any, store: str) -> Iterator[None]:
    """For the task that writes the ledger: it is the one that all runs share, written before the champion changes."""
    if task.name != _WRITES_LEDGER:
        yield
        return
    os.environ[OVERRIDE] = beside(store, LEDGER)
    try:
        yield
    finally:
        del os.environ[OVERRIDE]


def share_model(task: Any, store: str, products: Path) -> None:
    """For a task that made a Bento: store the Bento with the run, and point the services to its model."""
    receipt = _receipt(task)
    if receipt is None:
        return
    from tasks.registry.publish import publish_model

    folder = products / task.name
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.bento"):
        old.unlink()
    tag = receipt["bento"]
    path = folder / f"{tag.replace(':', '-')}.bento"
    ask_bentoml("export", tag, str(path))
    pointer = os.environ.get("CLICKLAB_MODEL_POINTER") or beside(store, POINTER)
    model = _model_folder(tag)
    now = publish_model(model, pointer)
    _log.info("%s names version %s; the Bento is kept as %s", pointer, now.version, path.name)


def _receipt(task: Any) -> dict[str, Any] | None:
    found = task.product.to_json_serializable()
    path = found.get("receipt") if isinstance(found, Mapping) else None
    if path is None:
        return None
    receipt = json.loads(Path(str(path)).read_text())
    return receipt if "bento" in receipt else None


def _model_folder(tag: str) -> Path:
    """Return the model's folder in a Bento of the local store."""
    from tasks.serving.receipt import MODEL

    return Path(ask_bentoml("get", tag, "--output", "path").strip()) / "src" / MODEL
