"""Images in the registry: their tags, whether one exists, and the record of the latest pushed tags for Terraform."""

import json
from contextlib import suppress
from pathlib import Path

from infra.aws import client, readable_aws_errors
from tasks.storage.files import write_atomic

PUSHED = Path("infra/terraform/images.auto.tfvars.json")
RELEASED = "released-"  # the repositories' lifecycle rule keeps images with such a tag
_MANIFESTS = [
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
]


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


def keep_released(image: str) -> None:
    """Give an image in a repository, as ``address:tag``, a second tag, by which it never counts as an old one.

    Does nothing if there is no such image or repository, or if it has that tag.
    """
    repository, _, tag = image.rpartition(":")
    if ".dkr.ecr." not in repository:
        return  # another registry's
    name, ecr = repository.partition("/")[2], client("ecr")
    with readable_aws_errors(), suppress(ecr.exceptions.RepositoryNotFoundException):
        found = ecr.batch_get_image(
            repositoryName=name, imageIds=[{"imageTag": tag}], acceptedMediaTypes=_MANIFESTS
        )["images"]
        with suppress(ecr.exceptions.ImageAlreadyExistsException):
            for one in found[:1]:
                ecr.put_image(
                    repositoryName=name,
                    imageManifest=one["imageManifest"],
                    imageManifestMediaType=one["imageManifestMediaType"],
                    imageTag=f"{RELEASED}{tag}"[:128],
                )
