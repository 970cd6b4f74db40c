"""Which revision of the service's task definition is released: Terraform's newest, or one with a named image."""

from collections.abc import Mapping
from typing import Any

from infra.aws import client, readable_aws_errors
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
_MAX_LOOKED_AT = 100

Values = Mapping[str, Any]


def image_tag(name: str) -> str:
    """Return the tag under which an image lies, from a commit's id or a Bento's tag.

    Examples
    --------
    >>> image_tag("406fb6f"), image_tag("ctr:qf3xlrhfuopy6ax4")
    ('406fb6f', 'ctr-qf3xlrhfuopy6ax4')
    """
    return name.replace(":", "-")


def choose(values: Values, image: str = "") -> str:
    """Return the ARN of the revision to release.

    Parameters
    ----------
    image
        Commit id or Bento tag; empty: the revision that Terraform made last.

    Raises
    ------
    InputError
        If no such image was pushed.
    """
    newest = str(values["service_task_definition"])
    if not image:
        return newest
    wanted = f"{values['service_repository']}:{image_tag(image)}"
    _check_pushed(values, image_tag(image))
    with readable_aws_errors():
        answer = client("ecs").describe_task_definition(taskDefinition=newest, include=["TAGS"])
    definition, tags = answer["taskDefinition"], answer.get("tags", [])
    found = _with_image(definition["family"], wanted)
    return found or _register(definition, tags, wanted)


def _check_pushed(values: Values, tag: str) -> None:
    name = str(values["service_repository"]).partition("/")[2]
    ecr = client("ecr")
    with readable_aws_errors():
        try:
            ecr.describe_images(repositoryName=name, imageIds=[{"imageTag": tag}])
        except ecr.exceptions.ImageNotFoundException:
            raise InputError(f"no image {name}:{tag} was pushed; run `make push` first") from None


def image_of(arn: str) -> str:
    """Return the image that a revision runs."""
    with readable_aws_errors():
        found = client("ecs").describe_task_definition(taskDefinition=arn)
    return str(found["taskDefinition"]["containerDefinitions"][0]["image"])


def _with_image(family: str, image: str) -> str:
    """Return the newest revision with that image, empty if there is none."""
    with readable_aws_errors():
        arns = client("ecs").list_task_definitions(
            familyPrefix=family, sort="DESC", maxResults=_MAX_LOOKED_AT
        )["taskDefinitionArns"]
    return next((arn for arn in arns if image_of(arn) == image), "")


def _register(definition: Mapping[str, Any], tags: list[dict[str, str]], image: str) -> str:
    """Make a revision like another with this image, tagged as that one so that nothing is left behind."""
    copied = {key: definition[key] for key in _COPIED if definition.get(key)}
    first, *others = definition["containerDefinitions"]
    copied["containerDefinitions"] = [{**first, "image": image}, *others]
    with readable_aws_errors():
        made = client("ecs").register_task_definition(**copied, **({"tags": tags} if tags else {}))
    return str(made["taskDefinition"]["taskDefinitionArn"])
