"""Env files: a file of differences laid over env.yaml."""

import pytest
import yaml

from tasks.errors import ConfigError
from tasks.pipeline.knobs import overlay, read_env
from tests.conftest import ROOT


def written(folder, **files):
    """Write YAML files, ``tiny={...}`` as ``env.tiny.yaml``, and return the folder."""
    for name, content in files.items():
        path = folder / ("env.yaml" if name == "base" else f"env.{name}.yaml")
        path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return folder


def test_a_file_of_differences_keeps_the_rest(tmp_path):
    """Sections are merged key by key; what is not named stays."""
    base = {"seed": 7, "gates": {"a": 1, "b": 2}, "models": {"x": {"kind": "sgd", "params": {}}}}
    folder = written(tmp_path, base=base, tiny={"gates": {"b": 3}, "models": {"x": {"kind": "fm"}}})
    assert read_env(folder / "env.tiny.yaml") == {
        "seed": 7,
        "gates": {"a": 1, "b": 3},
        "models": {"x": {"kind": "fm"}},
    }


def test_env_yaml_itself_and_a_file_without_one_beside_it_stand_alone(tmp_path):
    """Nothing is laid over the base, and a complete file elsewhere needs none."""
    assert read_env(written(tmp_path, base={"seed": 1}) / "env.yaml") == {"seed": 1}
    alone = tmp_path / "elsewhere"
    alone.mkdir()
    assert read_env(written(alone, all={"seed": 2}) / "env.all.yaml") == {"seed": 2}


def test_data_of_the_command_line_wins(tmp_path):
    """`make run DATA=...` replaces one knob."""
    assert read_env(written(tmp_path, base={"data": "a"}) / "env.yaml", data="b")["data"] == "b"


def test_a_value_of_another_type_replaces_a_section():
    """`engine: local` gives way to a mapping, and the other way round."""
    assert overlay({"engine": "local"}, {"engine": {"dask": {}}}) == {"engine": {"dask": {}}}
    assert overlay({"engine": {"dask": {}}}, {"engine": "local"}) == {"engine": "local"}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("a: [", "not valid YAML"),
        ("- a", "expected a mapping of knobs, found list"),
        ("", "NoneType"),
    ],
)
def test_an_unreadable_base_is_one_line_that_names_it(tmp_path, content, said):
    """The file at fault is named, also where another one was asked for."""
    folder = written(tmp_path, base=content, tiny={"seed": 1})
    with pytest.raises(ConfigError, match=rf"env\.yaml: .*{said}") as caught:
        read_env(folder / "env.tiny.yaml")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["env.tiny.yaml", "env.aws.yaml"])
def test_the_files_of_differences_repeat_nothing(name):
    """A value that env.yaml has already is a copy that will drift."""
    base, changes = (yaml.safe_load((ROOT / file).read_text()) for file in ("env.yaml", name))
    for section, value in changes.items():
        if not isinstance(value, dict):
            # `engine` stands there to be switched by one line
            assert value != base.get(section) or section == "engine", section
            continue
        for key, inner in value.items():
            assert (section, key, inner) != (section, key, (base.get(section) or {}).get(key))


def test_a_name_of_the_origin_belongs_to_the_data_in_the_file(tmp_path):
    """DATA= names other data, which must not pass for the one that the file names."""
    folder = written(tmp_path, base={"data": "s3://bucket/clicks", "origin": "production"})
    assert read_env(folder / "env.yaml")["origin"] == "production"
    other = read_env(folder / "env.yaml", data="/tmp/other.csv")
    assert (other["data"], other["origin"]) == ("/tmp/other.csv", None)


@pytest.mark.parametrize(
    ("value", "allowed"), [("1", True), ("true", True), ("0", False), ("", False)]
)
def test_one_run_may_replace_a_champion_of_other_data(tmp_path, monkeypatch, value, allowed):
    """ALLOW_OTHER_DATA=1 sets the gate, so that `evaluate` is outdated and judges again."""
    folder = written(tmp_path, base={"gates": {"allow_other_data": False, "min_slice_rows": 5}})
    monkeypatch.setenv("ALLOW_OTHER_DATA", value)
    assert read_env(folder / "env.yaml")["gates"] == {
        "allow_other_data": allowed,
        "min_slice_rows": 5,
    }
