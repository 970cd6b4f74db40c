"""Hooks that Ploomber calls when a notebook task ends."""

import json
from pathlib import Path
from typing import Any

from tasks.errors import ClicklabError
from tasks.pipeline.lineage_record import NAME, lineage_record


def check_executed(product: Any) -> None:
    """Refuse a notebook in which a code cell was not executed.

    After a killed kernel papermill can leave a notebook that claims to be complete; the execution
    counts tell the truth.

    Raises
    ------
    ClicklabError
        Naming the first cell that did not run.
    """
    path = Path(str(product["nb"]))
    cells = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
    for number, cell in enumerate(cells, start=1):
        if _ends_here(cell):
            return
        if cell["source"] and cell["execution_count"] is None:
            raise ClicklabError(
                f"{path.name}: code cell {number} of {len(cells)} was never executed (was the kernel killed?); "
                "run the task again"
            )


def _ends_here(cell: dict[str, Any]) -> bool:
    """Return whether the notebook ended itself in this cell, with ``sys.exit(0)``."""
    errors = [one for one in cell.get("outputs", []) if one["output_type"] == "error"]
    return any((one["ename"], one["evalue"]) == ("SystemExit", "0") for one in errors)


def check_and_attach(task: Any, product: Any, params: Any) -> None:
    """Check a training notebook, and store with its MLflow run: the notebook as HTML, and what it was made of.

    A training without a model has no run.
    """
    from tasks.registry import mlflow_store

    check_executed(product)
    result = json.loads(Path(str(product["result"])).read_text())
    if result["run_id"] is None:
        return
    client = mlflow_store.connect(params["tracking"]["tracking_uri"])
    client.log_artifact(result["run_id"], str(product["html"]), "notebook")
    client.log_text(result["run_id"], json.dumps(lineage_record(task), indent=1), NAME)
    client.set_tag(result["run_id"], mlflow_store.ARTIFACT_VERSION, result["version"])
