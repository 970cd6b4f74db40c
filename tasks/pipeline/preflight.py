"""What is checked before anything starts, whichever command starts it: models and their tasks, schema, notebooks."""

from collections.abc import Mapping
from typing import Any

from tasks.errors import ConfigError
from tasks.evaluation.clusters import check_cluster
from tasks.knobs.model_tasks import check_models, read_tasks, trained
from tasks.pipeline.notebook_cells import check_notebook
from tasks.schema import load_schema
from tasks.storage.workspace import MARKER, resolve

_INJECTED = ("upstream", "product")  # besides a task's `params`


def check_project(env: Mapping[str, Any]) -> None:
    """Raise an error of :mod:`tasks.errors`, in one line, unless the pipeline can start with these knobs.

    Parameters
    ----------
    env
        Knobs as :func:`tasks.knobs.reading.read_env` returns them, so each is sound by itself.
    """
    tasks = read_tasks()
    check_models(env["models"], trained())
    schema = str(env["schema"])
    declared = load_schema(resolve(schema) if schema.endswith((".yaml", ".yml")) else schema)
    check_cluster(env["evaluation"]["cluster"], declared)
    injected: dict[str, set[str]] = {}
    for name, task in tasks.items():
        source = task.get("source")
        if not isinstance(source, str):
            raise ConfigError(
                f"{MARKER}: task {name!r} has no `source`; name its function or notebook"
            )
        if not task.get("product"):
            raise ConfigError(
                f"{MARKER}: task {name!r} has no `product`; name the file that it writes"
            )
        if source.endswith(".ipynb"):
            injected.setdefault(source, set(_INJECTED)).update(task.get("params") or {})
    for source, names in injected.items():
        check_notebook(source, names)
