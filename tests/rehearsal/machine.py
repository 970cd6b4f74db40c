"""The state machine of a rehearsal: the definition of the repository with the rehearsal's plan and shorter waits."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from infra.state_machine.__main__ import MACHINE
from infra.state_machine.dag import order, read_needs
from infra.state_machine.plan import make_plan
from infra.state_machine.sizes import read_sizes

ROOT = Path(__file__).parents[2]
WAIT_S = 1
SHORTENED = f"waits between attempts are {WAIT_S} s"


def definition_template(
    env: Mapping[str, Any], time_limits_s: Mapping[str, int] | None = None
) -> str:
    """Return the template that Terraform fills in, its plan inside; `time_limits_s` by task replace those of `env`."""
    tasks = order(read_needs(dict(env)))
    plan = make_plan(tasks, read_sizes(env, [task.name for task in tasks]))
    plan["defaults"]["wait_s"] = WAIT_S
    limits = time_limits_s or {}
    for container in (one for level in plan["levels"] for one in level):
        container["time_limit_s"] = limits.get(container["name"], container["time_limit_s"])
    return (ROOT / MACHINE).read_text().replace("${plan}", json.dumps(plan))


def filled_in(template: str, values: Mapping[str, Any]) -> str:
    """Return a definition as Terraform's `templatefile` would make it."""
    region, logs = values["region"], str(values["log_group"]).replace("/", "$252F")
    console = f"https://{region}.console.aws.amazon.com/cloudwatch/home?region={region}#logsV2:log-groups/log-group/{logs}"
    text = template
    for name, value in ({"disk_gb": 21, "console": console} | dict(values)).items():
        text = text.replace(f"${{{name}}}", value if isinstance(value, str) else json.dumps(value))
    return text
