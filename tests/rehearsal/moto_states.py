"""Step Functions in moto 5.2, mended where it does otherwise than AWS; each function says what."""

import json
import time
from typing import Any

import boto3
from botocore.config import Config
from moto.stepfunctions.parser.api import HistoryEventType, TaskFailedEventDetails
from moto.stepfunctions.parser.asl.component.common.error_name.custom_error_name import (
    CustomErrorName,
)
from moto.stepfunctions.parser.asl.component.common.error_name.error_name import ErrorName
from moto.stepfunctions.parser.asl.component.common.error_name.failure_event import (
    FailureEvent,
    FailureEventException,
)
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service import (
    state_task_service_aws_sdk,
    state_task_service_ecs,
    state_task_service_sns,
)
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.resource import (
    ResourceCondition,
)
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.state_task_service import (
    camel_to_snake_case,
)
from moto.stepfunctions.parser.asl.eval.event.event_detail import EventDetails
from moto.stepfunctions.parser.asl.utils.encoding import to_json_str

Ecs = state_task_service_ecs.StateTaskServiceEcs
AwsSdk = state_task_service_aws_sdk.StateTaskServiceAwsSdk
_POLL_S = 0.5


def mend(endpoint: str) -> None:
    """Mend moto's interpreter; its own calls go to `endpoint`."""
    _call_as_the_role(endpoint)
    _spell_as_ecs_does()
    _follow_the_containers()
    _read_bodies()
    # A `States.*` error that leaves a branch must reach the Catch above; moto raises ValueError.
    CustomErrorName.__init__ = ErrorName.__init__


def _call_as_the_role(endpoint: str) -> None:
    """Step Functions acts with its role's rights; moto calls with none."""

    def client_as_role(region: str, service: str, state_credentials: Any = None) -> Any:
        found = boto3.client("sts", region_name=region, endpoint_url=endpoint).assume_role(
            RoleArn=state_credentials.role_arn, RoleSessionName="states"
        )["Credentials"]
        return boto3.client(
            service,
            region_name=region,
            endpoint_url=endpoint,
            aws_access_key_id=found["AccessKeyId"],
            aws_secret_access_key=found["SecretAccessKey"],
            aws_session_token=found["SessionToken"],
            config=Config(
                parameter_validation=False,
                retries={"total_max_attempts": 1},
                s3={"addressing_style": "path"},
            ),
        )

    for module in (state_task_service_ecs, state_task_service_sns, state_task_service_aws_sdk):
        module.boto_client_for = client_as_role


def _spell_as_ecs_does() -> None:
    """A definition writes `TaskDefinition`, the API `taskDefinition`; moto leaves ECS's as they are."""
    known = state_task_service_ecs._SUPPORTED_API_PARAM_BINDINGS["runtask"]
    known |= {"CapacityProviderStrategy", "Tags", "StartedBy"}

    def operation(self: Any, service: str | None, action: str | None) -> Any:
        model = boto3.client(
            self._get_boto_service_name(service), region_name="eu-west-1"
        ).meta.service_model
        wanted = self._get_boto_service_action(action)
        names = (name for name in model.operation_names if camel_to_snake_case(name) == wanted)
        return model.operation_model(next(names))

    def parameters(
        self: Any,
        parameters: dict[str, Any],
        boto_service_name: str | None = None,
        service_action_name: str | None = None,
    ) -> None:
        shape = operation(self, boto_service_name, service_action_name).input_shape
        if shape is not None:
            self._to_boto_request(parameters, shape)

    def response(
        self: Any,
        response: Any,
        boto_service_name: str | None = None,
        service_action_name: str | None = None,
    ) -> None:
        shape = operation(self, boto_service_name, service_action_name).output_shape
        if shape is not None:
            self._from_boto_response(response, shape)

    Ecs._normalise_parameters = parameters
    Ecs._normalise_response = response


def _follow_the_containers() -> None:
    """`.sync` ends as its containers end; moto calls any stopped task a success, and lets no retry wait."""
    wait = Ecs._eval_integration_pattern

    def follow(
        self: Any,
        env: Any,
        resource_runtime_part: Any,
        normalised_parameters: Any,
        state_credentials: Any,
    ) -> None:
        if self.resource.condition != ResourceCondition.Sync:
            wait(self, env, resource_runtime_part, normalised_parameters, state_credentials)
            return
        task = env.stack.pop()["Tasks"][0]
        where = {"cluster": task["ClusterArn"]}
        region = resource_runtime_part.region
        ecs = state_task_service_ecs.boto_client_for(region, "ecs", state_credentials)
        while env.is_running():
            found = ecs.describe_tasks(tasks=[task["TaskArn"]], **where)
            if found["tasks"][0]["lastStatus"] == "STOPPED":
                self._normalise_response(response=found, service_action_name="describe_tasks")
                _end(self, env, found["Tasks"][0])
                return
            time.sleep(_POLL_S)
        reason = "Step Functions: the state timed out or the execution was stopped"
        ecs.stop_task(task=task["TaskArn"], reason=reason, **where)

    Ecs._eval_integration_pattern = follow


def _end(service: Any, env: Any, task: dict[str, Any]) -> None:
    """Put a task that ended well on the stack, or fail as Step Functions fails it."""
    if all(container.get("ExitCode") == 0 for container in task["Containers"]):
        env.stack.append(task)
        return
    details = TaskFailedEventDetails(
        resource=service._get_sfn_resource(),
        resourceType=service._get_sfn_resource_type(),
        error="States.TaskFailed",
        cause=to_json_str(task),
    )
    raise FailureEventException(
        FailureEvent(
            env,
            ErrorName("States.TaskFailed"),
            HistoryEventType.TaskFailed,
            EventDetails(taskFailedEventDetails=details),
        )
    )


def _read_bodies() -> None:
    """`s3:getObject` gives an object's text; moto leaves a stream, and its times cannot be JSON."""
    normalise = AwsSdk._normalise_response

    def read(self: Any, response: Any, *rest: Any, **named: Any) -> None:
        if "Body" in response:
            response["Body"] = response["Body"].read().decode()
            kept = json.loads(json.dumps(response, default=str))
            response.clear()
            response.update(kept)
            return
        normalise(self, response, *rest, **named)

    AwsSdk._normalise_response = read
