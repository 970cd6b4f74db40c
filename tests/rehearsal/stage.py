"""What scenarios act on: an emulator, a deployment in it, and how runs and notices are looked at."""

import json
import os
import secrets
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from infra.runs import executions
from infra.runs.progress import ENDED, Progress
from tasks.errors import ClicklabError
from tests.rehearsal.emulator import ACCOUNT, REGION, Emulator

RUN_LIMIT_S = 900.0
_POLL_S = 0.3
Found = TypeVar("Found")


class NotShown(ClicklabError):
    """What a scenario is to show was not to be seen."""


def shown(is_so: bool, what: str) -> None:
    """Raise NotShown unless it is so."""
    if not is_so:
        raise NotShown(f"not shown: {what}")


@dataclass
class Stage:
    """An emulator with a deployment.

    Attributes
    ----------
    values
        The deployment's values, named as Terraform's outputs.
    """

    emulator: Emulator
    values: dict[str, Any]
    inbox: str = ""
    _told: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        sqs, sns = self.emulator.client("sqs"), self.emulator.client("sns")
        self.inbox = sqs.create_queue(QueueName="inbox")["QueueUrl"]
        arn = f"arn:aws:sqs:{REGION}:{ACCOUNT}:inbox"
        sns.subscribe(TopicArn=self.values["topic_arn"], Protocol="sqs", Endpoint=arn)

    # ---- runs

    def start(self, *, run: str = "", **given: Any) -> str:
        """Start an execution with this input, called as the run, and return the run's id."""
        run = run or f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(2)}"
        text = {"run": run, "data": "", "model": "", **given}
        self.emulator.client("stepfunctions").start_execution(
            stateMachineArn=self.values["state_machine_arn"], name=run, input=json.dumps(text)
        )
        return run

    def end_of(self, run: str) -> dict[str, Any]:
        """Return how a run's latest execution ended, when it has."""
        return wait_for(
            lambda: _ended(executions.describe(self.values, run)),
            f"the end of run {run}",
            poll_s=1.0,
        )

    def tasks(self, run: str) -> dict[str, Progress]:
        """Return each task's progress in the run's latest execution."""
        return executions.progress(executions.describe(self.values, run))

    def containers(self, run: str, task: str = "") -> list[dict[str, Any]]:
        """Return the ECS tasks of a run, or of one of its tasks, oldest first."""
        ecs, cluster = self.emulator.client("ecs"), self.values["cluster"]
        arns = ecs.list_tasks(cluster=cluster)["taskArns"]
        arns += ecs.list_tasks(cluster=cluster, desiredStatus="STOPPED")["taskArns"]
        arns = list(dict.fromkeys(arns))
        found = ecs.describe_tasks(cluster=cluster, tasks=arns)["tasks"] if arns else []
        mine = [one for one in found if _is_of(one, run, task)]
        return sorted(mine, key=lambda one: one.get("createdAt", one.get("startedAt", 0)))

    def running(self, run: str, task: str) -> dict[str, Any]:
        """Return the container of a task when it runs and its task has begun to work."""

        def found() -> dict[str, Any] | None:
            for one in self.containers(run, task):
                if one["lastStatus"] == "RUNNING" and one["desiredStatus"] == "RUNNING":
                    return one
            return None

        return wait_for(found, f"a container of {task}")

    def files(self, run: str, folder: str = "") -> list[str]:
        """Return what the bucket has of a run."""
        pages = self.emulator.client("s3").get_paginator("list_objects_v2")
        prefix = f"runs/{run}/{folder}"
        found = pages.paginate(Bucket=self.values["bucket"], Prefix=prefix)
        return [entry["Key"][len(prefix) :] for page in found for entry in page.get("Contents", ())]

    def read(self, key: str) -> str | None:
        """Return a file of the bucket, None if it is not there."""
        s3 = self.emulator.client("s3")
        try:
            found = s3.get_object(Bucket=self.values["bucket"], Key=key)
        except s3.exceptions.NoSuchKey:
            return None
        return str(found["Body"].read().decode())

    # ---- notices

    def notice(self, run: str) -> str:
        """Return the notice of a run, when it has come."""

        def found() -> str | None:
            self._fetch()
            subjects = [one for one in self._told if run in one["Subject"]]
            return f"{subjects[-1]['Subject']}: {subjects[-1]['Message']}" if subjects else None

        return wait_for(found, f"a notice of run {run}", limit_s=20)

    def _fetch(self) -> None:
        sqs = self.emulator.client("sqs")
        while messages := sqs.receive_message(QueueUrl=self.inbox, MaxNumberOfMessages=10).get(
            "Messages"
        ):
            for message in messages:
                self._told.append(json.loads(message["Body"]))
                sqs.delete_message(QueueUrl=self.inbox, ReceiptHandle=message["ReceiptHandle"])

    # ---- the schedule

    def fire_schedule(self) -> str:
        """Do what EventBridge Scheduler does when it is time, as the schedule's role; return the run's id."""
        where = {"Name": self.values["schedule_name"], "GroupName": self.values["schedule_group"]}
        found = self.emulator.client("scheduler").get_schedule(**where)
        shown(found["State"] == "ENABLED", "the schedule is on")
        target = found["Target"]
        states = self.as_role("stepfunctions", target["RoleArn"], "scheduler.amazonaws.com")
        arn = states.start_execution(
            stateMachineArn=target["Arn"],
            input=target["Input"],
            name=str(uuid.uuid4()),  # AWS chooses one; moto does not
        )
        return str(arn["executionArn"].rsplit(":", 1)[1])

    def as_role(self, service: str, role: str, principal: str) -> Any:
        """Return a client under a role that trusts a service."""
        import boto3

        iam = self.emulator.client("iam").get_role(RoleName=role.rsplit("/", 1)[1])
        trusted = json.dumps(iam["Role"]["AssumeRolePolicyDocument"])
        shown(principal in trusted, f"{role} trusts {principal}")
        keys = self.emulator.client("sts").assume_role(RoleArn=role, RoleSessionName="schedule")
        keys = keys["Credentials"]
        return boto3.client(
            service,
            region_name=REGION,
            endpoint_url=self.emulator.endpoint,
            aws_access_key_id=keys["AccessKeyId"],
            aws_secret_access_key=keys["SecretAccessKey"],
            aws_session_token=keys["SessionToken"],
        )


def _ended(execution: dict[str, Any]) -> dict[str, Any] | None:
    return execution if execution["status"] in ENDED else None


def _is_of(container: Mapping[str, Any], run: str, task: str) -> bool:
    for override in container["overrides"].get("containerOverrides", ()):
        told = {one["name"]: one["value"] for one in override.get("environment", ())}
        if told.get("CLICKLAB_RUN") == run and task in ("", override["command"][-1]):
            return True
    return False


def wait_for(
    look: Callable[[], Found | None],
    what: str,
    *,
    limit_s: float = RUN_LIMIT_S,
    poll_s: float = _POLL_S,
) -> Found:
    """Return what `look` finds, when it does; NotShown when the time is over."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        found = look()
        if found is not None:
            return found
        time.sleep(poll_s)
    raise NotShown(f"not shown: {what} did not come in {limit_s:.0f} s")


@contextmanager
def verbs_find(emulator: Emulator, outputs: Path) -> Iterator[None]:
    """Point the verbs of this process at an emulator and a deployment."""
    told = emulator.variables() | {"CLICKLAB_OUTPUTS": str(outputs)}
    before = {name: os.environ.get(name) for name in told}
    os.environ.update(told)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name)
            else:
                os.environ[name] = value
