"""Run in a copy of the project: make one change after the other and say what would be built."""

import json
import logging
import sys
from pathlib import Path
from typing import Any

from tasks.knobs.reading import read_env
from tasks.pipeline.build import load_dag

ENV = "env.tiny.yaml"


def outdated(env: dict[str, Any]) -> list[str]:
    """Return the tasks that `ploomber build` would run now."""
    dag = load_dag(env).render(show_progress=False)
    return [task.name for task in dag.values() if task.exec_status.name != "Skipped"]


def with_knob(env: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """Return a copy of the knobs in which one, named as ``a.b``, has another value."""
    changed = json.loads(json.dumps(env))
    *folders, last = path.split(".")
    inner = changed
    for name in folders:
        inner = inner[name]
    inner[last] = value
    return changed


def changed_text(text: str, suffix: str) -> str:
    """Return the content of a file with a harmless addition."""
    if suffix != ".ipynb":
        return text + "\n# changed\n"
    notebook = json.loads(text)
    cell = {
        "cell_type": "code",
        "id": "x1",
        "metadata": {},
        "source": ["1 + 1"],
        "outputs": [],
        "execution_count": None,
    }
    return json.dumps(notebook | {"cells": [*notebook["cells"], cell]})


def main(changes: dict[str, Any]) -> dict[str, list[str]]:
    """Return the outdated tasks after each change; every change is taken back."""
    env = read_env(ENV)
    found = {"nothing": outdated(env)}
    for name in changes["files"]:
        path = Path(name)
        before = path.read_text()
        try:
            path.write_text(changed_text(before, path.suffix))
            found[name] = outdated(env)
        finally:
            path.write_text(before)
    for knob, value in changes["knobs"].items():
        found[knob] = outdated(with_knob(env, knob, value))
    return found


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    found = main(json.loads(sys.argv[1]))
    sys.stdout.write(json.dumps(found) + "\n")
