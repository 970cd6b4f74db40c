"""One task with its upstream tasks, as Ploomber loads them; whether it is outdated; and which files are its own.

A container has only the products of the direct upstream tasks: those further up were checked when these ran.
So Ploomber's own check, which covers everything upstream, is applied to the task alone.
"""

import fnmatch
import logging
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from infra.container.run_products import Owned
from infra.state_machine.dag import TRAIN, order
from tasks.errors import ConfigError

SPEC = "pipeline.yaml"


def load_partial_dag(name: str, env: Mapping[str, Any], *, model: str = "") -> Any:
    """Return an unrendered DAG of a task and what it needs; with `model`, without the other trainings.

    Raises
    ------
    ConfigError
        If there is no such task or model, or the pipeline cannot be loaded.
    """
    spec = yaml.safe_load(Path(SPEC).read_text())
    tasks = {task["name"]: task for task in spec["tasks"]}
    if name not in tasks:
        raise ConfigError(f"there is no task {name!r} in {SPEC}; it has {', '.join(tasks)}")
    if model and f"{TRAIN}{model}" not in tasks:
        raise ConfigError(f"there is no model {model!r}: {SPEC} has no task {TRAIN}{model}")
    needs = {
        task: [
            one
            for one in needed
            if task.startswith(TRAIN) or not _of_other_model(one, model)  # a blend needs its parts
        ]
        for task, needed in read_needs(tasks).items()
    }
    way = _way_to(name, needs)
    for one in way - {name}:
        tasks[one].pop("on_render", None)  # checked when it ran
    return _load(spec | {"tasks": [task for task in spec["tasks"] if task["name"] in way]}, env)


def _way_to(name: str, needs: Mapping[str, list[str]]) -> set[str]:
    """Return a task and all that it needs, directly or not."""
    return {name}.union(*(_way_to(one, needs) for one in needs[name]))


def read_needs(tasks: Mapping[str, Mapping[str, Any]]) -> dict[str, list[str]]:
    """Return the upstream tasks of each entry of ``pipeline.yaml``; ``train-*`` means all trainings."""
    needs = {}
    for name, task in tasks.items():
        named = task.get("upstream") or []
        patterns = [named] if isinstance(named, str) else list(named)
        needs[name] = [one for pattern in patterns for one in fnmatch.filter(tasks, pattern)]
    return needs


def _of_other_model(name: str, model: str) -> bool:
    return bool(model) and name.startswith(TRAIN) and name != f"{TRAIN}{model}"


def _load(spec: dict[str, Any], env: Mapping[str, Any]) -> Any:
    from ploomber.spec import DAGSpec

    logging.getLogger("ploomber").setLevel(logging.CRITICAL)
    for task in spec["tasks"]:
        if str(task["source"]).endswith(".ipynb"):  # log the output of cells as they run
            task["executor_params"] = {**task.get("executor_params", {}), "log_output": True}
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The following placeholders are declared")
            return DAGSpec(spec, env=dict(env), parent_path=str(Path.cwd())).to_dag()
    except Exception as error:
        reason = " ".join(str(error).split())[:500]
        raise ConfigError(f"{SPEC} cannot be loaded: {reason}") from None


def owned(task: Any, products: Path) -> Owned:
    """Return a rendered task's own files and folders.

    A product that lies in a folder below the products owns that folder; one that lies in the products
    folder itself is that file alone. The folder named like the task is its own too.

    Raises
    ------
    ConfigError
        If it writes elsewhere.
    """
    files, folders = [], [task.name]
    for product in _products_of(task):
        try:
            path = Path(product).resolve().relative_to(products.resolve())
        except ValueError:
            raise ConfigError(
                f"task {task.name!r} writes {product}, outside the products folder {products}; "
                "a container would lose it"
            ) from None
        files.append(path.as_posix())
        if path.parent != Path():
            folders.append(path.parent.as_posix())
    return Owned(task.name, tuple(files), tuple(dict.fromkeys(folders)))


def _products_of(task: Any) -> list[str]:
    found = task.product.to_json_serializable()
    if isinstance(found, Mapping):
        return [str(path) for path in found.values()]
    return [str(path) for path in found] if isinstance(found, list | tuple) else [str(found)]


def is_current(task: Any) -> bool:
    """Return whether a rendered task's products match its code, knobs and inputs."""
    from ploomber.constants import TaskStatus

    made = task.product.metadata.timestamp
    needed = [one.product.metadata.timestamp for one in task.upstream.values()]
    if made is None or any(one is None or one > made for one in needed):
        return False
    if task.product._outdated_code_dependency():
        return False
    task._exec_status = TaskStatus.Skipped
    task._run_on_render()  # may disagree: the raw log has other content
    return bool(task._exec_status == TaskStatus.Skipped)


def is_last(name: str) -> bool:
    """Return whether a task is the pipeline's last: of the highest level, the last in the file."""
    tasks = {task["name"]: task for task in yaml.safe_load(Path(SPEC).read_text())["tasks"]}
    needs = {task: tuple(needed) for task, needed in read_needs(tasks).items()}
    return order(needs)[-1].name == name
