"""The states of one task: run its container, look at how it ended, and run it again or fail by a name.

Step Functions sees of a container that failed only ``States.TaskFailed``; its exit code is in the text of the
cause. So a task is a small loop: run, read the cause, choose. A refusal (a check, a gate, a knob) fails at
once; what another try may mend (spot, a lost host, memory) waits and runs again, on demand. Where a service that
the task needs was away, it is tried more often: each wait is twice the one before.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from infra.dag import TRAIN
from infra.sizes import Size

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
KILLED, CONTAINER = 137, "pipeline"
NO_CAPACITY = "AmazonECS.Unknown"  # `RunTask` answered, but started nothing
_THROTTLED = [
    "ECS.ThrottlingException",
    "ECS.ServerException",
    "ECS.SdkClientException",
    "ECS.AmazonECSException",
]
_WAIT_S = 20
_INPUT = ("run", "data", "model", "attempt_limit", "outage_limit", "done")
_MAY_AGAIN = {"Variable": "$.attempt", "NumericLessThanPath": "$.attempt_limit"}
_MAY_WAIT = {"Variable": "$.attempt", "NumericLessThanPath": "$.outage_limit"}
_CODE = "$.error.container.ExitCode"

States = dict[str, Any]


def task_branch(
    name: str, size: Size, *, time_limit_s: int, n_shards: int = 1, spot: bool = True
) -> dict[str, Any]:
    """Return a branch that runs a task, unless it is done or of another model, after its shards if it has some."""
    first = f"{name}: shards" if n_shards > 1 else f"{name}: begin"
    states: States = {
        f"{name}: needed?": {
            "Type": "Choice",
            "Choices": _reasons_to_skip(name),
            "Default": first,
        },
        f"{name}: not needed": {"Type": "Succeed"},
    }
    needed = {
        "Type": "Pass",
        "Parameters": {"is.$": f"States.ArrayContains($.done, '{name}')"},
        "ResultPath": "$.finished",
        "Next": f"{name}: needed?",
    }
    if n_shards > 1:
        states |= _shards(name, size, n_shards, time_limit_s, spot)
    states |= _loop(name, name, size, time_limit_s, spot)
    return {"StartAt": f"{name}: done?", "States": {f"{name}: done?": needed, **states}}


def _reasons_to_skip(name: str) -> list[dict[str, Any]]:
    skip = f"{name}: not needed"
    reasons: list[dict[str, Any]] = [
        {"Variable": "$.finished.is", "BooleanEquals": True, "Next": skip}
    ]
    if name.startswith(TRAIN):
        others = [
            {"Not": {"Variable": "$.model", "StringEquals": value}}
            for value in ("", name.removeprefix(TRAIN))
        ]
        reasons.append({"And": others, "Next": skip})
    return reasons


def _shards(name: str, size: Size, n_shards: int, time_limit_s: int, spot: bool) -> States:
    unit = f"{name} shard"
    select = {f"{key}.$": f"$.{key}" for key in _INPUT} | {"shard.$": "$$.Map.Item.Value"}
    return {
        f"{name}: shards": {
            "Type": "Pass",
            "Parameters": {"numbers.$": f"States.ArrayRange(0, {n_shards - 1}, 1)"},
            "ResultPath": "$.shards",
            "Next": unit + "s",
        },
        unit + "s": {
            "Type": "Map",
            "ItemsPath": "$.shards.numbers",
            "ItemSelector": select,
            "MaxConcurrency": n_shards,
            "ItemProcessor": {
                "ProcessorConfig": {"Mode": "INLINE"},
                "StartAt": f"{unit}: begin",
                "States": _loop(unit, name, size, time_limit_s, spot, n_shards=n_shards),
            },
            "ResultPath": None,
            "Next": f"{name}: begin",
        },
    }


def _loop(
    unit: str, task: str, size: Size, time_limit_s: int, spot: bool, *, n_shards: int = 0
) -> States:
    """Return the states that run a container until it succeeds or may not be tried again."""
    kept = [*_INPUT, "shard"] if n_shards else list(_INPUT)
    carried = {f"{key}.$": f"$.{key}" for key in kept} | {"name": task}
    first = {"attempt": 1, "wait_s": _WAIT_S, "capacity": "FARGATE_SPOT" if spot else "FARGATE"}
    again = {
        "attempt.$": "States.MathAdd($.attempt, 1)",
        "wait_s.$": "States.MathAdd($.wait_s, $.wait_s)",
        "capacity": "FARGATE",
    }
    return {
        f"{unit}: begin": {"Type": "Pass", "Parameters": carried | first, "Next": unit},
        unit: {
            "Type": "Task",
            "Resource": "arn:aws:states:::ecs:runTask.sync",
            "Parameters": run_task_parameters(task, size, n_shards=n_shards),
            "TimeoutSeconds": time_limit_s,
            "ResultPath": None,
            "Retry": [
                {
                    "ErrorEquals": _THROTTLED,
                    "IntervalSeconds": 5,
                    "MaxAttempts": 5,
                    "BackoffRate": 2,
                    "MaxDelaySeconds": 60,
                    "JitterStrategy": "FULL",
                }
            ],
            "Catch": [
                {
                    "ErrorEquals": ["States.Timeout"],
                    "ResultPath": "$.error",
                    "Next": f"{unit}: time limit",
                },
                {
                    "ErrorEquals": ["States.ALL"],
                    "ResultPath": "$.error",
                    "Next": f"{unit}: did it run?",
                },
            ],
            "End": True,
        },
        f"{unit}: did it run?": {
            "Type": "Choice",
            "Choices": [
                {
                    "Variable": "$.error.Error",
                    "StringEquals": "States.TaskFailed",
                    "Next": f"{unit}: how it ended",
                },
                {
                    "And": [{"Variable": "$.error.Error", "StringEquals": NO_CAPACITY}, _MAY_AGAIN],
                    "Next": f"{unit}: wait",
                },
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
        f"{unit}: wait": {
            "Type": "Wait",
            "SecondsPath": "$.wait_s",
            "Next": f"{unit}: again",
        },
        f"{unit}: again": {"Type": "Pass", "Parameters": carried | again, "Next": unit},
        **_failures(unit),
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


def run_task_parameters(task: str, size: Size, *, n_shards: int = 0) -> dict[str, Any]:
    """Return what ``ecs:runTask`` is called with; ``${...}`` are filled in by Terraform."""
    environment: list[dict[str, str]] = [
        {"Name": "CLICKLAB_RUN", "Value.$": "$.run"},
        {"Name": "CLICKLAB_DATA", "Value.$": "$.data"},
        {"Name": "CLICKLAB_MODEL", "Value.$": "$.model"},
        {"Name": "CLICKLAB_ATTEMPT", "Value.$": "States.Format('{}', $.attempt)"},
    ]
    if n_shards:
        environment += [
            {"Name": "CLICKLAB_SHARD", "Value.$": "States.Format('{}', $.shard)"},
            {"Name": "CLICKLAB_SHARDS", "Value": str(n_shards)},
        ]
    overrides: dict[str, Any] = {
        "Cpu": str(size.cpu),
        "Memory": str(size.memory_mb),
        "ContainerOverrides": [
            {
                "Name": CONTAINER,
                "Command": ["python", "-m", "infra.run_task", task],
                "Environment": environment,
            }
        ],
    }
    if size.disk_gb is not None:
        overrides["EphemeralStorage"] = {"SizeInGiB": size.disk_gb}
    return {
        "Cluster": "${cluster}",
        "TaskDefinition": "${task_definition}",
        "CapacityProviderStrategy": [{"CapacityProvider.$": "$.capacity", "Weight": 1}],
        "NetworkConfiguration": {
            "AwsvpcConfiguration": {
                "Subnets": "${subnets}",
                "SecurityGroups": "${security_groups}",
                "AssignPublicIp": "DISABLED",
            }
        },
        "Overrides": overrides,
        "PropagateTags": "TASK_DEFINITION",
    }


def names_in(states: Mapping[str, Any]) -> Sequence[str]:
    """Return the names of all states, those in branches and maps included."""
    found: list[str] = []
    for name, state in states.items():
        found.append(name)
        inner = [
            *state.get("Branches", ()),
            *([state["ItemProcessor"]] if "ItemProcessor" in state else []),
        ]
        for machine in inner:
            found += names_in(machine["States"])
    return found
