"""A run in a line or two, for the success notice."""

import json
from pathlib import Path
from typing import Any


def summary_of(task: Any) -> str:
    """Return what the notice says about a run: its last task's report, if it made one."""
    for path in _paths(task):
        try:
            found = json.loads(path.read_text())
            return _sentence(found)
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return f"Its last task was {task.name}."


def _paths(task: Any) -> list[Path]:
    found = task.product.to_json_serializable()
    return [Path(str(path)) for path in (found.values() if isinstance(found, dict) else [found])]


def _sentence(report: dict[str, Any]) -> str:
    promotion, bento = report["promotion"], report["bento"]
    models = ", ".join(f"{row['model']} {row['log_loss']:.4f}" for row in report["models"])
    version = promotion["champion_version"]
    same = promotion["previous_version"] == version
    champion = (
        f"the champion stays version {version}"
        if same
        else f"the champion is {promotion['champion']}, version {version}"
    )
    return (
        f"{report['rows']['n_rows']:,} rows of {report['source']}; log loss on the test rows: {models}; "
        f"{champion} of {promotion['registered_name']}, packaged as {bento['bento']}."
    )
