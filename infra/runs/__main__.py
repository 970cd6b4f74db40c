"""Runs of the pipeline on AWS: ``python -m infra.runs.__main__ submit|list|show|logs|resume|stop|schedule``.

A run is one or more executions of the state machine; its id is the first one's name and the folder of its
products. A failed run is resumed under its own id: Step Functions redrives it or, if it cannot, another execution
continues with the same products and skips what is done.
"""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.table import Table

from infra.aws import check_account, need, outputs, run_verb
from infra.runs.commands import stop, submit, switch_schedule
from infra.runs.executions import arn_of, describe, executions, follow, logs, progress, run_of
from infra.runs.resume import resume

_MARKS = {
    "done": "green",
    "failed": "red",
    "running": "yellow",
    "stopped": "red",
    "waiting to retry": "yellow",
}
_COLORS = {"SUCCEEDED": "green", "RUNNING": "yellow"}
_BUSY = ("running", "failed", "stopped", "waiting to retry")

Say = Callable[[str], None]
Values = Mapping[str, Any]


def main(words: Sequence[str] | None = None) -> int:
    """Run one verb; a known error is one line and its exit code."""
    asked = _parse(words)
    console = Console(soft_wrap=True)

    def say(text: str) -> None:
        console.print(text, highlight=False, markup=False)

    def verb() -> int | None:
        values = outputs()
        need(values, "state_machine_arn", "bucket", "region", "account_id")
        check_account(values)
        return _VERBS[asked.verb](asked, values, say, console)

    line = "no longer following; the run continues: `make runs`, `make stop RUN=...`"
    return run_verb(verb, interrupted=line)


def _parse(words: Sequence[str] | None) -> argparse.Namespace:
    about = str(__doc__).split("\n")[0]
    parser = argparse.ArgumentParser(prog="python -m infra.runs.__main__", description=about)
    verbs = parser.add_subparsers(dest="verb", required=True)
    submitted = verbs.add_parser("submit", help="start a run")
    data = "a file, s3:// or sim://; else that of env.aws.yaml"
    submitted.add_argument("--data", default="", help=data)
    submitted.add_argument("--model", default="", help="train this model alone")
    submitted.add_argument("--detach", action="store_true", help="do not wait until it ends")
    verbs.add_parser("list", help="the latest runs")
    verbs.add_parser("show", help="a run, task by task").add_argument("run")
    log = verbs.add_parser("logs", help="what its tasks wrote")
    log.add_argument("run")
    log.add_argument("--task", default="", help="of this task alone")
    resumed = verbs.add_parser("resume", help="continue after a failure")
    resumed.add_argument("run")
    resumed.add_argument("--detach", action="store_true", help="do not wait until it ends")
    verbs.add_parser("stop", help="stop it").add_argument("run")
    schedule = verbs.add_parser("schedule", help="turn the schedule on or off")
    schedule.add_argument("state", choices=["on", "off"])
    return parser.parse_args(words)


def _submit(asked: argparse.Namespace, values: Values, say: Say, _: Console) -> int:
    run = submit(values, data=asked.data, model=asked.model, say=say)
    say(f"run {run}")
    return 0 if asked.detach else _follow_to_end(run, arn_of(values, run), say)


def _list(_: argparse.Namespace, values: Values, say: Say, console: Console) -> None:
    found = executions(values)
    if found:
        console.print(_table(found))
    else:
        say("there are no runs yet; `make submit` starts one")


def _show(asked: argparse.Namespace, values: Values, say: Say, console: Console) -> None:
    execution = describe(values, asked.run)
    say(f"run {asked.run}: {execution['status'].lower()}")
    console.print(show(execution))


def _logs(asked: argparse.Namespace, values: Values, *_: Any) -> None:
    for line in logs(values, asked.run, asked.task):
        sys.stdout.write(f"{line}\n")


def _resume(asked: argparse.Namespace, values: Values, say: Say, _: Console) -> int:
    resumed = resume(values, asked.run)
    say(f"run {asked.run} is {resumed.how}")
    if asked.detach:
        return 0
    return _follow_to_end(asked.run, resumed.arn, say, n_redrives=resumed.n_redrives)


def _stop(asked: argparse.Namespace, values: Values, say: Say, _: Console) -> None:
    stop(values, asked.run)
    say(f"run {asked.run} is stopped; `make resume RUN={asked.run}` resumes it")


def _schedule(asked: argparse.Namespace, values: Values, say: Say, _: Console) -> None:
    expression = switch_schedule(values, on=asked.state == "on")
    say(f"the schedule {expression} is {asked.state}")


_VERBS: dict[str, Callable[..., int | None]] = {
    "submit": _submit,
    "list": _list,
    "show": _show,
    "logs": _logs,
    "resume": _resume,
    "stop": _stop,
    "schedule": _schedule,
}


def _follow_to_end(run: str, arn: str, say: Say, *, n_redrives: int = 0) -> int:
    status = follow(arn, say, n_redrives=n_redrives)
    say(f"run {run}: {status.lower()}")
    if status != "SUCCEEDED":
        sys.stderr.write(f"error: run {run} {status.lower()}; see `make logs RUN={run}`\n")
        return 1
    return 0


def _table(found: Sequence[Mapping[str, Any]]) -> Table:
    table = Table("run", "status", "started (UTC)", "minutes", "current task")
    table.columns[0].no_wrap = True
    for execution in found:
        end = execution.get("stopDate") or datetime.now(UTC)
        minutes = (end - execution["startDate"]).total_seconds() / 60
        status = execution["status"]
        at = "" if status == "SUCCEEDED" else _current_tasks(execution)
        mark = f"[{_COLORS.get(status, 'red')}]{status.lower()}[/]"
        started = f"{execution['startDate'].astimezone(UTC):%Y-%m-%d %H:%M}"
        table.add_row(run_of(execution), mark, started, f"{minutes:.1f}", at)
    return table


def _current_tasks(execution: Mapping[str, Any]) -> str:
    busy = [task for task in progress(execution).values() if task.state in _BUSY]
    return ", ".join(f"{task.name} {task.why or task.state}" for task in busy)


def show(execution: Mapping[str, Any]) -> Table:
    """Return a run as a table, one row per task."""
    table = Table("task", "state", "attempts", "seconds", "why")
    for task in progress(execution).values():
        state = f"[{_MARKS[task.state]}]{task.state}[/]" if task.state in _MARKS else task.state
        seconds = "" if task.seconds is None else f"{task.seconds:.0f}"
        attempts = str(task.attempts or "") + (f" + {task.shards} shards" if task.shards else "")
        table.add_row(task.name, state, attempts, seconds, task.why)
    return table


if __name__ == "__main__":
    sys.exit(main())
