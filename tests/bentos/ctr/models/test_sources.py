"""Where models come from: what a look tells, what is copied, and what is said when nothing is there."""

import shutil

import pytest

from bentos.ctr.models.sources import BUNDLE, FolderSource, PointerSource, SourceError, make_source
from tasks.errors import ConfigError, ContractError
from tasks.models.artifact import load_model
from tasks.registry.publish import publish_model, roll_back
from tests.bentos.ctr.artifacts import artifact, fm_artifact, put, version_of
from tests.logs import local_s3
from tests.stores import s3_server


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Two linear models and a factorization machine. Do not write to them."""
    home = tmp_path_factory.mktemp("models")
    return [artifact(home / "1", seed=1), artifact(home / "2", seed=2), fm_artifact(home / "fm")]


@pytest.fixture
def into(tmp_path):
    """An empty folder to copy into."""
    (tmp_path / "into").mkdir()
    return tmp_path / "into"


# ---- declarations


def test_the_bundle_lies_beside_the_service_or_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.delenv("CLICKLAB_MODEL_DIR", raising=False)
    assert make_source({"from": "bundle"}).folder == BUNDLE
    monkeypatch.setenv("CLICKLAB_MODEL_DIR", str(tmp_path))
    assert make_source({"from": "bundle"}).folder == tmp_path


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ({"from": "folder", "path": "/srv/model"}, "folder /srv/model"),
        ({"from": "folder", "path": "/srv/champion.json"}, "pointer /srv/champion.json"),
        ({"from": "s3", "pointer": "s3://b/champion.json"}, "pointer s3://b/champion.json"),
        ({"from": "mlflow", "tracking_uri": "http://u:secret@host:5000/x/", "name": "ctr"}, "ctr@champion of http://host:5000/x"),
    ],
)  # fmt: skip
def test_a_source_says_what_it_is_and_no_secret(monkeypatch, raw, said):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert str(make_source(raw)) == said


def test_the_environment_names_the_tracking_server(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://team:5000")
    raw = {"from": "mlflow", "name": "ctr", "alias": "challenger"}
    assert str(make_source(raw)) == "ctr@challenger of https://team:5000"


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ({}, "expected one of bundle, folder, s3, mlflow, found None"),
        ({"from": "gcs"}, "found 'gcs'"),
        ({"from": ["s3"]}, r"found \['s3'\]"),
        ({"from": "bundle", "path": "x"}, "unknown key 'path'"),
        ({"from": "folder"}, "path must be text, found None"),
        ({"from": "folder", "path": ""}, "path must be text, found ''"),
        ({"from": "folder", "path": 3}, "path must be text, found 3"),
        ({"from": "s3", "pointer": "/a"}, "must begin with s3://"),
        ({"from": "s3", "pointer": "s3://b/a.json", "bucket": "b"}, "unknown key 'bucket'"),
        ({"from": "mlflow"}, "name must be text"),
        ({"from": "mlflow", "name": "ctr"}, "tracking_uri must be the http"),
        ({"from": "mlflow", "name": "ctr", "tracking_uri": "sqlite:///mlflow.db"}, "make ui"),
        ({"from": "mlflow", "name": "ctr", "tracking_uri": "http://"}, "found 'http://'"),
        ({"from": "mlflow", "name": "ctr", "tracking_uri": "http://["}, r"found 'http://\['"),
        ({"from": "mlflow", "name": "ctr", "alias": ""}, "alias must be text"),
    ],
)  # fmt: skip
def test_a_wrong_declaration_is_one_line(monkeypatch, raw, said):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(ConfigError, match=said) as caught:
        make_source(raw)
    assert "\n" not in str(caught.value)


# ---- folders


def test_a_folder_looks_the_same_until_another_is_put_there(models, tmp_path):
    source = FolderSource(tmp_path / "model")
    put(models[0], source.folder)
    first = source.peek()
    assert source.peek() == first
    put(models[1], source.folder)
    assert source.peek() != first


def test_a_link_that_is_moved_is_another_model(models, tmp_path):
    link = tmp_path / "current"
    link.symlink_to(models[0])
    source = FolderSource(link)
    first = source.peek()
    link.unlink()
    link.symlink_to(models[1])
    assert source.peek() != first
    assert str(models[1]) in source.peek()


def test_a_file_written_in_place_is_another_model(models, tmp_path):
    source = FolderSource(tmp_path / "model")
    put(models[0], source.folder)
    first = source.peek()
    (source.folder / "golden.json").write_text("{}")
    assert source.peek() != first


def test_a_folder_is_copied_as_it_might_change(models, tmp_path, into):
    """Only the files of a model; later writes to the folder have no effect."""
    source = FolderSource(tmp_path / "model")
    put(models[2], source.folder)
    (source.folder / "notes.txt").write_text("not for the service")
    assert source.fetch(into) == into
    names = ["golden.json", "latent.npy", "model.json", "weights.npy"]
    assert sorted(file.name for file in into.iterdir()) == names
    shutil.rmtree(source.folder)
    assert load_model(into).version == version_of(models[2])


def test_the_bundle_is_used_where_it_lies(models, into):
    """All processes of the service share its pages."""
    assert FolderSource(models[0], is_fixed=True).fetch(into) == models[0]
    assert not list(into.iterdir())


def test_no_folder_is_no_model(tmp_path, into):
    for folder in (tmp_path / "none", into):
        with pytest.raises(SourceError, match="no model"):
            FolderSource(folder).peek()
    with pytest.raises(SourceError, match="cannot be copied"):
        FolderSource(tmp_path / "none").fetch(into)


# ---- pointers


@pytest.fixture(params=["folder", "s3"])
def pointer(request, tmp_path, monkeypatch):
    """A pointer that is not there yet: in a folder, and on S3."""
    if request.param == "folder":
        yield str(tmp_path / "models" / "champion.json")
    else:
        with local_s3(monkeypatch):
            yield "s3://bucket/models/champion.json"


def test_a_pointer_looks_the_same_until_it_points_elsewhere(models, pointer):
    source = PointerSource(pointer)
    publish_model(models[0], pointer)
    first = source.peek()
    assert source.peek() == first
    publish_model(models[1], pointer)
    second = source.peek()
    roll_back(pointer)
    assert len({first, second, source.peek()}) == 3


@pytest.mark.parametrize("number", [0, 2])
def test_what_a_pointer_names_is_copied_whole(models, pointer, into, number):
    publish_model(models[number], pointer)
    assert PointerSource(pointer).fetch(into) == into
    assert load_model(into).version == version_of(models[number])
    assert (into / "golden.json").read_bytes() == (models[number] / "golden.json").read_bytes()


def test_a_pointer_written_by_hand_needs_version_and_folder_only(models, tmp_path, into):
    pointer = tmp_path / "champion.json"
    pointer.write_text(f'{{"version": "{version_of(models[0])}", "folder": "{models[0]}"}}')
    PointerSource(str(pointer)).fetch(into)
    assert load_model(into).version == version_of(models[0])


def test_no_pointer_is_no_model(pointer, into):
    for look in (PointerSource(pointer).peek, lambda: PointerSource(pointer).fetch(into)):
        with pytest.raises(SourceError, match="no such pointer"):
            look()


def test_a_pointer_that_is_none_is_told_from_one_that_is_away(tmp_path, into):
    (tmp_path / "champion.json").write_text("{")
    source = PointerSource(str(tmp_path / "champion.json"))
    source.peek()
    with pytest.raises(ContractError, match="not a pointer"):
        source.fetch(into)


def test_a_pointer_to_nothing_may_yet_be_mended(models, tmp_path, into):
    pointer = str(tmp_path / "champion.json")
    publish_model(models[0], pointer)
    shutil.rmtree(tmp_path / "versions")
    with pytest.raises(SourceError, match="holds no model"):
        PointerSource(pointer).fetch(into)


def test_s3_over_http_that_goes_away(models, monkeypatch, into):
    """A source that does not answer is unreachable, in one line."""
    with s3_server(monkeypatch) as server:
        pointer = "s3://bucket/champion.json"
        publish_model(models[0], pointer)
        source = PointerSource(pointer)
        source.fetch(into)
        server.stop()
        with pytest.raises(SourceError, match="S3 cannot be reached just now") as caught:
            source.peek()
        assert "\n" not in str(caught.value)
    assert load_model(into).version == version_of(models[0])
