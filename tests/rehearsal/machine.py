"""The state machine of a rehearsal: compiled from the pipeline as `make asl` does, with shorter waits."""

import json
from collections.abc import Mapping
from typing import Any

from infra.state_machine.__main__ import compile_machine, render
from infra.state_machine.dag import order, read_needs
from infra.state_machine.sizes import read_sizes

WAIT_S = 1
SHORTENED = f"waits between attempts are {WAIT_S} s"


def definition_template(
    env: Mapping[str, Any], time_limits_s: Mapping[str, int] | None = None
) -> str:
    """Return the template that Terraform fills in; `time_limits_s` by state, as nobody waits a minute here."""
    tasks = order(read_needs(dict(env)))
    sizes = read_sizes(env, [task.name for task in tasks])
    return render(_quickened(compile_machine(tasks, sizes), time_limits_s or {}))


def _quickened(found: Any, limits: Mapping[str, int]) -> Any:
    """Return the states with short waits and the time limits asked for."""
    if isinstance(found, list):
        return [_quickened(one, limits) for one in found]
    if not isinstance(found, dict):
        return found
    changed = {key: _quickened(value, limits) for key, value in found.items()}
    if "wait_s" in changed:
        changed["wait_s"] = WAIT_S
    for name, limit_s in limits.items():
        if name in changed and changed[name].get("Type") == "Task":
            changed[name]["TimeoutSeconds"] = limit_s
    return changed


def filled_in(template: str, values: Mapping[str, Any]) -> str:
    """Return a definition as Terraform's `templatefile` would make it."""
    text = template.replace(
        '${replace(log_group, "/", "$252F")}', str(values["log_group"]).replace("/", "$252F")
    )
    for name, value in values.items():
        text = text.replace(f"${{{name}}}", value if isinstance(value, str) else json.dumps(value))
    return text
