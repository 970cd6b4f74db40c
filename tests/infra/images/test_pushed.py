"""What was pushed last is recorded for Terraform, in a file that it reads by itself."""

import json

import pytest

from infra.images import pushed
from tests.infra.cloud import ACCOUNT, REGION, account, aws


def test_a_record_keeps_the_tags_of_the_other_images(tmp_path, monkeypatch):
    """One image is pushed at a time; nothing pushed is an empty record."""
    monkeypatch.setattr(pushed, "PUSHED", tmp_path / "images.auto.tfvars.json")
    assert pushed.pushed_tags() == {}
    pushed.record_pushed("service", "ctr-1")
    pushed.record_pushed("pipeline", "a")
    pushed.record_pushed("pipeline", "b")
    assert pushed.pushed_tags() == {"service": "ctr-1", "pipeline": "b"}
    assert set(json.loads(pushed.PUSHED.read_text())) == {"images"}


@pytest.mark.slow
def test_a_released_image_gets_a_second_tag_once():
    """Of the same image; what is in no repository is left alone."""
    host = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com"
    with account():
        aws("ecr").create_repository(repositoryName="lab/service")
        manifest = {"schemaVersion": 2, "config": {"digest": "sha256:" + "0" * 64}}
        aws("ecr").put_image(
            repositoryName="lab/service",
            imageManifest=json.dumps(manifest),
            imageManifestMediaType="application/vnd.docker.distribution.manifest.v2+json",
            imageTag="ctr-1",
        )
        for _ in range(2):
            pushed.keep_released(f"{host}/lab/service:ctr-1")
        pushed.keep_released(f"{host}/lab/service:gone")
        pushed.keep_released(f"{host}/lab/nothing:ctr-1")
        pushed.keep_released("docker.io/library/python:3.11")
        (image,) = aws("ecr").describe_images(repositoryName="lab/service")["imageDetails"]
        assert sorted(image["imageTags"]) == ["ctr-1", "released-ctr-1"]
