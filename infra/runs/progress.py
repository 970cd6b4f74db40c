"""How far a run has come, task by task: read from the history that Step Functions keeps of it."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

ENDED = ("FAILED", "TIMED_OUT", "ABORTED", "SUCCEEDED")
_FAILED = (
    "refused",
    "out of memory",
    "interrupted",
    "unavailable",
    "failed",
    "time limit",
    "not started",
)
_STATES = (
    "TaskStateEntered",
    "TaskStateExited",
    "WaitStateEntered",
    "FailStateEntered",
    "SucceedStateEntered",
)
_TASK_FAILED = ("TaskFailed", "TaskTimedOut", "TaskStartFailed", "TaskSubmitFailed")
_BEGIN = ": done?"  # the state that every task's branch begins with
_SHARD = " shard"


@dataclass
class Progress:
    """One task of one run.

    Attributes
    ----------
    state
        ``waiting``, ``running``, ``waiting to try again``, ``done``, ``skipped``, ``failed`` or ``stopped``.
    attempts
        How often its container was started, that of shards left out.
    shards
        How often a shard's container was started.
    started, ended
        Of the first and the last of them.
    why
        In a word or two, of a failure.
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
    states = json.loads(definition)["States"].values()
    branches = [branch for state in states for branch in state.get("Branches", ())]
    starts = [str(branch["StartAt"]) for branch in branches]
    return [start.removesuffix(_BEGIN) for start in starts if start.endswith(_BEGIN)]


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
        The history's events, oldest first.
    status
        Of the whole execution, as Step Functions calls it.
    done
        Tasks that an earlier execution of the same run has finished.
    """
    tasks = {name: Progress(name, "done" if name in done else "waiting") for name in names}
    failures: set[int] = set()
    for event in events:
        kind = event["type"]
        if kind in _TASK_FAILED:
            failures.add(event["id"])
        # A state is left after a failure that was caught, too: that is no end of the task.
        if kind not in _STATES or event.get("previousEventId") in failures:
            continue
        details = (
            event.get("stateEnteredEventDetails") or event.get("stateExitedEventDetails") or {}
        )
        unit, _, end = str(details.get("name", "")).partition(": ")
        task = tasks.get(unit) or tasks.get(unit.removesuffix(_SHARD))
        if task is not None:
            _note(task, kind, end, event["timestamp"], is_shard=unit != task.name)
    if status in ENDED:
        for task in tasks.values():
            if task.state in ("running", "waiting to try again"):
                task.state = "stopped"
    return tasks


def _note(task: Progress, kind: str, end: str, when: datetime, *, is_shard: bool) -> None:
    if kind == "TaskStateEntered" and not end:
        task.state, task.why, task.ended = "running", "", None
        task.attempts += not is_shard
        task.shards += is_shard
        task.started = task.started or when
    elif kind == "TaskStateExited" and not end and not is_shard:
        task.state, task.ended = "done", when
    elif kind == "WaitStateEntered" and not is_shard:
        task.state = "waiting to try again"
    elif kind == "SucceedStateEntered" and end == "not needed" and task.state != "done":
        task.state = "skipped"
    elif kind == "FailStateEntered" and end in _FAILED:
        task.state, task.ended, task.why = "failed", when, end
