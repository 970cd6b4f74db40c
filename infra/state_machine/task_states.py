"""The states of one task: leave it out, or run it, after its shards if it has some.

How a container is run, and run again, is a loop of its own (:mod:`infra.state_machine.task_attempts`).
"""

from collections.abc import Mapping, Sequence
from typing import Any

from infra.state_machine.dag import TRAIN
from infra.state_machine.sizes import Size
from infra.state_machine.task_attempts import INPUT, States, attempts


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
    states |= attempts(name, name, size, time_limit_s, spot)
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
    select = {f"{key}.$": f"$.{key}" for key in INPUT} | {"shard.$": "$$.Map.Item.Value"}
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
                "States": attempts(unit, name, size, time_limit_s, spot, n_shards=n_shards),
            },
            "ResultPath": None,
            "Next": f"{name}: begin",
        },
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
