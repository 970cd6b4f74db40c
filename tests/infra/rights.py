"""The calls that verbs make, as IAM sees them: an action and its resource."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from fnmatch import fnmatchcase
from typing import Any
from unittest.mock import patch

from infra import aws
from tests.infra.cloud import ACCOUNT, REGION

Call = tuple[str, str]
_PREFIXES = {"monitoring": "cloudwatch"}  # where IAM's prefix is not the signing name
_S3 = {"ListObjectsV2": "ListBucket"} | dict.fromkeys(
    ("CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"), "PutObject"
)
NEEDS_NO_PERMISSION = {"sts:GetCallerIdentity"}
# Further permissions that a call needs, by the Service Authorization Reference.
DEPENDENT: Mapping[str, Callable[[Mapping[str, Any]], list[Call]]] = {
    "ecs:RegisterTaskDefinition": lambda p: [
        *[("iam:PassRole", p[key]) for key in ("executionRoleArn", "taskRoleArn") if key in p],
        *([("ecs:TagResource", _ecs(f"task-definition/{p['family']}:1"))] if p.get("tags") else []),
    ],
}


def _ecs(what: str) -> str:
    return f"arn:aws:ecs:{REGION}:{ACCOUNT}:{what}"


def _repository(p: Mapping[str, Any]) -> str:
    return f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/{p['repositoryName']}"


def _service(p: Mapping[str, Any]) -> list[str]:
    names = p.get("services") or [p["service"]]
    return [_ecs(f"service/{str(p['cluster']).rpartition('/')[2]}/{name}") for name in names]


# The resource of a call; "*" for calls without resource-level permissions.
_RESOURCE_OF: Mapping[str, Callable[[Mapping[str, Any]], str | list[str]]] = {
    "application-autoscaling:RegisterScalableTarget": lambda p: (
        f"arn:aws:application-autoscaling:{REGION}:{ACCOUNT}:scalable-target/0123"
    ),
    "cloudwatch:DescribeAlarms": lambda p: "*",
    "ecr:BatchGetImage": _repository,
    "ecr:DescribeImageScanFindings": _repository,
    "ecr:DescribeImages": _repository,
    "ecr:GetAuthorizationToken": lambda p: "*",
    "ecr:PutImage": _repository,
    "ecs:DescribeServices": _service,
    "ecs:DescribeTaskDefinition": lambda p: "*",
    "ecs:ListTaskDefinitions": lambda p: "*",
    "ecs:RegisterTaskDefinition": lambda p: "*",
    "ecs:UpdateService": _service,
    "elasticloadbalancing:DescribeListeners": lambda p: "*",
    "elasticloadbalancing:DescribeTargetHealth": lambda p: "*",
    "elasticloadbalancing:ModifyListener": lambda p: p["ListenerArn"],
    "logs:FilterLogEvents": lambda p: (
        f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{p['logGroupName']}:log-stream:"
    ),
    "s3:ListBucket": lambda p: f"arn:aws:s3:::{p['Bucket']}",
    "s3:PutObject": lambda p: f"arn:aws:s3:::{p['Bucket']}/{p['Key']}",
    "states:DescribeExecution": lambda p: p["executionArn"],
    "states:DescribeStateMachine": lambda p: p["stateMachineArn"],
    "states:DescribeStateMachineForExecution": lambda p: p["executionArn"],
    "states:GetExecutionHistory": lambda p: p["executionArn"],
    "states:ListExecutions": lambda p: p["stateMachineArn"],
    "states:RedriveExecution": lambda p: p["executionArn"],
    "states:StartExecution": lambda p: p["stateMachineArn"],
    "states:StopExecution": lambda p: p["executionArn"],
}


@contextmanager
def recorded(calls: set[Call]) -> Iterator[None]:
    """Add every call of the verbs' clients meanwhile; the emulator's own calls are not included."""
    make, clients = aws._cached_client, []

    def made(service: str, *more: Any) -> Any:
        client = make(service, *more)
        name = client.meta.service_model.signing_name

        def record(params: Mapping[str, Any], model: Any, **_: Any) -> None:
            calls.update(_calls(name, model.name, params))

        client.meta.events.register("provide-client-params", record, unique_id="recorded")
        clients.append(client)
        return client

    with patch.object(aws, "_cached_client", made):
        yield
    for client in clients:
        client.meta.events.unregister("provide-client-params", unique_id="recorded")


def _calls(service: str, operation: str, params: Mapping[str, Any]) -> list[Call]:
    name = _S3.get(operation, operation) if service == "s3" else operation
    action = f"{_PREFIXES.get(service, service)}:{name}"
    if action in NEEDS_NO_PERMISSION:
        return []
    found = _RESOURCE_OF[action](params)  # KeyError: add the new call above
    resources = [found] if isinstance(found, str) else found
    dependent = DEPENDENT[action](params) if action in DEPENDENT else []
    return [*((action, resource) for resource in resources), *dependent]


def allows(document: Mapping[str, Any], action: str, resource: str) -> bool:
    """Return whether a policy allows a call, its assuming that its conditions are met."""
    assert all(statement["Effect"] == "Allow" for statement in document["Statement"])
    return any(
        any(fnmatchcase(action, one) for one in _listed(statement["Action"]))
        and any(fnmatchcase(resource, one) for one in _listed(statement["Resource"]))
        for statement in document["Statement"]
    )


def granted(document: Mapping[str, Any]) -> set[str]:
    """Return every action that a policy allows."""
    return {action for one in document["Statement"] for action in _listed(one["Action"])}


def _listed(found: str | list[str]) -> list[str]:
    return [found] if isinstance(found, str) else found
