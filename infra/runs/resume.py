"""Resume a run: which of its tasks run again, and by redrive or by a new execution.

Inside a container :mod:`infra.container.partial_dag` decides again, and skips a task that is current.
"""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from infra.aws import client, readable_aws_errors
from infra.runs.commands import start
from infra.runs.executions import all_of, arn_of, next_name, progress
from tasks.errors import InputError

Values = Mapping[str, Any]


class Resumed(NamedTuple):
    """How a run was resumed: its execution, the number of redrives, and a few words."""

    arn: str
    n_redrives: int
    how: str


def resume(values: Values, run: str) -> Resumed:
    """Resume a run that failed: redriven if it was stopped, else restarted without what is done.

    Raises
    ------
    InputError
        If there is no such run, or it is running, or it succeeded.
    """
    past = all_of(values, run)
    execution = past[-1]
    status = execution["status"]
    if status in ("RUNNING", "SUCCEEDED", "PENDING_REDRIVE"):
        raise InputError(f"run {run} is {status.lower()}; there is nothing to resume")
    arn = execution["executionArn"]
    # a failure ends in the machine's own Fail state, which a redrive would only enter again
    was_stopped = status in ("ABORTED", "TIMED_OUT")
    is_redrivable = was_stopped and execution.get("redriveStatus") == "REDRIVABLE"
    if is_redrivable and not _has_changed(values, arn):
        with readable_aws_errors():
            client("stepfunctions").redrive_execution(executionArn=arn)
        again = int(execution.get("redriveCount", 0)) + 1
        return Resumed(arn, again, "redriven from where it was stopped")
    done = [task.name for task in progress(execution).values() if task.state == "done"]
    before = json.loads(execution.get("input") or "{}")
    given = {"run": run, "data": before.get("data", ""), "model": before.get("model", "")}
    name = next_name(run, len(past))
    start(values, name, given | {"done": done})
    how = f"restarted; {len(done)} tasks are done and not repeated: {', '.join(done) or 'none'}"
    return Resumed(arn_of(values, name), 0, how)


def _has_changed(values: Values, arn: str) -> bool:
    """Return whether the definition has changed since the run; a redrive would use the old one."""
    machine = client("stepfunctions")
    with readable_aws_errors():
        now = machine.describe_state_machine(stateMachineArn=values["state_machine_arn"])
        then = machine.describe_state_machine_for_execution(executionArn=arn)
    return bool(now["definition"] != then["definition"])
