"""The pipeline compiled to a Step Functions state machine: ``python -m infra.state_machine.__main__ [--out FILE] [--check]``.

Each level of the DAG is one Parallel with a branch a task (:mod:`infra.state_machine.task_states`); whatever fails in it is
told (:mod:`infra.state_machine.notices`) and ends the run. The definition is a template: Terraform fills in ``${...}``.

The execution's input is ``{"run", "data", "model", "attempt_limit", "outage_limit", "done"}``, all optional: the run's
id (else the execution's name), another log, one model to train alone, attempts a task, attempts where a service is
away, and tasks not to repeat.
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from infra.state_machine.dag import Task, models_of, read_tasks
from infra.state_machine.notices import failure, success
from infra.state_machine.sizes import Sizes, read_sizes
from infra.state_machine.task_states import names_in, task_branch
from tasks.errors import ClicklabError, ConfigError
from tasks.pipeline.knobs import read_env
from tasks.storage.files import write_atomic

ENV = "env.aws.yaml"
OUT = Path("infra/terraform/state_machine.json.tftpl")
FIGURE = Path("docs/images/state_machine.svg")
MAX_BYTES, MAX_STATE_NAME = 1_000_000, 80
RUN_LIMIT_S = 24 * 3600
LISTS = ("${subnets}", "${security_groups}")  # what Terraform fills in is JSON itself


def compile_machine(tasks: Sequence[Task], sizes: Sizes) -> dict[str, Any]:
    """Return the definition of a DAG, its deployment's values still open.

    Raises
    ------
    ConfigError
        If it is one that Step Functions does not take.
    """
    groups = groupby(tasks, key=lambda task: task.level)
    levels = {f"Level {level}": [task.name for task in group] for level, group in groups}
    names = list(levels)
    states = _entry([task.name for task in tasks], sizes, names[0])
    for level, following in zip(names, [*names[1:], "Summary"], strict=True):
        states[level] = {
            "Type": "Parallel",
            "Comment": ", ".join(levels[level]),
            "Branches": [_branch(name, sizes) for name in levels[level]],
            "ResultPath": None,
            "Catch": [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.error", "Next": "Failure"}],
            "Next": following,
        }
    machine = {
        "Comment": "The pipeline of pipeline.yaml; made by `make asl`, not by hand.",
        "StartAt": "Defaults",
        "TimeoutSeconds": RUN_LIMIT_S,
        "States": {**states, **success(), **failure()},
    }
    _refuse_what_cannot_be(machine)
    return machine


def _branch(name: str, sizes: Sizes) -> dict[str, Any]:
    return task_branch(
        name,
        sizes.by_task[name],
        time_limit_s=sizes.time_limit_s[name],
        n_shards=sizes.shards.get(name, 1),
        spot=sizes.spot,
    )


def _entry(names: Sequence[str], sizes: Sizes, first: str) -> dict[str, Any]:
    """Return the states that fill in what the input leaves out and refuse a model that is not there."""
    models = ["", *models_of(list(names))]
    limits = {"attempt_limit": sizes.attempts, "outage_limit": sizes.attempts_unavailable}
    defaults = {"run": "", "data": "", "model": "", **limits, "done": []}
    asked = [{"Variable": "$.model", "StringEquals": model, "Next": first} for model in models]
    known = ", ".join(models[1:])
    return {
        "Defaults": {
            "Type": "Pass",
            "Result": {"defaults": defaults},
            "Next": "Input",
        },
        "Input": {
            "Type": "Pass",
            "Parameters": {"input.$": "States.JsonMerge($.defaults, $$.Execution.Input, false)"},
            "OutputPath": "$.input",
            "Next": "Has it a name?",
        },
        "Has it a name?": {
            "Type": "Choice",
            "Choices": [{"Variable": "$.run", "StringEquals": "", "Next": "Name it"}],
            "Default": "Is the model known?",
        },
        "Name it": {
            "Type": "Pass",
            "InputPath": "$$.Execution.Name",
            "ResultPath": "$.run",
            "Next": "Is the model known?",
        },
        "Is the model known?": {"Type": "Choice", "Choices": asked, "Default": "Unknown model"},
        "Unknown model": {
            "Type": "Pass",
            "Result": {
                "Error": "ConfigError",
                "Cause": f"the model of the input is unknown; known are {known or 'none'}",
            },
            "ResultPath": "$.error",
            "Next": "Failure",
        },
    }


def _refuse_what_cannot_be(machine: dict[str, Any]) -> None:
    names = names_in(machine["States"])
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ConfigError(
            f"two states would be called {twice[0]!r}; rename the task in pipeline.yaml"
        )
    for name in names:
        if len(name) > MAX_STATE_NAME:
            raise ConfigError(
                f"the state {name!r} has more than {MAX_STATE_NAME} characters; use shorter names"
            )
    size = len(render(machine).encode())
    if size > MAX_BYTES:
        raise ConfigError(
            f"the state machine has {size:,} bytes, Step Functions takes {MAX_BYTES:,}; use fewer tasks"
        )


def render(machine: dict[str, Any]) -> str:
    """Return a definition as the template that Terraform fills in."""
    text = json.dumps(machine, indent=1)
    for name in LISTS:
        text = text.replace(json.dumps(name), name)
    return text.replace('\\"/\\", \\"$252F\\"', '"/", "$252F"') + "\n"


def main(words: Sequence[str] | None = None) -> int:
    """Write the template and its drawing, or check that what is there is what would be written."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n")[0])
    parser.add_argument("--env", default=ENV, help="the file of knobs")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--figure", type=Path, default=FIGURE)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if it is old")
    asked = parser.parse_args(words)
    try:
        tasks = read_tasks(asked.env)
        sizes = read_sizes(read_env(asked.env), [task.name for task in tasks])
        machine = compile_machine(tasks, sizes)
        return _check(machine, asked.out) if asked.check else _write(machine, asked)
    except ClicklabError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code


def _check(machine: dict[str, Any], out: Path) -> int:
    if out.is_file() and out.read_text() == render(machine):
        return 0
    sys.stderr.write(f"error: {out} is not what the pipeline compiles to; run `make asl`\n")
    return 1


def _write(machine: dict[str, Any], asked: argparse.Namespace) -> int:
    from infra.state_machine.figure import draw

    text = render(machine)
    write_atomic(asked.out, text)
    draw(machine, asked.figure)
    n_states = len(names_in(machine["States"]))
    sys.stdout.write(f"{asked.out}: {n_states} states, {len(text):,} bytes; {asked.figure}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
