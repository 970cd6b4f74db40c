"""The raw data's part in Ploomber's cache: another content makes ``ingest`` outdated, another date does not."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tasks.errors import ClicklabError
from tasks.logs.sources import FINGERPRINTS, fingerprint


def refresh(task: Any, product: Any, params: Any) -> None:
    """Ploomber ``on_render`` hook of ``ingest``: let the task run if its source's content has changed.

    Ploomber compares code and parameters only. A source that cannot be read now changes nothing:
    the log that is there stays valid, and if there is none ``ingest`` itself says what is wrong.
    """
    if not data_change(product, params):
        return
    from ploomber.constants import TaskStatus

    # in memory only, so that a look at the status changes nothing
    task.product.metadata.update_locally(
        dict.fromkeys(("timestamp", "stored_source_code", "params"))
    )
    # the public setter would already start to update tasks downstream, which are not rendered yet
    task._exec_status = TaskStatus.WaitingExecution


def data_change(product: Any, params: Any) -> str:
    """Return in a few words how the raw log differs from what the canonical one was made of, or nothing.

    Another source is another parameter, which Ploomber sees by itself.
    """
    manifest = Path(str(product["log"] if isinstance(product, Mapping) else product))
    if not manifest.is_file():
        return ""
    data = str(params["data"])
    try:
        current = fingerprint(data, cache_path=manifest.parent.parent / FINGERPRINTS)
    except (ClicklabError, OSError):
        return ""
    source, recorded = _recorded(manifest)
    if recorded == current or source not in (None, data):
        return ""
    return f"{data} has another content ({(recorded or 'unknown')[:12]} -> {current[:12]})"


def _recorded(manifest: Path) -> tuple[str | None, str | None]:
    try:
        found = json.loads(manifest.read_text())
        return found["source"], found["fingerprint"]
    except (OSError, ValueError, KeyError, TypeError):
        return None, None
