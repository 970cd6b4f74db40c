"""A moto server that Terraform's AWS provider can talk to: ``python -m tests.infra.emulator PORT``.

moto 5.2 does not know some calls of the provider, and forgets values that it would then report as drift.
"""

import inspect
import json
import sys
from functools import cache
from typing import Any


@cache
def complete() -> None:
    """Add what moto lacks, one function each."""
    _answer_missing_calls()
    _keep_tags_of_scalable_targets()
    _keep_descriptions_of_security_group_rules()
    _keep_settings_of_services()
    _name_the_source_of_database_parameters()
    _untag_what_is_deleted()
    _let_delete_markers_go()


def _answer_missing_calls() -> None:
    from moto.stepfunctions.responses import StepFunctionResponse

    def answer(body: dict[str, Any]) -> Any:
        return lambda self: json.dumps(body)

    valid = {"result": "OK", "diagnostics": [], "truncated": False}
    StepFunctionResponse.validate_state_machine_definition = answer(valid)
    StepFunctionResponse.list_state_machine_versions = answer({"stateMachineVersions": []})


def _keep_tags_of_scalable_targets() -> None:
    from moto.applicationautoscaling.responses import ApplicationAutoScalingResponse as Response

    register, tags = Response.register_scalable_target, {}

    def register_scalable_target(self: Any) -> str:
        body = register(self)
        tags.setdefault(json.loads(body)["ScalableTargetARN"], {}).update(
            self._get_param("Tags") or {}
        )
        return body

    def list_tags_for_resource(self: Any) -> str:
        return json.dumps({"Tags": tags.get(self._get_param("ResourceARN"), {})})

    Response.register_scalable_target = register_scalable_target
    Response.list_tags_for_resource = list_tags_for_resource


def _keep_descriptions_of_security_group_rules() -> None:
    from moto.ec2.models.security_groups import SecurityGroupRule

    start = SecurityGroupRule.__init__
    places = ("ip_range", "source_group", "prefix_list_id")

    def __init__(*arguments: Any, **named: Any) -> None:
        given = inspect.signature(start).bind(*arguments, **named).arguments
        texts = [(given.get(place) or {}).get("Description") for place in places]
        start(*arguments, **named)
        given["self"].description_ = next(filter(None, texts), None)

    SecurityGroupRule.__init__ = __init__
    SecurityGroupRule.description = property(lambda self: self.description_)


def _keep_settings_of_services() -> None:
    from moto.ecs.responses import EC2ContainerServiceResponse as Response

    create = Response.create_service

    def create_service(self: Any) -> Any:
        result = create(self)
        service = result.result["service"]
        service.availability_zone_rebalancing = (
            self._get_param("availabilityZoneRebalancing") or "DISABLED"
        )
        service.enable_execute_command = self._get_param("enableExecuteCommand") or False
        service.deployment_configuration = self._get_param("deploymentConfiguration")
        service.health_check_grace_period_seconds = self._get_param("healthCheckGracePeriodSeconds")
        return result

    Response.create_service = create_service


def _name_the_source_of_database_parameters() -> None:
    from moto.rds.models import DBParameterGroup

    update = DBParameterGroup.update_parameters

    def update_parameters(self: Any, new_parameters: Any) -> None:
        update(self, [{**parameter, "Source": "user"} for parameter in new_parameters])

    DBParameterGroup.update_parameters = update_parameters


def _untag_what_is_deleted() -> None:
    """What ECS has deleted soon has no tags; moto keeps them."""
    from moto.ecs.models import EC2ContainerServiceBackend as Backend

    delete_cluster, delete_service = Backend.delete_cluster, Backend.delete_service

    def without_tags(delete: Any) -> Any:
        def delete_and_untag(self: Any, *words: Any, **named: Any) -> Any:
            found = delete(self, *words, **named)
            found.tags = []
            return found

        return delete_and_untag

    Backend.delete_cluster = without_tags(delete_cluster)
    Backend.delete_service = without_tags(delete_service)


def _let_delete_markers_go() -> None:
    """A versioned bucket can be emptied; moto answers 500 where a delete marker is the last version."""
    from moto.s3.models import FakeDeleteMarker

    FakeDeleteMarker.dispose = lambda self, garbage=False: None


def main() -> None:
    """Serve on 127.0.0.1 until stopped."""
    from moto.server import main as serve

    complete()
    serve(["-H", "127.0.0.1", "-p", sys.argv[1]])


if __name__ == "__main__":
    main()
