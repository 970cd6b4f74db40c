"""What only a real account can prove, proved in order: ``python -m infra.release.smoke --aws``.

A deployment of its own, ``smoke``, is created, tried and destroyed; other deployments and their saved outputs are left
alone. The steps are the table of docs/aws.md, which a test holds against them.
"""

import argparse
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from infra.aws import outputs, run_verb
from tasks.errors import ClicklabError, ConfigError

STAGE = "smoke"
OUTPUTS = Path("products/smoke-outputs.json")
DOWN = f"make down NAME=clicklab-{STAGE} WITH_DATA=1"
_BENTO = "BENTO=ctr_tiny:latest"
_PYTHON = ".venv/bin/python -m"
_DATA = "sim://avazu?rows=100000"
_RUN = "[0-9]{8}T[0-9]{6}-[0-9a-f]{4}"
_POLL_S = 15.0


class SmokeError(ClicklabError):
    """A step did not show what was expected."""


class Step(NamedTuple):
    """A claim, the command that proves it, and a pattern that its output must contain.

    The command is one line of bash, in which outputs of the deployment are variables in capitals, as ``$CLUSTER``. With
    `patience_min` it is repeated until it succeeds.
    """

    proves: str
    command: str
    expected: str
    patience_min: int = 0


_ECS = "aws ecs {} --cluster $CLUSTER"
STEPS: Sequence[Step] = (
    Step("a Bento for the image", "make run ENV=env.tiny.yaml", "ctr_tiny"),
    Step(
        "the images can be built with internet", f"make image {_BENTO}", "built clicklab-tracking"
    ),
    Step(
        "credentials, quotas, zones, ECS's own role",
        f"make doctor AWS=1 STAGE={STAGE}",
        "ok +credentials",
    ),
    Step(
        "key, bucket, repositories", f"make deploy STAGE={STAGE} ONLY=images YES=1", "outputs saved"
    ),
    Step("the registry takes the images", f"make push {_BENTO}", "make deploy` uses them"),
    Step("its scan ends, nothing critical", "make scan", "tracking:"),
    Step("all of Terraform is accepted", f"make deploy STAGE={STAGE} YES=1", "outputs saved"),
    Step("a second plan changes nothing", f"make plan STAGE={STAGE}", "no changes"),
    Step(
        "Fargate starts the service, salted, through the endpoints",
        "make status",
        r"blue +100% +2 of 2 tasks healthy",
        15,
    ),
    Step(
        "MLflow migrates its database, whose certificate is checked",
        _ECS.format("describe-services")
        + " --services $TRACKING_SERVICE --query 'services[0].deployments[0].rolloutState'",
        "COMPLETED",
        20,
    ),
    Step(
        "the pipeline's roles, endpoints and memory suffice",
        f"make submit DATA='{_DATA}'",
        "succeeded",
    ),
    Step(
        "a missing object answers 404 to the service's rights",
        "aws logs filter-log-events --log-group-name $SERVICE_LOG_GROUP --filter-pattern AccessDenied --query 'length(events)'",
        "^0$",
    ),
    Step(
        "a second image of the service",
        f"for verb in build push; do {_PYTHON} infra.images $verb service --bento ctr_tiny:latest --tag smoke-2; done",
        "pushed .*:smoke-2|pushed before",
    ),
    Step(
        "two colors and the canary's alarms", "make canary SHARE=10 IMAGE=smoke-2", "no alarm fired"
    ),
    Step("a release", "make release", "is stopped"),
    Step(
        "a lost task is replaced",
        _ECS.format("stop-task")
        + f" --task $({_ECS.format('list-tasks')} --service-name $GREEN_SERVICE --query 'taskArns[0]' --output text) > /dev/null; make status",
        r"green +100% +\d of 2 tasks healthy",
    ),
    Step("and serves again", "make status", r"green +100% +2 of 2 tasks healthy", 10),
    Step(
        "a rotated database password heals by itself",
        "aws rds modify-db-instance --db-instance-identifier $SERVICE_NAME-tracking --rotate-master-user-password "
        "--apply-immediately --query DBInstance.DBInstanceStatus",
        r"\w",
    ),
    Step(
        "MLflow's tasks were replaced after it",
        _ECS.format("describe-services")
        + " --services $TRACKING_SERVICE --query 'services[0].events[?contains(message, `unhealthy`)] | length(@)'",
        "^[1-9]",
        15,
    ),
    Step(
        "an alarm fires by itself: a stopped run",
        f"{_PYTHON} infra.runs submit --data '{_DATA}' --detach && sleep 60 && make stop RUN=$(make runs | grep -oEm1 '{_RUN}')",
        "stop",
    ),
    Step(
        "and is in alarm",
        "aws cloudwatch describe-alarms --alarm-names $SERVICE_NAME-pipeline-aborted --query 'MetricAlarms[0].StateValue'",
        "ALARM",
        15,
    ),
)


