"""A run's progress, task by task, read from its execution history."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

ENDED = ("FAILED", "TIMED_OUT", "ABORTED", "SUCCEEDED")
_RUN, _NOT_NEEDED, _BY_NAME = "Run", "Not needed", "Failed by name"  # states of the definition


@dataclass
class Progress:
    """One task of one run.

    Attributes
    ----------
    state
        ``waiting``, ``running``, ``waiting to retry``, ``done``, ``skipped``, ``failed`` or ``stopped``.
    attempts
        Number of starts of its container, shards not counted.
    shards
        Number of starts of its shards' containers.
    started, ended
        The first start, and the end.
    why
        The reason for a failure, in a word or two.
    """

    name: str
    state: str = "waiting"
    attempts: int = 0
    shards: int = 0
    started: datetime | None = None
    ended: datetime | None = None
    why: str = ""

    @property
    def seconds(self) -> float | None:
        """Time from the first start to the end, in seconds; None before that."""
        if self.started is None or self.ended is None:
            return None
        return (self.ended - self.started).total_seconds()


def tasks_of(definition: str) -> list[str]:
    """Return the tasks of a state machine's definition, level by level."""
    levels = json.loads(definition)["States"]["Plan"]["Result"]["levels"]
    return list(dict.fromkeys(str(task["name"]) for level in levels for task in level))


def read_progress(
    names: Sequence[str],
    events: Iterable[Mapping[str, Any]],
    status: str,
    done: Sequence[str] = (),
) -> dict[str, Progress]:
    """Return each task's progress.

    Parameters
    ----------
    names
        The tasks, in the order they are shown.
    events
        The history's events with their data, oldest first.
    status
        Of the whole execution, as Step Functions calls it.
    done
        Tasks that an earlier execution of the same run has finished.
    """
    tasks = {name: Progress(name, "done" if name in done else "waiting") for name in names}
    for event in events:
        entered = event.get("stateEnteredEventDetails")
        details = entered or event.get("stateExitedEventDetails")
        if details is None:
            continue
        # Every state of a container's loop carries its task: the names of states do not identify containers.
        data = _read(details.get("input" if entered else "output"))
        container = data.get("task")
        if isinstance(container, Mapping) and container.get("name") in tasks:
            _note(tasks[container["name"]], event, details["name"], data)
    if status in ENDED:
        for task in tasks.values():
            if task.state in ("running", "waiting to retry"):
                task.state = "stopped"
    return tasks


def _read(text: str | None) -> Mapping[str, Any]:
    try:
        found = json.loads(text or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, Mapping) else {}


def _note(task: Progress, event: Mapping[str, Any], state: str, data: Mapping[str, Any]) -> None:
    kind, when, is_shard = event["type"], event["timestamp"], bool(data["task"].get("shard"))
    if kind == "TaskStateEntered" and state == _RUN:
        task.state, task.why, task.ended = "running", "", None
        task.attempts += not is_shard
        task.shards += is_shard
        task.started = task.started or when
    elif kind == "TaskStateExited" and state == _RUN and not is_shard:
        if "error" not in data:  # a caught failure also exits the state
            task.state, task.ended = "done", when
    elif kind == "WaitStateEntered" and not is_shard:
        task.state = "waiting to retry"
    elif kind == "SucceedStateEntered" and state == _NOT_NEEDED and task.state != "done":
        task.state = "skipped"
    elif kind == "FailStateEntered":
        task.state, task.ended, task.why = "failed", when, _why(state, data)


def _why(state: str, data: Mapping[str, Any]) -> str:
    if state != _BY_NAME:
        return state.lower()
    return str(data["given"]["exit_names"][data["error"]["container"]["ExitCode"]])
