"""Publishing: versions side by side, a pointer with a history, and the way back."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from tasks.errors import ClicklabError, ContractError, InputError
from tasks.models.artifact import load_model
from tasks.models.golden import is_model_file
from tasks.registry import mlflow_store, publish, runs
from tasks.registry.publish import (
    publish_alias,
    publish_model,
    read_pointer,
    roll_back,
)
from tasks.schema import load_schema
from tasks.storage.shared_files import ChangedError, join, read_shared, write_shared
from tests.bentos.ctr.serving import golden_rows, trained_model
from tests.logs import local_s3
from tests.stores import mlflow_client, s3_server


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Three model folders with golden rows."""
    folders = []
    for seed in (1, 2, 3):
        folder = tmp_path_factory.mktemp(f"model-{seed}")
        model = trained_model(folder, load_schema("avazu"), bits=10, seed=seed)
        (folder / "golden.json").write_text(json.dumps(golden_rows(model)))
        folders.append(folder)
    return folders


@pytest.fixture(params=["folder", "s3"])
def pointer(request, tmp_path, monkeypatch):
    """A pointer that is not there yet: in a folder, and on S3."""
    if request.param == "folder":
        yield str(tmp_path / "models" / "champion.json")
    else:
        with local_s3(monkeypatch):
            yield "s3://bucket/models/champion.json"


def version_of(folder):
    return json.loads((folder / "model.json").read_text())["version"]


def test_what_is_published_is_what_the_pointer_names(models, pointer):
    """Every file arrives as it was, in a place of its own beside the pointer."""
    now = publish_model(models[0], pointer)
    assert now.version == version_of(models[0])
    assert now.folder.startswith(f"versions/{now.version}-")
    assert sorted(now.files) == ["golden.json", "model.json", "weights.npy"]
    for name in now.files:
        found = read_shared(f"{join(pointer, now.folder)}/{name}")
        assert found.content == (models[0] / name).read_bytes()


def test_the_pointer_is_json_that_a_person_can_read(models, pointer):
    """Version and folder stand at its top."""
    now = publish_model(models[0], pointer)
    record = json.loads(read_shared(pointer).content)
    assert (record["version"], record["folder"]) == (now.version, now.folder)
    assert [entry["action"] for entry in record["history"]] == ["published"]


def test_a_pointers_history_is_bounded(models, pointer, monkeypatch):
    """The oldest entries go; the last ones are what is rolled back to."""
    monkeypatch.setattr(publish, "MAX_HISTORY", 3)
    for number in range(5):
        now = publish_model(models[number % 2], pointer)
    assert len(now.history) == 3
    assert roll_back(pointer).version == version_of(models[1])


def test_publishing_the_same_again_changes_nothing(models, pointer):
    """Services see no change, so they load nothing."""
    assert publish_model(models[0], pointer) == publish_model(models[0], pointer)


def test_what_mlflow_needs_makes_no_other_version(models, pointer, tmp_path):
    """A run's folder holds it beside the model; services get the model's files only."""
    before = publish_model(models[0], pointer)
    shutil.copytree(models[0], tmp_path / "run")
    (tmp_path / "run" / "MLmodel").write_text("flavors: {}")
    (tmp_path / "run" / "code").mkdir()
    assert publish_model(tmp_path / "run", pointer) == before


def test_rolling_back_goes_one_version_further_each_time(models, pointer):
    """Back from the third is the second, then the first, then there is nothing to go back to."""
    first, second, _ = (publish_model(folder, pointer) for folder in models)
    assert roll_back(pointer)[:3] == second[:3]
    assert roll_back(pointer)[:3] == first[:3]
    with pytest.raises(InputError, match="never named a version before"):
        roll_back(pointer)


def test_after_a_roll_back_the_way_back_is_to_what_served(models, pointer):
    """1, 2, back to 1, 3: before 3 served 1, not 2."""
    publish_model(models[0], pointer)
    publish_model(models[1], pointer)
    roll_back(pointer)
    publish_model(models[2], pointer)
    assert roll_back(pointer).version == version_of(models[0])
    actions = [entry["action"] for entry in read_pointer(pointer).history]
    assert actions == ["published", "published", "rolled back", "published", "rolled back"]


def test_a_version_can_be_named(models, pointer):
    """From the first straight to the third, and its files are still there."""
    for folder in models:
        publish_model(folder, pointer)
    roll_back(pointer, to=version_of(models[0]))
    now = roll_back(pointer, to=version_of(models[2]))
    assert now.version == version_of(models[2])
    assert read_shared(f"{join(pointer, now.folder)}/weights.npy") is not None


def test_an_unknown_version_lists_what_there_was(models, pointer):
    publish_model(models[0], pointer)
    with pytest.raises(
        InputError, match=f"never named version abc; it named {version_of(models[0])}"
    ):
        roll_back(pointer, to="abc")


def test_without_a_pointer_there_is_no_way_back(pointer):
    with pytest.raises(InputError, match="no such pointer; publish a model first"):
        roll_back(pointer)


def test_two_who_publish_at_once_do_not_overwrite_each_other(models, pointer):
    """The later one gets an error, with what the earlier one wrote in place."""
    publish_model(models[0], pointer)
    before = read_shared(pointer)
    publish_model(models[1], pointer)
    with pytest.raises(ChangedError, match="changed meanwhile"):
        write_shared(pointer, b"{}", replaces=before.mark)
    assert read_pointer(pointer).version == version_of(models[1])


