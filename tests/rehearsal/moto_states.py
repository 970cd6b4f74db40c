"""Step Functions in moto 5.2, corrected where it differs from AWS; each function says how."""

import time
from collections.abc import Callable
from typing import Any

import boto3
from botocore.config import Config
from moto.stepfunctions.parser.asl.component.common.error_name.custom_error_name import (
    CustomErrorName,
)
from moto.stepfunctions.parser.asl.component.common.error_name.error_name import ErrorName
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
from moto.stepfunctions.parser.asl.utils.encoding import to_json_str

from tests.infra.machine import failure, read_body

Ecs = state_task_service_ecs.StateTaskServiceEcs
AwsSdk = state_task_service_aws_sdk.StateTaskServiceAwsSdk
_POLL_S = 0.5


def correct(endpoint: str, credentials: Callable[[str], dict[str, str]]) -> None:
    """Correct moto's interpreter; its own calls go to `endpoint`, with the `credentials` of a role."""
    _call_as_the_role(endpoint, credentials)
    _spell_as_ecs_does()
    _follow_the_containers()
    AwsSdk._normalise_response = read_body
    # A `States.*` error that leaves a branch must reach the Catch above; moto raises ValueError.
    CustomErrorName.__init__ = ErrorName.__init__


def _call_as_the_role(endpoint: str, credentials: Callable[[str], dict[str, str]]) -> None:
    """Step Functions acts with its role's rights; moto calls with none."""
    config = Config(
        parameter_validation=False,
        retries={"total_max_attempts": 1},
        s3={"addressing_style": "path"},
    )

    def client_as_role(region: str, service: str, state_credentials: Any = None) -> Any:
        keys = credentials(state_credentials.role_arn)
        return boto3.client(
            service, region_name=region, endpoint_url=endpoint, config=config, **keys
        )

    for module in (state_task_service_ecs, state_task_service_sns, state_task_service_aws_sdk):
        module.boto_client_for = client_as_role


def _spell_as_ecs_does() -> None:
    """A definition writes `TaskDefinition`, the API `taskDefinition`; moto leaves ECS's as they are."""
    known = state_task_service_ecs._SUPPORTED_API_PARAM_BINDINGS["runtask"]
    known |= {"CapacityProviderStrategy", "Tags", "StartedBy"}

    def model_of(self: Any, service: str | None, action: str | None) -> Any:
        client = boto3.client(self._get_boto_service_name(service), region_name="eu-west-1")
        model, wanted = client.meta.service_model, self._get_boto_service_action(action)
        names = (name for name in model.operation_names if camel_to_snake_case(name) == wanted)
        return model.operation_model(next(names))

    def to_boto(self: Any, parameters: Any, **where: Any) -> None:
        names = (where.get("boto_service_name"), where.get("service_action_name"))
        self._to_boto_request(parameters, model_of(self, *names).input_shape)

    def from_boto(self: Any, response: Any, **where: Any) -> None:
        names = (where.get("boto_service_name"), where.get("service_action_name"))
        self._from_boto_response(response, model_of(self, *names).output_shape)

    Ecs._normalise_parameters, Ecs._normalise_response = to_boto, from_boto


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
                (ended,) = found["Tasks"]
                if any(one.get("ExitCode") != 0 for one in ended["Containers"]):
                    raise failure(env, "States.TaskFailed", to_json_str(ended))
                env.stack.append(ended)
                return
            time.sleep(_POLL_S)
        reason = "Step Functions: the state timed out or the execution was stopped"
        ecs.stop_task(task=task["TaskArn"], reason=reason, **where)

    Ecs._eval_integration_pattern = follow
