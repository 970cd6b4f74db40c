"""The service's settings: the shipped file, the environment, and what is wrong with others."""

import pytest

from bentos.ctr.settings import HERE, Limits, load_settings
from tasks.errors import ConfigError


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch):
    for name in ("SERVING", "EXPOSURES", "EXPERIMENT", "API_KEY", "MODEL_POINTER"):
        monkeypatch.delenv(f"CLICKLAB_{name}", raising=False)


def test_the_shipped_settings_serve_the_bundle_and_log_nothing():
    settings = load_settings()
    assert settings.models == {"champion": {"from": "bundle"}}
    assert settings.experiment == HERE / "experiment.yaml"
    assert settings.experiment.exists()
    assert settings.exposures.sink == "off"
    assert settings.limits == Limits()
    assert settings.api_key is None


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
