"""The attempts at one container: run it, look at how it ended, and run it again or fail by a name.

Step Functions sees of a container that failed only ``States.TaskFailed``; its exit code is in the text of the
cause. So this is a small loop: run, read the cause, choose. A refusal (a check, a gate, a knob) fails at once;
what another try may mend (spot, a lost host, memory) waits and runs again, on demand. Where a service that the
task needs was away, it is tried more often: each wait is twice the one before.
"""

from collections.abc import Mapping
from typing import Any

from infra.state_machine.sizes import Size
from infra.state_machine.task_call import run_task_parameters

EXIT_NAMES = {
    2: "InputError",
    3: "ConfigError",
    4: "DataCheckFailed",
    5: "ContractError",
    6: "GateRefused",
    7: "DiskFull",
}
"""What a task's exit code is called; none of these is worth another try."""

UNAVAILABLE = 8  # a service that the task needs, such as MLflow, could not be reached
KILLED = 137
NO_CAPACITY = "AmazonECS.Unknown"  # `RunTask` answered, but started nothing
_NOT_TAKEN = {  # what Step Functions tries again by itself: ECS did not take the call
    "ErrorEquals": [
        "ECS.ThrottlingException",
        "ECS.ServerException",
        "ECS.SdkClientException",
        "ECS.AmazonECSException",
    ],
    "IntervalSeconds": 5,
    "MaxAttempts": 5,
    "BackoffRate": 2,
    "MaxDelaySeconds": 60,
    "JitterStrategy": "FULL",
}
_WAIT_S = 20
INPUT = ("run", "data", "model", "attempt_limit", "outage_limit", "done")
_MAY_AGAIN = {"Variable": "$.attempt", "NumericLessThanPath": "$.attempt_limit"}
_MAY_WAIT = {"Variable": "$.attempt", "NumericLessThanPath": "$.outage_limit"}
_AGAIN = {
    "attempt.$": "States.MathAdd($.attempt, 1)",
    "wait_s.$": "States.MathAdd($.wait_s, $.wait_s)",
    "capacity": "FARGATE",
}
_CODE = "$.error.container.ExitCode"

States = dict[str, Any]


def attempts(
    unit: str, task: str, size: Size, time_limit_s: int, spot: bool, *, n_shards: int = 0
) -> States:
    """Return the states that run a container until it succeeds or may not be tried again.

    Parameters
    ----------
    unit
        What the states are called after: the task, or its shard.
    spot
        Whether the first attempt is on spot capacity.
    n_shards
        Of how many the container hashes one; 0: it runs the whole task.
    """
    kept = [*INPUT, "shard"] if n_shards else list(INPUT)
    carried = {f"{key}.$": f"$.{key}" for key in kept} | {"name": task}
    first = {"attempt": 1, "wait_s": _WAIT_S, "capacity": "FARGATE_SPOT" if spot else "FARGATE"}
    call = run_task_parameters(task, size, n_shards=n_shards)
    return {
        f"{unit}: begin": {"Type": "Pass", "Parameters": carried | first, "Next": unit},
        unit: _run(unit, call, time_limit_s),
        **_look(unit),
        f"{unit}: wait": {
            "Type": "Wait",
            "SecondsPath": "$.wait_s",
            "Next": f"{unit}: again",
        },
        f"{unit}: again": {"Type": "Pass", "Parameters": carried | _AGAIN, "Next": unit},
        **_failures(unit),
    }


def _run(unit: str, call: Mapping[str, Any], time_limit_s: int) -> dict[str, Any]:
    """Return the state that runs the container."""
    ends = {"States.Timeout": "time limit", "States.ALL": "did it run?"}
    return {
        "Type": "Task",
        "Resource": "arn:aws:states:::ecs:runTask.sync",
        "Parameters": call,
        "TimeoutSeconds": time_limit_s,
        "ResultPath": None,
        "Retry": [_NOT_TAKEN],
        "Catch": [
            {"ErrorEquals": [error], "ResultPath": "$.error", "Next": f"{unit}: {end}"}
            for error, end in ends.items()
        ],
        "End": True,
    }


def _look(unit: str) -> States:
    """Return the states that find out how a container ended: they read the text of the cause."""
    failed = {"Variable": "$.error.Error", "StringEquals": "States.TaskFailed"}
    no_capacity = {"Variable": "$.error.Error", "StringEquals": NO_CAPACITY}
    return {
        f"{unit}: did it run?": {
            "Type": "Choice",
            "Choices": [
                {**failed, "Next": f"{unit}: how it ended"},
                {"And": [no_capacity, _MAY_AGAIN], "Next": f"{unit}: wait"},
            ],
            "Default": f"{unit}: not started",
        },
        f"{unit}: how it ended": {
            "Type": "Pass",
            "Parameters": {"stopped.$": "States.StringToJson($.error.Cause)"},
            "ResultPath": "$.error",
            "Next": f"{unit}: its container",
        },
        f"{unit}: its container": {
            "Type": "Pass",
            "Parameters": {
                "stopped.$": "$.error.stopped",
                "container.$": "States.ArrayGetItem($.error.stopped.Containers, 0)",
            },
            "ResultPath": "$.error",
            "Next": f"{unit}: why?",
        },
        f"{unit}: why?": {
            "Type": "Choice",
            "Choices": _choices(unit),
            "Default": f"{unit}: failed",
        },
    }


def _choices(unit: str) -> list[dict[str, Any]]:
    ended = {"Variable": _CODE, "IsPresent": True}
    spot = [
        {"Variable": "$.error.stopped.StopCode", "IsPresent": True},
        {"Variable": "$.error.stopped.StopCode", "StringEquals": "SpotInterruption"},
    ]
    away = [ended, {"Variable": _CODE, "NumericEquals": UNAVAILABLE}]
    low, high = min(EXIT_NAMES), max(EXIT_NAMES)
    return [
        {
            "And": [
                ended,
                {"Variable": _CODE, "NumericGreaterThanEquals": low},
                {"Variable": _CODE, "NumericLessThanEquals": high},
            ],
            "Next": f"{unit}: refused",
        },
        {"And": [*away, _MAY_WAIT], "Next": f"{unit}: wait"},
        {"And": away, "Next": f"{unit}: unavailable"},
        {**_MAY_AGAIN, "Next": f"{unit}: wait"},
        {"And": spot, "Next": f"{unit}: interrupted"},
        {
            "And": [ended, {"Variable": _CODE, "NumericEquals": KILLED}],
            "Next": f"{unit}: out of memory",
        },
    ]


def _failures(unit: str) -> States:
    """Return the ends of a loop; the cause of each is all that is known, as JSON."""
    names = ", ".join(
        f"'{EXIT_NAMES.get(code, 'TaskFailed')}'" for code in range(max(EXIT_NAMES) + 1)
    )
    known = {"CausePath": "States.JsonToString($)"}
    ends: Mapping[str, Mapping[str, str]] = {
        "refused": {"ErrorPath": f"States.ArrayGetItem(States.Array({names}), {_CODE})"},
        "out of memory": {"Error": "OutOfMemory"},
        "interrupted": {"Error": "Interrupted"},
        "unavailable": {"Error": "Unavailable"},
        "failed": {"Error": "TaskFailed"},
        "time limit": {"Error": "TimeLimit"},
        "not started": {"Error": "NotStarted"},
    }
    return {f"{unit}: {end}": {"Type": "Fail", **error, **known} for end, error in ends.items()}
