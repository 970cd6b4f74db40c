"""What still carries a deployment's tags, and the task definition revisions that Terraform keeps on purpose."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from infra.aws import client, readable_aws_errors

_MAX_PER_CALL = 10  # revisions deleted by one call
_GONE_STATES = {"INACTIVE", "DELETE_IN_PROGRESS"}

Tags = Mapping[str, str]


def list_tagged(tags: Tags) -> tuple[list[str], list[str]]:
    """Return the ARNs that remain, and one line per resource that AWS deletes later."""
    left, deleted_later = [], []
    for arn in _tagged(tags):
        line = _when_deleted(arn)
        if line is None:
            left.append(arn)
        elif line:
            deleted_later.append(line)
    return sorted(left), sorted(deleted_later)


def remove_revisions(tags: Tags, say: Callable[[str], None]) -> None:
    """Deregister and delete the task definition revisions that carry the tags."""
    arns = [arn for arn in _tagged(tags, "ecs:task-definition") if _state(arn) == "ACTIVE"]
    if not arns:
        return
    ecs = client("ecs")
    with readable_aws_errors():
        for arn in arns:
            ecs.deregister_task_definition(taskDefinition=arn)
        for start in range(0, len(arns), _MAX_PER_CALL):
            ecs.delete_task_definitions(taskDefinitions=arns[start : start + _MAX_PER_CALL])
    say(f"{len(arns)} task definition revisions deleted")


def _tagged(tags: Tags, *kinds: str) -> list[str]:
    filters = [{"Key": key, "Values": [value]} for key, value in tags.items()]
    named: dict[str, Any] = {"ResourceTypeFilters": list(kinds)} if kinds else {}
    with readable_aws_errors():
        pages = client("resourcegroupstaggingapi").get_paginator("get_resources")
        found = pages.paginate(TagFilters=filters, **named)
        return [one["ResourceARN"] for page in found for one in page["ResourceTagMappingList"]]


def _when_deleted(arn: str) -> str | None:
    """Return when AWS deletes it; empty if only its name is left; None if it remains."""
    if ":kms:" in arn and ":key/" in arn:
        return _key(arn)
    if ":task-definition/" in arn and _state(arn) in _GONE_STATES:
        return ""
    return None


def _key(arn: str) -> str | None:
    with readable_aws_errors():
        found = client("kms").describe_key(KeyId=arn)["KeyMetadata"]
    if found["KeyState"] != "PendingDeletion":
        return None
    when: datetime = found["DeletionDate"]
    return f"{arn} will be deleted by AWS on {when:%Y-%m-%d}; until then it costs nothing and encrypts nothing"


def _state(arn: str) -> str:
    ecs = client("ecs")
    with readable_aws_errors():
        try:
            found = ecs.describe_task_definition(taskDefinition=arn)
        except ecs.exceptions.ClientException:
            return "DELETE_IN_PROGRESS"
    return str(found["taskDefinition"]["status"])
