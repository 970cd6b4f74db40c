"""The receipt of a proof: what is digested, which change is noticed, and how it is shown."""

import hashlib
import io
import json

import pytest
from rich.console import Console

from tasks.errors import InputError
from tasks.serving.receipt import (
    MODEL,
    PROOF,
    changed_files,
    digest_json,
    packed_digests,
    render_proof,
)


@pytest.fixture
def packed(tmp_path):
    """A folder with two files of code and a model, as a Bento holds them."""
    contents = {
        "bentos/ctr/service.py": "service",
        "tasks/schema.py": "schema",
        f"{MODEL}/model.json": json.dumps({"version": "v1", "contract": {"digest": "c1"}}),
        f"{MODEL}/weights.npy": "weights",
    }
    for name, content in contents.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return tmp_path


def test_every_packed_file_has_its_sha256(packed):
    """By hand: names relative to the Bento, digests of hashlib; model and contract from model.json."""
    found = packed_digests(packed)
    assert (found["model"], found["contract"]) == ("v1", "c1")
    assert list(found["files"]) == sorted(found["files"]) and len(found["files"]) == 4
    assert found["files"]["tasks/schema.py"] == hashlib.sha256(b"schema").hexdigest()
    code = {name: found["files"][name] for name in ("bentos/ctr/service.py", "tasks/schema.py")}
    assert found["code"] == hashlib.sha256(json.dumps(code, sort_keys=True).encode()).hexdigest()


def test_compiled_code_and_the_proof_itself_do_not_count(packed):
    """Importing the service and writing its receipt leave the digests as they were."""
    before = packed_digests(packed)
    cache = packed / "tasks/__pycache__"
    cache.mkdir()
    (cache / "schema.cpython-311.pyc").write_bytes(b"compiled")
    (packed / MODEL / PROOF).write_text("{}")
    (packed / "requirements.txt").write_text("numpy")  # outside of what is proved
    assert packed_digests(packed) == before


@pytest.mark.parametrize(
    ("name", "is_code"),
    [
        ("tasks/schema.py", True),
        ("tasks/added.py", True),
        (f"{MODEL}/weights.npy", False),
    ],
)
def test_a_changed_or_added_file_is_named(packed, name, is_code):
    """The code's digest changes with code only."""
    before = packed_digests(packed)
    (packed / name).write_text("changed")
    after = packed_digests(packed)
    assert changed_files(before["files"], after["files"]) == [name]
    assert (before["code"] != after["code"]) == is_code


def test_a_removed_file_is_named(packed):
    """Whichever side it is missing on."""
    before = packed_digests(packed)["files"]
    (packed / "tasks/schema.py").unlink()
    after = packed_digests(packed)["files"]
    assert changed_files(before, after) == changed_files(after, before) == ["tasks/schema.py"]
    assert changed_files(before, before) == []


@pytest.mark.parametrize("content", [None, "{", "[]", "{}", '{"version": "v1"}'])
def test_a_folder_without_a_readable_model_has_no_digests(packed, content):
    """One line names the folder."""
    path = packed / MODEL / "model.json"
    path.unlink() if content is None else path.write_text(content)
    with pytest.raises(InputError, match=r"no readable model .*package it again") as caught:
        packed_digests(packed)
    assert str(packed / MODEL) in str(caught.value) and "\n" not in str(caught.value)


def test_the_digest_of_json_does_not_depend_on_the_order_of_keys_but_on_values():
    """At any depth."""
    one, same = {"a": {"x": 1, "y": 2}, "b": [1, 2]}, {"b": [1, 2], "a": {"y": 2, "x": 1}}
    assert digest_json(one) == digest_json(same)
    assert digest_json(one) != digest_json(one | {"b": [2, 1]})
    assert len(digest_json(None)) == 64


def test_the_table_shows_each_pair_and_the_digests(packed):
    """What a reader compares: places, largest differences, versions; a tag is not taken for an emoji."""
    proof = {
        "bento": "ctr:abc",
        "champion": "version 3 of ctr-avazu",
        "rows": 64,
        "tolerance": 1e-6,
        "max_abs_diff": {"notebook | /rank live": 2.5e-8},
        "digests": {"data": "d1", **packed_digests(packed)},
    }
    console = Console(file=io.StringIO(), width=200)
    render_proof(proof, packed / MODEL, console=console)
    shown = console.file.getvalue()
    for text in (
        "ctr:abc: 64 rows",
        "notebook",
        "/rank live",
        "2.5e-08",
        "1e-06",
        "v1",
        "c1",
        "version 3 of ctr-avazu",
    ):
        assert text in shown
    assert proof["digests"]["code"][:12] in shown and "4 files" in shown and "data d1" in shown
