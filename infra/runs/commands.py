"""Start and stop runs, and switch the schedule; resuming is in :mod:`infra.runs.resume`."""

import json
import secrets
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from infra.aws import client, readable_aws_errors
from infra.runs.executions import deployed_tasks, describe
from infra.state_machine.dag import models_of
from tasks.errors import ConfigError, InputError

_SCHEDULE = (  # an update replaces the whole schedule
    "ActionAfterCompletion",
    "Description",
    "EndDate",
    "FlexibleTimeWindow",
    "KmsKeyArn",
    "ScheduleExpression",
    "ScheduleExpressionTimezone",
    "StartDate",
    "Target",
)

Values = Mapping[str, Any]


def _say_nothing(_: str) -> None:
    """Discard progress messages."""


def submit(
    values: Values, *, data: str = "", model: str = "", say: Callable[[str], None] = _say_nothing
) -> str:
    """Start a run and return its id; a local file is uploaded first.

    Raises
    ------
    InputError
        If the data does not exist.
    ConfigError
        If there is no such model, or credentials or permissions are missing.
    """
    if model and model not in (known := models_of(deployed_tasks(values))):
        raise ConfigError(f"no model is called {model!r}; the pipeline trains {', '.join(known)}")
    run = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(2)}"
    data = _reachable(data, str(values["bucket"]), run, say)
    start(values, run, {"run": run, "data": data, "model": model})
    return run


def _reachable(data: str, bucket: str, run: str, say: Callable[[str], None]) -> str:
    """Return the address at which a task can read the data."""
    if not data or data.startswith("sim://"):
        return data
    s3 = client("s3")
    if data.startswith("s3://"):
        place, _, key = data.removeprefix("s3://").partition("/")
        if not place:
            raise InputError(f"{data}: no bucket is named; write s3://bucket/key")
        with readable_aws_errors():
            found = s3.list_objects_v2(Bucket=place, Prefix=key, MaxKeys=1)
        if not found.get("KeyCount"):
            raise InputError(f"{data}: nothing was found there; check the address")
        return data
    path = Path(data)
    if not path.is_file():
        raise InputError(f"{data}: no such file; give a file, s3:// or sim://")
    # a file of the same name must not replace an earlier run's data
    key = f"data/{run}/{path.name}"
    say(f"uploading {path} to s3://{bucket}/{key} ...")
    with readable_aws_errors():
        s3.upload_file(str(path), bucket, key)
    return f"s3://{bucket}/{key}"


def start(values: Values, name: str, given: Mapping[str, Any]) -> None:
    """Start an execution of that name with its input."""
    with readable_aws_errors():
        client("stepfunctions").start_execution(
            stateMachineArn=values["state_machine_arn"], name=name, input=json.dumps(given)
        )


def stop(values: Values, run: str) -> None:
    """Stop a run; its containers get SIGTERM and save what is finished, so that it can be resumed."""
    execution = describe(values, run)
    if execution["status"] != "RUNNING":
        raise InputError(f"run {run} is not running, it is {execution['status'].lower()}")
    with readable_aws_errors():
        client("stepfunctions").stop_execution(
            executionArn=execution["executionArn"], error="Stopped", cause="stopped by hand"
        )


def switch_schedule(values: Values, *, on: bool) -> str:
    """Turn the schedule on or off, and return its expression."""
    where = {"Name": values["schedule_name"], "GroupName": values["schedule_group"]}
    scheduler = client("scheduler")
    with readable_aws_errors():
        found = scheduler.get_schedule(**where)
        kept = {key: found[key] for key in _SCHEDULE if found.get(key)}
        scheduler.update_schedule(**where, **kept, State="ENABLED" if on else "DISABLED")
    return str(found["ScheduleExpression"])
