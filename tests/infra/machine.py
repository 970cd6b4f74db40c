"""A state machine run by moto's interpreter, with containers that end as a script says."""

import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import boto3
from moto import mock_aws
from moto.stepfunctions.parser.api import HistoryEventType, TaskFailedEventDetails
from moto.stepfunctions.parser.asl.component.common.error_name.error_name import ErrorName
from moto.stepfunctions.parser.asl.component.common.error_name.failure_event import (
    FailureEvent,
    FailureEventException,
)
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.state_task_service_aws_sdk import (
    StateTaskServiceAwsSdk,
)
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.state_task_service_ecs import (
    StateTaskServiceEcs,
)
from moto.stepfunctions.parser.asl.eval.event.event_detail import EventDetails

from infra.state_machine.__main__ import MACHINE
from tests.conftest import ROOT
from tests.infra.asl_lint import fill

REGION, ACCOUNT = "eu-west-1", "123456789012"
VALUES = {
    "cluster": f"arn:aws:ecs:{REGION}:{ACCOUNT}:cluster/clicklab",
    "task_definition": f"arn:aws:ecs:{REGION}:{ACCOUNT}:task-definition/clicklab-pipeline:1",
    "subnets": '["subnet-1", "subnet-2"]',
    "security_groups": '["sg-1"]',
    "topic_arn": f"arn:aws:sns:{REGION}:{ACCOUNT}:clicklab",
    "console": "https://console/$252Fclicklab$252Fpipeline",
    "disk_gb": "30",
    "bucket": "clicklab-bucket",
}
_normalise = StateTaskServiceAwsSdk._normalise_response


class Containers:
    """Stands for ECS: what was started, in order, and how each attempt of a task ends.

    An end is an exit code, None for a container that never started, or the name of an error.
    """

    def __init__(self, ends: Mapping[str, list[Any]] | None = None):
        self.ends = {name: list(codes) for name, codes in (ends or {}).items()}
        self.started: list[str] = []
        self.parameters: dict[str, list[dict[str, Any]]] = defaultdict(list)

    def run(self, service: StateTaskServiceEcs, env: Any) -> None:
        """Take the place of ``ecs:runTask.sync`` in moto's interpreter."""
        service.resource.eval(env=env)
        env.stack.pop()
        service.parargs.eval(env=env)
        parameters = json.loads(json.dumps(env.stack.pop()))
        override = parameters["Overrides"]["ContainerOverrides"][0]
        name = override["Command"][-1]
        shard = [
            item["Value"]
            for item in override["Environment"]
            if item["Name"] == "CLICKLAB_SHARD" and item["Value"]
        ]
        unit = f"{name} {shard[0]}" if shard else name
        self.started.append(unit)
        self.parameters[unit].append(parameters)
        left = self.ends.get(unit, [])
        end = left.pop(0) if left else 0
        if end == 0:
            env.stack.append({"LastStatus": "STOPPED"})
            return
        if isinstance(end, str) and end not in ("spot",):
            raise failure(env, end, None if end == "States.Timeout" else "it was not to be")
        raise failure(env, "States.TaskFailed", json.dumps(self._stopped(end)))

    @staticmethod
    def _stopped(end: Any) -> dict[str, Any]:
        container = {"Name": "pipeline"} | (
            {} if end is None else {"ExitCode": 143 if end == "spot" else end}
        )
        code = {"spot": "SpotInterruption", None: "TaskFailedToStart"}.get(
            end, "EssentialContainerExited"
        )
        arn = f"arn:aws:ecs:{REGION}:{ACCOUNT}:task/clicklab/0123abcd"
        return {"TaskArn": arn, "StopCode": code, "Containers": [container]}


def failure(env: Any, error: str, cause: str | None) -> FailureEventException:
    """Return what a task's failure is in moto's interpreter."""
    details = TaskFailedEventDetails(resource="runTask.sync", resourceType="ecs", error=error)
    if cause is not None:
        details["cause"] = cause
    event = EventDetails(taskFailedEventDetails=details)
    return FailureEventException(
        FailureEvent(env, ErrorName(error), HistoryEventType.TaskFailed, event)
    )


