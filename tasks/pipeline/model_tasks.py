"""The models of an env file and the training tasks of ``pipeline.yaml``: each block has its task."""

from collections.abc import Mapping
from typing import Any

import yaml

from tasks.errors import ConfigError
from tasks.storage.workspace import MARKER, project_root

TRAIN = "train-"


def model_block(name: str, models: Mapping[str, Any]) -> Any:
    """Return the block of a model, once every block has its task and every task its block.

    ``pipeline.yaml`` calls this for each training while it is loaded, so ``ploomber build`` and
    ``make run`` report a mismatch alike, before anything runs.

    Raises
    ------
    ConfigError
        Naming what is missing and the lines to add.
    """
    check_models(models, _trained())
    return models[name]


def check_models(models: Any, trained: list[str]) -> None:
    """Raise ConfigError unless `models` has a block for exactly the names in `trained`."""
    if not isinstance(models, Mapping):
        raise ConfigError(
            f"`models` must be a mapping of names to blocks, found {models!r}; see env.yaml"
        )
    for name, block in models.items():
        if not isinstance(block, Mapping):
            raise ConfigError(
                f"model {name!r} must be a block with kind, params and search, found {block!r}"
            )
        if name not in trained:
            raise ConfigError(
                f"model {name!r} has no task; add to the trainings of pipeline.yaml:\n{task_lines(name)}"
            )
    for name in trained:
        if name not in models:
            raise ConfigError(
                f"task {TRAIN}{name} has no model; add to `models` of env.yaml, or delete the task:\n"
                f"  {name}:\n    kind: ftrl\n    params: {{}}\n    search: {{method: fixed}}"
            )


def task_lines(name: str) -> str:
    """Return the lines of ``pipeline.yaml`` that train a model of that name."""
    block = f'{{dotted_path: "tasks.pipeline.model_tasks::model_block", name: {name}, models: "{{{{models}}}}"}}'
    products = "{{products}}"
    return (
        f"  - <<: *train\n"
        f"    name: {TRAIN}{name}\n"
        f'    product: {{nb: "{products}/{TRAIN}{name}.ipynb", html: "{products}/{TRAIN}{name}.html",\n'
        f'              result: "{products}/{TRAIN}{name}.json", model: "{products}/models/{name}/model.json"}}\n'
        f"    params: {{<<: *training, name: {name}, model: {block}}}"
    )


def _trained() -> list[str]:
    spec = yaml.safe_load((project_root() / MARKER).read_text())
    names = [str(task.get("name", "")) for task in spec["tasks"]]
    return [name.removeprefix(TRAIN) for name in names if name.startswith(TRAIN)]
