"""What was pushed last is recorded for Terraform, in a file that it reads by itself."""

import json

from infra.images import pushed


def test_a_record_keeps_the_tags_of_the_other_images(tmp_path, monkeypatch):
    """One image is pushed at a time; nothing pushed is an empty record."""
    monkeypatch.setattr(pushed, "PUSHED", tmp_path / "images.auto.tfvars.json")
    assert pushed.pushed_tags() == {}
    pushed.record_pushed("service", "ctr-1")
    pushed.record_pushed("pipeline", "a")
    pushed.record_pushed("pipeline", "b")
    assert pushed.pushed_tags() == {"service": "ctr-1", "pipeline": "b"}
    assert set(json.loads(pushed.PUSHED.read_text())) == {"images"}
