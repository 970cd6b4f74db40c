"""Images in the registry: their tags, whether one exists, and the record of the latest pushed tags for Terraform."""

import json
from pathlib import Path

from infra.aws import client, readable_aws_errors
from tasks.storage.files import write_atomic

PUSHED = Path("infra/terraform/images.auto.tfvars.json")


def image_tag(name: str) -> str:
    """Return the tag of an image, from a commit's id or a Bento's tag.

    Examples
    --------
    >>> image_tag("406fb6f"), image_tag("ctr:qf3xlrhfuopy6ax4")
    ('406fb6f', 'ctr-qf3xlrhfuopy6ax4')
    """
    return name.replace(":", "-")


def is_pushed(repository: str, tag: str) -> bool:
    """Return whether a repository, given by its address, has an image with this tag."""
    ecr = client("ecr")
    with readable_aws_errors():
        try:
            ecr.describe_images(
                repositoryName=repository.partition("/")[2], imageIds=[{"imageTag": tag}]
            )
        except ecr.exceptions.ImageNotFoundException:
            return False
    return True


def pushed_tags() -> dict[str, str]:
    """Return the tag of each image that was pushed last; empty if none was."""
    return dict(json.loads(PUSHED.read_text())["images"]) if PUSHED.is_file() else {}


def record_pushed(name: str, tag: str) -> None:
    """Record what was pushed last, for Terraform."""
    write_atomic(PUSHED, json.dumps({"images": pushed_tags() | {name: tag}}, indent=1) + "\n")