def main(words: Sequence[str] | None = None) -> int:
    """Run the steps, then destroy what they created; return 0 if all showed what was expected."""
    parser = argparse.ArgumentParser(prog="python -m infra.release.smoke")
    parser.add_argument("--aws", action="store_true", help="yes, in the account of the credentials")
    parser.add_argument("--list", action="store_true", help="print the steps as a table and end")
    asked = parser.parse_args(words)
    if asked.list:
        sys.stdout.write(table())
        return 0
    return run_verb(lambda: smoke(is_sure=asked.aws))


def table() -> str:
    """Return the steps as a table for docs/aws.md."""
    rows = [
        "| {} | {} | `{}` | `{}` |".format(
            number, one.proves, *(text.replace("|", "\\|") for text in one[1:3])
        )
        for number, one in enumerate((*STEPS, _LAST), start=1)
    ]
    return "\n".join(
        ["| | proves | command | its output has |", "| --- | --- | --- | --- |", *rows, ""]
    )


def smoke(
    *, is_sure: bool, run: Callable[[str], tuple[int, str]] | None = None, poll_s: float = _POLL_S
) -> None:
    """Run the steps up to the first that fails, and destroy the deployment in any case.

    Raises
    ------
    ConfigError
        Unless `is_sure`.
    SmokeError
        If a step, or the end, fails.
    """
    if not is_sure:
        raise ConfigError(
            "smoke creates a deployment in an AWS account, about 1 hour and 2 USD, and destroys it; to do so say AWS=1"
        )
    run, failed = run or _run, ""
    try:
        for number, step in enumerate(STEPS, start=1):
            sys.stdout.write(f"{number:>2} {step.proves} ...\n")
            if not _shows(step, run, poll_s):
                failed = f"step {number} ({step.proves}): `{step.command}` did not show {step.expected!r}"
                break
    finally:
        is_down = _shows(_LAST, run, poll_s)
    if not is_down:
        raise SmokeError(
            f"{failed or 'all steps passed'}; NOT all was destroyed, run `{DOWN}` again"
        )
    if failed:
        raise SmokeError(f"{failed}; what was created has been destroyed")
    sys.stdout.write(
        f"all {len(STEPS)} steps showed what was expected; everything has been destroyed\n"
    )


_LAST = Step("nothing remains", DOWN, "verified: Terraform's state is empty")


def _shows(step: Step, run: Callable[[str], tuple[int, str]], poll_s: float) -> bool:
    """Return whether a step's output has what is expected, within its patience."""
    deadline = time.monotonic() + 60 * step.patience_min
    while True:
        code, text = run(step.command)
        if code == 0 and re.search(step.expected, text.strip().strip('"'), re.M):
            return True
        if time.monotonic() >= deadline:
            return False
        time.sleep(poll_s)


def _run(command: str) -> tuple[int, str]:
    """Run a line of bash, showing its output; return its exit code and what it printed."""
    sys.stdout.write(f"   $ {command}\n")
    sys.stdout.flush()
    environment = {**os.environ, "CLICKLAB_OUTPUTS": str(OUTPUTS.resolve()), "AWS_PAGER": ""}
    environment |= _variables() if OUTPUTS.is_file() else {}
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    sys.stdout.write(done.stdout)
    return done.returncode, done.stdout


def _variables() -> Mapping[str, str]:
    """Return the deployment's outputs as variables."""
    os.environ["CLICKLAB_OUTPUTS"] = str(OUTPUTS.resolve())
    return {name.upper(): value for name, value in outputs().items() if isinstance(value, str)}


if __name__ == "__main__":
    sys.exit(main())
