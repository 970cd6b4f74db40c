"""Which revision of the service's task definition is released: Terraform's latest, or one with a given image."""

from collections.abc import Mapping
from typing import Any

from infra.aws import client, readable_aws_errors
from infra.images.pushed import image_tag, is_pushed
from tasks.errors import InputError

_COPIED = (
    "containerDefinitions",
    "cpu",
    "ephemeralStorage",
    "executionRoleArn",
    "family",
    "memory",
    "networkMode",
    "requiresCompatibilities",
    "runtimePlatform",
    "taskRoleArn",
    "volumes",
)
_MAX_REVISIONS = 100

Values = Mapping[str, Any]


def choose(values: Values, image: str = "") -> str:
    """Return the ARN of the revision to release.

    Parameters
    ----------
    image
        Commit id or Bento tag; empty: the latest revision made by Terraform.

    Raises
    ------
    InputError
        If no such image has been pushed.
    """
    newest = str(values["service_task_definition"])
    if not image:
        return newest
    repository, tag = str(values["service_repository"]), image_tag(image)
    if not is_pushed(repository, tag):
        name = repository.partition("/")[2]
        raise InputError(f"no image {name}:{tag} has been pushed; run `make push` first")
    return revision_with(newest, f"{repository}:{tag}")


def revision_with(revision: str, image: str) -> str:
    """Return the latest revision of the same family with an image; without one, a copy of `revision` is registered."""
    with readable_aws_errors():
        answer = client("ecs").describe_task_definition(taskDefinition=revision, include=["TAGS"])
    definition, tags = answer["taskDefinition"], answer.get("tags", [])
    found = _with_image(definition["family"], image)
    return found or _register(definition, tags, image)


def image_of(arn: str) -> str:
    """Return the image of a revision."""
    with readable_aws_errors():
        found = client("ecs").describe_task_definition(taskDefinition=arn)
    return str(found["taskDefinition"]["containerDefinitions"][0]["image"])


def _with_image(family: str, image: str) -> str:
    """Return the latest revision with an image, empty if there is none."""
    with readable_aws_errors():
        arns = client("ecs").list_task_definitions(
            familyPrefix=family, sort="DESC", maxResults=_MAX_REVISIONS
        )["taskDefinitionArns"]
    return next((arn for arn in arns if image_of(arn) == image), "")


def _register(definition: Mapping[str, Any], tags: list[dict[str, str]], image: str) -> str:
    """Copy a revision with another image; the tags are copied, so that `make down` finds it."""
    copied = {key: definition[key] for key in _COPIED if definition.get(key)}
    first, *others = definition["containerDefinitions"]
    copied["containerDefinitions"] = [{**first, "image": image}, *others]
    with readable_aws_errors():
        made = client("ecs").register_task_definition(**copied, **({"tags": tags} if tags else {}))
    return str(made["taskDefinition"]["taskDefinitionArn"])