def test_two_who_publish_first_do_not_overwrite_each_other(models, pointer):
    publish_model(models[0], pointer)
    with pytest.raises(ChangedError, match="changed meanwhile"):
        write_shared(pointer, b"{}", replaces=None)


def test_golden_rows_can_be_given(models, pointer, tmp_path):
    """A folder fresh from training has none of its own."""
    folder = copy_of(models[0], tmp_path)
    golden = json.loads((folder / "golden.json").read_text())
    (folder / "golden.json").unlink()
    now = publish_model(folder, pointer, golden=golden)
    found = json.loads(read_shared(f"{join(pointer, now.folder)}/golden.json").content)
    assert found == golden


def test_a_model_without_golden_rows_is_not_published(models, pointer, tmp_path):
    folder = copy_of(models[0], tmp_path)
    (folder / "golden.json").unlink()
    with pytest.raises(InputError, match=r"holds no golden\.json"):
        publish_model(folder, pointer)


@pytest.mark.parametrize(
    "golden",
    ["{}", '{"rows": [], "p_click": []}', '{"rows": [{}], "p_click": []}', "[", '{"rows": [{}], "p_click": [2.0]}',
     '{"rows": [{}], "p_click": [NaN]}', '{"rows": [{"hour": "x"}], "p_click": [0.1]}'],
)  # fmt: skip
def test_a_model_that_does_not_fit_its_golden_rows_is_not_published(models, tmp_path, golden):
    folder = copy_of(models[0], tmp_path)
    (folder / "golden.json").write_text(golden)
    pointer = tmp_path / "champion.json"
    with pytest.raises(ContractError, match="golden rows"):
        publish_model(folder, str(pointer))
    assert not pointer.exists()


def test_a_damaged_model_is_not_published(models, tmp_path):
    folder = copy_of(models[0], tmp_path)
    weights = np.load(folder / "weights.npy")
    weights[3] += 1
    np.save(folder / "weights.npy", weights)
    with pytest.raises(InputError, match="a file was changed"):
        publish_model(folder, str(tmp_path / "champion.json"))


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "{}", '{"version": 1, "folder": "x"}', '{"version": "", "folder": "x"}',
     '{"version": "1", "folder": "x", "history": 3}', '{"version": "1", "folder": "x", "history": [3]}',
     "[" * 100_000],
)  # fmt: skip
def test_a_pointer_that_is_none_is_said_in_one_line(tmp_path, text):
    (tmp_path / "champion.json").write_text(text)
    with pytest.raises(ContractError, match="not a pointer to a model") as caught:
        read_pointer(str(tmp_path / "champion.json"))
    assert "\n" not in str(caught.value)


def test_a_place_that_cannot_be_written_is_said_in_one_line(models, tmp_path):
    (tmp_path / "versions").write_text("in the way")
    with pytest.raises(InputError, match=r"versions.*cannot be written"):
        publish_model(models[0], str(tmp_path / "champion.json"))
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(InputError, match=r"folder\.json: cannot be read"):
        read_pointer(str(tmp_path / "folder.json"))


def test_an_s3_that_refuses_or_is_away_is_said_in_one_line(models, monkeypatch):
    with s3_server(monkeypatch) as server:
        with pytest.raises(InputError, match="S3 answered NoSuchBucket"):
            publish_model(models[0], "s3://nobody/champion.json")
        with pytest.raises(InputError, match="expected s3://bucket/key"):
            publish_model(models[0], "s3://bucket")
        server.stop()
        with pytest.raises(ClicklabError, match="S3 cannot be reached just now"):
            read_pointer("s3://bucket/champion.json")


def test_the_published_folder_is_a_model_folder(models, tmp_path):
    """Anybody may load it as one."""
    pointer = str(tmp_path / "champion.json")
    now = publish_model(models[0], pointer)
    assert load_model(join(pointer, now.folder)).version == now.version
    assert all(map(is_model_file, now.files))


@pytest.mark.slow
def test_the_registered_champion_is_published_with_its_golden_rows(models, tmp_path):
    """The files of the run behind the alias; without an alias there is nothing to publish."""
    store = f"sqlite:///{tmp_path}/mlflow.db"
    client, pointer = mlflow_client(store), str(tmp_path / "champion.json")
    with runs.training_run(client, "ctr", "ftrl", artifact_root=tmp_path / "files") as run_id:
        runs.log_model(client, run_id, models[0])
    version = mlflow_store.register(client, "ctr-avazu", run_id, tags={})
    with pytest.raises(InputError, match="no version of ctr-avazu is its champion"):
        publish_alias(store, "ctr-avazu", pointer)
    mlflow_store.set_alias(client, "ctr-avazu", mlflow_store.CHAMPION, version)
    assert publish_alias(store, "ctr-avazu", pointer).version == version_of(models[0])
    os.environ.pop("MLFLOW_TRACKING_URI", None)  # MLflow leaves it behind


def copy_of(folder: Path, target: Path) -> Path:
    copy = target / "copy"
    copy.mkdir()
    for file in folder.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    return copy
