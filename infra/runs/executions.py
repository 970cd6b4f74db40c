"""Runs as Step Functions knows them.

A run's first execution has the run's name; if it cannot be redriven, others follow: ``<run>-again1``,
``-again2``. Because of the numbers, two people who resume at once collide instead of running it twice.
"""

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from infra.aws import client, readable_aws_errors
from infra.runs.progress import ENDED, Progress, read_progress, tasks_of
from tasks.errors import InputError

_POLL_S = 2.0
_VISIBLE_S = 60.0  # a started execution is not always visible at once
_AGAIN = re.compile(r"-again\d+$")
_IS_RUN = re.compile(
    r"[A-Za-z0-9][A-Za-z0-9_-]{0,72}"
).fullmatch  # 80, minus the suffix of a resumed run

Execution = Mapping[str, Any]
Values = Mapping[str, Any]


def run_of(execution: Execution) -> str:
    """Return the id of the run that an execution belongs to."""
    return _AGAIN.sub("", str(execution["name"]))


def executions(values: Values, limit: int = 20) -> list[dict[str, Any]]:
    """Return the last runs, each by its latest execution, newest first."""
    with readable_aws_errors():
        pages = client("stepfunctions").get_paginator("list_executions")
        found = pages.paginate(
            stateMachineArn=values["state_machine_arn"], PaginationConfig={"MaxItems": 5 * limit}
        )
        all_ = [execution for page in found for execution in page["executions"]]
    latest: dict[str, dict[str, Any]] = {}
    for execution in sorted(all_, key=lambda one: one["startDate"], reverse=True):
        latest.setdefault(run_of(execution), execution)
    return list(latest.values())[:limit]


def arn_of(values: Values, name: str) -> str:
    """Return the address of an execution by its name."""
    machine = str(values["state_machine_arn"])
    return f"{machine.replace(':stateMachine:', ':execution:')}:{name}"


def all_of(values: Values, run: str) -> list[dict[str, Any]]:
    """Return a run's executions, oldest first.

    Raises
    ------
    InputError
        If there is no such run.
    """
    if not _IS_RUN(run) or _AGAIN.search(run):
        raise InputError(f"{run!r} is not a run id; `make runs` lists them")
    found: list[dict[str, Any]] = []
    while (execution := find_execution(arn_of(values, next_name(run, len(found))))) is not None:
        found.append(execution)
    if not found:
        raise InputError(f"there is no run {run}; `make runs` lists them")
    return found


def next_name(run: str, n_executions: int) -> str:
    """Return the name of a run's next execution."""
    return f"{run}-again{n_executions}" if n_executions else run


def describe(values: Values, run: str) -> dict[str, Any]:
    """Return a run's latest execution as Step Functions describes it; InputError if there is no such run."""
    return all_of(values, run)[-1]


def find_execution(arn: str) -> dict[str, Any] | None:
    """Return an execution, None if there is none."""
    machine = client("stepfunctions")
    with readable_aws_errors():
        try:
            found: dict[str, Any] = machine.describe_execution(executionArn=arn)
        except machine.exceptions.ExecutionDoesNotExist:
            return None
    return found


def progress(execution: Execution) -> dict[str, Progress]:
    """Return each task's progress in an execution."""
    machine, arn = client("stepfunctions"), execution["executionArn"]
    with readable_aws_errors():
        then = machine.describe_state_machine_for_execution(executionArn=arn)
        pages = machine.get_paginator("get_execution_history").paginate(
            executionArn=arn, maxResults=1000, includeExecutionData=True
        )
        events = [event for page in pages for event in page["events"]]
    done = json.loads(execution.get("input") or "{}").get("done", ())
    return read_progress(tasks_of(then["definition"]), events, execution["status"], done)


def deployed_tasks(values: Values) -> list[str]:
    """Return the tasks of the deployed pipeline."""
    with readable_aws_errors():
        found = client("stepfunctions").describe_state_machine(
            stateMachineArn=values["state_machine_arn"]
        )
    return tasks_of(found["definition"])


def follow(arn: str, say: Callable[[str], None], *, n_redrives: int = 0) -> str:
    """Report the start and end of each task until the execution ends; return its status.

    Parameters
    ----------
    arn
        The execution's.
    n_redrives
        An end before that redrive does not count.
    """
    reported: dict[str, tuple[str, int]] = {}
    deadline = time.monotonic() + _VISIBLE_S
    while True:
        execution = find_execution(arn)
        if execution is None or execution.get("redriveCount", 0) < n_redrives:
            if time.monotonic() > deadline:
                raise InputError(f"{arn} has not appeared; `make runs` lists all runs")
        else:
            _report(execution, reported, say)
            if execution["status"] in ENDED:
                return str(execution["status"])
        time.sleep(_POLL_S)


def _report(
    execution: Execution, reported: dict[str, tuple[str, int]], say: Callable[[str], None]
) -> None:
    for task in progress(execution).values():
        now = (task.state, task.attempts)
        if task.state != "waiting" and reported.get(task.name) != now:
            reported[task.name] = now
            say(_line(task))


def _line(task: Progress) -> str:
    parts = [f"{task.name}: {task.state}"]
    if task.seconds is not None:
        parts.append(f"{task.seconds:.0f} s")
    if task.why:
        parts.append(task.why)
    if task.attempts > 1:
        parts.append(f"{task.attempts} attempts")
    return ", ".join(parts)


def logs(values: Values, run: str, task: str = "") -> Iterator[str]:
    """Yield the log lines of a run in time order, of one task or of all.

    Raises
    ------
    InputError
        If there is no such run or task.
    """
    first = all_of(values, run)[0]
    if task and task not in (known := list(progress(first))):
        raise InputError(f"no task is called {task!r}; the pipeline has {', '.join(known)}")
    wanted = {"run": run} | ({"task": task} if task else {})
    pattern = " && ".join(f'($.{key} = "{value}")' for key, value in wanted.items())
    with readable_aws_errors():
        pages = client("logs").get_paginator("filter_log_events")
        start = int(first["startDate"].timestamp() * 1000) - 60_000
        for page in pages.paginate(
            logGroupName=values["log_group"], startTime=start, filterPattern=f"{{ {pattern} }}"
        ):
            for event in page["events"]:
                if _is_of(event["message"], wanted):
                    yield event["message"].rstrip("\n")


def _is_of(message: str, wanted: Mapping[str, str]) -> bool:
    try:
        record = json.loads(message)
    except ValueError:
        return False
    return isinstance(record, dict) and all(record.get(key) == wanted[key] for key in wanted)