def read_body(service: Any, response: Any, *rest: Any, **named: Any) -> None:
    """`s3:getObject` gives an object's text; moto leaves a stream, and its times cannot be JSON."""
    if "Body" not in response:
        _normalise(service, response, *rest, **named)
        return
    text = response["Body"].read().decode()
    kept = json.loads(json.dumps(response | {"Body": text}, default=str))
    response.clear()
    response.update(kept)


class Ran:
    """How an execution went: status, error, messages sent, and the states entered."""

    def __init__(
        self, described: Mapping[str, Any], events: list[dict[str, Any]], told: list[dict[str, Any]]
    ):
        self.status, self.error = described["status"], described.get("error")
        self.cause = described.get("cause")
        self.told = told
        entered = [
            event["stateEnteredEventDetails"]["name"]
            for event in events
            if "stateEnteredEventDetails" in event
        ]
        self.entered = entered
        self.events = events


@contextmanager
def account(files: Mapping[str, str] | None = None) -> Iterator[Callable[..., Ran]]:
    """Yield a function that runs a definition in an account with a bucket and a topic (:meth:`Account.run`)."""
    keys = {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": REGION,
    }
    with (
        patch.dict("os.environ", keys),
        mock_aws(config={"stepfunctions": {"execute_state_machine": True}}),
    ):
        yield Account(files or {}).run


class Account:
    """A bucket with these files, a topic whose messages are kept, and state machines by their definitions."""

    def __init__(self, files: Mapping[str, str]):
        s3, sns, iam = (_client(name) for name in ("s3", "sns", "iam"))
        self._sfn, self._sqs = _client("stepfunctions"), _client("sqs")
        s3.create_bucket(
            Bucket=VALUES["bucket"], CreateBucketConfiguration={"LocationConstraint": REGION}
        )
        for key, content in files.items():
            s3.put_object(Bucket=VALUES["bucket"], Key=key, Body=content.encode())
        topic = sns.create_topic(Name="clicklab")["TopicArn"]
        self._queue = self._sqs.create_queue(QueueName="told")["QueueUrl"]
        queue_arn = f"arn:aws:sqs:{REGION}:{ACCOUNT}:told"
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue_arn)
        trust = json.dumps({"Version": "2012-10-17", "Statement": []})
        role = iam.create_role(RoleName="sfn", AssumeRolePolicyDocument=trust)["Role"]
        self._role = role["Arn"]
        self._machines: dict[str, str] = {}

    def run(
        self,
        definition: str,
        containers: Containers,
        given: Mapping[str, Any] | None = None,
        name: str = "exec-1",
    ) -> Ran:
        """Run a definition with an input to its end, with containers that end as scripted."""
        started = patch.object(
            StateTaskServiceEcs, "_eval_execution", lambda self, env: containers.run(self, env)
        )
        with started, patch.object(StateTaskServiceAwsSdk, "_normalise_response", read_body):
            execution = self._sfn.start_execution(
                stateMachineArn=self._machine(definition), name=name, input=json.dumps(given or {})
            )["executionArn"]
            described = self._end_of(execution)
        history = self._sfn.get_execution_history(executionArn=execution, maxResults=1000)
        return Ran(described, history["events"], self._told())

    def _machine(self, definition: str) -> str:
        if definition not in self._machines:
            self._machines[definition] = self._sfn.create_state_machine(
                name=f"machine{len(self._machines)}", definition=definition, roleArn=self._role
            )["stateMachineArn"]
        return self._machines[definition]

    def _end_of(self, execution: str) -> dict[str, Any]:
        while True:
            described = self._sfn.describe_execution(executionArn=execution)
            if described["status"] != "RUNNING":
                return dict(described)
            time.sleep(0.05)

    def _told(self) -> list[dict[str, Any]]:
        """Return the messages that came since it was last asked."""
        told = []
        where = {"QueueUrl": self._queue}
        while found := self._sqs.receive_message(**where, MaxNumberOfMessages=10).get("Messages"):
            for message in found:
                told.append(json.loads(message["Body"]))
                self._sqs.delete_message(**where, ReceiptHandle=message["ReceiptHandle"])
        return told


def _client(service: str) -> Any:
    return boto3.client(service, region_name=REGION)


def deployed(plan: Mapping[str, Any]) -> str:
    """Return the definition of the repository with a plan, as Terraform would fill it in."""
    return fill((ROOT / MACHINE).read_text(), VALUES | {"plan": json.dumps(plan)})
