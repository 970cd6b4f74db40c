"""The plan of the state machine, written from the DAG: ``python -m infra.state_machine.__main__ [--out FILE] [--check]``.

The state machine itself is written by hand: ``infra/terraform/state_machine.json.tftpl``. Terraform puts the plan into it.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from infra.state_machine.dag import read_tasks
from infra.state_machine.plan import Plan, make_plan
from infra.state_machine.sizes import read_sizes
from tasks.errors import ClicklabError
from tasks.knobs.reading import read_env
from tasks.storage.files import write_atomic

ENV = "env.aws.yaml"
MACHINE = Path("infra/terraform/state_machine.json.tftpl")
OUT = Path("infra/terraform/plan.json")


def render(plan: Plan) -> str:
    """Return a plan as JSON, one line per container."""
    levels = ",\n".join(
        "  [\n" + ",\n".join(f"   {json.dumps(one)}" for one in level) + "\n  ]"
        for level in plan["levels"]
    )
    rest = json.dumps({key: plan[key] for key in ("models", "defaults")}, indent=1)
    return rest.removesuffix("\n}") + f',\n "levels": [\n{levels}\n ]\n}}\n'


def main(words: Sequence[str] | None = None) -> int:
    """Write the plan, or check that the file is up to date."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n")[0])
    parser.add_argument("--env", default=ENV, help="the file of knobs")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if outdated")
    asked = parser.parse_args(words)
    try:
        tasks = read_tasks(asked.env)
        sizes = read_sizes(read_env(asked.env), [task.name for task in tasks])
        text = render(make_plan(tasks, sizes))
    except ClicklabError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    if asked.check:
        return _check(text, asked.out)
    write_atomic(asked.out, text)
    sys.stdout.write(f"{asked.out}: {len(tasks)} tasks, {len(text):,} bytes\n")
    return 0


def _check(text: str, out: Path) -> int:
    if out.is_file() and out.read_text() == text:
        return 0
    sys.stderr.write(f"error: {out} is not the plan of pipeline.yaml and its env; run `make asl`\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
