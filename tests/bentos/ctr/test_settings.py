"""The service's settings: the shipped file, the environment, and what is wrong with others."""

import os
import re

import pytest
import yaml

from bentos.ctr.exposures import ExposureSettings
from bentos.ctr.models.sources import FolderSource, MlflowSource, PointerSource, make_source
from bentos.ctr.settings import HERE, Limits, Settings, load_settings
from tasks.errors import ConfigError
from tasks.registry.mlflow_store import registered_name
from tasks.schema import load_schema
from tests.conftest import ROOT


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch):
    for name in os.environ:
        if name.startswith(("CLICKLAB_", "MLFLOW_")):
            monkeypatch.delenv(name)


def test_the_shipped_settings_serve_the_bundle_and_log_nothing():
    settings = load_settings()
    assert settings.models == {"champion": {"from": "bundle"}}
    assert settings.experiment == HERE / "experiment.yaml"
    assert settings.experiment.exists()
    assert settings.exposures.sink == "off"
    assert settings.limits == Limits()
    assert settings.api_key is None
    assert settings.forced_variants is False


def test_the_environment_stands_in(tmp_path, monkeypatch):
    own = tmp_path / "own.yaml"
    own.write_text("models: {a: {from: folder, path: /m}}\npoll_s: 1\nlimits: {candidates: 5}\n")
    monkeypatch.setenv("CLICKLAB_SERVING", str(own))
    monkeypatch.setenv("CLICKLAB_EXPOSURES", str(tmp_path / "log"))
    monkeypatch.setenv("CLICKLAB_EXPERIMENT", "trial.yaml")
    monkeypatch.setenv("CLICKLAB_API_KEY", "secret")
    settings = load_settings()
    assert settings.models["a"]["path"] == "/m"
    assert settings.limits == Limits(candidates=5)
    assert settings.experiment == tmp_path / "trial.yaml"
    assert settings.exposures.sink == str(tmp_path / "log")
    assert settings.api_key == "secret"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[]", "expected settings"),
        ("{", "cannot be read"),
        ("modles: {a: {from: bundle}}", "'modles'"),
        ("poll_s: 1", "models"),
        ("models: {}", "models"),
        ("models: {a: bundle}", "'a'"),
        ("models: {a: {form: bundle}}", "'a'"),
        ("models: {a: {from: bundle}}\npoll_s: 0", "poll_s"),
        (
            "models: {a: {from: bundle}}\nforced_variants: 1",
            "forced_variants must be true or false",
        ),
        ("models: {a: {from: bundle}}\nlimits: {head_seconds: 0}", "limits.head_seconds"),
        ("models: {a: {from: bundle}}\npoll_s: soon", "poll_s"),
        ("models: {a: {from: bundle}}\nlimits: 3", "limits"),
        ("models: {a: {from: bundle}}\nlimits: {body: 3}", "'body'"),
        ("models: {a: {from: bundle}}\nlimits: {candidates: 1.5}", "limits.candidates"),
        ("models: {a: {from: bundle}}\nlimits: {body_bytes: -1}", "limits.body_bytes"),
    ],
)
def test_bad_settings_are_one_line_that_names_file_and_key(tmp_path, text, named):
    path = tmp_path / "serving.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as raised:
        load_settings(path)
    assert str(path) in str(raised.value) and named in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("pointer", "source"),
    [
        ("s3://b/champion.json", {"from": "s3", "pointer": "s3://b/champion.json"}),
        ("/m/champion.json", {"from": "folder", "path": "/m/champion.json"}),
    ],
)
def test_a_pointer_in_the_environment_leads_the_champion(monkeypatch, pointer, source):
    monkeypatch.setenv("CLICKLAB_MODEL_POINTER", pointer)
    assert load_settings().models == {"champion": source}


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.yaml"):
        load_settings(tmp_path / "none.yaml")


# ---- what the files and the documentation say


def test_the_shipped_file_lists_every_setting_with_its_default():
    """A reader of `serving.yaml` sees all there is, and removing a line changes nothing."""
    raw = yaml.safe_load((HERE / "serving.yaml").read_text())
    shipped = load_settings()
    assert set(raw) | {"api_key"} == set(Settings._fields)  # a key belongs in no file
    assert set(raw["exposures"]) == set(ExposureSettings._fields)
    assert set(raw["limits"]) == set(Limits._fields)
    assert shipped.exposures == ExposureSettings.from_mapping({})
    assert shipped.limits == Limits() and shipped.poll_s == 10


def test_the_examples_of_the_shipped_file_are_sources_and_name_a_registered_model():
    """Uncommented, each is accepted; the registered name is the one that the pipeline gives."""
    text = (HERE / "serving.yaml").read_text()
    examples = [
        yaml.safe_load(line) for line in re.findall(r"^  # (\w+: +\{from: .*)$", text, re.M)
    ]
    sources = [make_source(source) for example in examples for source in example.values()]
    assert {type(source) for source in sources} == {MlflowSource, PointerSource, FolderSource}
    assert next(source.name for source in sources if type(source) is MlflowSource) == (
        registered_name(load_schema("avazu"))
    )


def test_the_documentation_names_every_environment_variable_and_no_other():
    """Those that the service's code reads against the table under "Settings"."""
    code = "\n".join(path.read_text() for path in HERE.rglob("*.py"))
    read = set(re.findall(r"environ(?:\.get\(|\[)\s*\"([A-Z_]+)\"", code))
    assert {"CLICKLAB_SERVING", "CLICKLAB_LOG", "MLFLOW_TRACKING_URI"} <= read
    text = (ROOT / "docs/serving.md").read_text()
    table = text.partition("## Settings")[2].partition("\n## ")[0]
    first = "".join(line.split("|")[1] for line in table.splitlines() if line.startswith("| `"))
    named = set(re.findall(r"[A-Z][A-Z_]{3,}", first))
    assert named == read | {"BENTOML_HOST"}


def test_the_documentation_of_exposures_names_every_setting():
    """`docs/exposures.md` against the type that reads them."""
    text = (ROOT / "docs/exposures.md").read_text()
    table = text.partition("| key of `exposures:` |")[2].partition("\n\n")[0]
    first = "".join(line.split("|")[1] for line in table.splitlines() if line.startswith("| `"))
    assert set(re.findall(r"`(\w+)`", first)) == set(ExposureSettings._fields)
