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
    manifest = Path(str(product["log"] if isinstance(product, Mapping) else product))
    if not manifest.is_file():
        return
    try:
        current = fingerprint(str(params["data"]), cache_path=manifest.parent.parent / FINGERPRINTS)
    except (ClicklabError, OSError):
        return
    source, recorded = _recorded(manifest)
    if recorded == current or source not in (None, str(params["data"])):
        return  # another source is another parameter, which Ploomber sees by itself
    from ploomber.constants import TaskStatus

    task.product.metadata.delete()
    # the public setter would already start to update tasks downstream, which are not rendered yet
    task._exec_status = TaskStatus.WaitingExecution


def _recorded(manifest: Path) -> tuple[str | None, str | None]:
    try:
        found = json.loads(manifest.read_text())
        return found["source"], found["fingerprint"]
    except (OSError, ValueError, KeyError, TypeError):
        return None, None
